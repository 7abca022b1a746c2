"""The CSV files of the demo school: rows with a known fate, and the line on which each begins."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

Fate = Literal["accepted", "rejected", "repeated"]


@dataclass(frozen=True, slots=True)
class Breakage:
    """One way to spoil a row: which cells are written, and what the contract says about it.

    `kind` says in plain words what is wrong. `column` is the contract's name of the column the finding is
    about, None where it is about the row as a whole; `rule` and `severity` are the contract's. An error
    quarantines the row, a warning does not.
    """

    kind: str
    column: str | None
    rule: str
    cells: Mapping[str, str]
    severity: Literal["error", "warning"] = "error"


@dataclass(eq=False, slots=True)
class Row:
    """One row below the header. `line` is known once the file is written."""

    cells: list[str]
    fate: Fate = "accepted"
    is_overridden: bool = False
    breakage: Breakage | None = None
    line: int = 0


@dataclass(slots=True)
class Table:
    """A CSV file to be written. `newline` and `has_bom` are how the office program saved it."""

    dataset: str
    filename: str
    header: Sequence[str]
    rows: list[Row] = field(default_factory=list)
    newline: str = "\n"
    has_bom: bool = False

    def add(self, cells: Sequence[object]) -> None:
        """Append a row; None becomes an empty cell."""
        self.rows.append(Row(["" if cell is None else str(cell) for cell in cells]))

    def copy(self) -> Table:
        """The same table with rows of its own."""
        return replace(self, rows=[Row(list(row.cells)) for row in self.rows])

    def position(self, header: str) -> int:
        """Where the column with this header stands."""
        return self.header.index(header)

    def spoil(self, row: Row, breakage: Breakage) -> None:
        """Write the wrong cells into a row."""
        for header, cell in breakage.cells.items():
            row.cells[self.position(header)] = cell
        row.breakage = breakage
        if breakage.severity == "error":
            row.fate = "rejected"

    def repeat(self, row: Row, after: int) -> None:
        """Put an identical copy `after` rows further down."""
        place = min(self.rows.index(row) + after, len(self.rows))
        self.rows.insert(place, Row(list(row.cells), fate="repeated"))

    def correct(self, row: Row, changes: Mapping[str, str]) -> None:
        """Append a later row of the same key with other values; it wins over `row`."""
        cells = list(row.cells)
        for header, cell in changes.items():
            cells[self.position(header)] = cell
        row.is_overridden = True
        self.rows.append(Row(cells))

    def write(self, directory: Path) -> int:
        """Write the file, note each row's line, and return the file's size in bytes."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator=self.newline)
        writer.writerow(self.header)
        line = 2
        for row in self.rows:
            row.line = line
            writer.writerow(row.cells)
            line += 1 + sum(cell.count("\n") for cell in row.cells)
        content = text.getvalue().encode("utf-8-sig" if self.has_bom else "utf-8")
        return (directory / self.filename).write_bytes(content)
