"""The object store as a folder: for one machine, with the same promises as S3.

Bytes go to a hidden temporary file, are flushed to disk, and then get their name in one step. Whoever writes
holds a lock on the temporary file, so the leavings of a killed process are recognised without its id.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat as stat_module
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

from elt.errors import Conflict, DigestMismatch, DiskFull, NotFound, StoreUnavailable
from elt.log import get_logger
from elt.store.base import ObjectInfo, OldVersion, StoredObject, check_key, is_valid_key

_TEMPORARY = ".laurel-tmp"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
_HASH_ASIDE_FROM = 256 * 1024  # smaller chunks hash faster than a thread is woken
_FLUSH_EVERY = 16 * 1024**2
_RANGE_BUFFER = 1 << 18
_YOUNG_SECONDS = 60  # a writer locks its temporary file just after making it

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not block the opener

_flush_content = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync

_log = get_logger(__name__)


class FolderStore:
    """Objects are files below `root`; a key is a relative path. Symbolic links are not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._temporary = self.root / _TEMPORARY

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        media_type: str | None = None,  # noqa: ARG002 - a folder has no place for it
        expected_sha256: str | None = None,
        replace: bool = False,
    ) -> StoredObject:
        """See `Store.put`."""
        target = self._path(key)
        with self._temporary_file() as (descriptor, temporary):
            size, sha256 = _write(descriptor, chunks)
            if expected_sha256 is not None and sha256 != expected_sha256.lower():
                raise DigestMismatch(
                    f"SHA-256 {expected_sha256.lower()} was announced; the {size} bytes received "
                    f"have {sha256}."
                )
            with _store_errors():
                os.fsync(descriptor)
                etag = _etag(os.fstat(descriptor))
                if not self._publish(temporary, target, replace=replace):
                    return self._same_or_conflict(key, size, sha256)
        return StoredObject(key, size, sha256, etag)

    def open(self, key: str) -> BinaryIO:
        """See `Store.open`."""
        return self._open(key)

    def open_range(self, key: str, start: int, length: int) -> BinaryIO:
        """See `Store.open_range`."""
        stream = self._open(key)
        with _store_errors(key):
            stream.seek(start)
        return cast("BinaryIO", BufferedReader(_Limited(key, stream, length), _RANGE_BUFFER))

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        return self._walk(self.root, "", prefix.encode(), (after or "").encode())

    def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        try:
            self.stat(key)
        except NotFound:
            return False
        return True

    def stat(self, key: str) -> ObjectInfo:
        """See `Store.stat`."""
        with _store_errors(key):
            found = os.lstat(self._path(key))
        if not stat_module.S_ISREG(found.st_mode):
            raise NotFound(f"The store holds no object {key}.")
        return _info(key, found)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        path = self._path(key)
        with suppress(NotFound), _store_errors(key):
            path.unlink()
            _flush_folder(path.parent)

    def old_versions(self, prefix: str = "") -> Iterator[OldVersion]:  # noqa: ARG002 - a folder has none
        """See `Store.old_versions`."""
        return iter(())

    def open_old(self, old: OldVersion) -> BinaryIO:
        """See `Store.open_old`."""
        raise NotFound(f"A folder keeps no earlier versions of {old.key}.")

    def forget(self, key: str) -> int:  # noqa: ARG002 - a folder has nothing to forget
        """See `Store.forget`."""
        return 0

    def check(self) -> None:
        """See `Store.check`."""
        with _store_errors():
            self._temporary.mkdir(parents=True, exist_ok=True)
            if os.statvfs(self.root).f_bavail == 0:
                raise DiskFull(f"The disk that holds {self.root} is full. Free some space.")
        if not os.access(self._temporary, os.W_OK | os.X_OK):
            raise StoreUnavailable(f"No right to write to {self.root}. Give it to the user that runs Laurel.")

    def sweep(self) -> int:
        """See `Store.sweep`."""
        removed = 0
        with _store_errors():
            names = os.listdir(self._temporary) if self._temporary.is_dir() else []
            for name in names:
                removed += _remove_if_abandoned(self._temporary / name)
        return removed

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _open(self, key: str) -> BufferedReader:
        with _store_errors(key):
            descriptor = os.open(self._path(key), _READ)
            if not stat_module.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise NotFound(f"The store holds no object {key}.")
            return open(descriptor, "rb")

    @contextmanager
    def _temporary_file(self) -> Iterator[tuple[int, Path]]:
        """An empty locked file on the same file system; gone afterwards, whatever happens."""
        path = self._temporary / secrets.token_hex(16)
        with _store_errors():
            self._temporary.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            with _store_errors():
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor, path
        finally:
            with suppress(FileNotFoundError):  # renamed
                path.unlink()
            with _store_errors():  # some file systems report a full disk only here
                os.close(descriptor)

    def _publish(self, temporary: Path, target: Path, *, replace: bool) -> bool:
        """Give the file its name, for good; False if the name is taken and may not be replaced."""
        _make_folders(target.parent, self.root)
        try:
            if replace:
                os.replace(temporary, target)
            else:
                os.link(temporary, target)  # unlike rename, fails where the name exists
        except FileExistsError:
            return False
        except IsADirectoryError:
            raise Conflict(f"{target.relative_to(self.root)} is a folder.") from None
        _flush_folder(target.parent)
        return True

    def _same_or_conflict(self, key: str, size: int, sha256: str) -> StoredObject:
        with suppress(NotFound):  # a folder has the name, or it was deleted meanwhile
            there = self.stat(key)
            with self._open(key) as stream:
                same = there.size == size and hashlib.file_digest(stream, "sha256").hexdigest() == sha256
            if same:
                return StoredObject(key, size, sha256, there.etag)
        raise Conflict(f"The object {key} exists with other content; objects are never changed.")

    def _walk(self, folder: Path, base: str, prefix: bytes, after: bytes) -> Iterator[ObjectInfo]:
        with suppress(NotFound), _store_errors(base):  # a folder may vanish while others are read
            for key, entry in _sorted_entries(folder, base):
                encoded = key.encode()
                if entry.is_dir(follow_symlinks=False):
                    on_the_way = encoded.startswith(prefix) or prefix.startswith(encoded)
                    all_before = after > encoded and not after.startswith(encoded)
                    if on_the_way and not all_before:
                        yield from self._walk(Path(entry.path), key, prefix, after)
                elif encoded.startswith(prefix) and encoded > after and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        yield _info(key, entry.stat(follow_symlinks=False))


class _Limited(RawIOBase):
    """The next `length` bytes of a file."""

    def __init__(self, key: str, file: BufferedReader, length: int) -> None:
        self._key = key
        self._file = file
        self._missing = length

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; 0 only at the end.

        Raises:
            StoreUnavailable: the file ends before.
        """
        wanted = min(len(buffer), self._missing)
        with _store_errors(self._key):
            count = self._file.readinto(memoryview(buffer)[:wanted])
        if not count and wanted:
            raise StoreUnavailable(f"{self._key} ends {self._missing} bytes before it should.")
        self._missing -= count
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _write(descriptor: int, chunks: Iterable[bytes]) -> tuple[int, str]:
    """Write all chunks; the digest is computed beside the writing, since both leave the interpreter free."""
    digest = hashlib.sha256()
    size = 0
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="store-put") as beside:
        early = _EarlyFlush(descriptor, beside)
        hashing: Future[None] | None = None
        for chunk in chunks:
            if hashing is not None:
                hashing.result()
                hashing = None
            if len(chunk) >= _HASH_ASIDE_FROM:
                hashing = beside.submit(digest.update, chunk)
            else:
                digest.update(chunk)
            with _store_errors():
                _write_all(descriptor, chunk)
            size += len(chunk)
            early.wrote(len(chunk))
        if hashing is not None:
            hashing.result()
        early.wait()
    return size, digest.hexdigest()


class _EarlyFlush:
    """Lets the disk work while chunks still come in, so that the flush at the end has little left to do."""

    def __init__(self, descriptor: int, beside: Executor) -> None:
        self._descriptor = descriptor
        self._beside = beside
        self._running: Future[None] | None = None
        self._unflushed = 0

    def wrote(self, size: int) -> None:
        """Begin a flush when there is enough for one and none is running."""
        self._unflushed += size
        if self._unflushed >= _FLUSH_EVERY and (self._running is None or self._running.done()):
            self.wait()
            self._running = self._beside.submit(_flush_content, self._descriptor)
            self._unflushed = 0

    def wait(self) -> None:
        """Until the flush that is running has ended; says what went wrong with it."""
        if self._running is not None:
            with _store_errors():
                self._running.result()


def _write_all(descriptor: int, chunk: bytes) -> None:
    written = os.write(descriptor, chunk)
    while written < len(chunk):  # a disk that runs full takes a part first
        written += os.write(descriptor, memoryview(chunk)[written:])


def _sorted_entries(folder: Path, base: str) -> list[tuple[str, os.DirEntry[str]]]:
    """The visible entries with their keys (folders with a slash at the end), in the order of keys."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            key = f"{base}{entry.name}"
            if entry.name.startswith("."):
                continue
            if not is_valid_key(key):
                _log.warning("object_name_refused", folder=base or "/", name=ascii(entry.name))
                continue
            found.append((f"{key}/" if entry.is_dir(follow_symlinks=False) else key, entry))
    found.sort(key=lambda pair: pair[0].encode())
    return found


def _make_folders(folder: Path, root: Path) -> None:
    """Make the folder and those above it, each entered in its parent for good."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder == root:
            break
        folder = folder.parent
    for path in reversed(missing):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise Conflict(f"{path.relative_to(root)} is a file, not a folder.") from None
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_if_abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if time.time() - os.fstat(descriptor).st_mtime < _YOUNG_SECONDS:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _etag(found: os.stat_result) -> str:
    return f"{found.st_size:x}-{found.st_mtime_ns:x}"


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, _etag(found), datetime.fromtimestamp(found.st_mtime, UTC))


@contextmanager
def _store_errors(key: str | None = None) -> Iterator[None]:
    """Say an operating system's error in Laurel's words."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in _NO_ROOM:
            raise DiskFull(f"No room left in the store's folder ({reason}). Free some space.") from error
        if key is not None and error.errno in _ABSENT:
            raise NotFound(f"The store holds no object {key}.") from None
        raise StoreUnavailable(
            f"The store's folder cannot be used ({reason}). Check that its disk is mounted and that the user "
            "that runs Laurel may read and write it."
        ) from error
