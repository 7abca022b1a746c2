"""Whether a text stands somewhere in bytes: in any encoding, inside archives, across pieces of a stream."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

_CHUNK = 1 << 20
_OVERLAP = 1 << 12

_SPACE = re.compile(rb"\\ ")

# What is left of an ASCII text when case, white space and marks, and the zeros of UTF-16, do not matter.
_LOWER = bytes(range(256)).lower()
_SKIPPED = bytes(
    byte for byte in range(256) if not (chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in ",;|"))
)

Opened = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Text:
    """A text that is looked for as a whole word, in any case.

    `school_id`: it is an identifier, which in other schools is somebody else's. None: it is a name.
    """

    what: str
    text: str
    school_id: str | None = None

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """Finds it in bytes."""
        forms = {self.text, self.text.upper(), self.text.lower(), self.text.title()}
        found = sorted({spelling for form in forms for spelling in spellings(form)})
        # In the names of files, spaces have become other marks.
        narrow = b"|".join(
            _SPACE.sub(rb"[ _.-]+", re.escape(spelling)) for spelling in found if b"\0" not in spelling
        )
        wide = [re.escape(spelling) for spelling in found if b"\0" in spelling]
        words = rb"(?<![A-Za-z0-9])(?:" + narrow + rb")(?![A-Za-z0-9])"
        return re.compile(b"|".join([words, *wide]), re.IGNORECASE)

    @property
    def words(self) -> str:
        """Finds it in text, by the rules of Python. Whoever uses it minds no case."""
        return rf"(?<![^\W_]){self._escaped}(?![^\W_])"

    @property
    def regex(self) -> str:
        """Finds it in text, by the rules of PostgreSQL and Polars. Whoever uses it minds no case."""
        return rf"(^|[^[:alnum:]]){self._escaped}([^[:alnum:]]|$)"

    @property
    def _escaped(self) -> str:
        return "[ _.-]+".join(re.sub(r"(\W)", r"\\\1", word) for word in self.text.split(" "))


def spellings(text: str) -> list[bytes]:
    """How a text may stand in a file: in each encoding, with quotes doubled."""
    found = {
        form.encode(encoding, "ignore")
        for form in (text, text.replace('"', '""'))
        for encoding in ("utf-8", "cp1252", "utf-16-le", "utf-16-be")
    }
    return sorted(found - {b""})


def holds_any(opened: Opened, identifiers: Iterable[str]) -> bool:
    """Whether any of some identifiers may stand in a stream, in whatever spelling: never wrong in a no."""
    needles = [_squeezed(each.encode()) if each.isascii() else b"" for each in identifiers]
    with opened() as stream:
        windows = (_squeezed(window) for window in _windows(stream))
        return any(needle in window for window in windows for needle in needles)


def _squeezed(content: bytes) -> bytes:
    return content.translate(_LOWER, _SKIPPED)


def holds(opened: Opened, text: Text) -> bool:
    """Whether a text stands in a stream, or in a member of the ZIP archive that it is."""
    with opened() as stream:
        return any(text.pattern.search(window) for window in _windows(stream))


def open_log(path: Path) -> BinaryIO:
    """A log file, also one that was put away compressed."""
    return cast("BinaryIO", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _windows(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes in pieces that overlap."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        if not rest and chunk.startswith(b"PK\x03\x04"):
            yield from _members(chunk + stream.read())
            return
        window = rest + chunk
        yield window
        rest = window[-_OVERLAP:]


def _members(content: bytes) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        yield content
