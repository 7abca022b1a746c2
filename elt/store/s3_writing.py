"""Writing an object to S3 so that it is there whole or not at all, also when answers get lost."""

from __future__ import annotations

import base64
import hashlib
import uuid
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from elt.errors import Conflict, DigestMismatch, NotFound, StoreUnavailable
from elt.log import get_logger
from elt.store.base import StoredObject

if TYPE_CHECKING:
    from elt.store.s3 import S3Store

PART_BYTES = 8 * 1024**2  # S3's least is 5 MB
_PARTS_IN_FLIGHT = 2
_PARTS_PER_SIZE = 1000  # then parts grow, since an upload may have 10 000

_log = get_logger(__name__)


class TakenError(StoreUnavailable):
    """A condition on the object's present state does not hold."""


class Write:
    """One `put`. Its token, stored with the object, tells later whether what is under the key is ours."""

    def __init__(
        self, store: S3Store, key: str, media_type: str | None, expected_sha256: str | None, *, replace: bool
    ) -> None:
        self._store = store
        self._key = key
        self._expected = expected_sha256.lower() if expected_sha256 else None
        self._token = uuid.uuid4().hex
        self._condition = {} if replace else {"IfNoneMatch": "*"}
        self._described: dict[str, Any] = {"ContentType": media_type} if media_type else {}
        self._digest = hashlib.sha256()
        self._crc = 0
        self._size = 0

    def put_at_once(self, body: bytes | bytearray) -> StoredObject:
        """Store a small object with one request."""
        self._take(body)
        sha256 = self._check_digest()
        try:
            answer = self._store.call(
                "put_object",
                self._key,
                Body=body,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=base64.b64encode(self._digest.digest()).decode(),
                Metadata={"sha256": sha256, "write": self._token},
                **self._described,
                **self._condition,
            )
        except TakenError:
            return self._found_instead()
        return StoredObject(self._key, self._size, sha256, answer["ETag"].strip('"'))

    def put_in_parts(self, parts: Iterable[bytes | bytearray]) -> StoredObject:
        """Store a large object while it arrives; on any failure the parts sent are dropped."""
        began = self._store.call(
            "create_multipart_upload",
            self._key,
            ChecksumAlgorithm="CRC32",
            ChecksumType="FULL_OBJECT",
            Metadata={"write": self._token},
            **self._described,
        )
        upload = {"UploadId": began["UploadId"]}
        try:
            if began["ResponseMetadata"].get("RetryAttempts"):  # an answer was lost: there may be a twin
                self._store.abort_uploads(self._key, keep=began["UploadId"])
            sent = self._send(parts, upload)
            self._check_digest()
            return self._complete(sent, upload)
        except BaseException:
            self._abort(upload)
            raise

    def _send(self, parts: Iterable[bytes | bytearray], upload: dict[str, str]) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        under_way: deque[Future[dict[str, Any]]] = deque()
        with ThreadPoolExecutor(_PARTS_IN_FLIGHT, thread_name_prefix="s3-part") as senders:
            for number, part in enumerate(parts, 1):
                if len(under_way) == _PARTS_IN_FLIGHT:
                    sent.append(under_way.popleft().result())
                under_way.append(senders.submit(self._send_part, number, part, upload))
                self._take(part)
            sent.extend(future.result() for future in under_way)
        return sent

    def _send_part(self, number: int, part: bytes | bytearray, upload: dict[str, str]) -> dict[str, Any]:
        checksum = _crc_header(zlib.crc32(part))
        answer = self._store.call(
            "upload_part",
            self._key,
            PartNumber=number,
            Body=part,
            ChecksumAlgorithm="CRC32",
            ChecksumCRC32=checksum,
            **upload,
        )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": checksum}

    def _complete(self, sent: list[dict[str, Any]], upload: dict[str, str]) -> StoredObject:
        try:
            answer = self._store.call(
                "complete_multipart_upload",
                self._key,
                MultipartUpload={"Parts": sent},
                ChecksumType="FULL_OBJECT",
                ChecksumCRC32=_crc_header(self._crc),
                MpuObjectSize=self._size,
                **upload,
                **self._condition,
            )
        except StoreUnavailable as error:
            return self._settle(error, upload)
        return StoredObject(self._key, self._size, self._digest.hexdigest(), answer["ETag"].strip('"'))

    def _settle(self, error: StoreUnavailable, upload: dict[str, str]) -> StoredObject:
        """The last request failed, or its answer was lost: look which of the two."""
        if not self._store.exists(self._key):
            raise error
        self._abort(upload)
        return self._found_instead(error)

    def _found_instead(self, error: Exception | None = None) -> StoredObject:
        """The key holds an object: ours, the same bytes from someone else, or a conflict."""
        try:
            head = self._store.call("head_object", self._key)
        except NotFound as gone:
            raise StoreUnavailable(f"{self._key} was being written by someone else. Try again.") from gone
        found = StoredObject(self._key, self._size, self._digest.hexdigest(), head["ETag"].strip('"'))
        if head["Metadata"].get("write") == self._token:
            return found
        if not self._condition and error is not None:
            raise error  # what is there may be replaced, but was not
        if head["ContentLength"] == self._size and self._holds_same_bytes():
            return found
        raise Conflict(f"The object {self._key} exists with other content; objects are never changed.")

    def _holds_same_bytes(self) -> bool:
        there = hashlib.sha256()
        with self._store.open(self._key) as stream:
            while block := stream.read(PART_BYTES):
                there.update(block)
        return there.digest() == self._digest.digest()

    def _take(self, part: bytes | bytearray) -> None:
        self._digest.update(part)
        self._crc = zlib.crc32(part, self._crc)
        self._size += len(part)

    def _check_digest(self) -> str:
        sha256 = self._digest.hexdigest()
        if self._expected not in (None, sha256):
            raise DigestMismatch(
                f"SHA-256 {self._expected} was announced; the {self._size} bytes received have {sha256}."
            )
        return sha256

    def _abort(self, upload: dict[str, str]) -> None:
        """Drop the parts. Where that fails too, `sweep` does it a day later."""
        try:
            self._store.call("abort_multipart_upload", self._key, **upload)
        except StoreUnavailable as error:
            if "NoSuchUpload" not in error.detail:
                _log.warning("upload_parts_left", key=self._key, reason=error.detail)


def gather_parts(chunks: Iterable[bytes]) -> Iterator[bytearray]:
    """Collect chunks into parts of a size that S3 takes; the last may be smaller, none is empty."""
    part = bytearray()
    made = 0
    for chunk in chunks:
        part += chunk
        if len(part) >= PART_BYTES * (1 + made // _PARTS_PER_SIZE):
            yield part
            part = bytearray()
            made += 1
    if part:
        yield part


def _crc_header(value: int) -> str:
    return base64.b64encode(value.to_bytes(4, "big")).decode()
