"""Where a large file may be cut into ranges: at ends of records, found by one pass over its bytes. Pure.

A line end within quotes ends no record, so where a record ends depends on every byte before it. Where quotes
stand as RFC 4180 says, counting them tells it. A file with other quotes is not cut.
"""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass

import numpy as np

from elt.reading.dialect import Detected, ReadOptions, Stream, count_line_ends, read_full
from elt.reading.records import LF, QUOTE, find, is_regular, outside

WINDOW_BYTES = 1 << 17
"""What is looked at together. A record without an end in it may be too long for the reader: no cut then."""


@dataclass(frozen=True, slots=True)
class Range:
    """Some consecutive records: where their bytes lie, their digest, and the line of the first one.

    The first range of a file holds its byte order mark and its header too.
    """

    start: int
    length: int
    line: int
    sha256: str


def can_be_cut(detected: Detected, options: ReadOptions) -> bool:
    """Whether each range can be read without the others: not where the encoding had to be found out."""
    return detected.encoding == "utf-8" or options.encoding == "cp1252"


def find_ranges(
    stream: Stream, detected: Detected, *, range_bytes: int, window_bytes: int = WINDOW_BYTES
) -> list[Range]:
    """Cut a file into ranges of at least `range_bytes` (the last one may be shorter).

    Returns:
        All ranges, or none where it is not sure that each cut is the end of a record. The stream has not
        been read to its end then.
    """
    scan = _Scan(detected)
    ranges: list[Range] = []
    text = b""
    while window := read_full(stream, window_bytes):
        text = scan.skip_mark(text + window)
        end = scan.take(text)
        if not end:
            return []
        text = text[end:]
        if scan.length >= range_bytes:
            ranges.append(scan.cut())
    if text and not scan.take_last(text):
        return []
    return [*ranges, scan.cut()] if scan.length else ranges


class _Scan:
    """Goes through the records of a file; `length` is how many bytes of the present range it has seen."""

    def __init__(self, detected: Detected) -> None:
        self._delimiter = ord(detected.delimiter)
        self._is_utf8 = detected.encoding == "utf-8"
        self._mark = codecs.BOM_UTF8 if detected.has_bom else b""
        self._start, self._start_line = 0, 1
        self._line = 1
        self._digest = hashlib.sha256()
        self.length = 0

    def skip_mark(self, text: bytes) -> bytes:
        """The text without the byte order mark, which counts as seen."""
        self._see(text[: len(self._mark)])
        text, self._mark = text[len(self._mark) :], b""
        return text

    def take(self, text: bytes) -> int:
        """See the complete records that a text starts with; returns where they end, 0 if that is not sure."""
        end = self._end_of_records(text)
        block = text[:end]
        if self._is_utf8 and not _is_utf8(block):
            return 0
        self._see(block)
        self._line += count_line_ends(block)
        return end

    def take_last(self, text: bytes) -> bool:
        """See a last record, which no line end need follow; False if it is not sure that it ends."""
        ended = text + b"\n"
        if self._end_of_records(ended) < len(ended) or (self._is_utf8 and not _is_utf8(text)):
            return False
        self._see(text)
        return True

    def cut(self) -> Range:
        """The range that ends here."""
        found = Range(self._start, self.length, self._start_line, self._digest.hexdigest())
        self._start, self._start_line = self._start + self.length, self._line
        self._digest = hashlib.sha256()
        self.length = 0
        return found

    def _see(self, block: bytes) -> None:
        self._digest.update(block)
        self.length += len(block)

    def _end_of_records(self, text: bytes) -> int:
        if b'"' not in text:
            return text.rfind(b"\n") + 1
        quotes = find(text, QUOTE)
        ends = outside(find(text, LF), quotes)
        if not ends.size:
            return 0
        end = int(ends[-1]) + 1
        within = quotes[: np.searchsorted(quotes, end)]
        return end if is_regular(text[:end], self._delimiter, within) else 0


def _is_utf8(block: bytes) -> bool:
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True
