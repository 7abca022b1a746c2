"""Answers that are streamed, and streams for those who read by `read(n)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from urllib.parse import quote

from flask import Response

from backend.services import services
from elt.warehouse import Connection


def stream_from_database(
    make: Callable[[Connection], Iterator[bytes]],
    content_type: str,
    filename: str | None = None,
    *,
    session: AbstractContextManager[Connection] | None = None,
) -> Response:
    """Stream what `make` reads from the database; the connection is held until the last byte is sent.

    It is a connection of Laurel's own, unless a `session` is given.

    The first block is made before the answer begins, so that what cannot be streamed is still a proper error.
    """
    stack = ExitStack()
    try:
        blocks = make(stack.enter_context(session or services().connection()))
        first = next(blocks, b"")
    except BaseException:
        stack.close()
        raise

    def send() -> Iterator[bytes]:
        with stack:
            yield first
            yield from blocks

    response = Response(send(), content_type=content_type)
    response.call_on_close(stack.close)  # a client that goes away before the first block
    if filename is not None:
        attach(response, filename)
    return response


def attach(response: Response, filename: str) -> None:
    """Offer the answer as a file to save, under a name that may hold any character (RFC 6266)."""
    shown = "".join(c if c.isprintable() else "_" for c in filename).lstrip(".") or "file"  # nothing hidden
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in shown)
    response.headers["Content-Disposition"] = (
        f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(shown, safe='')}"
    )


class BlockReader:
    """Blocks as a stream with `read`."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        if not self._rest:
            self._rest = next(self._blocks, b"")
        part, self._rest = self._rest[:size], self._rest[size:]
        return part
