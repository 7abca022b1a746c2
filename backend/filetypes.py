"""Recognise files that cannot be a CSV by their first bytes, to say at once what to do instead."""

from __future__ import annotations

import re

from elt.errors import Issue, UploadRejected

HEAD_BYTES = 512

_SPREADSHEET = (
    "Open it in the spreadsheet program, choose “Save as” or “Export”, then “CSV UTF-8”, and send that file."
)
_PACKED = "Unpack it and send the CSV file inside."
_NOT_A_TABLE = "Send a CSV file: a header line, then one line per row."

# first bytes → what such a file is, what to do
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (
        b"PK\x03\x04",
        "an Excel or OpenDocument workbook, or a zip archive",
        f"{_SPREADSHEET} If it is an archive, unpack it first.",
    ),
    (b"PK\x05\x06", "an empty zip archive", _PACKED),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file", _SPREADSHEET),
    (
        b"%PDF-",
        "a PDF",
        "A PDF holds no table that can be read safely. Export the table it was made from as CSV UTF-8.",
    ),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", _NOT_A_TABLE),
    (b"\xff\xd8\xff", "a JPEG image", _NOT_A_TABLE),
    (b"GIF87a", "a GIF image", _NOT_A_TABLE),
    (b"GIF89a", "a GIF image", _NOT_A_TABLE),
    (b"\x1f\x8b\x08", "a gzip archive", _PACKED),
    (b"BZh", "a bzip2 archive", _PACKED),
    (b"\xfd7zXZ\x00", "an xz archive", _PACKED),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _PACKED),
    (b"Rar!\x1a\x07", "a RAR archive", _PACKED),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _PACKED),
    (b"PAR1", "a Parquet file", "Export the table as CSV UTF-8."),
    (b"SQLite format 3\x00", "a database file", "Export the table as CSV UTF-8."),
    (b"\x7fELF", "a program", _NOT_A_TABLE),
    (b"MZ\x90\x00", "a program", _NOT_A_TABLE),
)
_LINE_END = re.compile(rb"[\r\n]")
_JSON = re.compile(rb'\s*(?:\{\s*"|\[\s*[\[{])')
_FILLED_FROM = 64  # fewer NUL bytes are no failed copy; the reader says what is wrong with them
_MARKUP = (b"<!doctype html", b"<html", b"<?xml")


class NotACsv(UploadRejected):
    """The file is of another kind. There is nothing in it to check."""


def check_head(head: bytes) -> None:
    """Refuse a file by its first bytes (up to HEAD_BYTES); anything else is left to the reader.

    Raises:
        NotACsv: it is empty, or of a kind that is certainly no CSV; says what to do.
    """
    if not head:
        _refuse("empty_file", "The file is empty.", _NOT_A_TABLE)
    for signature, kind, advice in _SIGNATURES:
        if head.startswith(signature):
            _refuse("file_type", f"The file is {kind}, not a CSV.", advice)
    if head.lstrip().lower().startswith(_MARKUP):
        _refuse("file_type", "The file is a web page or XML, not a CSV.", _NOT_A_TABLE)
    if _JSON.match(head):
        _refuse("file_type", "The file is JSON, not a CSV.", "Export the table as CSV UTF-8.")
    if len(head) >= _FILLED_FROM and not head.strip(b"\x00"):
        _refuse(
            "file_type",
            "The file is filled with zero bytes, as after a failed copy.",
            "Export or copy it again.",
        )
    if len(head) < HEAD_BYTES and not _LINE_END.search(head):
        _refuse("no_rows", "The file is a single line, which would be a header without rows.", _NOT_A_TABLE)


def _refuse(rule: str, finding: str, advice: str) -> None:
    raise NotACsv(f"{finding} {advice}", [Issue(rule=rule, hint=advice)])
