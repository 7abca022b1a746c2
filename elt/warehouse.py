"""Connections to the database `elt`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from elt.errors import DatabaseUnavailable

Connection = psycopg.Connection[DictRow]
AsyncConnection = psycopg.AsyncConnection[DictRow]

# Sessions left idle inside a transaction would hold locks for ever after a network cut.
_SESSION_OPTIONS = "-c idle_in_transaction_session_timeout=300000 -c timezone=UTC"

# So that the server, too, soon notices a cut, and frees what the session had locked.
_ASYNC_OPTIONS = (
    "-c statement_timeout=120000 -c timezone=UTC -c idle_in_transaction_session_timeout=60000 "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 "
    "-c tcp_user_timeout=15000"
)
ANSWER_SECONDS = 150.0
"""How long the server may be silent, which ends statements of `connect_async` after two minutes."""


class _Session(psycopg.Connection[DictRow]):
    """A connection whose `with` says in Laurel's words that the server went away meanwhile."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        super().__exit__(exc_type, exc_val, exc_tb)
        if isinstance(exc_val, psycopg.OperationalError):
            raise DatabaseUnavailable(_without_secrets(exc_val)) from exc_val


def connect(database_url: str, *, application_name: str = "laurel", role: str | None = None) -> Connection:
    """Open a connection whose rows are dictionaries; transactions are explicit (`with c.transaction()`).

    With a `role` (`elt.serving.database_roles`) it has the rights of that role only.

    Raises:
        DatabaseUnavailable: the server does not answer within five seconds or refuses; also at the end of
            `with connect(…)`, where it went away while the connection was used.
    """
    try:
        return _Session.connect(
            database_url,
            autocommit=True,
            connect_timeout=5,
            row_factory=dict_row,
            application_name=application_name,
            options=_options(role),
            keepalives_idle=30,
        )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(_without_secrets(error)) from None


@asynccontextmanager
async def connect_async(
    database_url: str, *, application_name: str = "laurel"
) -> AsyncIterator[AsyncConnection]:
    """As `connect`, for asyncio; no statement waits for more than two minutes, nor for a dead network.

    Raises:
        DatabaseUnavailable: as `connect` does.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(
            database_url,
            autocommit=True,
            connect_timeout=5,
            row_factory=dict_row,
            application_name=application_name,
            options=_ASYNC_OPTIONS,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=15_000,
        )
        try:
            yield connection
        finally:
            await connection.close()  # asks nothing of a server that may be gone
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(_without_secrets(error)) from None


@asynccontextmanager
async def answered(connection: AsyncConnection, seconds: float | None = None) -> AsyncIterator[None]:
    """What is asked inside is answered in `seconds` (ANSWER_SECONDS), or the connection is closed.

    Raises:
        DatabaseUnavailable: the server went away, or is silent.
    """
    limit = ANSWER_SECONDS if seconds is None else seconds
    try:
        async with asyncio.timeout(limit):
            yield
    except TimeoutError:
        await connection.close()
        raise DatabaseUnavailable(f"The warehouse did not answer in {limit:g} s.") from None
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The warehouse went away ({type(error).__name__}).") from error


def open_pool(
    database_url: str, *, max_size: int = 8, application_name: str = "laurel", role: str | None = None
) -> ConnectionPool[Any]:
    """A pool for servers. It opens without waiting, so that a process can start before its database.

    After the database was away it is of use again at once: a dead connection takes the others with it, and
    attempts to connect are not put off further and further.
    """

    def check(connection: psycopg.Connection[Any]) -> None:
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            pool.drain()  # one by one they would use up the time of whoever waits
            raise

    pool: ConnectionPool[Any] = ConnectionPool(
        database_url,
        min_size=0,
        max_size=max_size,
        timeout=5,
        reconnect_timeout=5,
        open=True,
        check=check,
        kwargs={
            "autocommit": True,
            "connect_timeout": 5,
            "row_factory": dict_row,
            "application_name": application_name,
            "options": _options(role),
        },
    )
    return pool


def _options(role: str | None) -> str:
    return f"{_SESSION_OPTIONS} -c role={role}" if role else _SESSION_OPTIONS


@contextmanager
def pooled(pool: ConnectionPool[Any]) -> Iterator[Connection]:
    """Borrow a connection.

    Raises:
        DatabaseUnavailable: none could be had in time, or the server went away while it was used.
    """
    try:
        with pool.connection() as connection:
            yield connection
    except (PoolTimeout, psycopg.OperationalError) as error:
        raise DatabaseUnavailable(_without_secrets(error)) from None


def _without_secrets(error: Exception) -> str:
    """The driver's first line; it names host and port, never the password."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"PostgreSQL: {first_line}"
