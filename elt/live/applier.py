"""Gathers what the tasks of all sources read for a moment, and applies it together.

A transaction costs about the same for one row and for twenty; waiting a moment makes twenty of them one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg

from elt import warehouse
from elt.errors import DatabaseUnavailable, LaurelError, LoadError, public_text
from elt.live.apply import Reading, apply
from elt.live.changes import Changes
from elt.live.check import CheckedRows, RowChecker
from elt.log import get_logger
from elt.warehouse import AsyncConnection, answered

GATHER_SECONDS = 0.05
TELL_SECONDS = 2.0
"""Viewers hear at least so often how fresh the picture is."""

PING_SECONDS = 10.0
"""How often the warehouse is asked whether it is there while there is nothing to apply."""

_ROWS_AT_ONCE = 10_000
_ROWS_IN_LOOP = 500  # more are checked in a thread

_log = get_logger(__name__)

Told = Callable[[int, Mapping[str, int]], None]
"""Called with each new version and the canaries (by source) that it carries."""


class Late(Exception):
    """Another follower has applied something of the source meanwhile; read it again."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a reading as a task hands it in; see `elt.live.apply.Reading`."""

    source: str
    country: str | None
    reading: int
    changes: Changes
    is_compared: bool = False


@dataclass(slots=True)
class _Waiting:
    part: Part
    done: asyncio.Future[CheckedRows] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Applier:
    """Writes for all tasks, over one connection that nobody else uses while `run` runs."""

    def __init__(
        self,
        connection: AsyncConnection,
        told: Told | None = None,
        *,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._connection = connection
        self._told = told
        self._gather_seconds = gather_seconds
        self._checker = RowChecker()
        self._waiting: list[_Waiting] = []
        self._has_work = asyncio.Event()
        self._told_at = 0.0
        self._away: DatabaseUnavailable | None = None

    async def submit(self, part: Part) -> CheckedRows:
        """Wait until a part is applied; what became of its rows. One part of a source at a time.

        Raises:
            Late: it was not applied, since the source has been read by another follower.
            LoadError: it cannot be applied.
            DatabaseUnavailable: the warehouse went away; whether it was applied is not known.
        """
        if self._away is not None:
            raise self._away
        waiting = _Waiting(part)
        self._waiting.append(waiting)
        self._has_work.set()
        return await waiting.done

    async def run(self) -> None:
        """Apply what is handed in, until cancelled.

        Raises:
            DatabaseUnavailable: the warehouse went away, or is silent; all tasks that wait hear so, too.
        """
        batch: Sequence[_Waiting] = ()
        try:
            while True:
                await self._wait_for_work()
                if self._rows() < _ROWS_AT_ONCE:
                    await asyncio.sleep(self._gather_seconds)
                batch = self._take()
                await self._apply(batch)
        except DatabaseUnavailable as away:
            self._away = away
            for waiting in (*batch, *self._waiting):
                waiting.fail(away)
            raise

    async def _wait_for_work(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PING_SECONDS):
                    await self._has_work.wait()
                return
            async with answered(self._connection):
                await self._connection.execute("select 1")

    def _rows(self) -> int:
        return sum(len(waiting.part.changes.rows) for waiting in self._waiting)

    def _take(self) -> list[_Waiting]:
        """The parts that come first, at most so many rows as one transaction should have."""
        taken = [self._waiting.pop(0)]
        rows = len(taken[0].part.changes.rows)
        while self._waiting and rows + len(self._waiting[0].part.changes.rows) <= _ROWS_AT_ONCE:
            taken.append(self._waiting.pop(0))
            rows += len(taken[-1].part.changes.rows)
        if not self._waiting:
            self._has_work.clear()
        return taken

    async def _apply(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._apply_together(batch)
        except (psycopg.Error, LaurelError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                await self._connection.close()
            if self._connection.closed:
                raise DatabaseUnavailable(f"The warehouse went away ({type(error).__name__}).") from error
            # The rules' expressions may be left half way.
            self._checker = RowChecker()
            if len(batch) > 1:
                for waiting in batch:
                    await self._apply([waiting])
                return
            source = batch[0].part.source
            _log.error("reading_not_applied", source=source, reason=public_text(error))
            batch[0].fail(LoadError(f"What was read of {source} cannot be kept: {public_text(error)}."))

    async def _apply_together(self, batch: Sequence[_Waiting]) -> None:
        checked = await self._check([waiting.part for waiting in batch])
        readings = [
            Reading(part.source, part.reading, part.changes, checked[part.source], part.is_compared)
            for part in (waiting.part for waiting in batch)
        ]
        tell = time.monotonic() - self._told_at >= TELL_SECONDS
        async with asyncio.timeout(warehouse.ANSWER_SECONDS):
            applied = await apply(self._connection, readings, tell=tell)
        if applied.version is not None:
            self._told_at = time.monotonic()
            if self._told is not None:
                self._told(applied.version, _beats(readings, applied.late))
        for waiting in batch:
            source = waiting.part.source
            if source in applied.late:
                waiting.fail(Late(source))
            elif not waiting.done.done():
                waiting.done.set_result(checked[source])

    async def _check(self, parts: Sequence[Part]) -> dict[str, CheckedRows]:
        rows = {part.source: part.changes.rows for part in parts}
        countries = {part.source: part.country for part in parts}
        count, now = sum(map(len, rows.values())), datetime.now(UTC)
        if not count:
            return {source: CheckedRows() for source in rows}
        if count <= _ROWS_IN_LOOP:
            return self._checker.check(rows, countries, now)
        return await asyncio.to_thread(self._checker.check, rows, countries, now)


def _beats(readings: Sequence[Reading], late: frozenset[str]) -> dict[str, int]:
    return {
        reading.source: reading.changes.beat
        for reading in readings
        if reading.changes.beat is not None and reading.source not in late
    }
