"""Reading an object from S3 to its end, however often the connection breaks."""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from collections.abc import Callable
from typing import Any

import stamina
from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from elt.errors import StoreUnavailable


class _InterruptedError(Exception):
    """The stream broke before its end."""


class ObjectStream(io.RawIOBase):
    """The bytes of one object; broken connections are taken up again at the byte where they broke.

    `fetch` answers with a body that starts at an offset, of the same version of the object.
    """

    def __init__(self, key: str, size: int, fetch: Callable[[int], Any], verifier: Verifier | None) -> None:
        self._key = key
        self._size = size
        self._fetch = fetch
        self._verifier = verifier
        self._offset = 0
        self._body: Any = fetch(0)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill what the connection has ready; 0 only at the end of the object.

        Raises:
            StoreUnavailable: it broke off repeatedly, or what arrived is not what was stored.
        """
        try:
            for attempt in stamina.retry_context(
                on=_InterruptedError, attempts=6, timeout=None, wait_initial=0.1, wait_max=3.0
            ):
                with attempt:
                    return self._read_some(buffer)
        except _InterruptedError as error:
            reason = type(error.__cause__).__name__
            place = f"after {self._offset} of {self._size} bytes"
            raise StoreUnavailable(f"Reading {self._key} broke off repeatedly {place} ({reason}).") from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    def close(self) -> None:
        """Give the connection back."""
        self._drop()
        super().close()

    def _read_some(self, buffer: Any) -> int:
        if self._offset == self._size or not len(buffer):
            return 0
        try:
            if self._body is None:
                self._body = self._fetch(self._offset)
            count: int = self._body.readinto(buffer)
            if count == 0:
                raise EOFError
        except (BotoCoreError, HTTPError, OSError, EOFError) as error:
            self._drop()
            raise _InterruptedError from error
        self._offset += count
        self._verify(memoryview(buffer)[:count])
        return count

    def _verify(self, block: memoryview) -> None:
        if self._verifier is None:
            return
        self._verifier.update(block)
        if self._offset == self._size and not self._verifier.holds():
            raise StoreUnavailable(
                f"{self._key} arrived damaged: its checksum is not the one stored with it."
            )

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


class Verifier:
    """Computes, as bytes pass, the checksum that was stored with them."""

    def __init__(self, expected: str, update: Callable[[Any], None], value: Callable[[], bytes]) -> None:
        self.update = update
        self._value = value
        self._expected = expected

    @classmethod
    def of(cls, head: dict[str, Any]) -> Verifier | None:
        """For the checksum of the whole object that S3 tells; None if it knows only other kinds."""
        whole = {name: head.get(f"Checksum{name}") for name in ("SHA256", "CRC32")}
        if whole["SHA256"] and "-" not in whole["SHA256"]:
            digest = hashlib.sha256()
            return cls(whole["SHA256"], digest.update, digest.digest)
        if whole["CRC32"] and "-" not in whole["CRC32"]:
            crc = _Crc32()
            return cls(whole["CRC32"], crc.update, crc.digest)
        return None

    def holds(self) -> bool:
        """Whether what passed is what was stored."""
        return base64.b64encode(self._value()).decode() == self._expected


class _Crc32:
    """CRC-32 with the methods of a digest."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, block: Any) -> None:
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")
