"""How a file is written: its encoding and delimiter, as stated or as found.

Nothing is guessed between two readings that differ: such a file is rejected and its sender asked to say
which one is meant. What was found is reported with every file.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from elt.errors import Issue, UploadRejected

BLOCK_BYTES = 1 << 20  # smaller ones cost time, larger ones memory

ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
DELIMITERS = (",", ";", "\t", "|")
DATE_FORMATS = {
    "YYYY-MM-DD": "%Y-%m-%d",
    "YYYY/MM/DD": "%Y/%m/%d",
    "DD/MM/YYYY": "%d/%m/%Y",
    "DD-MM-YYYY": "%d-%m-%Y",
    "DD.MM.YYYY": "%d.%m.%Y",
    "MM/DD/YYYY": "%m/%d/%Y",
    "MM-DD-YYYY": "%m-%d-%Y",
}

_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

# A byte pair or more that is one character in UTF-8 and several in cp1252.
_UTF8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")

_NOT_ASCII = bytes(range(128, 256))

_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x1f\x8b": "a compressed file",
    b"PAR1": "a Parquet file",
    b"\xff\xfe\x00\x00": "text in UTF-32",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML file",
}

_SAMPLE_BYTES = 1 << 16
_SAMPLE_RECORDS = 200
_FITTING_SHARE = 0.9


class Stream(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the sender states about the file. None: to be found, or rejected where it is not clear.

    Raises:
        UploadRejected: a value is not one of those that are known; lists them.
    """

    encoding: str | None = None
    delimiter: str | None = None
    date_format: str | None = None

    def __post_init__(self) -> None:
        _require_known("encoding", self.encoding, ENCODINGS)
        _require_known("delimiter", self.delimiter, DELIMITERS)
        _require_known("date_format", self.date_format, tuple(DATE_FORMATS))

    def to_dict(self) -> dict[str, str]:
        """What is stated, as plain JSON values."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ReadOptions:
        """Of the form `to_dict` gives. Other keys are left alone."""
        return cls(**{name: values.get(name) for name in ("encoding", "delimiter", "date_format")})


@dataclass(slots=True)
class Detected:
    """How the file was read. `encoding` and `issues` are final only when all blocks have been read."""

    encoding: str
    delimiter: str
    has_bom: bool
    header: list[str]
    issues: list[Issue] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the issues."""
        return {
            "encoding": self.encoding,
            "delimiter": self.delimiter,
            "has_bom": self.has_bom,
            "header": self.header,
        }


def reject(rule: str, hint: str, *, line: int | None = None) -> UploadRejected:
    """The error for a file that cannot be read at all."""
    where = f"Line {line}: " if line is not None else ""
    return UploadRejected(f"{where}{hint[:1].upper()}{hint[1:]}.", [Issue(rule=rule, hint=hint, line=line)])


def count_line_ends(data: bytes) -> int:
    """Ends of physical lines: LF, CR LF or CR."""
    ends = data.count(b"\n")
    if b"\r" in data:
        ends += data.count(b"\r") - data.count(b"\r\n")
    return ends


class TextSource:
    """A byte stream as blocks of UTF-8 without BOM. Rejects what cannot be read in one way only."""

    def __init__(self, stream: Stream, options: ReadOptions, *, block_bytes: int = BLOCK_BYTES) -> None:
        self._stream = stream
        self._block_bytes = block_bytes
        head = self._read_full()
        if not head:
            raise reject("empty_file", "the file is empty")
        bom = next((bom for bom in _BOMS if head.startswith(bom)), b"")
        self.has_bom = bool(bom)
        self._is_sure = self.has_bom or options.encoding is not None
        self.encoding = _choose_encoding(head, options.encoding, _BOMS.get(bom))
        self.issues: list[Issue] = []
        self._head = head[len(bom) :]
        self._line_ends = 0
        self._after_cr = False
        self._is_multibyte = False

    def blocks(self) -> Iterator[bytes]:
        """The text in blocks, cut anywhere between two characters."""
        if self.encoding.startswith("utf-16"):
            yield from self._utf16_blocks()
            return
        raw, rest = self._head, b""
        while raw:
            text, rest = self._to_utf8(rest + raw)
            yield self._counted(text)
            raw = self._read_full()
        if rest:
            yield self._counted(self._to_utf8(rest, is_last=True)[0])

    def _counted(self, text: bytes) -> bytes:
        self._line_ends += count_line_ends(text) - (self._after_cr and text.startswith(b"\n"))
        self._after_cr = text.endswith(b"\r")
        return text

    def _line_at(self, text: bytes, position: int) -> int:
        return self._line_ends + count_line_ends(text[:position]) + 1

    def _to_utf8(self, raw: bytes, *, is_last: bool = False) -> tuple[bytes, bytes]:
        """The block as UTF-8, and the bytes of a character that the block may cut in two."""
        if raw.isascii():
            return raw, b""
        if self.encoding == "cp1252":
            return self._from_cp1252(raw, is_last)
        try:
            used = codecs.utf_8_decode(raw, "strict", is_last)[1]
        except UnicodeDecodeError as error:
            self._doubt_utf8(raw, error.start)
            return self._from_cp1252(raw, is_last)
        self._is_multibyte = self._is_multibyte or not raw[:used].isascii()
        return raw[:used], raw[used:]

    def _doubt_utf8(self, raw: bytes, position: int) -> None:
        """Go on in cp1252 from a byte that is not UTF-8, if nothing speaks for UTF-8."""
        line = self._line_at(raw, position)
        if self._is_sure:
            raise reject("encoding", "this line is not UTF-8, as which the file is marked", line=line)
        if self._is_multibyte or _UTF8_SEQUENCE.search(raw):
            hint = "this line is not UTF-8 though others are; save the file in one encoding, or state it"
            raise reject("encoding", hint, line=line)
        self.encoding = "cp1252"
        hint = "not UTF-8: read as Windows text (cp1252); state the encoding if that is wrong"
        self.issues.append(Issue(rule="encoding", hint=hint, line=line, severity="warning"))

    def _from_cp1252(self, raw: bytes, is_last: bool) -> tuple[bytes, bytes]:
        # What might be the beginning of a UTF-8 character is looked at together with the next block.
        held = 0 if is_last else len(raw) - len(raw.rstrip(_NOT_ASCII))
        raw, rest = raw[: len(raw) - held], raw[len(raw) - held :]
        if not self._is_sure and (match := _UTF8_SEQUENCE.search(raw)):
            hint = "this line may be UTF-8 or Windows text (cp1252); state which encoding the file has"
            raise reject("encoding", hint, line=self._line_at(raw, match.start()))
        try:
            return raw.decode("cp1252").encode(), rest
        except UnicodeDecodeError as error:
            hint = "this line holds a byte that is no character in cp1252; state the file's encoding"
            raise reject("encoding", hint, line=self._line_at(raw, error.start)) from None

    def _utf16_blocks(self) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(self.encoding)()
        raw = self._head
        while True:
            try:
                yield self._counted(decoder.decode(raw, final=not raw).encode())
            except UnicodeDecodeError as error:
                readable = error.object[: error.start].decode(self.encoding, "replace").encode()
                line = self._line_at(readable, len(readable))
                raise reject("encoding", f"this line is not valid {self.encoding}", line=line) from None
            if not raw:
                return
            raw = self._read_full()

    def _read_full(self) -> bytes:
        return read_full(self._stream, self._block_bytes)


def read_full(stream: Stream, size: int) -> bytes:
    """One block; a stream may give less than asked for before its end."""
    parts, missing = [], size
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decode_blocks(stream: Stream, encoding: str, block_bytes: int) -> Iterator[bytes]:
    """Text of a known encoding in blocks of UTF-8, cut between two characters; no mark is looked for.

    Raises:
        UploadRejected: the bytes are no text in this encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while raw := read_full(stream, block_bytes):
            has_begun = bool(decoder.getstate()[0])  # a character that the block before cut in two
            yield raw if raw.isascii() and not has_begun else decoder.decode(raw).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeDecodeError:
        raise reject("encoding", f"a line is not valid {encoding}") from None


def detect_delimiter(text: bytes) -> str:
    """The delimiter in which the text's beginning is one table; a comma where it has one column.

    Raises:
        UploadRejected: it is a table in two ways, or in none.
    """
    sample, is_whole = text[:_SAMPLE_BYTES].decode("utf-8", "ignore"), len(text) <= _SAMPLE_BYTES
    tables = {delimiter: _sample_records(sample, delimiter, is_whole) for delimiter in DELIMITERS}
    candidates = {d: records for d, records in tables.items() if records and len(records[0]) > 1}
    if len(candidates) <= 1:
        return next(iter(candidates), ",")
    fitting = [d for d, records in candidates.items() if _share_as_wide_as_header(records) >= _FITTING_SHARE]
    if len(fitting) == 1:
        return fitting[0]
    names = " or ".join(repr(delimiter) for delimiter in candidates)
    raise reject("delimiter", f"the cells may be separated by {names}; state the delimiter", line=1)


def _sample_records(sample: str, delimiter: str, is_whole: bool) -> list[list[str]]:
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    records: list[list[str]] = []
    try:
        for record in reader:
            if record:
                records.append(record)
            if len(records) > _SAMPLE_RECORDS:
                return records
    except csv.Error:  # a cell longer than the module's limit; what came before it decides
        return records
    return records if is_whole or len(records) == 1 else records[:-1]


def _share_as_wide_as_header(records: list[list[str]]) -> float:
    rows = records[1:]
    return sum(len(row) == len(records[0]) for row in rows) / len(rows) if rows else 1.0


def _choose_encoding(head: bytes, stated: str | None, marked: str | None) -> str:
    for magic, kind in _FOREIGN.items():
        if head[: len(magic)].lower() == magic.lower():
            raise reject("not_csv", f"this is {kind}; hand in a CSV file", line=None)
    if stated == "utf-16" and marked is None:
        raise reject("encoding", "UTF-16 without a byte order mark: state utf-16-le or utf-16-be")
    if stated and marked and not marked.startswith(stated):
        raise reject("encoding", f"announced as {stated}, but its byte order mark says {marked}")
    if stated or marked:
        return marked or str(stated)
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = head[offset:2000:2]
        if len(half) > 4 and half.count(0) > len(half) * 0.7:
            raise reject("encoding", f"this may be UTF-16 without a byte order mark; state {name} if it is")
    return "utf-8"


def _require_known(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        hint = f"one of: {', '.join(repr(each) for each in known)}"
        raise UploadRejected(f"{name}: expected {hint}", [Issue(rule=name, hint=hint, found=str(value)[:40])])
