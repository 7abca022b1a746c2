"""The connections of those who watch the live picture: written to without ever waiting for one of them.

What a viewer does not take at once is kept up to a bound; then the viewer is dropped. A browser connects
again by itself and gets the whole picture. All of this is for one thread.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from backend.live_frames import LAST_CHUNK, Frame
from backend.live_places import Place

MOST_PENDING = 64 * 1024
"""How many bytes a viewer may leave untaken and still be sent one more event, however large."""

_SEND_BUFFER = 64 * 1024  # the kernel would keep megabytes for each
_GONE_MILLISECONDS = 30_000  # then a viewer is gone whose machine does not confirm what was sent


@dataclass(eq=False, slots=True)
class Viewer:
    """One connection.

    `known_version` is what it had seen before it came. A picture that is older is not shown to it for as many
    more pictures as `patience` says. `ends_at` is a monotonic time.
    """

    socket: socket.socket
    place: Place
    is_chunked: bool
    known_version: int | None
    ends_at: float
    has_picture: bool = False
    patience: int = 1  # the reading that was under way when it came
    pending: bytearray = field(default_factory=bytearray)


class Viewers:
    """All connections of one loop, registered with its selector.

    Args:
        selector: the loop's; the data of a viewer's key is the viewer.
        count: is told how many there are, whenever that changes.
    """

    def __init__(self, selector: selectors.BaseSelector, count: Callable[[int], None]) -> None:
        self._selector = selector
        self._count = count
        self._all: set[Viewer] = set()

    def __iter__(self) -> Iterator[Viewer]:
        """Those who are there now; they may be dropped meanwhile."""
        return iter(list(self._all))

    def add(self, viewer: Viewer) -> None:
        """Take a connection in."""
        _prepare(viewer.socket)
        self._selector.register(viewer.socket, selectors.EVENT_READ, viewer)
        self._all.add(viewer)
        self._count(len(self._all))

    def send(self, viewer: Viewer, frame: Frame) -> None:
        """Send what can be sent at once, and keep the rest."""
        content = frame.chunk if viewer.is_chunked else frame.plain
        if viewer not in self._all:
            return
        if not viewer.pending:
            sent = self._try_to_send(viewer, content)
            if sent is None or sent == len(content):
                return
            content = content[sent:]
            self._selector.modify(viewer.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, viewer)
        if len(viewer.pending) > MOST_PENDING:
            self.drop(viewer)
        else:
            viewer.pending += content

    def serve(self, viewer: Viewer, events: int) -> None:
        """What the selector says about a viewer: it takes more, or it has gone."""
        if events & selectors.EVENT_WRITE:
            self._flush(viewer)
        if events & selectors.EVENT_READ and viewer in self._all:
            self._listen_to(viewer)

    def dismiss(self, viewer: Viewer) -> None:
        """End the answer as HTTP has it, if nothing is pending before that."""
        if viewer.is_chunked and not viewer.pending:
            self._try_to_send(viewer, LAST_CHUNK)
        self.drop(viewer)

    def drop(self, viewer: Viewer) -> None:
        """Close the connection; the place is free."""
        if viewer in self._all:
            self._all.remove(viewer)
            self._selector.unregister(viewer.socket)
            viewer.socket.close()
            viewer.place.release()
            self._count(len(self._all))

    def _flush(self, viewer: Viewer) -> None:
        sent = self._try_to_send(viewer, bytes(viewer.pending))
        if sent is None:
            return
        del viewer.pending[:sent]
        if not viewer.pending:
            self._selector.modify(viewer.socket, selectors.EVENT_READ, viewer)

    def _listen_to(self, viewer: Viewer) -> None:
        """A viewer has nothing to say; that something can be read is mostly its end."""
        try:
            if viewer.socket.recv(4096):
                return
        except BlockingIOError:
            return
        except OSError:  # reset
            pass
        self.drop(viewer)

    def _try_to_send(self, viewer: Viewer, content: bytes) -> int | None:
        """How many bytes were taken; None if the viewer is gone, who then is dropped."""
        try:
            return viewer.socket.send(content)
        except BlockingIOError:
            return 0
        except OSError:
            self.drop(viewer)
            return None


def _prepare(connection: socket.socket) -> None:
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GONE_MILLISECONDS)
