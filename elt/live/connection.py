"""A connection to a country database, on which nothing is waited for without an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from elt.errors import SourceUnavailable
from elt.sources.postgres_words import in_our_words, read_address

SHORT_SECONDS = 30
"""How long a question about a few rows may take."""

_LOCK_WAIT_MS = 5000
_CONNECT_SECONDS = 10
_GRACE_SECONDS = 5
_NETWORK_MS = 15_000

_Row = tuple[Any, ...]


class SourceConnection:
    """Single statements, each a transaction; read-only unless `allow_writing` was called.

    `busy_seconds`: how long the source has been busy for us.
    """

    def __init__(self, connection: psycopg.AsyncConnection[_Row], limit_seconds: int) -> None:
        self._connection = connection
        self._short_seconds = self._limit_seconds = limit_seconds
        self.busy_seconds = 0.0

    @property
    def server_version(self) -> int:
        """As PostgreSQL numbers it: 180004 is 18.4."""
        return self._connection.info.server_version

    @classmethod
    async def open(cls, address: SecretStr, *, timeout_seconds: int = SHORT_SECONDS) -> SourceConnection:
        """Connect.

        Args:
            address: as `postgresql://…`.
            timeout_seconds: a short question takes no longer than this, nor than SHORT_SECONDS.

        Raises:
            ConfigurationError: the address cannot be read.
            SourceUnavailable: the server does not answer within ten seconds, or refuses.
        """
        read_address(address.get_secret_value())
        limit_seconds = min(timeout_seconds, SHORT_SECONDS)
        options = (
            f"-c lock_timeout={_LOCK_WAIT_MS} -c statement_timeout={limit_seconds * 1000} "
            "-c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO"
        )
        with in_our_words():
            connection = await psycopg.AsyncConnection.connect(
                address.get_secret_value(), autocommit=True, connect_timeout=_CONNECT_SECONDS,
                options=options, client_encoding="utf8", application_name="laurel-live",
                keepalives_idle=10, keepalives_interval=5, keepalives_count=3, tcp_user_timeout=_NETWORK_MS,
            )  # fmt: skip
        return cls(connection, limit_seconds)

    async def ask(
        self,
        query: sql.SQL | sql.Composed,
        parameters: Mapping[str, object] | None = None,
        *,
        seconds: int | None = None,
    ) -> list[_Row]:
        """All rows of an answer, none where it has none. `seconds`: None for a short question.

        Raises:
            SourceUnavailable: none came in `seconds`, or the connection is lost; it is of no use any more.
            SourceFault: the server refuses.
        """
        seconds = seconds or self._short_seconds
        began = time.monotonic()
        try:
            with in_our_words():
                async with asyncio.timeout(seconds + _GRACE_SECONDS):
                    await self._limit(seconds)
                    cursor = await self._connection.execute(query, parameters)
                    return await cursor.fetchall() if cursor.description else []
        except TimeoutError:
            await self.close()
            raise SourceUnavailable(
                f"The database did not answer in {seconds} s, not even that it is slow."
            ) from None
        finally:
            self.busy_seconds += time.monotonic() - began

    async def _limit(self, seconds: int) -> None:
        if seconds != self._limit_seconds:
            await self._connection.execute(
                sql.SQL("set statement_timeout = {}").format(sql.Literal(seconds * 1000))
            )
            self._limit_seconds = seconds

    async def allow_writing(self) -> None:
        """Statements may write from now on; Laurel's own schema at the source is all that it writes to."""
        await self.ask(sql.SQL("set default_transaction_read_only = off"))

    async def listen(self, channel: str) -> None:
        """Have notifications sent here."""
        await self.ask(sql.SQL("listen {}").format(sql.Identifier(channel)))

    async def has_news(self, seconds: float) -> bool:
        """Wait for a notification, so long at most; all that have come count as one."""
        has_come = False
        with in_our_words():
            async for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                has_come = True
            if has_come:
                async for _ in self._connection.notifies(timeout=0):
                    pass
        return has_come

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()
