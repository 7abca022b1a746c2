"""What many tasks hand in is applied together, and a part that cannot be applied stops no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from elt.errors import DatabaseUnavailable, LoadError, SourceUnavailable
from elt.live.applier import Applier, Late, Part
from elt.live.apply import recount
from elt.live.changes import Changes, LiveRow
from elt.live.check import CheckedRows
from elt.live.state import (
    known_digests,
    load_known,
    note_lags,
    note_problem,
    ranges_ahead,
    register,
    remove_others,
)
from elt.sources.tables import Digest
from elt.warehouse import AsyncConnection, Connection, connect_async

TOO_LARGE = 2**63  # no bigint: PostgreSQL refuses the whole transaction


def row(number: int, *, hash_: int = 7, time: str | None = None, cnt: str = "ALB") -> LiveRow:
    return LiveRow(
        str(number), number // 1000, hash_, (cnt, str(number), "0.25", "1500", None, "3", None, time)
    )


def part(source: str, *rows: LiveRow, reading: int = 0, beat: int | None = None) -> Part:
    changes = Changes(list(rows), frozenset(each.id for each in rows), snapshot="1:1:", beat=beat)
    return Part(source, None, reading, changes)


async def with_applier(
    database_url: str, work: Callable[[Applier, AsyncConnection], Awaitable[None]]
) -> dict[int, dict[str, int]]:
    """The versions that viewers were told of, with their canaries."""
    told: dict[int, dict[str, int]] = {}
    async with connect_async(database_url) as writing, connect_async(database_url) as asking:
        for name in ("alb", "arg", "aus"):
            await register(asking, name, None, "notify", "one")
        applier = Applier(writing, lambda version, beats: told.update({version: dict(beats)}))
        running = asyncio.create_task(applier.run())
        try:
            await work(applier, asking)
            assert await recount(asking) == []
        finally:
            running.cancel()
    return told


async def outcome(applier: Applier, each: Part) -> CheckedRows | Exception:
    try:
        return await applier.submit(each)
    except (Late, LoadError, DatabaseUnavailable) as error:
        return error


def test_what_comes_together_is_one_transaction(database_url: str, connection: Connection) -> None:
    async def work(applier: Applier, asking: AsyncConnection) -> None:
        await asyncio.gather(*(applier.submit(part(name, row(1), beat=5)) for name in ("alb", "arg", "aus")))

    told = asyncio.run(with_applier(database_url, work))

    assert list(told.values()) == [{"alb": 5, "arg": 5, "aus": 5}]
    transactions = connection.execute("select count(distinct xmin::text) as n from live.responses").fetchone()
    assert transactions == {"n": 1}


def test_a_part_that_cannot_be_applied_stops_no_other(database_url: str, connection: Connection) -> None:
    async def work(applier: Applier, asking: AsyncConnection) -> None:
        found = await asyncio.gather(
            outcome(applier, part("alb", row(1))),
            outcome(applier, part("arg", row(1, hash_=TOO_LARGE))),
            outcome(applier, part("aus", row(1))),
            outcome(applier, part("nobody", row(1))),
        )
        assert [type(each) for each in found] == [CheckedRows, LoadError, CheckedRows, Late]
        assert isinstance(await outcome(applier, part("arg", row(2))), CheckedRows)

    asyncio.run(with_applier(database_url, work))

    found = connection.execute("select source, id from live.responses order by source").fetchall()
    assert [tuple(each.values()) for each in found] == [("alb", "1"), ("arg", "2"), ("aus", "1")]


def test_when_the_warehouse_goes_away_all_who_wait_hear_of_it(
    database_url: str, connection: Connection
) -> None:
    async def run() -> None:
        async with connect_async(database_url) as asking:
            await register(asking, "alb", None, "notify", "one")
            async with connect_async(database_url, application_name="writer") as writing:
                applier = Applier(writing)
                running = asyncio.create_task(applier.run())
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'writer'"
                )
                found = await asyncio.gather(
                    *(outcome(applier, part(name, row(1))) for name in ("alb", "arg"))
                )
                assert [type(each) for each in found] == [DatabaseUnavailable, DatabaseUnavailable]
                with pytest.raises(DatabaseUnavailable):
                    await running

    asyncio.run(run())


def test_rows_that_are_ahead_are_looked_at_again(database_url: str) -> None:
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()

    async def work(applier: Applier, asking: AsyncConnection) -> None:
        checked = await applier.submit(part("alb", row(1), row(1001), row(1002, time=later)))
        assert [each.issues for each in checked.rejected] == [(("time_submitted", "ahead"),)]
        assert await known_digests(asking, "alb") == {0: Digest(1, 7), 1: Digest(2, 14)}
        assert await ranges_ahead(asking, "alb") == [1]
        known = await load_known(asking, "alb")
        assert known is not None
        assert (known.reading, known.snapshot, known.rows) == (1, "1:1:", 3)

    asyncio.run(with_applier(database_url, work))


def test_another_identity_is_compared_as_a_whole(database_url: str) -> None:
    async def work(applier: Applier, asking: AsyncConnection) -> None:
        await applier.submit(replace(part("alb", row(1)), is_compared=True))
        await register(asking, "alb", "ALB", "notify", "one")
        same = await load_known(asking, "alb")
        await register(asking, "alb", "ALB", "poll", "one")
        other_way = await load_known(asking, "alb")
        await register(asking, "alb", "ALB", "poll", "another")
        other = await load_known(asking, "alb")
        assert same is not None
        assert other is not None
        assert other_way is not None
        assert (same.snapshot, same.reading) == ("1:1:", 1)
        assert (other_way.snapshot, other_way.is_unread, other_way.reading) == (None, False, 1)
        assert (other.snapshot, other.is_unread, other.reading) == (None, True, 2)
        with pytest.raises(Late):
            await applier.submit(part("alb", row(2), reading=1))

    asyncio.run(with_applier(database_url, work))


def test_problems_lags_and_sources_that_go(database_url: str, connection: Connection) -> None:
    async def work(applier: Applier, asking: AsyncConnection) -> None:
        await applier.submit(part("arg", row(1)))
        await note_problem(asking, "new", "NEW", SourceUnavailable("Its port is closed."))
        await note_lags(asking, {"alb": 0.25, "unknown": 1.0})
        assert await remove_others(asking, ["alb", "new"]) == ["arg", "aus"]
        assert await remove_others(asking, ["alb", "new"]) == []
        assert await load_known(asking, "arg") is None

    told = asyncio.run(with_applier(database_url, work))

    found = connection.execute(
        "select source, problem, problem_detail, lag_seconds from live.sources order by source"
    ).fetchall()
    assert [tuple(each.values()) for each in found] == [
        ("alb", None, None, 0.25), ("new", "A source does not answer", "Its port is closed.", None),
    ]  # fmt: skip
    assert connection.execute("select count(*) as n from live.countries").fetchone() == {"n": 0}
    version = connection.execute("select version from live.version").fetchone()
    assert version == {"version": max(told) + 2}  # the problem, and the sources that went
