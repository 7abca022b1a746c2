"""Submissions over time in the databases of `demo.pisa`: some commit late, some change, go or are bad."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from demo.pisa import Response, draw_response

_LATE_SECONDS = (0.5, 2.0)
_BAD_TMINS = "many"
_NEXT_ID = "select nextval(pg_get_serial_sequence('responses', 'id'))"
_INSERT = sql.SQL("insert into responses ({}) values ({})").format(
    sql.SQL(", ").join(map(sql.Identifier, Response._fields)),
    sql.SQL(", ").join(sql.Placeholder() * len(Response._fields)),
)

_Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Shares:
    """Of all submissions, what part commits late, changes or deletes another, has text as number."""

    late: float = 0.02
    updates: float = 0.01
    deletes: float = 0.001
    bad: float = 0.001


@dataclass(frozen=True, slots=True)
class Submitted:
    """A response that was committed.

    `committed`: seconds of `time.monotonic` when the server had said so. On Linux all processes of a machine
    read the same clock by it, so another one may take the difference.
    """

    country: str
    id: int
    committed: float


async def submit(
    addresses: Mapping[str, str],
    rate: float,
    seconds: float,
    seed: int,
    record: Callable[[Submitted], None],
    shares: Shares = Shares(),
) -> None:
    """Submit for a time, in all countries at once, by two connections each; then return.

    Args:
        addresses: the database of each country.
        rate: submissions a second in all countries together.
        seconds: for how long.
        seed: draws what is submitted.
        record: is told of each new response once it is committed; not of changes to earlier ones.
        shares: how often something else happens than a plain submission.

    Raises:
        ExceptionGroup: of `psycopg.Error`, a database cannot be reached or written.
    """
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for country, address in addresses.items():
            rng = random.Random(f"{seed} {country}")  # noqa: S311
            each = _Country(country, rng, record, shares)
            group.create_task(each.submit(address, rate / len(addresses), until))


@dataclass(frozen=True, slots=True)
class _Country:
    code: str
    rng: random.Random
    record: Callable[[Submitted], None]
    shares: Shares

    async def submit(self, address: str, rate: float, until: float) -> None:
        late: asyncio.Task[None] | None = None
        async with (
            await psycopg.AsyncConnection.connect(address, autocommit=True) as prompt,
            await psycopg.AsyncConnection.connect(address, autocommit=True) as slow,
            asyncio.TaskGroup() as group,
        ):
            due = time.monotonic() + self.rng.expovariate(rate)
            while due < until:
                await asyncio.sleep(due - time.monotonic())
                if self.rng.random() < self.shares.late and (late is None or late.done()):
                    late = group.create_task(self._insert(slow, self.rng.uniform(*_LATE_SECONDS)))
                else:
                    await self._insert(prompt)
                await self._touch_earlier(prompt)
                # From when it was due, so that a slow answer does not lower the rate.
                due += self.rng.expovariate(rate)
            await asyncio.sleep(max(until - time.monotonic(), 0))

    async def _insert(self, connection: _Connection, held: float = 0) -> None:
        """One response. `held`: seconds between the statement and its commit."""
        async with connection.transaction():
            id = await _fetch_id(connection)
            drawn = draw_response(self.rng, self.code, id)
            if self.rng.random() < self.shares.bad:
                drawn = drawn._replace(tmins=_BAD_TMINS)
            await connection.execute(_INSERT, drawn)
            await asyncio.sleep(held)
        self.record(Submitted(self.code, id, time.monotonic()))

    async def _touch_earlier(self, connection: _Connection) -> None:
        chance = self.rng.random()
        if chance >= self.shares.updates + self.shares.deletes:
            return
        earlier = self.rng.randint(1, await _fetch_id(connection))
        if chance < self.shares.deletes:
            await connection.execute("delete from responses where id = %s", (earlier,))
        else:
            escs = draw_response(self.rng, self.code, earlier).escs
            await connection.execute("update responses set escs = %s where id = %s", (escs, earlier))


async def _fetch_id(connection: _Connection) -> int:
    fetched = await (await connection.execute(_NEXT_ID)).fetchone()
    assert fetched is not None  # noqa: S101 - a sequence always has a next number
    return int(fetched[0])
