"""One reading of one country database: what is new in it is handed on, part by part."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import cast

from elt.contracts import get_contract
from elt.errors import NotFound
from elt.live.applier import Part
from elt.live.changes import DATASET, Changes, LiveSource, MustCompare
from elt.live.check import CheckedRows
from elt.live.state import Known, known_digests, load_known, ranges_ahead, register
from elt.log import get_logger
from elt.sources.configuration import Source
from elt.sources.tables import Digest
from elt.warehouse import AsyncConnection

_MINUTE = 60.0

_log = get_logger(__name__)

Submit = Callable[[Part], Awaitable[CheckedRows]]


@dataclass(frozen=True, slots=True)
class Took:
    """Rows of one reading, counted and rejected; ids that are gone are not among them."""

    rows: int
    rejected: int
    has_compared: bool


def country_of(source: Source) -> str | None:
    """The country that all rows of a source must have; None where its configuration names none."""
    return source.parameters.get("country")


class Reader:
    """Reads one source again and again, and remembers how far it is.

    Args:
        asking: a connection to the warehouse for single statements.
        submit: applies a part; raises as `Applier.submit` does.
    """

    def __init__(self, source: Source, live: LiveSource, asking: AsyncConnection, submit: Submit) -> None:
        self._source = source
        self._country = country_of(source)
        self._live = live
        self._asking = asking
        self._submit = submit
        self._known: Known | None = None
        self._compare_at = 0.0
        self._told: tuple[str, ...] = ()

    async def register(self) -> None:
        """Note whose rows these are, and by which rules they are checked."""
        rules = get_contract(DATASET).digest[:16]
        identity = f"{rules} {self._country or '-'} {self._live.identity}"
        await register(self._asking, self._source.name, self._country, self._live.way, identity)

    async def read(self) -> Took:
        """Hand on what is new; the whole source is compared where that is due.

        Raises:
            SourceUnavailable, SourceFault: what was handed on before stays.
            Late: another follower was faster; call again.
            NotFound: the source is not registered any more.
        """
        known = await self._current()
        self._known = None
        if known.snapshot is None or time.monotonic() >= self._compare_at:
            return await self._compare(known)
        try:
            return await self._hand_on(
                known, self._live.read(known.snapshot, known_rows=known.rows), is_comparison=False
            )
        except MustCompare as error:
            _log.info("source_must_be_compared", source=self._source.name, reason=str(error))
            return await self._compare(await self._load())

    async def _compare(self, known: Known) -> Took:
        digests = await self._digests(known)
        took = await self._hand_on(known, self._live.compare(digests), is_comparison=True)
        _log.info("source_compared", source=self._source.name, rows=took.rows, rejected=took.rejected)
        return took

    async def _digests(self, known: Known) -> dict[int, Digest]:
        """What is known; of ranges that must be read in any case, what no rows come to.

        Ranges that count for nothing are named too: those that are gone at the source lose their rows.
        """
        digests = await known_digests(self._asking, self._source.name)
        again = digests if known.is_unread else await ranges_ahead(self._asking, self._source.name)
        return digests | {number: replace(digests[number], total=-1) for number in digests.keys() & again}

    async def _hand_on(self, known: Known, parts: AsyncIterator[Changes], *, is_comparison: bool) -> Took:
        reading, rows, rejected, snapshot = known.reading, 0, 0, known.snapshot
        # Closed at once when a part fails, since it keeps a transaction open at the source.
        async with aclosing(cast("AsyncGenerator[Changes]", parts)) as open_parts:
            async for changes in open_parts:
                self._tell(changes.findings)
                ends = is_comparison and changes.snapshot is not None
                checked = await self._submit(Part(self._source.name, self._country, reading, changes, ends))
                reading += 1
                rows += len(checked.accepted)
                rejected += len(checked.rejected)
                snapshot = changes.snapshot or snapshot
        if not is_comparison and self._live.way == "notify":
            self._known = Known(reading, snapshot, False, known.compared_seconds, known.rows)
        return Took(rows, rejected, is_comparison)

    async def _current(self) -> Known:
        return self._known or await self._load()

    async def _load(self) -> Known:
        known = await load_known(self._asking, self._source.name)
        if known is None:
            raise NotFound(f"The source {self._source.name} is not followed any more.")
        span = max(self._source.compare_minutes, 1) * _MINUTE
        self._compare_at = time.monotonic() + span - known.compared_seconds
        return known

    def _tell(self, findings: tuple[str, ...]) -> None:
        if findings and findings != self._told:
            self._told = findings
            _log.info("source_findings", source=self._source.name, findings=list(findings))
