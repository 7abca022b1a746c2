"""Reads the live picture once per change, for all viewers of this process; a thread of its own.

So a database that answers slowly, or not at all, holds up no viewer. It also looks whether those who watch
still may.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from elt.errors import DatabaseUnavailable
from elt.live import CHANNEL
from elt.live.picture import Picture, read_picture
from elt.log import get_logger
from elt.people.keys import valid_keys
from elt.people.sessions import valid_sessions
from elt.warehouse import Connection, connect

GATHER_SECONDS = 0.05
"""At most one picture in this time, however fast changes come."""

LOOK_SECONDS = 5.0
"""The picture is read so often without a change too: hours pass, and sources fall silent."""

CHECK_SECONDS = 5.0
"""So often it is looked which keys and sessions have ended meanwhile."""

_RETRY_SECONDS = 1.0
_STATEMENT_TIMEOUT = "set statement_timeout = '5s'"
_CUT_MILLISECONDS = 10_000  # after which a server that confirms nothing is taken for gone

_log = get_logger(__name__)


class Away:
    """The database cannot be read now."""


class Rested:
    """Nobody wanted pictures, so the last one is growing old."""


News = Picture | Away | Rested


class LiveReader:
    """Reads while it is `wanted`, and tells what it has read from its own thread.

    Args:
        database_url: where from.
        tell: is given each picture, or why there is none.
        in_use: the SHA-256 of keys and cookies that are watched with.
        end: is given those of them that are worth nothing any more.
    """

    def __init__(
        self,
        database_url: str,
        tell: Callable[[News], None],
        in_use: Callable[[], set[bytes]],
        end: Callable[[set[bytes]], None],
    ) -> None:
        self.wanted = Event()
        self._in_use = in_use
        self._end = end
        self._address = make_conninfo(database_url, tcp_user_timeout=_CUT_MILLISECONDS)
        self._tell = tell
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="laurel-live-reader", daemon=True)

    def start(self) -> None:
        """Begin, unless it has begun.

        Raises:
            RuntimeError: there is no thread to be had.
        """
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """End soon; a statement that is running ends by itself."""
        self._stopping.set()
        self.wanted.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.wanted.wait()
            try:
                self._follow()
            except (DatabaseUnavailable, psycopg.Error) as error:
                _log.warning("live_picture_unread", error=type(error).__name__)
                self._tell(Away())
                self._stopping.wait(_RETRY_SECONDS)

    def _follow(self) -> None:
        with connect(self._address, application_name="laurel-viewers", role="laurel_app") as connection:
            connection.execute(_STATEMENT_TIMEOUT)
            connection.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
            check_at = 0.0
            while self.wanted.is_set() and not self._stopping.is_set():
                read_at = time.monotonic()
                self._tell(read_picture(connection))
                if read_at >= check_at:
                    check_at = read_at + CHECK_SECONDS
                    self._check(connection)
                self._wait(connection, read_at)
        self._tell(Rested())

    def _check(self, connection: Connection) -> None:
        in_use = self._in_use()
        ended = in_use - valid_keys(connection, in_use) - valid_sessions(connection, in_use)
        if ended:
            self._end(ended)

    def _wait(self, connection: Connection, read_at: float) -> None:
        """Until there is a change, and some time has passed since the last reading."""
        for _ in connection.notifies(timeout=LOOK_SECONDS, stop_after=1):
            break
        self._stopping.wait(max(0.0, read_at + GATHER_SECONDS - time.monotonic()))
        for _ in connection.notifies(timeout=0):  # of changes that the next reading shows
            pass
