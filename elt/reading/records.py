"""Text to records: where each record starts and ends, how many cells it has, on which line it stands.

Three ways give the same answer, the quickest one first. A block without quotes in which every record has the
right number of cells goes to Polars as it stands. Where every quote stands as RFC 4180 says, positions of
quotes, delimiters and line ends tell the whole structure, and Polars parses what is sound. Elsewhere Python's
csv module reads the block record by record. All read a cell exactly as that module does.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from elt.reading.dialect import count_line_ends, reject

MAX_RECORD_BYTES = 1 << 20
"""A longer record is not one: a quote was opened and never closed."""

# A setting of the whole process: the module's own limit is shorter than a record may be.
csv.field_size_limit(4 * MAX_RECORD_BYTES)

Positions = NDArray[np.int64]

_BOM = b"\xef\xbb\xbf"
LF, _CR, QUOTE = 10, 13, 34
FAULTS_SCHEMA = {"line": pl.Int64, "rule": pl.String}


@dataclass(frozen=True, slots=True)
class Parsed:
    """The records of one block: sound ones with cells and line, others as faults. Blank lines are neither.

    `is_plain`: no cell holds a quote, the delimiter or a line end.
    """

    frame: pl.DataFrame
    faults: pl.DataFrame
    rest: bytes
    next_line: int
    is_plain: bool = False


class RecordParser:
    """Parses text of one delimiter and width. Columns are c0 … cN; an empty cell is null."""

    def __init__(self, delimiter: str, width: int) -> None:
        self._delimiter = delimiter
        self._byte = ord(delimiter)
        self._width = width
        self._names = [f"c{position}" for position in range(width)]
        self._schema = dict.fromkeys(self._names, pl.String)

    def parse(self, text: bytes, line: int, *, is_last: bool) -> Parsed:
        """The complete records of `text`, which starts on `line`; `rest` is the incomplete one at its end.

        Raises:
            UploadRejected: a quote is never closed; names the line of the record.
        """
        held = b""
        if not is_last and text.endswith(b"\r"):  # it may be half of a CR LF
            text, held = text[:-1], b"\r"
        parsed = (
            self._parse_plain(text, line, is_last)
            or self._parse_by_position(text, line, is_last)
            or self._parse_by_csv(text, line, is_last)
        )
        rest = parsed.rest + held
        if (is_last or len(rest) > MAX_RECORD_BYTES) and b'"' in rest:
            hint = "a quoted cell starts in this row and never ends; close or double the quote"
            raise reject("unclosed_quote", hint, line=parsed.next_line)
        if len(rest) > MAX_RECORD_BYTES:
            raise reject(
                "long_row", "the row is longer than a megabyte; is this a CSV file?", line=parsed.next_line
            )
        return replace(parsed, rest=rest)

    def _parse_plain(self, text: bytes, line: int, is_last: bool) -> Parsed | None:
        """None unless there are no quotes, and all records have the same cells.

        Polars refuses a record with too many cells. So where the delimiters are as many as they should be
        altogether, none has too few either, and no line is blank.
        """
        if self._width == 1 or any(mark in text for mark in (b'"', b"\r", b"\0")):
            return None
        if is_last and text and not text.endswith(b"\n"):
            text += b"\n"
        cut = text.rfind(b"\n") + 1
        block, rest = text[:cut], text[cut:]
        records = _count(block, LF)
        if not records or _count(block, self._byte) != records * (self._width - 1):
            return None
        frame = self._read(block, np.arange(line, line + records), has_quotes=False)
        return None if frame is None else Parsed(frame, _no_faults(), rest, line + records, is_plain=True)

    def _parse_by_position(self, text: bytes, line: int, is_last: bool) -> Parsed | None:
        """None where quotes or line ends are not regular enough to be sure."""
        quotes = find(text, QUOTE) if b'"' in text else None
        if quotes is not None and not is_regular(text, self._byte, quotes):
            return None
        if b"\r" in text:
            if quotes is not None and outside(find(text, _CR), quotes).size < text.count(b"\r"):
                return None
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            quotes = find(text, QUOTE) if quotes is not None else None
        if is_last and text and not text.endswith(b"\n") and (quotes is None or quotes.size % 2 == 0):
            text += b"\n"
        line_ends = find(text, LF)
        ends = line_ends if quotes is None else outside(line_ends, quotes)
        cut = int(ends[-1]) + 1 if ends.size else 0
        block, rest = text[:cut], text[cut:]
        return self._parse_regular(block, rest, line, ends, line_ends, quotes)

    def _parse_regular(
        self,
        block: bytes,
        rest: bytes,
        line: int,
        ends: Positions,
        line_ends: Positions,
        quotes: Positions | None,
    ) -> Parsed | None:
        starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1)) if ends.size else ends
        multiline = ends.size < np.searchsorted(line_ends, len(block))
        offsets = np.searchsorted(line_ends, starts) if multiline else np.arange(ends.size)
        next_line = line + int(np.searchsorted(line_ends, len(block)))
        faults = self._faults_by_position(block, starts, ends, quotes)
        if faults is None:
            sound, lines, found = block, offsets + line, _no_faults()
        else:
            is_sound = faults == 0
            sound = _join_spans(block, starts, ends, is_sound)
            lines = offsets[is_sound] + line
            at = np.flatnonzero(faults > 0)
            rules = [_RULES[code] for code in faults[at]]
            found = pl.DataFrame({"line": offsets[at] + line, "rule": rules}, schema=FAULTS_SCHEMA)
        frame = self._read(sound, lines, quotes is not None)
        return None if frame is None else Parsed(frame, found, rest, next_line)

    def _faults_by_position(
        self, block: bytes, starts: Positions, ends: Positions, quotes: Positions | None
    ) -> NDArray[np.int8] | None:
        """A code per record: 0 sound, -1 blank, else of `_RULES`. None where all are sound."""
        delimiters = find(block, self._byte)
        if quotes is not None:
            delimiters = outside(delimiters, quotes)
        if b"\0" not in block and self._is_rectangular(delimiters, starts, ends):
            return None
        cells = np.diff(np.searchsorted(delimiters, ends), prepend=0) + 1
        faults = np.zeros(ends.size, np.int8)
        faults[cells < self._width] = 1
        faults[cells > self._width] = 2
        faults[np.searchsorted(ends, find(block, 0))] = 3
        faults[starts == ends] = -1
        return faults

    def _is_rectangular(self, delimiters: Positions, starts: Positions, ends: Positions) -> bool:
        """Whether no line is blank and all records have `width` cells: then the delimiters form a table."""
        if self._width == 1:
            return delimiters.size == 0 and not np.any(starts == ends)
        if delimiters.size != ends.size * (self._width - 1):
            return False
        table = delimiters.reshape(ends.size, self._width - 1)
        return bool(np.all(table[:, 0] >= starts) and np.all(table[:, -1] < ends))

    def _read(self, sound: bytes, lines: Positions, has_quotes: bool) -> pl.DataFrame | None:
        """Cells by Polars; None where it would see something else."""
        if not sound:
            return self._frame([], [])
        if sound.startswith(_BOM):  # a character of the first cell; Polars would swallow it
            return None
        try:
            frame = pl.read_csv(
                sound,
                has_header=False,
                schema=self._schema,
                separator=self._delimiter,
                quote_char='"' if has_quotes else None,
            )
        except pl.exceptions.PolarsError:
            return None
        if frame.height != lines.size:
            return None
        if has_quotes and b'""' in sound:
            frame = frame.select(pl.when(pl.col(name) != "").then(pl.col(name)) for name in self._names)
        return frame.with_columns(pl.Series("_line", lines, pl.Int64))

    def _parse_by_csv(self, text: bytes, line: int, is_last: bool) -> Parsed:
        rows: list[list[str | None]] = []
        lines: list[int] = []
        faults: list[tuple[int, str]] = []
        used = 0
        for record, raw, offset in read_records(text.decode(), self._delimiter, is_last=is_last):
            used += len(raw.encode())
            if fault := self._fault_of(record, raw):
                faults.append((line + offset, fault))
            elif record:
                rows.append([cell or None for cell in record])
                lines.append(line + offset)
        next_line = line + count_line_ends(text[:used])
        found = pl.DataFrame(faults, schema=FAULTS_SCHEMA, orient="row")
        return Parsed(self._frame(rows, lines), found, text[used:], next_line)

    def _fault_of(self, record: list[str], raw: str) -> str | None:
        if not record:  # a blank line
            return None
        if "\0" in raw:
            return "nul_byte"
        if not is_well_quoted(raw, self._delimiter):
            return "malformed_quote"
        if len(record) == self._width:
            return None
        return "missing_cells" if len(record) < self._width else "extra_cells"

    def _frame(self, rows: list[list[str | None]], lines: list[int]) -> pl.DataFrame:
        frame = pl.DataFrame(rows, schema=self._schema, orient="row")
        return frame.with_columns(pl.Series("_line", lines, pl.Int64))


_RULES = {1: "missing_cells", 2: "extra_cells", 3: "nul_byte"}


def read_records(text: str, delimiter: str, *, is_last: bool) -> Iterator[tuple[list[str], str, int]]:
    """Complete records by Python's csv module: cells, raw text, and lines before the record.

    An incomplete record at the end is left out.
    """
    lines = _Lines(text, is_last)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        first = reader.line_num
        try:
            record = next(reader)
        except StopIteration:
            return
        if lines.is_exhausted:  # the end came within a quoted cell
            return
        yield record, "".join(lines.taken[first : reader.line_num]), first


def is_well_quoted(raw: str, delimiter: str) -> bool:
    """Whether each cell that begins with a quote ends with one, and quotes within it are doubled."""
    return _well_quoted(delimiter).fullmatch(raw) is not None


@cache
def _well_quoted(delimiter: str) -> re.Pattern[str]:
    separator = re.escape(delimiter)
    cell = rf'(?:"(?:[^"]|"")*+"|(?!")[^{separator}\r\n]*+)'
    return re.compile(rf"{cell}(?:{separator}{cell})*+(?:\r\n|\r|\n)?")


class _Lines:
    """The physical lines of a text, each with its end; remembers whether more were asked for."""

    def __init__(self, text: str, is_last: bool) -> None:
        self.taken = list(io.StringIO(text, newline=""))
        if self.taken and not is_last and not self.taken[-1].endswith(("\n", "\r")):
            self.taken.pop()
        self._left = iter(self.taken)
        self.is_exhausted = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._left, None)
        if line is None:
            self.is_exhausted = True
            raise StopIteration
        return line


def is_regular(text: bytes, delimiter: int, quotes: Positions) -> bool:
    """Whether quoted cells begin after a delimiter or line end, end before one, and double quotes.

    Args:
        text: starts with a record.
        delimiter: its byte.
        quotes: where all quotes of the text are.
    """
    around = np.frombuffer(b"\n" + text + b"\n", np.uint8)
    breaks = np.zeros(256, bool)
    breaks[[LF, _CR, delimiter]] = True
    opening, closing = quotes[0::2], quotes[1::2]
    doubled = closing[: opening.size - 1] + 1 == opening[1:]
    starts_cell = breaks[around[opening]]
    ends_cell = breaks[around[closing + 2]]
    starts_cell[1:] |= doubled
    ends_cell[: doubled.size] |= doubled
    return bool(starts_cell.all() and ends_cell.all())


def find(text: bytes, byte: int) -> Positions:
    """Where the byte is."""
    found: Positions = np.flatnonzero(np.frombuffer(text, np.uint8) == byte).astype(np.int64, copy=False)
    return found


def _count(text: bytes, byte: int) -> int:
    # A byte at a time, bytes.count is slower where there are many.
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == byte))


def outside(positions: Positions, quotes: Positions) -> Positions:
    """Those positions that do not lie within quotes."""
    outside: Positions = positions[np.searchsorted(quotes, positions) % 2 == 0]
    return outside


def _join_spans(block: bytes, starts: Positions, ends: Positions, wanted: NDArray[np.bool_]) -> bytes:
    """The wanted records, copied in runs of neighbours."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], wanted, [False])).astype(np.int8)))
    runs = zip(edges[0::2], edges[1::2], strict=True)
    return b"".join(block[starts[first] : ends[last - 1] + 1] for first, last in runs)


def _no_faults() -> pl.DataFrame:
    return pl.DataFrame(schema=FAULTS_SCHEMA)
