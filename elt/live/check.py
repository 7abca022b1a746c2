"""Rows of a country database against the contract: what counts, and what does not and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from elt.contracts import get_contract, match_header
from elt.live.changes import COLUMNS, DATASET, LiveRow
from elt.reading.reader import Block
from elt.reading.validation import CheckedBlock, validate

Issues = list[tuple[str | None, str]]

_NO_FAULTS = pl.DataFrame(schema={"line": pl.Int64, "rule": pl.String})
_SCHEMA = {f"c{position}": pl.String for position in range(len(COLUMNS))} | {"_line": pl.Int64}
_CNT, _TIME = COLUMNS.index("cnt"), COLUMNS.index("time_submitted")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that does not count. `place` numbers those of one id; `issues` are (column, rule)."""

    row: LiveRow
    place: int
    issues: tuple[tuple[str | None, str], ...]


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """`accepted` have `COLUMNS` as the contract writes them, None where there is no value; ids are unique."""

    accepted: list[LiveRow] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class RowChecker:
    """Checks rows. The contract's expressions are made once, however often it is asked.

    A call costs about two milliseconds and ten microseconds a row, so the rows of all sources come together.
    """

    def __init__(self) -> None:
        self._block: Block | None = None
        contract = get_contract(DATASET)
        # Held against our clock for each row; a file is held against the moment in which it was handed in.
        self._ahead = timedelta(minutes=contract.field("time_submitted").constraints.minutes_ahead or 0)
        self._checked: Iterator[CheckedBlock] = validate(
            self._blocks(), contract, match_header(contract, COLUMNS), school_id="live"
        )

    def check(
        self, rows: Mapping[str, Sequence[LiveRow]], countries: Mapping[str, str | None], now: datetime
    ) -> dict[str, CheckedRows]:
        """Sort out the rows of each source.

        Args:
            rows: by source; all rows of an id together.
            countries: by source, the code that its rows must have; None: any that the contract knows.
            now: with a time zone.
        """
        lines = [(source, row) for source, own in rows.items() for row in own]
        issues: dict[int, Issues] = {}
        accepted: dict[str, list[tuple[LiveRow, int]]] = {}
        block = self._validate([row for _, row in lines])
        for line, column, rule, severity in block.issues.iter_rows():
            if severity == "error":
                issues.setdefault(line, []).append((column, rule))
        for line, *cells in block.accepted.select("_line", *COLUMNS).iter_rows():
            source, row = lines[line]
            if found := _own_issue(cells, countries[source], now + self._ahead):
                issues[line] = [found]
            else:
                kept = LiveRow(row.id, row.range_no, row.row_hash, tuple(cells))
                accepted.setdefault(source, []).append((kept, line))
        once = {source: _once_each(found, issues) for source, found in accepted.items()}
        rejected = _rejected(lines, issues)
        return {source: CheckedRows(once.get(source, []), rejected.get(source, [])) for source in rows}

    def _blocks(self) -> Iterator[Block]:
        while self._block is not None:
            yield self._block

    def _validate(self, rows: Sequence[LiveRow]) -> CheckedBlock:
        data = [(*row.cells, line) for line, row in enumerate(rows)]
        self._block = Block(pl.DataFrame(data, schema=_SCHEMA, orient="row"), _NO_FAULTS)
        return next(self._checked)


def _own_issue(cells: Sequence[str | None], country: str | None, latest: datetime) -> tuple[str, str] | None:
    """What the contract cannot say: whose database it is, and what time it is."""
    if country is not None and cells[_CNT] != country:
        return "cnt", "other_country"
    time = cells[_TIME]
    if time is not None and datetime.fromisoformat(time) > latest:
        return "time_submitted", "ahead"
    return None


def _once_each(accepted: list[tuple[LiveRow, int]], issues: dict[int, Issues]) -> list[LiveRow]:
    """One row of each id: the first by its cells, so that every reading chooses the same."""
    kept: dict[str, tuple[LiveRow, int]] = {}
    for row, line in accepted:
        other = kept.setdefault(row.id, (row, line))
        if other[1] == line:
            continue
        if _order(row) < _order(other[0]):
            kept[row.id] = (row, line)
            line = other[1]
        issues[line] = [("id", "repeated")]
    return [row for row, _ in kept.values()]


def _rejected(
    lines: Sequence[tuple[str, LiveRow]], issues: Mapping[int, Issues]
) -> dict[str, list[Rejected]]:
    places: Counter[tuple[str, str]] = Counter()
    rejected: dict[str, list[Rejected]] = {}
    for line in sorted(issues, key=lambda line: _order(lines[line][1])):
        source, row = lines[line]
        places[source, row.id] += 1
        place = places[source, row.id]
        rejected.setdefault(source, []).append(Rejected(row, place, tuple(issues[line])))
    return rejected


def _order(row: LiveRow) -> tuple[tuple[bool, str], ...]:
    return tuple((cell is not None, cell or "") for cell in row.cells)
