"""What every kind of source shows of itself: tables, their digests by range, and their rows.

A table is cut into ranges of its key. A range's digest is the number of its rows and the sum of their hashes,
worked out at the source where that can be done; two digests are equal when the rows are, whatever was
committed when. So neither a transaction that commits late nor a deleted row can be missed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Protocol

from elt.contracts import Contract
from elt.errors import SourceFault

RANGE_KEYS = 1000
"""Numbers that make a range. Text is cut into 256 ranges by its MD5."""

_PART_ROWS = 5000

DELETED = "is_deleted"
"""The contract's column that is true in a row which says: no longer at the source."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What the rows of one range come to."""

    rows: int
    total: int


@dataclass(frozen=True, slots=True)
class SourceRows:
    """Some rows of one range: the hash of each (63 bits), and its cells as the contract writes them.

    A cell without a value is None. Rows stand together because a call and an object for each of them would
    cost more than all that is done to it.
    """

    range_no: int
    hashes: list[int]
    cells: list[tuple[str | None, ...]]

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True, slots=True)
class TableShape:
    """Which dataset a table becomes, and which of the contract's columns are its rows' cells, in order.

    `findings` say what is new at the source or missing there; none of it stops the table.
    """

    name: str
    contract: Contract
    columns: tuple[str, ...]
    findings: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    """The columns of the key that are whole numbers at both ends."""

    @property
    def range_column(self) -> str:
        """The key's column that ranges are made of: a whole number if there is one, else the first."""
        return (*self.numbers, *self.key)[0]

    @property
    def is_numbered(self) -> bool:
        """Whether ranges are spans of numbers."""
        return bool(self.numbers)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that name a row within the source."""
        return tuple(name for name in self.contract.primary_key if name != "school_id")

    @property
    def layout(self) -> str:
        """Changes when rows that are the same at the source would be written differently."""
        text = "\x1f".join([self.contract.digest, *self.columns])
        return hashlib.sha256(text.encode()).hexdigest()


class SourceTable(Protocol):
    """A table at its source, as it is right now.

    Every method raises `SourceUnavailable` when the source does not answer in time, and `SourceFault` when it
    answers that the table cannot be read.
    """

    @property
    def shape(self) -> TableShape:
        """What the table brings."""

    def clock(self) -> float:
        """The source's own time, in seconds."""

    def is_unchanged_since(self, clock: float) -> bool:
        """Whether the source can tell for sure that nothing was committed since; False where it cannot."""

    def digests(self) -> dict[int, Digest]:
        """The digest of every range that has rows."""

    def rows(self, ranges: Sequence[int]) -> Iterator[SourceRows]:
        """All rows of the given ranges, in the order of their ranges."""

    def count(self) -> int:
        """How many rows the table has."""

    def newest_mark(self) -> str | None:
        """The largest value of the cursor, as a text that only the source reads; None without a cursor."""

    def rows_since(self, mark: str) -> Iterator[SourceRows]:
        """Rows whose cursor is not more than ten minutes before the mark, in the order of their ranges."""


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table of a database, as it is configured.

    `cursor`: a column that grows with every change; between two comparisons only rows from its last value on
    are read. `columns`: the source's name of a contract's column where it is another one. `ignore`: columns
    that nobody need hear of.
    """

    table: str
    dataset: str
    cursor: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()

    def source_column(self, column: str) -> str:
        """What the source calls one of the contract's columns."""
        return self.columns.get(column, column)


def gather_rows(rows: Iterable[tuple[Any, ...]]) -> Iterator[SourceRows]:
    """Rows of a database, in the order of their ranges: range and hash of each as texts, then its cells."""
    for range_no, same in groupby(rows, key=itemgetter(0)):
        while part := list(islice(same, _PART_ROWS)):
            yield SourceRows(int(range_no), [int(row[1]) for row in part], [row[2:] for row in part])


def range_of(text: str) -> int:
    """The range that a text of a key lies in; the same as databases work out in SQL."""
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()[0]


def no_such_table(name: str) -> SourceFault:
    """The error for a table that the source does not show."""
    return SourceFault(
        f"There is no table {name} in the database, or its user may not see it. Restore it, or grant select "
        "on it."
    )


def shape_of(
    name: str,
    contract: Contract,
    found: dict[str, str],
    spec: TableSpec,
    *,
    without: Sequence[str] = (),
    whole_numbers: Sequence[str] = (),
) -> TableShape:
    """Match a table's columns with the contract's.

    Args:
        found: the table's columns and their types, by the source's names.
        without: columns of the contract that come otherwise, such as constants.
        whole_numbers: the types that are whole numbers at this kind of source.

    Raises:
        SourceFault: a column of the key is missing.
    """
    wanted = [name for name in contract.columns if name not in ("school_id", DELETED, *without)]
    columns = tuple(column for column in wanted if spec.source_column(column) in found)
    known = {*spec.ignore, *(spec.source_column(column) for column in contract.columns)}
    findings = [
        f"column {column} is new at the source and not loaded" for column in found if column not in known
    ]
    missing = [column for column in wanted if column not in columns]
    if lost := [column for column in missing if column in contract.primary_key]:
        raise SourceFault(
            f"Table {name} has no column {', '.join(map(spec.source_column, lost))}, which names its rows; "
            f"it has {', '.join(found)}. Give its name under `columns` of the source's configuration."
        )
    findings += [
        f"column {spec.source_column(column)} is missing at the source and loaded as empty"
        for column in missing
        if not contract.field(column).optional
    ]
    key = [column for column in contract.primary_key if column != "school_id"]
    numbers = tuple(
        column
        for column in key
        if contract.field(column).type == "integer" and found.get(spec.source_column(column)) in whole_numbers
    )
    return TableShape(name, contract, columns, tuple(findings), numbers)
