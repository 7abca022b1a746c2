"""A form (`multipart/form-data`) read as a stream: small fields in any order and one file, never whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from werkzeug.exceptions import BadRequest
from werkzeug.http import parse_options_header

from elt.errors import TruncatedUpload

FILE_FIELD = "file"
_MAX_FIELD_BYTES = 64 * 1024
_MAX_PARTS = 50


@dataclass(frozen=True, slots=True)
class FilePart:
    """What the headers of the file's part say."""

    filename: str | None
    media_type: str | None


class Form:
    """Parses blocks as they are asked for. `fields` grows while they are read; it is complete at the end."""

    def __init__(self, blocks: Iterator[bytes], boundary: str) -> None:
        if not boundary:
            raise BadRequest("The form names no boundary in its Content-Type.")
        self.fields: dict[str, str] = {}
        self._blocks = blocks
        self._file: FilePart | None = None
        self._file_data: deque[bytes] = deque()
        self._ended = False
        self._parts = 0
        self._header = (b"", b"")
        self._headers: dict[str, str] = {}
        self._name = ""
        self._value = bytearray()
        try:
            self._parser = MultipartParser(
                boundary.encode("latin-1", "replace"),
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise BadRequest(f"The form is malformed: {error}.") from None

    def find_file(self) -> FilePart:
        """Read until the file begins.

        Raises:
            BadRequest: the form is malformed or ends without a part named `file`.
            TruncatedUpload: the body ends inside the form.
        """
        while self._file is None and not self._ended:
            self._read_on()
        if self._file is None:
            raise BadRequest(f"The form has no part named “{FILE_FIELD}”. Send the file under that name.")
        return self._file

    def file_blocks(self) -> Iterator[bytes]:
        """The file's bytes; before it ends, the rest of the form is read too. Raises like `find_file`."""
        while True:
            while self._file_data:
                yield self._file_data.popleft()
            if self._ended:
                break
            self._read_on()
        for _rest in self._blocks:  # what may stand behind the last boundary means nothing
            pass

    def _read_on(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            raise TruncatedUpload("The form ended before its last boundary. Send it again.")
        try:
            self._parser.write(block)
        except FormParserError as error:
            raise BadRequest(f"The form is malformed: {error}.") from None

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise BadRequest(f"The form has more than {_MAX_PARTS} parts.")
        self._headers = {}
        self._name = ""
        self._value = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], b"")

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[name.decode("latin-1").lower()] = value.decode("utf-8", "replace")
        self._header = (b"", b"")

    def _end_headers(self) -> None:
        _kind, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._name = options.get("name", "")
        if not self._name:
            raise BadRequest("A part of the form has no name.")
        if self._name != FILE_FIELD:
            return
        if self._file is not None:
            raise BadRequest("The form holds two files. Send one file per request.")
        self._file = FilePart(options.get("filename") or None, self._headers.get("content-type"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE_FIELD:
            self._file_data.append(data[start:end])
            return
        if len(self._value) + end - start > _MAX_FIELD_BYTES:
            raise BadRequest(f"The field {self._name[:50]!r} is longer than {_MAX_FIELD_BYTES} bytes.")
        self._value += data[start:end]

    def _end_part(self) -> None:
        if self._name == FILE_FIELD:
            return
        if self._name in self.fields:
            raise BadRequest(f"The field {self._name[:50]!r} is given twice.")
        try:
            self.fields[self._name] = self._value.decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest(f"The field {self._name[:50]!r} is not UTF-8.") from None

    def _end(self) -> None:
        self._ended = True
