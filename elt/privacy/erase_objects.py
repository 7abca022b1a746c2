"""Takes people out of a file's bytes so that every other record stays on its line, byte for byte.

An erased record becomes as many empty lines as it had; empty lines are no rows. Where a row only refers to
the person (the teacher of a score), the cell is emptied. A row that is broken, and a file that is no table of
its dataset, lose every line that has the person's identifier for a cell.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from uuid import UUID

from elt.errors import UploadRejected
from elt.privacy.erased_rows import empty_cell
from elt.privacy.tombstones import TRACES, Person, PersonColumn, Tombstones, identifier_of, person_columns
from elt.reading.file_rows import FileForm, FileRow, FileRows
from elt.reading.records import MAX_RECORD_BYTES

_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_CELL_ENDS = re.compile(rb'[,;\t|"\r\n]+')
_AFTER_LINE = re.compile(rb"(?<=\n)|(?<=\r)(?!\n)")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ErasedRow:
    """A record that went: its line, the parent's line that it stood for, its values where it was sound."""

    line: int
    parent_line: int | None = None
    values: tuple[str | None, ...] | None = None


@dataclass(slots=True)
class Scrubbed:
    """What was found in one file, and what its bytes were and are. `is_table` False: read line by line.

    `traces`: what rows that go tell to lead to their student, as far as that was not known.
    """

    is_table: bool
    rows: list[ErasedRow] = field(default_factory=list)
    references: int = 0
    hits: set[UUID] = field(default_factory=set)
    traces: dict[UUID, set[Person]] = field(default_factory=dict)
    sha256_before: str = ""
    sha256: str = ""
    size: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing has to go."""
        return not self.rows and not self.references


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Takes people out of files of one form. `lines`: further lines that have to go."""

    form: FileForm
    tombstones: Tombstones
    lines: Collection[int] = ()

    def inspect(self, opened: Callable[[], BinaryIO]) -> Scrubbed:
        """What has to go from a file, and what its bytes will be then."""
        for is_table in (True, False):
            found = Scrubbed(is_table)
            try:
                with opened() as stream:
                    for _ in self.pieces(stream, found):
                        pass
            except UploadRejected:
                continue
            break
        return found

    def pieces(self, stream: BinaryIO, found: Scrubbed) -> Iterator[bytes]:
        """The bytes that stay, in pieces; fills `found`, whose `is_table` says how to read.

        Raises:
            UploadRejected: the file is no table.
        """
        before, after = _Hashing(stream), hashlib.sha256()
        parts = self._of_table(before, found) if found.is_table else self._of_lines(before, found)
        for piece in _gather(parts):
            after.update(piece)
            found.size += len(piece)
            yield piece
        found.sha256_before, found.sha256 = before.finish(), after.hexdigest()

    def _of_table(self, stream: _Hashing, found: Scrubbed) -> Iterator[bytes]:
        rows = FileRows(stream, self.form)
        columns = person_columns(self.form.contract)
        yield rows.bom
        for row in rows.rows():
            yield rows.encode(self._kept(rows, row, columns, found))

    def _kept(self, rows: FileRows, row: FileRow, columns: list[PersonColumn], found: Scrubbed) -> str:
        """What stays of a record."""
        if not row.cells:
            return row.text
        doubtful = () if row.is_sound else self._named_anywhere(row.cells)
        named = [(column, self._find(rows, row, column)) for column in columns] if row.is_sound else []
        hits = {*doubtful, *(erasure_id for _, erasure_id in named if erasure_id)}
        found.hits |= hits
        drops = bool(doubtful) or any(column.drops_row for column, erasure_id in named if erasure_id)
        if drops or row.line in self.lines:
            self._learn(rows, row, named, found)
            found.rows.append(_erased_row(rows, row))
            return "".join(_LINE_ENDS.findall(row.text))
        if not hits:
            return row.text
        found.references += 1
        return self._without_references(rows, row, [column for column, erasure_id in named if erasure_id])

    def _find(self, rows: FileRows, row: FileRow, column: PersonColumn) -> UUID | None:
        school_id = rows.value(row, "school_id")
        identifier = identifier_of([rows.value(row, name) for name in column.names])
        if school_id is None or identifier is None:
            return None
        if column.owner and rows.value(row, column.owner) is not None:
            return None
        return self.tombstones.find(column.kind, school_id, identifier)

    def _learn(
        self, rows: FileRows, row: FileRow, named: list[tuple[PersonColumn, UUID | None]], found: Scrubbed
    ) -> None:
        owners = {erasure_id for column, erasure_id in named if erasure_id and column.kind == "student"}
        school_id = rows.value(row, "school_id") if owners else None
        for kind, names in self.form.contract.identities.items():
            if kind not in TRACES or school_id is None:
                continue
            trace = identifier_of([rows.value(row, name) for name in names])
            if trace is not None and self.tombstones.find(kind, school_id, trace) is None:
                for erasure_id in owners:
                    found.traces.setdefault(erasure_id, set()).add((kind, school_id, trace))

    def _named_anywhere(self, cells: Iterable[str]) -> set[UUID]:
        """Erasures of people of the file's school, or of one that a cell names, in any cell."""
        texts = {cell.strip(' "') for cell in cells}
        schools = self.tombstones.schools & {self.form.school_id, *texts}
        found = (self.tombstones.find_any(school, text) for school in schools for text in texts)
        return {erasure_id for erasure_id in found if erasure_id}

    def _without_references(self, rows: FileRows, row: FileRow, columns: list[PersonColumn]) -> str:
        cells = list(row.cells)
        for column in columns:
            position = rows.position(column.names[0])
            assert position is not None  # noqa: S101 - the column was found in the row
            cells[position] = empty_cell(self.form.contract, column.names[0])
        line_ends = _LINE_ENDS.findall(row.text)
        end = line_ends[-1] if line_ends and row.text.endswith(line_ends[-1]) else ""
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=rows.delimiter, lineterminator=end).writerow(cells)
        return buffer.getvalue()

    def _of_lines(self, stream: _Hashing, found: Scrubbed) -> Iterator[bytes]:
        for number, line in enumerate(_physical_lines(stream), start=1):
            hits = self._named_anywhere(_texts_of(line))
            if hits or number in self.lines:
                found.hits |= hits
                found.rows.append(ErasedRow(number))
                yield line[len(line.rstrip(b"\r\n")) :]
            else:
                yield line


class _Hashing:
    """A stream that hashes what it gives."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        content = self._stream.read(size)
        self._digest.update(content)
        return content

    def finish(self) -> str:
        """Read to the end; the digest of everything."""
        while self.read(_CHUNK):
            pass
        return self._digest.hexdigest()


def _erased_row(rows: FileRows, row: FileRow) -> ErasedRow:
    if not row.is_sound:
        return ErasedRow(row.line)
    position = rows.line_position
    cell = row.cells[position] if position is not None else ""
    return ErasedRow(row.line, int(cell) if cell.isdecimal() else None, rows.values(row))


def _gather(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Parts joined to pieces that are worth a write."""
    piece = bytearray()
    for part in parts:
        piece += part
        if len(piece) >= _CHUNK:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _physical_lines(stream: _Hashing) -> Iterator[bytes]:
    """Lines with their ends, by LF, CR or both; what is longer than any row comes in parts."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        if chunk.endswith(b"\r"):
            chunk += stream.read(1)
        *lines, rest = _AFTER_LINE.split(rest + chunk)
        yield from lines
        if len(rest) > 2 * MAX_RECORD_BYTES:
            yield rest
            rest = b""
    if rest:
        yield rest


def _texts_of(line: bytes) -> list[str]:
    """What may be cells of a line of which nothing is known, in each encoding it may have."""
    encodings = ("utf-16-le", "utf-16-be") if b"\0" in line else ("utf-8", "cp1252")
    texts: list[str] = []
    for encoding in encodings:
        text = line.decode(encoding, "replace").encode("utf-8", "replace")
        texts += [cell.decode("utf-8", "replace").strip() for cell in _CELL_ENDS.split(text)]
    return texts
