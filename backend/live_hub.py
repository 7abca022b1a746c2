"""Pushes the live picture to all viewers of this process, over connections taken over from gunicorn.

One thread sends the same bytes to everybody. It and the one that reads begin with the first viewer, so after
gunicorn's fork, and nothing is read while nobody looks.
"""

from __future__ import annotations

import random
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock, Thread

from backend import live_frames as frames
from backend.live_frames import Shown
from backend.live_places import Place, Places
from backend.live_reader import Away, LiveReader, News, Rested
from backend.live_viewers import Viewer, Viewers
from elt.live.picture import Picture
from elt.log import get_logger

HEARTBEAT_SECONDS = 15.0
"""So often a stream says that it stands."""

STALE_SECONDS = 15.0
"""Without a picture for so long, viewers are told that theirs may be old."""

LIFE_SECONDS = 900.0
"""A stream ends after about so long; who connects again is checked again."""

_SPREAD = 0.1  # of the lives, so that those who came together do not come again together
_TICK_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0

_log = get_logger(__name__)


class LiveHub:
    """The viewers of this process, and what they see.

    Args:
        database_url: where pictures are read from.
        most_viewers: how many there may be at once.
        keep: is given each picture that was read.
        count: is told how many viewers there are.
        count_events: is told how many events were sent.
        life_seconds: about how long a stream lives.
    """

    def __init__(
        self,
        database_url: str,
        most_viewers: int,
        *,
        keep: Callable[[Picture], None],
        count: Callable[[int], None],
        count_events: Callable[[int], None] = lambda _: None,
        life_seconds: float = LIFE_SECONDS,
    ) -> None:
        self.places = Places(most_viewers)
        self._keep = keep
        self._count = count
        self._count_events = count_events
        self._life_seconds = life_seconds
        self._reader = LiveReader(database_url, self._hear, self.places.secrets, self._end)
        self._lock = Lock()  # of all that more than one thread touches
        self._arrivals: list[Viewer] = []
        self._news: News | None = None
        self._ended: set[bytes] = set()
        self._loop: Thread | None = None
        self._wake_out: socket.socket | None = None
        self._is_stopping = False
        # Of the loop only:
        self._shown: Shown | None = None
        self._shown_at = 0.0
        self._is_stale = False
        self._next_heartbeat = 0.0

    def adopt(
        self, taken: socket.socket, place: Place, *, is_chunked: bool, known_version: int | None
    ) -> None:
        """Push to this connection from now on. Its headers and `live_frames.OPENING` have been sent.

        Raises:
            OSError, RuntimeError: there is no file or thread to be had; the connection is closed.
        """
        life = self._life_seconds * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311
        viewer = Viewer(taken, place.pass_on(), is_chunked, known_version, time.monotonic() + life)
        is_taken_in = False
        try:
            with self._lock:
                if not self._is_stopping:
                    self._start()
                    self._arrivals.append(viewer)
                    self._wake()
                    is_taken_in = True
        finally:
            if not is_taken_in:
                _turn_away(viewer)

    def stop(self) -> None:
        """End all streams as HTTP has it. It does not begin again."""
        with self._lock:
            self._is_stopping = True
            self._wake()
            loop = self._loop
        if loop is not None:
            loop.join(_PATIENCE_SECONDS)

    def _start(self) -> None:
        """Once; where it fails, whoever comes next tries again."""
        if self._loop is not None:
            return
        woken, wake_out = socket.socketpair()
        loop = Thread(target=self._run, args=(woken,), name="laurel-live-hub", daemon=True)
        try:
            wake_out.setblocking(False)
            self._reader.start()
            loop.start()
        except RuntimeError:
            woken.close()
            wake_out.close()
            raise
        self._loop, self._wake_out = loop, wake_out

    def _wake(self) -> None:
        if self._wake_out is not None:
            with suppress(OSError):  # full: it wakes up anyway; closed: it has ended
                self._wake_out.send(b"x")

    def _hear(self, news: News) -> None:
        """What the reader tells, in its thread. Only the newest counts."""
        if isinstance(news, Picture):
            self._keep(news)
        with self._lock:
            self._news = news
            self._wake()

    def _end(self, secrets: set[bytes]) -> None:
        """These may watch no longer, the reader says, in its thread."""
        with self._lock:
            self._ended |= secrets
            self._wake()

    def _run(self, woken: socket.socket) -> None:
        woken.setblocking(False)
        with selectors.DefaultSelector() as selector, woken:
            selector.register(woken, selectors.EVENT_READ)
            viewers = Viewers(selector, self._count_viewers)
            while not self._is_stopping:
                try:
                    self._turn(selector, viewers)
                except Exception:  # a fault of ours: they connect again, and are not left in the dark
                    _log.exception("live_hub_failed")
                    _dismiss_all(viewers)
            self._take_in(viewers)
            _dismiss_all(viewers)
            self._reader.stop()

    def _turn(self, selector: selectors.BaseSelector, viewers: Viewers) -> None:
        for key, events in selector.select(_TICK_SECONDS):
            if key.data is not None:
                viewers.serve(key.data, events)
            elif isinstance(key.fileobj, socket.socket):
                key.fileobj.recv(4096)  # what woke us
        self._show_news(viewers)
        self._take_in(viewers)
        self._send_away(viewers)
        self._keep_up(viewers)

    def _take_in(self, viewers: Viewers) -> None:
        while (viewer := self._next_arrival()) is not None:
            try:
                viewers.add(viewer)
            except OSError as error:  # its connection is broken; the others come in
                _log.warning("live_viewer_not_taken_in", error=type(error).__name__)
                _turn_away(viewer)
                continue
            if self._shown is not None and not _has_seen_newer(viewer, self._shown):
                self._greet(viewers, viewer, self._shown)
            if self._is_stale:
                self._push(viewers, [viewer], frames.stale_event(self._shown))

    def _next_arrival(self) -> Viewer | None:
        with self._lock:
            return self._arrivals.pop(0) if self._arrivals else None

    def _send_away(self, viewers: Viewers) -> None:
        with self._lock:
            ended, self._ended = self._ended, set()
        if ended:
            for viewer in viewers:
                if viewer.place.held_with.secret_sha256 in ended:
                    viewers.dismiss(viewer)

    def _show_news(self, viewers: Viewers) -> None:
        with self._lock:
            news, self._news = self._news, None
        if isinstance(news, Picture):
            self._show(viewers, frames.show(news))
        elif isinstance(news, Away):
            self._call_stale(viewers)
        elif isinstance(news, Rested):
            self._forget(viewers)

    def _show(self, viewers: Viewers, now: Shown) -> None:
        before, self._shown, self._shown_at = self._shown, now, time.monotonic()
        event = frames.change_event(before, now) if before is not None else None
        if event is None and self._is_stale:
            event = frames.resume_event(now)
        self._is_stale = False
        seeing = [viewer for viewer in viewers if viewer.has_picture]
        for viewer in viewers:
            if viewer.has_picture:
                continue
            if _has_seen_newer(viewer, now) and viewer.patience:
                viewer.patience -= 1
            else:
                self._greet(viewers, viewer, now)
        if event is not None:
            self._push(viewers, seeing, event)

    def _greet(self, viewers: Viewers, viewer: Viewer, shown: Shown) -> None:
        knows_it = viewer.known_version == shown["version"]
        event = frames.resume_event(shown) if knows_it else frames.picture_event(shown)
        self._push(viewers, [viewer], event)
        viewer.has_picture = True

    def _forget(self, viewers: Viewers) -> None:
        """The last picture grows old; who came just now is given the next one whole."""
        self._shown = None
        for viewer in viewers:
            viewer.has_picture = False

    def _call_stale(self, viewers: Viewers) -> None:
        if not self._is_stale:
            self._is_stale = True
            self._push(viewers, list(viewers), frames.stale_event(self._shown))

    def _keep_up(self, viewers: Viewers) -> None:
        now = time.monotonic()
        if self._shown is not None and now - self._shown_at > STALE_SECONDS:
            self._call_stale(viewers)
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            for viewer in viewers:
                viewers.send(viewer, frames.HEARTBEAT)
        for viewer in viewers:
            if now >= viewer.ends_at:
                viewers.dismiss(viewer)

    def _push(self, viewers: Viewers, receivers: Sequence[Viewer], event: frames.Frame) -> None:
        for viewer in receivers:
            viewers.send(viewer, event)
        self._count_events(len(receivers))

    def _count_viewers(self, number: int) -> None:
        self._count(number)
        if number:
            self._reader.wanted.set()
        else:
            self._reader.wanted.clear()


def _has_seen_newer(viewer: Viewer, shown: Shown) -> bool:
    """Another process, which reads a little sooner, has shown it more; or there never was such a version."""
    return viewer.known_version is not None and viewer.known_version > shown["version"]


def _turn_away(viewer: Viewer) -> None:
    viewer.socket.close()
    viewer.place.release()


def _dismiss_all(viewers: Viewers) -> None:
    for viewer in viewers:
        viewers.dismiss(viewer)
