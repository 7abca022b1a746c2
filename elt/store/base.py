"""The object store: one protocol for what Laurel keeps as bytes, whether in a folder or in S3.

The store is the truth: an upload is accepted when its bytes are whole here. Therefore `put` is all or
nothing, and an object is never changed once it is there (files derived from others, such as the exported
marts, are put with `replace=True`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from elt.errors import ConfigurationError, Issue, UploadRejected

MAX_KEY_BYTES = 900  # S3 allows 1024 with the prefix
MAX_SEGMENT_BYTES = 255  # what common file systems allow


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What `put` stored. `sha256` is the hexadecimal digest of the whole content."""

    key: str
    size: int
    sha256: str
    etag: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing knows. `etag` is a cheap mark that changes with the content; it is not a digest."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class OldVersion:
    """Earlier content that a store with versions still holds beside, or instead of, an object."""

    key: str
    version_id: str
    size: int


class Store(Protocol):
    """Named byte strings. Safe to use from several threads and processes at once.

    Every method raises `StoreUnavailable` when the store does not answer, and `UploadRejected` for a key
    that `check_key` refuses.
    """

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        media_type: str | None = None,
        expected_sha256: str | None = None,
        replace: bool = False,
    ) -> StoredObject:
        """Store the bytes under the key, hashing them in the same pass; on any failure nothing is left.

        Chunks must not change after they were handed over; large ones (1 MB and more) are fastest. An
        exception out of `chunks` passes through unchanged. The same bytes under a key that has them already
        are a success, so that a put can be repeated after a lost answer.

        Raises:
            Conflict: the key holds other bytes and `replace` is not set.
            DigestMismatch: the bytes do not hash to `expected_sha256` (hexadecimal).
            DiskFull: there is no room.
        """

    def open(self, key: str) -> BinaryIO:
        """A stream of the object's bytes as they were when it was opened, or an error, never fewer bytes.

        Raises:
            NotFound: no such object.
        """

    def open_range(self, key: str, start: int, length: int) -> BinaryIO:
        """As `open`, but only the `length` bytes from `start` on, which the object must have.

        Raises:
            NotFound: no such object.
        """

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[ObjectInfo]:
        """Objects whose key starts with the prefix and sorts after `after`, in the order of the keys' bytes.

        Read page by page while it is consumed. Hidden names (a segment that starts with a dot) are left out.
        """

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""

    def stat(self, key: str) -> ObjectInfo:
        """Size and mark of one object.

        Raises:
            NotFound: no such object.
        """

    def delete(self, key: str) -> None:
        """Remove the object; a key that holds none is no error."""

    def old_versions(self, prefix: str = "") -> Iterator[OldVersion]:
        """What is kept of objects that were replaced or deleted; nothing where a store keeps no versions."""

    def open_old(self, old: OldVersion) -> BinaryIO:
        """A stream of earlier content; raises as `open` does."""

    def forget(self, key: str) -> int:
        """Remove for good what is kept of the key's past: versions and marks of deletion; returns how many.

        The object itself, where there is one, stays.
        """

    def check(self) -> None:
        """Return if the store can be read and written right now; for health checks.

        Raises:
            StoreUnavailable: it cannot; says what to do.
            DiskFull: there is no room left.
        """

    def sweep(self) -> int:
        """Clear what killed writers left behind; returns how many pieces. Never touches running ones."""


def open_store(url: str) -> Store:
    """The store at `file:///folder` (made when absent) or `s3://bucket/prefix`.

    Raises:
        ConfigurationError: the address is of another kind.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        from elt.store.folder import FolderStore

        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.hostname:
        from elt.store.s3 import S3Store

        return S3Store(bucket=parts.netloc, prefix=unquote(parts.path).strip("/"))
    found = f"an address of kind {parts.scheme!r}" if parts.scheme else "a bare path"
    raise ConfigurationError(
        f"LAUREL_STORE_URL: expected file:///folder or s3://bucket/prefix, found {found}."
    )


def check_key(key: str) -> str:
    """Return the key if it names an object inside the store on every kind of store.

    Raises:
        UploadRejected: it is empty, absolute, climbs (`..`), hidden, too long, or has control characters.
    """
    fault = _key_fault(key)
    if fault:
        hint = "Use letters, digits, spaces, dots, hyphens and underscores in names of files."
        raise UploadRejected(f"The name {key[:80]!r} {fault}. {hint}", [Issue(rule="name", hint=hint)])
    return key


def is_valid_key(key: str) -> bool:
    """Whether `check_key` would take the key."""
    return _key_fault(key) is None


def _key_fault(key: str) -> str | None:
    if not key:
        return "is empty"
    if not key.isprintable() or "\\" in key:
        return "holds control characters or a backslash"
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "is not Unicode text"
    if len(encoded) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    for segment in key.split("/"):
        if not segment:
            return "starts or ends with a slash or has an empty part"
        if segment.startswith("."):
            return "has a part that starts with a dot"
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"has a part longer than {MAX_SEGMENT_BYTES} bytes"
    return None
