"""What a request may reach for: settings, database, object store, live pictures. One per application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

from flask import current_app
from psycopg_pool import ConnectionPool

from backend.live_hub import LiveHub
from backend.live_pictures import LivePictures
from backend.metrics import count_events, count_viewers
from elt.people.principals import Principal
from elt.serving.sessions import reader
from elt.settings import Settings
from elt.store.base import Store, open_store
from elt.warehouse import Connection, connect, open_pool, pooled

_POOL_SIZE = 12  # per process; a connection is held while a mart is streamed, never while a body is read


@dataclass
class Services:
    """Opens database and store when they are first needed, so that the API starts without them."""

    settings: Settings

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._opened: ConnectionPool[Any] | None = None
        self.live_pictures = LivePictures(self.connection)
        self.live_hub = LiveHub(
            self.settings.database_url.get_secret_value(),
            self.settings.live_viewers,
            keep=self.live_pictures.keep,
            count=count_viewers,
            count_events=count_events,
        )

    @cached_property
    def store(self) -> Store:
        """The object store."""
        return open_store(self.settings.resolved_store_url)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Borrow a connection to the database.

        Raises:
            DatabaseUnavailable: none could be had.
        """
        with pooled(self._pool()) as connection:
            yield connection

    def reader(self, principal: Principal) -> AbstractContextManager[Connection]:
        """A session that sees in schema `served` what the caller may see; `elt.serving.sessions`."""
        return reader(self.settings, principal, borrow=self.connection)

    def lineage(self) -> AbstractContextManager[Connection]:
        """A connection that reads what dbt builds and the files it is built from, whoever asks."""
        url = self.settings.database_url.get_secret_value()
        return connect(url, application_name="laurel-lineage", role="laurel_transformer")

    def _pool(self) -> ConnectionPool[Any]:
        with self._lock:
            if self._opened is None:
                self._opened = open_pool(
                    self.settings.database_url.get_secret_value(),
                    max_size=_POOL_SIZE,
                    application_name="laurel-api",
                    role="laurel_app",
                )
            return self._opened

    def close(self) -> None:
        """Give the connections back; for tests."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None


def services() -> Services:
    """The services of the application that handles this request."""
    found: Services = current_app.extensions["laurel"]
    return found
