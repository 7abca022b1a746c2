"""The newest picture of this process: read once, however many ask at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock

from elt.errors import DatabaseUnavailable
from elt.live.picture import Picture, read_picture
from elt.warehouse import Connection

MAX_AGE_SECONDS = 0.25
"""How old a picture may be that is given to somebody who asks."""


_PATIENCE_SECONDS = 1.0
_FAILURE_SECONDS = 1.0


class LivePictures:
    """Keeps the newest picture. Who asks while another reads it waits for that one's, or for its failure.

    But not for long: anyone may ask, and a database that is away must not hold all threads of the process.
    """

    def __init__(self, borrow: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._borrow = borrow
        self._reading = Lock()
        self._kept: tuple[float, Picture] | None = None
        self._failed: tuple[float, DatabaseUnavailable] | None = None

    def keep(self, picture: Picture) -> None:
        """What somebody else has read just now."""
        self._kept = (time.monotonic(), picture)

    def current(self) -> Picture:
        """The picture as it is, or was a moment ago (`MAX_AGE_SECONDS`).

        Raises:
            DatabaseUnavailable: it could not be read.
        """
        asked_at = time.monotonic()
        fresh = self._fresh_at(asked_at)
        if fresh is not None:
            return fresh
        if not self._reading.acquire(timeout=_PATIENCE_SECONDS):
            raise DatabaseUnavailable("The database has not answered somebody else yet.")
        try:
            fresh = self._fresh_at(asked_at)
            if fresh is not None:
                return fresh
            if self._failed is not None and asked_at - self._failed[0] < _FAILURE_SECONDS:
                raise DatabaseUnavailable(self._failed[1].detail)
            return self._read()
        finally:
            self._reading.release()

    def _fresh_at(self, moment: float) -> Picture | None:
        kept = self._kept
        return kept[1] if kept is not None and moment - kept[0] < MAX_AGE_SECONDS else None

    def _read(self) -> Picture:
        try:
            with self._borrow() as connection:
                picture = read_picture(connection)
        except DatabaseUnavailable as error:
            self._failed = (time.monotonic(), error)
            raise
        self.keep(picture)
        return picture
