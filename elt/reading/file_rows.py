"""The records of an uploaded file one by one, each with its line and its text exactly as it stands there.

Slower than `elt.reading.reader`, which turns blocks into columns; for the few who must know a record's own
bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from elt.contracts import Contract, HeaderMatch, match_header
from elt.errors import UploadRejected
from elt.reading.dialect import ReadOptions, Stream, TextSource, count_line_ends, detect_delimiter, reject
from elt.reading.records import is_well_quoted, read_records

_BOMS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a file is read, and whose rows it holds where they do not say so."""

    contract: Contract
    options: ReadOptions
    school_id: str


@dataclass(frozen=True, slots=True)
class FileRow:
    """A record behind the header. `is_sound`: it has the header's cells; blank lines have none."""

    line: int
    text: str
    cells: list[str]
    is_sound: bool


class FileRows:
    """Reads a file that is a table with the columns of its contract."""

    def __init__(self, stream: Stream, form: FileForm) -> None:
        """Reads the beginning of the stream.

        Raises:
            UploadRejected: it is no table.
        """
        self._source = TextSource(stream, form.options)
        self._form = form
        self._match = HeaderMatch([], [])
        self._positions: dict[str, int] = {}
        self.delimiter = form.options.delimiter or ""

    @property
    def bom(self) -> bytes:
        """The mark that the file starts with."""
        return _BOMS[self._source.encoding] if self._source.has_bom else b""

    @property
    def line_position(self) -> int | None:
        """The cell that names the parent's line in a corrected `rejects.csv`."""
        return self._match.line_position

    def encode(self, text: str) -> bytes:
        """Text as the file writes it."""
        return text.encode(self._source.encoding)

    def position(self, column: str) -> int | None:
        """Which cell is a column of the contract; None where the file has none."""
        return self._positions.get(column)

    def value(self, row: FileRow, column: str) -> str | None:
        """What a sound row says, as the loader reads it; None for no value."""
        if column not in self._positions:
            return self._form.school_id if column == "school_id" else None
        contract = self._form.contract
        cell = row.cells[self._positions[column]]
        if cell in contract.missing_values_of(contract.field(column)):
            return self._form.school_id if column == "school_id" else None
        return cell

    def values(self, row: FileRow) -> tuple[str | None, ...]:
        """What a sound row says in all columns of the contract."""
        return tuple(self.value(row, column) for column in self._form.contract.columns)

    def rows(self) -> Iterator[FileRow]:
        """All records, the header and what stands before it as the first ones.

        Raises:
            UploadRejected: the file cannot be read to its end, or its header does not fit the contract.
        """
        line, rest, has_header = 1, "", False
        for text, is_last in self._texts():
            rest, used = rest + text, 0
            for cells, raw, offset in read_records(rest, self.delimiter, is_last=is_last):
                used += len(raw)
                if not has_header and cells:
                    self._take_header(cells)
                    has_header = True
                    yield FileRow(line + offset, raw, [], is_sound=False)
                else:
                    yield FileRow(line + offset, raw, cells, self._is_sound(cells, raw))
            line += count_line_ends(rest[:used].encode())
            rest = rest[used:]
        if rest:
            raise reject("unclosed_quote", "a quoted cell is never closed", line=line)

    def _texts(self) -> Iterator[tuple[str, bool]]:
        """Blocks of text, of which none ends between a CR and its LF, and whether each is the last."""
        held = ""
        blocks = self._source.blocks()
        block = next(blocks, b"")
        self.delimiter = self.delimiter or detect_delimiter(block)
        while True:
            following = next(blocks, None)
            text = held + block.decode()
            held = "\r" if following is not None and text.endswith("\r") else ""
            yield text.removesuffix(held) if held else text, following is None
            if following is None:
                return
            block = following

    def _take_header(self, cells: list[str]) -> None:
        self._match = match_header(self._form.contract, cells)
        if self._match.is_rejected:
            raise UploadRejected("The header does not fit.")
        self._positions = {name: at for at, name in enumerate(self._match.columns) if name}

    def _is_sound(self, cells: list[str], raw: str) -> bool:
        if len(cells) != len(self._match.columns) or "\0" in raw:
            return False
        return '"' not in raw or is_well_quoted(raw, self.delimiter)
