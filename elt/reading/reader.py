"""Bytes to rows: a stream becomes blocks of text cells with the line each row stands on.

Never more than a few blocks are in memory, however large the file. Cells are text exactly as written; what
they mean is the contract's business (`elt.reading.validation`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import polars as pl

from elt.reading.dialect import (
    BLOCK_BYTES,
    Detected,
    ReadOptions,
    Stream,
    TextSource,
    count_line_ends,
    decode_blocks,
    detect_delimiter,
    reject,
)
from elt.reading.records import Parsed, RecordParser, is_well_quoted, read_records

__all__ = ["Block", "Detected", "ReadOptions", "read_blocks", "read_range"]


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive rows of a file.

    `frame` has a text column per cell of the header (c0 … cN; null where the cell is empty) and `_line`, the
    physical line on which the row starts. `faults` (line, rule) lists the rows that are no rows of this
    header: `missing_cells`, `extra_cells`, `nul_byte`, `malformed_quote`. Blank lines are no rows.
    `is_plain`: no cell holds a quote, the file's delimiter or a line end.
    """

    frame: pl.DataFrame
    faults: pl.DataFrame
    date_format: str | None = None
    is_plain: bool = False

    @property
    def read(self) -> int:
        """Rows of the file in this block."""
        return self.frame.height + self.faults.height


def read_blocks(
    stream: Stream, options: ReadOptions | None = None, *, block_bytes: int = BLOCK_BYTES
) -> tuple[Detected, Iterator[Block]]:
    """Find out how the file is written, and read it in blocks of about `block_bytes`.

    The header has been read on return; the rows are read from the stream as the blocks are asked for.

    Raises:
        UploadRejected: there is no header, or the file can be read in two ways or in none; says which line
            and what to state. While blocks are read: also where no row follows the header.
    """
    options = options or ReadOptions()
    source = TextSource(stream, options, block_bytes=block_bytes)
    texts = _mark_last(source.blocks())
    first, is_last = next(texts)
    delimiter = options.delimiter or detect_delimiter(first)
    header, used = _read_header(first, delimiter, is_last)
    detected = Detected(source.encoding, delimiter, source.has_bom, header, source.issues)

    def blocks() -> Iterator[Block]:
        line = 1 + count_line_ends(first[:used])
        parser, is_empty = RecordParser(delimiter, len(header)), True
        for parsed in _parse(parser, chain([(first[used:], is_last)], texts), line):
            detected.encoding = source.encoding
            if parsed.frame.height or parsed.faults.height:
                is_empty = False
                yield Block(parsed.frame, parsed.faults, options.date_format, parsed.is_plain)
        if is_empty:
            raise reject("no_rows", "the file has a header but no rows", line=1)

    return detected, blocks()


def read_range(
    stream: Stream,
    detected: Detected,
    options: ReadOptions | None = None,
    *,
    line: int,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Block]:
    """Read rows from the middle of a file that is known: the stream starts with the record on `line`.

    Raises:
        UploadRejected: while blocks are read, as by `read_blocks`.
    """
    date_format = options.date_format if options else None
    parser = RecordParser(detected.delimiter, len(detected.header))
    texts = _mark_last(decode_blocks(stream, detected.encoding, block_bytes))
    for parsed in _parse(parser, texts, line):
        if parsed.frame.height or parsed.faults.height:
            yield Block(parsed.frame, parsed.faults, date_format, parsed.is_plain)


def _parse(parser: RecordParser, texts: Iterable[tuple[bytes, bool]], line: int) -> Iterator[Parsed]:
    rest = b""
    for text, is_last in texts:
        parsed = parser.parse(rest + text, line, is_last=is_last)
        rest, line = parsed.rest, parsed.next_line
        yield parsed


def _read_header(text: bytes, delimiter: str, is_last: bool) -> tuple[list[str], int]:
    """The cells of the first line that is not blank, and the number of bytes up to its end."""
    used = 0
    for record, raw, line in read_records(text.decode(), delimiter, is_last=is_last):
        used += len(raw.encode())
        if not record:
            continue
        if not is_well_quoted(raw, delimiter):
            raise reject("malformed_quote", "a quoted header goes on after its closing quote", line=line + 1)
        if "\0" in raw:
            raise reject("nul_byte", "the header holds a NUL byte; is this a CSV file?", line=line + 1)
        if not any(cell.strip() for cell in record):
            raise reject("no_header", "the first line must name the columns", line=line + 1)
        return record, used
    if text.strip():
        raise reject("unclosed_quote", "a quoted header starts here and never ends", line=1)
    raise reject("empty_file", "the file is empty")


def _mark_last(texts: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each block, and whether it is the last one."""
    text = next(texts, b"")
    for following in texts:
        yield text, False
        text = following
    yield text, True
