"""Reading a file out of a request as a stream: as the whole body, or as a part of a form.

Nothing is kept beyond a block. Every check (length, digest, end of the form, fields behind the file) is made
before `Submission.blocks()` ends, so whoever stores the blocks atomically stores nothing that was not whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from flask import request
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from werkzeug.exceptions import UnsupportedMediaType

from backend.digests import Announced, read_announced
from backend.filetypes import HEAD_BYTES, check_head
from backend.forms import Form
from elt.errors import DigestMismatch, TooLarge, TruncatedUpload

BLOCK_BYTES = 1024 * 1024
_FORM_OVERHEAD = 256 * 1024  # what a form may need beside the file


@dataclass
class Submission:
    """A file on its way in. What a form says in fields behind its file is known when `blocks` has ended.

    `expected_sha256` is what the store shall compare the file with, where its sender announced a digest.
    """

    filename: str | None = None
    media_type: str | None = None
    expected_sha256: str | None = None
    received: int = 0
    _fields: Callable[[], dict[str, str]] = dict
    _source: Iterator[bytes] = field(default_factory=lambda: iter(()))
    _limit: int = 0
    _content_hashes: tuple[Any, Any] | None = None
    _content_sha256: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """The fields of the form that are known so far; empty for a raw body."""
        return self._fields()

    def blocks(self) -> Iterator[bytes]:
        """The file's bytes, each block once.

        Raises:
            UploadRejected: the first bytes show that it is no CSV.
            TooLarge: it is larger than the limit.
            TruncatedUpload: the body ended early.
            DigestMismatch: the bytes are not those announced.
            BadRequest: the form is malformed.
        """
        for block in _with_checked_head(self._source):
            self.received += len(block)
            if self.received > self._limit:
                raise TooLarge(_too_large(self._limit))
            if self._content_hashes is not None:
                self._content_hashes[1].update(block)
            yield block
        if self._content_hashes is not None:
            found = [each.hexdigest() for each in self._content_hashes]
            if self._content_sha256 not in found:  # people also announce the file's digest with a form
                raise DigestMismatch(
                    f"Content-Digest is that of neither the form ({found[0]}) nor its file ({found[1]})."
                )


def open_submission(max_bytes: int) -> Submission:
    """Start reading the request's body; a form is read up to where its file begins.

    Raises:
        TooLarge: the announced length is over the limit; nothing has been read.
        BadRequest: the form or an announced digest is malformed, or there is no part named `file`.
    """
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("Send the file as it is, without Content-Encoding.")
    is_form = request.mimetype == "multipart/form-data"
    length = request.content_length
    body_limit = max_bytes + (_FORM_OVERHEAD if is_form else 0)
    if length is not None and length > body_limit:
        raise TooLarge(_too_large(max_bytes))
    announced = read_announced(request.headers)
    if is_form:
        return _open_form(length, body_limit, announced, max_bytes)
    if announced.file and announced.content and announced.file != announced.content:
        raise DigestMismatch("Content-Digest and X-Content-SHA256 announce different bytes.")
    return Submission(
        media_type=request.mimetype or None,
        expected_sha256=announced.file or announced.content,
        _source=_read_body(request.environ, length, body_limit),
        _limit=max_bytes,
    )


def _open_form(length: int | None, body_limit: int, announced: Announced, max_bytes: int) -> Submission:
    hashes = (hashlib.sha256(), hashlib.sha256()) if announced.content else None
    body = _read_body(request.environ, length, body_limit, hashes[0] if hashes else None)
    form = Form(body, request.mimetype_params.get("boundary", ""))
    part = form.find_file()
    return Submission(
        filename=part.filename,
        media_type=part.media_type,
        expected_sha256=announced.file,
        _fields=lambda: form.fields,
        _source=form.file_blocks(),
        _limit=max_bytes,
        _content_hashes=hashes,
        _content_sha256=announced.content,
    )


def _read_body(environ: dict[str, Any], length: int | None, limit: int, meter: Any = None) -> Iterator[bytes]:
    """Blocks straight from the server's socket; a body of unknown length ends where the server says so.

    The framework's own stream is passed by: it would read in smaller blocks.
    """
    if length is None and not environ.get("wsgi.input_terminated"):
        return
    stream = environ["wsgi.input"]
    received = 0
    while length is None or received < length:
        try:
            block = stream.read(BLOCK_BYTES if length is None else min(BLOCK_BYTES, length - received))
        except (OSError, ParseException) as error:  # the sender went away, or broke off a chunk
            raise TruncatedUpload(f"The upload broke off after {received} bytes. Send it again.") from error
        if not block:
            break
        received += len(block)
        if received > limit:
            raise TooLarge(_too_large(limit))
        if meter is not None:
            meter.update(block)
        yield block
    if length is not None and received < length:
        raise TruncatedUpload(f"{length} bytes were announced, {received} arrived. Send the file again.")


def _with_checked_head(source: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks, held back until enough has come to recognise what is certainly no CSV."""
    held = b""
    for block in source:
        held += block
        if len(held) >= HEAD_BYTES:
            break
    check_head(held[:HEAD_BYTES])
    yield held
    yield from source


def _too_large(limit: int) -> str:
    return (
        f"The limit is {limit} bytes ({limit / 1024**2:.0f} MB). Split the file, or ask an admin to raise it."
    )
