"""What a follower and its sources tell each other: rows as they are now, and which of what is known is gone.

State is carried over, not a log: a reading says how rows are at one moment of the source. So it may be
applied twice, and a reading that was killed is simply made again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from elt.sources.tables import Digest

DATASET = "pisa_responses"

COLUMNS = ("cnt", "id", "escs", "tmins", "belong", "durecec", "w_fstuwt", "time_submitted")
"""The contract's columns that are followed; a cell is None where the source has no value or column."""

Way = Literal["notify", "poll"]


@dataclass(frozen=True, slots=True)
class LiveRow:
    """A row as its source has it: cells in the order of `COLUMNS`, as the contract writes them.

    `id` is the text of the key, empty where the row has none; `row_hash` (63 bits) that of all its cells.
    """

    id: str
    range_no: int
    row_hash: int
    cells: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """A part of one reading: `rows` are all the rows there are of the ids and ranges that it names.

    Whatever is known of `ids` or of `ranges` and is not among `rows` is gone. `snapshot`: when this part is
    applied, all that this snapshot of the source shows is known; None where more parts follow. `beat`: the
    newest canary that was seen, None if there was none.
    """

    rows: list[LiveRow]
    ids: frozenset[str] = frozenset()
    ranges: frozenset[int] = frozenset()
    snapshot: str | None = None
    beat: int | None = None
    findings: tuple[str, ...] = field(default=())


class LiveSource(Protocol):
    """One connection to a country database. Methods raise `SourceUnavailable` and `SourceFault`."""

    @property
    def way(self) -> Way:
        """How changes are noticed: told by a trigger at the source, or looked for."""

    @property
    def identity(self) -> str:
        """Of server, database and table; a snapshot of another one means nothing here."""

    async def wait(self, seconds: float) -> bool:
        """Until the source may have something new, or so long; whether it is time to read."""

    def read(self, snapshot: str, *, known_rows: int) -> AsyncIterator[Changes]:
        """What was committed since a snapshot, in parts; the last one carries the new snapshot.

        `known_rows`: how many rows are known (counted and rejected). Where changes are looked for, a
        different number means that rows are gone.

        Raises:
            MustCompare: what happened since then cannot be told any more; compare as a whole.
        """

    def compare(self, known: Mapping[int, Digest]) -> AsyncIterator[Changes]:
        """The ranges whose digest is not the known one, in parts; the last one carries the snapshot."""

    async def beat(self, number: int) -> bool:
        """Commit a canary at the source; False where that is not allowed (read-only)."""

    async def is_best_way(self) -> bool:
        """Whether the table is as it was, and allows this way, no better one; else open the source anew."""

    async def close(self) -> None:
        """Close the connection."""


class MustCompare(Exception):
    """A source cannot tell what changed since a snapshot."""
