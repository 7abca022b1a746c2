"""The source side of the live follower, on real databases, both ways: what it tells adds up to the table.

Faults: a transaction that commits late, one that is rolled back, savepoints, an id that changes, a table that
is emptied, lines that were dropped at the source, a crash of it, a role that may only read or only insert.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from elt.errors import ConfigurationError, SourceFault, SourceUnavailable
from elt.live import notified, polled
from elt.live.changes import COLUMNS, Changes, LiveRow, LiveSource, MustCompare, Way
from elt.live.prepare import prepare, prepare_sql, reader_of, unprepare
from elt.live.source import open_source
from elt.sources.configuration import Source, kinds
from elt.sources.tables import Digest
from tests.conftest import PostgresServer

_numbers = itertools.count(1)
_READER = "live_reader_for_tests"

TABLE = """
create table responses (
    id bigint {key}, cnt text, escs numeric(15, 4), tmins integer, belong numeric(15, 4),
    durecec integer, time_submitted timestamptz default now()
);
insert into responses
select n, 'ALB', round((n % 40 - 20) / 7.0, 4), n % 2000, null, n % 4, '2018-04-01T10:00:00Z'
from generate_series(1, {rows}) as n;
grant select on responses to {reader};
"""


class Known:
    """What a follower would know: a plain model of how parts are applied."""

    def __init__(self) -> None:
        self.rows: list[LiveRow] = []
        self.snapshot: str | None = None
        self.beat: int | None = None

    def apply(self, part: Changes) -> None:
        kept = [row for row in self.rows if row.id not in part.ids and row.range_no not in part.ranges]
        # An id may have been known in another range.
        brought = {row.id for row in part.rows}
        self.rows = [row for row in kept if row.id not in brought] + part.rows
        self.snapshot = part.snapshot or self.snapshot
        self.beat = part.beat or self.beat

    def digests(self) -> dict[int, Digest]:
        digests: dict[int, Digest] = {}
        for row in self.rows:
            before = digests.get(row.range_no, Digest(0, 0))
            digests[row.range_no] = Digest(before.rows + 1, before.total + row.row_hash)
        return digests

    def cells(self) -> Counter[tuple[str | None, ...]]:
        return Counter(row.cells for row in self.rows)


class Country:
    """A source database; `address` is what Laurel reads it with."""

    def __init__(self, url: str, reader_url: str) -> None:
        self.url = url
        self.address = SecretStr(reader_url)
        self.source = a_source()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def prepare(self) -> None:
        asyncio.run(prepare(SecretStr(self.url), self.source, reader_of(self.source, self.address)))

    def truth(self) -> Counter[tuple[str | None, ...]]:
        """A full recount that shares nothing with the code under test."""
        present = {
            row[0]
            for row in self.ask(
                "select attname::text from pg_attribute where attrelid = 'responses'::regclass and attnum > 0"
            )
        }
        at = """to_char(time_submitted at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '+00:00'"""
        cells = [
            at if column == "time_submitted" else f"{column}::text" if column in present else "null"
            for column in COLUMNS
        ]
        return Counter(self.ask(f"select {', '.join(cells)} from responses"))


def a_source(**changed: Any) -> Source:
    described: dict[str, Any] = {
        "name": "pisa-alb", "kind_name": "pisa", "kind": kinds()["pisa"], "address_variable": "PISA_ALB_URL",
        "key_variable": None, "school_id": "main", "parameters": {"country": "ALB"}, "utc_offset": "+00:00",
        "private_network": False, "compare_minutes": 60, "timeout_seconds": 60,
    }  # fmt: skip
    return Source(**{**described, **changed})


MakeCountry = Callable[..., Country]


@pytest.fixture
def make_country(postgres_server: PostgresServer) -> Iterator[MakeCountry]:
    """Makes databases with responses, each read by a role that may read and nothing else."""
    made: list[str] = []

    def make(
        way: Way = "poll", *, rows: int = 30, key: Literal["primary key", ""] = "primary key"
    ) -> Country:
        name = f"live_country_{next(_numbers)}"
        made.append(name)
        url = postgres_server.create_database(name)
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(
                sql.SQL(
                    "do $$ begin create role {0} login; exception when duplicate_object then null; end $$"
                ).format(sql.Identifier(_READER))
            )
            owner.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(_READER), postgres_server.owner_password
                )
            )
        parts = urlsplit(url)
        host = f"{parts.hostname}:{parts.port}"
        reader_url = f"postgresql://{_READER}:{postgres_server.owner_password}@{host}{parts.path}"
        country = Country(url, reader_url)
        country.execute(TABLE.format(key=key, rows=rows, reader=_READER))
        if way == "notify":
            country.prepare()
        return country

    yield make
    for name in made:
        postgres_server.drop_database(name)


@pytest.fixture(params=["notify", "poll"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """Each of the two ways; looks are due at once."""
    monkeypatch.setattr(polled, "SCAN_SECONDS", 0.0)
    monkeypatch.setattr(polled, "_BUSY_SHARE", 1e9)
    way: Way = request.param
    return way


Act = Callable[[LiveSource, Known], Awaitable[None]]


def following(country: Country, act: Act) -> Known:
    """Open, compare, do what a test wants, close; what is known at the end."""
    known = Known()

    async def run() -> None:
        live = await open_source(country.source, country.address)
        try:
            await compare(live, known)
            await act(live, known)
        finally:
            await live.close()

    run_to_end(run())
    return known


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 300))


async def compare(live: LiveSource, known: Known) -> None:
    async for part in live.compare(known.digests()):
        known.apply(part)


async def read(live: LiveSource, known: Known) -> list[Changes]:
    """One reading as the follower makes it; comparing where that is needed."""
    assert known.snapshot is not None
    parts = []
    try:
        async for part in live.read(known.snapshot, known_rows=len(known.rows)):
            known.apply(part)
            parts.append(part)
    except MustCompare:
        await compare(live, known)
    return parts


async def read_twice(live: LiveSource, known: Known) -> None:
    """Where changes are looked for, rows that are gone are noticed by the reading after."""
    await read(live, known)
    await read(live, known)


def test_first_comparison_brings_all_and_says_which_way(make_country: MakeCountry, way: Way) -> None:
    country = make_country(way, rows=25_000)
    ways = []

    async def act(live: LiveSource, known: Known) -> None:
        ways.append(live.way)
        again = [part async for part in live.compare(known.digests())]
        assert [(part.rows, part.ranges) for part in again] == [([], frozenset())]
        assert await live.is_best_way()

    known = following(country, act)
    assert known.cells() == country.truth()
    assert ways == [way]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into responses (id, cnt, escs) values (31, 'ALB', 0.5), (9000, 'ALB', 1)",
        "update responses set escs = 9.5 where id in (3, 4)",
        "update responses set tmins = case id when 5 then 6 else 5 end where id in (5, 6)",
        "delete from responses where id between 10 and 12",
        "update responses set id = id + 5000 where id < 4",
        "truncate responses",
        "delete from responses where id = 7; insert into responses (id, cnt) values (7, 'ALB')",
        "begin; savepoint a; insert into responses (id, cnt) values (40, 'ALB'); release savepoint a; "
        "savepoint b; insert into responses (id, cnt) values (41, 'ALB'); rollback to savepoint b; "
        "savepoint c; update responses set escs = 2 where id = 1; commit",
        "insert into responses select n, 'ALB' from generate_series(1000, 26000) as n",
        "insert into responses (id, cnt) values (-5, 'ALB'), (9223372036854775807, null)",
    ],
)
def test_any_statement_is_followed(make_country: MakeCountry, way: Way, statement: str) -> None:
    country = make_country(way)

    async def act(live: LiveSource, known: Known) -> None:
        with psycopg.connect(country.url, autocommit=True) as writer:
            writer.execute(statement)  # type: ignore[arg-type]
        await read_twice(live, known)

    assert following(country, act).cells() == country.truth()


def test_rolled_back_changes_are_not_told(make_country: MakeCountry, way: Way) -> None:
    country = make_country(way)

    async def act(live: LiveSource, known: Known) -> None:
        with psycopg.connect(country.url) as writer:
            writer.execute("insert into responses (id, cnt) values (100, 'ALB')")
            await read_twice(live, known)
            writer.rollback()
        await read_twice(live, known)

    assert following(country, act).cells() == country.truth()


def test_late_transactions_are_told_when_they_commit(make_country: MakeCountry, way: Way) -> None:
    country = make_country(way)

    async def act(live: LiveSource, known: Known) -> None:
        with psycopg.connect(country.url) as late, psycopg.connect(country.url) as nested:
            late.execute("insert into responses (id, cnt) values (100, 'ALB')")
            nested.execute("savepoint s")
            nested.execute("insert into responses (id, cnt) values (101, 'ALB')")
            nested.execute("release savepoint s")
            for number in range(200, 205):
                country.execute(f"insert into responses (id, cnt) values ({number}, 'ALB')")
                await read(live, known)
            assert known.cells() == country.truth()
            late.commit()
            nested.commit()
        await read(live, known)

    known = following(country, act)
    assert {"100", "101"} <= {row.id for row in known.rows}
    assert known.cells() == country.truth()


def test_a_quick_look_proves_nothing(make_country: MakeCountry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polled, "SCAN_SECONDS", 3600.0)
    monkeypatch.setattr(polled, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(polled, "_BUSY_SHARE", 1e9)
    country = make_country("poll")
    country.execute("insert into responses (id, cnt) values (50000, 'ALB')")

    async def act(live: LiveSource, known: Known) -> None:
        await read(live, known)  # a scan; the next one is due in an hour
        scanned = known.snapshot
        with psycopg.connect(country.url) as late:
            late.execute("insert into responses (id, cnt) values (100, 'ALB')")
            country.execute(
                "insert into responses (id, cnt) values (60000, 'ALB');"
                "update responses set escs = 2 where id = 3; delete from responses where id = 4"
            )
            (part,) = await read(live, known)
        assert part.ids == {"60000"}
        await read(live, known)  # may tell once more what was beside an open transaction
        assert await read(live, known) == []
        assert known.snapshot == scanned
        # As after a kill: whoever comes next begins where the scan was, and finds what the looks did not.
        again = await open_source(country.source, country.address)
        try:
            await read_twice(again, known)
        finally:
            await again.close()

    assert following(country, act).cells() == country.truth()


def test_a_source_rests_however_much_may_be_new(
    make_country: MakeCountry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a transaction stays open, all that is written beside it may be new to each scan."""
    monkeypatch.setattr(polled, "SCAN_SECONDS", 3600.0)
    monkeypatch.setattr(polled, "MOST_IDS", 10)
    country = make_country("poll", key="")  # no index, so no quick looks

    async def run() -> None:
        with psycopg.connect(country.url) as late:
            late.execute("insert into responses (id, cnt) values (100, 'ALB')")
            country.execute("insert into responses select n, 'ALB' from generate_series(200, 250) as n")
            for compares in (False, True):
                live, known = await open_source(country.source, country.address), Known()
                try:
                    snapshot = country.ask("select pg_current_snapshot()::text")[0][0]
                    if compares:
                        await compare(live, known)
                    else:
                        with pytest.raises(MustCompare, match="more than 10 rows"):
                            [part async for part in live.read(snapshot, known_rows=0)]
                    assert [part async for part in live.read(snapshot, known_rows=0)] == []
                    assert not await live.wait(0)
                finally:
                    await live.close()

    run_to_end(run())


def test_rows_without_a_number_and_numbers_that_come_twice(make_country: MakeCountry, way: Way) -> None:
    country = make_country(way, key="")

    async def act(live: LiveSource, known: Known) -> None:
        country.execute("insert into responses (id, cnt, escs) values (null, 'ALB', 1), (null, 'ALB', 2)")
        country.execute("insert into responses (id, cnt, escs) values (5, 'ALB', 3), (5, 'ALB', 3)")
        await read(live, known)
        assert known.cells() == country.truth()
        country.execute("update responses set escs = 4 where id is null and escs = 1")
        await read(live, known)
        assert known.cells() == country.truth()
        country.execute("delete from responses where id is null")
        await read_twice(live, known)
        await compare(live, known)

    assert following(country, act).cells() == country.truth()


@pytest.mark.parametrize("key_type", ["real", "double precision", "numeric"])
def test_keys_that_are_fractions_by_their_type(make_country: MakeCountry, way: Way, key_type: str) -> None:
    country = make_country("poll")
    country.execute(f"alter table responses alter id type {key_type}")
    if way == "notify":
        country.prepare()

    async def act(live: LiveSource, known: Known) -> None:
        large = 1_234_567 if key_type == "real" else 1_234_567_890_123_456
        country.execute(f"insert into responses (id, cnt) values (1000000, 'ALB'), ({large}, 'ALB')")
        await read(live, known)
        assert {"1000000", str(large)} <= {row.id for row in known.rows}
        country.execute("delete from responses where id >= 1000000")
        await read_twice(live, known)
        assert len(known.rows) == 30

    following(country, act)


def test_copy_of_100_000_rows_is_followed_in_parts(make_country: MakeCountry) -> None:
    country = make_country("notify")
    parts: list[Changes] = []

    async def act(live: LiveSource, known: Known) -> None:
        with psycopg.connect(country.url) as writer, writer.cursor() as cursor:
            with cursor.copy("copy responses (id, cnt, tmins) from stdin") as copy:
                for number in range(1000, 101_000):
                    copy.write_row((number, "ALB", number % 900))
            writer.commit()
        assert await live.wait(90)
        parts.extend(await read(live, known))

    known = following(country, act)
    assert len(parts) == 11
    assert [part.snapshot is None for part in parts] == [True] * 10 + [False]
    assert known.cells() == country.truth()


def test_wide_tables_and_renamed_columns(make_country: MakeCountry, way: Way) -> None:
    country = make_country("poll")
    wide = ", ".join(f"add column st{number} smallint default 1" for number in range(1112))
    country.execute(f"alter table responses {wide}")
    country.execute("alter table responses rename column escs to socio; ")
    kind = kinds()["pisa"]
    table = kind.tables[0].model_copy(update={"columns": {"escs": "socio"}})
    country.source = a_source(kind=kind.model_copy(update={"tables": (table,)}))
    if way == "notify":
        country.prepare()

    async def act(live: LiveSource, known: Known) -> None:
        country.execute("insert into responses (id, cnt, socio) values (77, 'ALB', 0.25)")
        await read(live, known)

    known = following(country, act)
    assert [row.cells[2] for row in known.rows if row.id == "77"] == ["0.2500"]
    assert len(known.rows) == 31


def test_seeded_concurrent_transactions_add_up(make_country: MakeCountry, way: Way) -> None:
    country = make_country(way, rows=200)
    chance = random.Random(20181204)

    async def act(live: LiveSource, known: Known) -> None:
        writers = [psycopg.connect(country.url) for _ in range(4)]
        numbers = itertools.count(1000)
        try:
            for _ in range(250):
                writer = chance.choice(writers)
                own = writers.index(writer)
                step = chance.random()
                if step < 0.35:
                    writer.execute(
                        "insert into responses (id, cnt, tmins) values (%s, 'ALB', %s)",
                        (next(numbers) * 4 + own, chance.randrange(2000)),
                    )
                elif step < 0.5:
                    writer.execute(
                        "update responses set tmins = tmins + 1 where id %% 4 = %s and id %% 7 = %s",
                        (own, chance.randrange(7)),
                    )
                elif step < 0.58:
                    writer.execute("savepoint s")
                elif step < 0.65:
                    writer.execute(
                        "delete from responses where id %% 4 = %s and id %% 31 = %s",
                        (own, chance.randrange(31)),
                    )
                elif step < 0.85:
                    writer.commit()
                elif step < 0.9:
                    writer.rollback()
                else:
                    await read(live, known)
            for writer in writers:
                writer.commit()
        finally:
            for writer in writers:
                writer.close()
        for _ in range(3):
            await read(live, known)

    assert following(country, act).cells() == country.truth()


def test_a_prepared_source_calls_and_carries_canaries(
    make_country: MakeCountry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notified, "_UNCALLED_SECONDS", 3600.0)  # it is read when it calls, and never without
    country = make_country("notify")

    async def act(live: LiveSource, known: Known) -> None:
        assert await live.beat(41)
        assert await live.beat(42)
        assert await live.wait(90)
        await read(live, known)
        assert known.beat == 42
        assert not await live.wait(0.05)
        country.execute("insert into responses (id, cnt) values (100, 'ALB')")
        assert await live.wait(90)
        (part,) = await read(live, known)
        assert part.ids == {"100"}
        assert part.beat is None

    assert following(country, act).cells() == country.truth()


def test_a_role_that_may_only_insert_is_not_disturbed(
    make_country: MakeCountry, postgres_server: PostgresServer
) -> None:
    country = make_country("notify")
    country.execute(f"grant insert on responses to {_READER}")
    with psycopg.connect(country.address.get_secret_value()) as writer:
        writer.execute("insert into responses (id, cnt) values (100, 'ALB')")
        writer.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("delete from laurel_live.changes")
    assert country.ask("select id from laurel_live.changes") == [("100",)]


def test_lines_that_were_dropped_are_not_believed(make_country: MakeCountry) -> None:
    country = make_country("notify")
    reasons = []

    async def act(live: LiveSource, known: Known) -> None:
        country.execute("insert into responses (id, cnt) values (100, 'ALB')")
        country.execute("select laurel_live.forget(pg_current_snapshot())")
        assert country.ask("select count(*) from laurel_live.changes") == [(0,)]
        assert known.snapshot is not None
        with pytest.raises(MustCompare) as caught:
            [part async for part in live.read(known.snapshot, known_rows=30)]
        reasons.append(str(caught.value))
        await compare(live, known)
        assert await read(live, known)

    known = following(country, act)
    assert reasons == ["what changed since then is no longer noted at the source"]
    assert known.cells() == country.truth()


def test_after_a_crash_of_the_source_it_is_compared(make_country: MakeCountry) -> None:
    country = make_country("notify")

    async def act(live: LiveSource, known: Known) -> None:
        country.execute("insert into responses (id, cnt) values (100, 'ALB')")
        # What a crash does to unlogged tables.
        country.execute("truncate laurel_live.changes, laurel_live.floor")
        await read(live, known)
        assert known.cells() == country.truth()
        country.execute("insert into responses (id, cnt) values (101, 'ALB')")
        (part,) = await read(live, known)
        assert part.ids == {"101"}

    assert following(country, act).cells() == country.truth()


def test_a_dump_that_was_restored_on_another_server_is_compared_once(make_country: MakeCountry) -> None:
    country = make_country("notify")
    # What pg_dump brings of a server that is further on; the second line says that all rows are gone.
    country.execute("update laurel_live.floor set seen = '999999999:999999999:'")
    country.execute(
        "insert into laurel_live.changes (xid, id) values ('999999998', '7'), ('999999999', null)"
    )
    reasons = []

    async def act(live: LiveSource, known: Known) -> None:
        assert known.snapshot is not None
        with pytest.raises(MustCompare) as caught:
            [part async for part in live.read(known.snapshot, known_rows=30)]
        reasons.append(str(caught.value))
        await compare(live, known)
        country.execute("insert into responses (id, cnt) values (100, 'ALB')")
        (part,) = await read(live, known)
        assert part.ids == {"100"}

    assert following(country, act).cells() == country.truth()
    assert reasons == ["what changed since then is no longer noted at the source"]
    assert country.ask("select id from laurel_live.changes") == [("100",)]


@pytest.mark.parametrize("has_crashed", [False, True])
def test_nobody_follows_and_the_source_stays_small(make_country: MakeCountry, has_crashed: bool) -> None:
    country = make_country("poll")
    text = prepare_sql(country.source, _READER).replace("1000000", "5000")
    assert "5000" in text
    country.execute(text)
    if has_crashed:
        country.execute("truncate laurel_live.changes, laurel_live.floor")

    async def act(live: LiveSource, known: Known) -> None:
        sizes = []
        with psycopg.connect(country.url, autocommit=True) as writer:
            for first in range(1000, 121_000, 500):
                writer.execute(
                    "insert into responses (id, cnt) "
                    "select n, 'ALB' from generate_series(%s::int, %s::int) as n",
                    (first, first + 499),
                )
                if first % 5000 == 0:
                    writer.execute("vacuum laurel_live.changes")  # which the server does by itself
                if first in (60_000, 120_000):
                    sizes += writer.execute("select pg_total_relation_size('laurel_live.changes')").fetchall()
        [(lines,)] = country.ask("select count(*) from laurel_live.changes")
        assert lines < 15_000
        assert sizes[1] <= sizes[0], "the file on disk grows"
        with pytest.raises(MustCompare):
            [part async for part in live.read(known.snapshot or "", known_rows=30)]
        await compare(live, known)
        country.execute("insert into responses (id, cnt) values (100, 'ALB')")
        await read(live, known)

    assert following(country, act).cells() == country.truth()


def test_preparing_is_repeatable_and_can_be_undone(make_country: MakeCountry) -> None:
    country = make_country("notify")
    country.prepare()
    country.execute("create table laurel_live.theirs (id int)")
    asyncio.run(unprepare(SecretStr(country.url)))
    assert country.ask("select relname from pg_class where relnamespace = 'laurel_live'::regnamespace") == [
        ("theirs",)
    ]
    country.execute("drop table laurel_live.theirs")
    asyncio.run(unprepare(SecretStr(country.url)))
    assert country.ask("select to_regnamespace('laurel_live')") == [(None,)]
    ways = []

    async def act(live: LiveSource, known: Known) -> None:
        ways.append(live.way)

    following(country, act)
    country.execute("insert into responses (id, cnt) values (100, 'ALB')")
    country.prepare()
    following(country, act)
    assert ways == ["poll", "notify"]


@pytest.mark.parametrize(
    "oldest", ["elt.live.followed_table.OLDEST_SERVER", "elt.live.prepare._OLDEST_SERVER"]
)
def test_old_servers_are_named(
    make_country: MakeCountry, monkeypatch: pytest.MonkeyPatch, oldest: str
) -> None:
    country = make_country("poll")
    monkeypatch.setattr(oldest, 990_000)
    with pytest.raises(SourceFault, match=r"PostgreSQL 1\d\b.* 99"):
        country.prepare()


@pytest.mark.parametrize(
    "address",
    [
        "mysql://laurel:se:cret@host/elt", "postgresql://laurel:se@cret@host/elt",
        "postgresql://laurel:se/cret@host/elt", "postgresql://laurel:se%cret@host/elt", "secret",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_read_is_not_told(address: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://role:password@host:5432/database") as caught:
        asyncio.run(open_source(a_source(), SecretStr(address)))
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_cannot_be_followed_is_said(make_country: MakeCountry) -> None:
    country = make_country("poll")
    with pytest.raises(SourceFault, match="owner of the table"):
        asyncio.run(prepare(country.address, country.source, _READER))
    with pytest.raises(SourceFault, match='role "nobody_knows" does not exist') as caught:
        asyncio.run(prepare(SecretStr(country.url), country.source, "nobody_knows"))
    assert "owner" not in caught.value.detail
    country.execute("alter table responses rename to r; create view responses as select * from r")
    with pytest.raises(SourceFault, match="view"):
        asyncio.run(open_source(country.source, country.address))
    country.execute("drop view responses")
    with pytest.raises(SourceFault, match="no table responses"):
        asyncio.run(open_source(country.source, country.address))


def test_locks_and_lost_connections_end_a_reading(make_country: MakeCountry, way: Way) -> None:
    country = make_country(way)

    async def act(live: LiveSource, known: Known) -> None:
        assert known.snapshot is not None
        with psycopg.connect(country.url) as locker:
            locker.execute("lock table responses in access exclusive mode")
            with pytest.raises(SourceUnavailable, match="in time"):
                [part async for part in live.read(known.snapshot, known_rows=30)]
        await read(live, known)

    assert following(country, act).cells() == country.truth()


def test_a_terminated_connection_is_told(make_country: MakeCountry, postgres_server: PostgresServer) -> None:
    country = make_country("notify")

    async def act(live: LiveSource, known: Known) -> None:
        assert known.snapshot is not None
        postgres_server.execute(
            sql.SQL("select pg_terminate_backend(pid) from pg_stat_activity where usename = {}").format(
                _READER
            )
        )
        with pytest.raises(SourceUnavailable):
            await live.wait(90)
        with pytest.raises(SourceUnavailable):
            [part async for part in live.read(known.snapshot, known_rows=30)]

    following(country, act)


def test_identity_changes_with_the_table(make_country: MakeCountry) -> None:
    country = make_country("poll")
    identities = []

    async def act(live: LiveSource, known: Known) -> None:
        identities.append(live.identity)

    following(country, act)
    country.prepare()
    following(country, act)
    country.execute("create table public.other as table responses; drop table responses")
    country.execute(f"alter table other rename to responses; grant select on responses to {_READER}")
    following(country, act)
    assert identities[0] == identities[1] != identities[2]
