"""The object store in S3, or in anything that speaks its protocol (`AWS_ENDPOINT_URL_S3`).

Bytes of unknown length are sent in parts while they arrive, so memory stays flat; nothing shows under the key
until the last part is confirmed. botocore repeats requests that failed. What it leaves to its callers is done
here: a write whose confirmation was lost is recognised as ours, an interrupted read goes on where it broke
off, and the bytes read are checked against the checksum that was stored with them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import Any, BinaryIO, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from urllib3.exceptions import HTTPError

from elt.errors import DiskFull, NotFound, StoreUnavailable
from elt.log import get_logger
from elt.store.base import ObjectInfo, OldVersion, StoredObject, check_key, is_valid_key
from elt.store.s3_reading import ObjectStream, Verifier
from elt.store.s3_writing import TakenError, Write, gather_parts

_ABANDONED_AFTER = timedelta(days=1)
_BUFFER = 256 * 1024

_ABSENT = {"NoSuchKey", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_FORBIDDEN = {
    "403",
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_NO_ROOM = {"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"}

_log = get_logger(__name__)


class S3Store:
    """Objects below `prefix` in a bucket. Credentials, region and endpoint come from the standard `AWS_*`."""

    def __init__(self, bucket: str, prefix: str = "", *, timeout: float = 30.0) -> None:
        """`timeout`: seconds without a byte after which a request is tried again."""
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self._client = _make_client(attempts=5, timeout=timeout)
        self._timeout = timeout

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        media_type: str | None = None,
        expected_sha256: str | None = None,
        replace: bool = False,
    ) -> StoredObject:
        """See `Store.put`."""
        write = Write(self, check_key(key), media_type, expected_sha256, replace=replace)
        parts = gather_parts(chunks)
        first = next(parts, b"")
        second = next(parts, None)
        if second is None:
            return write.put_at_once(first)
        return write.put_in_parts(chain((first, second), parts))

    def open(self, key: str) -> BinaryIO:
        """See `Store.open`."""
        return self._open(key)

    def _open(self, key: str, **which: str) -> BinaryIO:
        head = self.call("head_object", key, ChecksumMode="ENABLED", **which)

        def fetch(offset: int) -> Any:
            part = {"Range": f"bytes={offset}-"} if offset else {}
            return self.call("get_object", key, IfMatch=head["ETag"], **which, **part)["Body"]

        stream = ObjectStream(key, head["ContentLength"], fetch, Verifier.of(head))
        return cast("BinaryIO", io.BufferedReader(stream, _BUFFER))

    def open_range(self, key: str, start: int, length: int) -> BinaryIO:
        """See `Store.open_range`. No checksum of S3 covers a range: the caller knows its digest."""
        etag = self.call("head_object", key)["ETag"]

        def fetch(offset: int) -> Any:
            part = f"bytes={start + offset}-{start + length - 1}"
            return self.call("get_object", key, IfMatch=etag, Range=part)["Body"]

        return cast("BinaryIO", io.BufferedReader(ObjectStream(key, length, fetch, None), _BUFFER))

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        start = {"StartAfter": self.prefix + after} if after else {}
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix + prefix, **start
        )
        with self.errors():
            for page in pages:
                yield from self._visible(page.get("Contents", ()))

    def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        try:
            self.stat(key)
        except NotFound:
            return False
        return True

    def stat(self, key: str) -> ObjectInfo:
        """See `Store.stat`."""
        head = self.call("head_object", key)
        return ObjectInfo(key, head["ContentLength"], head["ETag"].strip('"'), head["LastModified"])

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self.call("delete_object", key)

    def old_versions(self, prefix: str = "") -> Iterator[OldVersion]:
        """See `Store.old_versions`."""
        for page in self._version_pages(prefix):
            for found in page.get("Versions", ()):
                key = found["Key"].removeprefix(self.prefix)
                if not found["IsLatest"] and is_valid_key(key):
                    yield OldVersion(key, found["VersionId"], found["Size"])

    def open_old(self, old: OldVersion) -> BinaryIO:
        """See `Store.open_old`."""
        return self._open(old.key, VersionId=old.version_id)

    def forget(self, key: str) -> int:
        """See `Store.forget`. Marks of deletion go last: without them the newest version would be back."""
        full = self.prefix + check_key(key)
        pages = list(self._version_pages(key))
        versions = [found for page in pages for found in page.get("Versions", ()) if not found["IsLatest"]]
        marks = [found for page in pages for found in page.get("DeleteMarkers", ())]
        doomed = [found["VersionId"] for found in [*versions, *marks] if found["Key"] == full]
        for version_id in doomed:
            self.call("delete_object", key, VersionId=version_id)
        return len(doomed)

    def _version_pages(self, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self.bucket, Prefix=self.prefix + prefix
        )
        with self.errors():
            yield from pages

    def check(self) -> None:
        """See `Store.check`."""
        with self.errors():
            self._probe.head_bucket(Bucket=self.bucket)

    def sweep(self) -> int:
        """See `Store.sweep`. Uploads in parts that began a day ago belong to writers that died."""
        return self.abort_uploads("", began_before=datetime.now(UTC) - _ABANDONED_AFTER)

    def call(self, operation: str, key: str, **arguments: Any) -> dict[str, Any]:
        """One request about one object."""
        with self.errors(key):
            answer: dict[str, Any] = getattr(self._client, operation)(
                Bucket=self.bucket, Key=self.prefix + check_key(key), **arguments
            )
        return answer

    def abort_uploads(
        self, prefix: str, *, began_before: datetime | None = None, keep: str | None = None
    ) -> int:
        """Drop the unfinished uploads of keys that start with `prefix`, but not `keep`; returns how many."""
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket, Prefix=self.prefix + prefix
        )
        with self.errors():
            doomed = [
                {"Key": found["Key"], "UploadId": found["UploadId"]}
                for page in pages
                for found in page.get("Uploads", ())
                if found["UploadId"] != keep and (began_before is None or found["Initiated"] < began_before)
            ]
            for upload in doomed:
                self._client.abort_multipart_upload(Bucket=self.bucket, **upload)
        return len(doomed)

    def _visible(self, contents: Iterable[dict[str, Any]]) -> Iterator[ObjectInfo]:
        for found in contents:
            key = found["Key"].removeprefix(self.prefix)
            if is_valid_key(key):
                yield ObjectInfo(key, found["Size"], found["ETag"].strip('"'), found["LastModified"])
            elif not key.endswith("/") and not any(part.startswith(".") for part in key.split("/")):
                _log.warning("object_name_refused", name=ascii(key))

    @cached_property
    def _probe(self) -> Any:
        """A client that does not keep a health check waiting."""
        return _make_client(attempts=1, timeout=min(self._timeout, 3.0))

    @contextmanager
    def errors(self, key: str | None = None) -> Iterator[None]:
        """Say botocore's errors in Laurel's words: never with credentials, which its own texts may quote."""
        try:
            yield
        except ClientError as error:
            raise self._translate(error, key) from error
        except NoCredentialsError as error:
            raise StoreUnavailable(
                "No credentials for S3. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine "
                "a role."
            ) from error
        except (BotoCoreError, HTTPError) as error:
            raise StoreUnavailable(
                f"The bucket {self.bucket} did not answer ({type(error).__name__}). Check the network and "
                "AWS_ENDPOINT_URL_S3."
            ) from error

    def _translate(self, error: ClientError, key: str | None) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code == "NoSuchBucket" or (key is None and code in _ABSENT):
            return StoreUnavailable(
                f"The bucket {self.bucket} does not exist. Create it, or set LAUREL_STORE_URL."
            )
        if code in _ABSENT:
            return NotFound(f"The store holds no object {key}.")
        if code in _TAKEN:
            return TakenError(f"The object {key} was changed by someone else at this moment. Try again.")
        if code in _NO_ROOM:
            return DiskFull(f"No room left in the bucket {self.bucket} ({code}).")
        if code in _FORBIDDEN:
            return StoreUnavailable(
                f"The bucket {self.bucket} refuses {error.operation_name} ({code}). Check the credentials "
                "in AWS_*, their rights on the bucket, and the machine's clock."
            )
        return StoreUnavailable(
            f"The bucket {self.bucket} failed at {error.operation_name} ({code}, HTTP {status})."
        )


def _make_client(*, attempts: int, timeout: float) -> Any:
    """A client that adds no checksums of its own, since ours are sent, and retries what may pass."""
    session = boto3.session.Session()  # the default session is not safe between threads

    def build(**options: Any) -> Any:
        return session.client(
            "s3",
            config=Config(
                retries={"mode": "standard", "total_max_attempts": attempts},
                connect_timeout=min(timeout, 5.0),
                read_timeout=timeout,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                tcp_keepalive=True,
                **options,
            ),
        )

    client = build()
    if "amazonaws.com" in client.meta.endpoint_url:
        return client
    # Elsewhere the bucket's name is seldom a host name.
    return build(s3={"addressing_style": "path"})
