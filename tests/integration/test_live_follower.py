"""Real country databases, followed: what they hold is in the running sums a moment later."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest
import stamina
from pydantic import SecretStr

from elt.errors import NotFound, SourceUnavailable
from elt.live.audit import check_live
from elt.live.listing import LiveStatus, list_live, list_rejects
from elt.live.once import follow_once
from elt.live.opening import find_live_source
from elt.live.picture import read_picture
from elt.live.prepare import prepare, reader_of, unprepare
from elt.settings import Settings
from elt.warehouse import Connection
from tests.conftest import PostgresServer
from tests.countries import (
    Country,
    configure,
    differences,
    following,
    make_countries,
    wait_until_followed,
)
from tests.webhook import told

WAIT = 180.0  # only against hanging


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def wait_until_counted(warehouse: str, responses: int) -> None:
    with psycopg.connect(warehouse, autocommit=True) as connection:
        counted = "select 1 from live.responses having count(*) = %s"
        until(lambda: connection.execute(counted, (responses,)).fetchone())


def statuses(connection: Connection) -> dict[str, LiveStatus]:
    return {each.source: each for each in list_live(connection)}


@pytest.fixture
def countries(
    postgres_server: PostgresServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> list[Country]:
    """Albania calls, Argentina and Australia are looked at."""
    made = make_countries(postgres_server, ["ALB", "ARG", "AUS"])
    configure(settings, made, monkeypatch.setenv)
    call(settings, made[0])
    return made


def call(settings: Settings, country: Country) -> None:
    source, address = find_live_source(settings, country.name), SecretStr(country.url)
    asyncio.run(prepare(address, source, reader_of(source, address)))


def test_sources_are_followed(
    settings: Settings, database_url: str, connection: Connection, countries: list[Country]
) -> None:
    for country in countries:
        country.fill(1, 1500)
    with following(settings):
        wait_until_followed(database_url, countries)
        for country in countries:
            with country.connect() as source:
                source.execute("delete from responses where id %% 7 = 0", ())
                source.execute("update responses set escs = escs + 1, tmins = 'NA' where id %% 5 = 0", ())
            country.fill(2001, 2100)
        wait_until_followed(database_url, countries)
        until(lambda: statuses(connection)["pisa-alb"].lag_seconds)
        found = statuses(connection)
    assert [each.way for each in found.values()] == ["notify", "poll", "poll"]
    assert all(each.problem is None and each.rejects == 0 for each in found.values())
    assert check_live(settings) == []


def test_a_transaction_that_commits_late_is_followed(
    settings: Settings, database_url: str, countries: list[Country]
) -> None:
    with following(settings):
        for country in countries:
            country.fill(1, 10)
        wait_until_followed(database_url, countries)
        for country in countries:
            with country.connect() as late, late.transaction():
                late.execute("insert into responses (id, cnt, escs) values (11, %s, 0.5)", (country.code,))
                country.fill(12, 20)
                wait_until_followed(database_url, countries)
        wait_until_followed(database_url, countries)


def test_bad_rows_are_told_and_the_rest_flows(
    settings: Settings, database_url: str, connection: Connection, countries: list[Country]
) -> None:
    bad = countries[:2]  # one that calls and one that is looked at
    for country in bad:
        other = "AUT" if country.code != "AUT" else "AUS"
        with country.connect() as source:
            source.execute("alter table responses drop constraint responses_pkey")
            source.execute("alter table responses alter id drop not null")
            source.execute(
                "insert into responses (id, cnt, escs, tmins, time_submitted) values"
                " (1, %(own)s, 0.5, 'NA', now()), (2, null, 0.5, '1', now()),"
                " (3, 'Nowhere', 0.5, '1', now()), (4, %(other)s, 0.5, '1', now()),"
                " (5, %(own)s, 0.5, 'many', now()), (6, %(own)s, 99, '1', now()),"
                " (7, %(own)s, 0.5, '1', now() + interval '1 day'),"
                " (8, %(own)s, 0.5, '1', now()), (8, %(own)s, 0.5, '1', now() - interval '1 hour'),"
                " (null, %(own)s, 0.5, '1', now())",
                {"own": country.code, "other": other},
            )
    with following(settings):
        until(lambda: [each.rejects for each in list_live(connection)][:2] == [8, 8])
        assert [each.responses for each in list_live(connection)][:2] == [2, 2]
        for country in bad:
            rules = Counter({(e.column, e.rule): e.rows for e in list_rejects(connection, country.name)})
            assert sum(rules[("cnt", rule)] for rule in ("enum", "pattern")) == 1
            assert {each: rules[each] for each in rules if each[1] not in ("enum", "pattern")} == {
                ("cnt", "required"): 1, ("cnt", "other_country"): 1, ("tmins", "type"): 1,
                ("escs", "maximum"): 1, ("time_submitted", "ahead"): 1, ("id", "repeated"): 1,
                ("id", "required"): 1,
            }  # fmt: skip
            country.fill(100, 150)
            with country.connect() as source:
                source.execute(
                    "delete from responses where id is null or (id = 8 and time_submitted < now())"
                )
                source.execute(
                    "update responses set cnt = %s, escs = 1, tmins = '60', time_submitted = now()",
                    (country.code,),
                )
        wait_until_followed(database_url, countries)
        assert list_rejects(connection) == []


def test_one_that_is_away_stops_no_other(
    settings: Settings, database_url: str, connection: Connection, countries: list[Country],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    away, others = countries[0], countries[1:]
    address, away.url = away.url, away.url.rsplit("/", 1)[0] + "/there_is_none"
    monkeypatch.setenv(away.variable, away.url)
    with following(settings):
        until(lambda: "pisa-alb" in statuses(connection) and statuses(connection)["pisa-alb"].problem)
        assert "there_is_none" in (statuses(connection)["pisa-alb"].problem or "")
        # Viewers are told no host, database or role.
        shown = {each.source: each.problem for each in read_picture(connection).sources}
        assert shown["pisa-alb"] == "A source does not answer"
        for country in others:
            country.fill(1, 50)
        wait_until_followed(database_url, others)
        # Whoever set the address right need not start anything again.
        away.url = address
        monkeypatch.setenv(away.variable, address)
        away.fill(1, 50)
        wait_until_followed(database_url, countries)
        until(lambda: statuses(connection)["pisa-alb"].problem is None)


def test_what_was_written_past_the_triggers_is_found_by_the_next_comparison(
    settings: Settings, database_url: str, connection: Connection, countries: list[Country],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("elt.live.reading._MINUTE", 0.05)  # one comparison every three seconds
    with following(settings):
        countries[0].fill(1, 30)
        wait_until_followed(database_url, countries)
        with countries[0].connect() as source:
            source.execute("alter table responses disable trigger user")
            countries[0].fill(31, 40)
            source.execute("delete from responses where id < 4")
            source.execute("alter table responses enable always trigger laurel_inserted")
        wait_until_followed(database_url, countries)
        assert statuses(connection)["pisa-alb"].way == "notify"


def test_the_way_changes_while_it_is_followed(
    settings: Settings, database_url: str, connection: Connection, countries: list[Country],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("elt.live.follower._WAY_SECONDS", 0.2)
    changing = countries[1]

    def becomes(way: str, first: int) -> None:
        changing.fill(first, first + 9)
        with changing.connect() as source:
            source.execute("delete from responses where id = %s", (first,))
        until(lambda: statuses(connection)[changing.name].way == way)
        changing.fill(first + 10, first + 19)
        wait_until_followed(database_url, countries)

    with following(settings):
        until(lambda: changing.name in statuses(connection))
        becomes("poll", 1)
        call(settings, changing)
        becomes("notify", 101)
        with changing.connect() as source:
            source.execute("alter table responses disable trigger laurel_inserted")
        becomes("poll", 201)
        call(settings, changing)
        becomes("notify", 301)
        asyncio.run(unprepare(SecretStr(changing.url)))
        becomes("poll", 401)
    assert check_live(settings) == []


@pytest.mark.parametrize("number", [0, 1], ids=["notify", "poll"])
def test_the_table_changes_while_it_is_followed(
    settings: Settings, database_url: str, countries: list[Country], monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:  # fmt: skip
    monkeypatch.setattr("elt.live.follower._WAY_SECONDS", 0.2)
    changing = [countries[number]]
    with changing[0].connect() as source:
        source.execute("alter table responses drop column durecec, drop column time_submitted")
        source.execute("insert into responses (id, cnt, escs) values (1, %s, 1)", (changing[0].code,))
        with following(settings):
            wait_until_counted(database_url, 1)
            source.execute("alter table responses add durecec int, add time_submitted timestamptz")
            source.execute("update responses set durecec = 3, time_submitted = '2026-01-01'")
            wait_until_followed(database_url, changing)
            source.execute(
                "create table anew (like responses including all); insert into anew select * from responses;"
                "alter table responses rename to former; alter table anew rename to responses"
            )
            source.execute("update responses set durecec = 4")
            wait_until_followed(database_url, changing)


def test_people_are_told_once_that_one_is_away_and_once_that_it_is_back(
    settings: Settings, connection: Connection, countries: list[Country], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elt.live.follower._AWAY_SECONDS", 0.0)
    away = countries[0]
    monkeypatch.setenv(away.variable, away.url.rsplit("/", 1)[0] + "/there_is_none")
    with told(settings) as (watched, messages):
        with following(watched):
            until(lambda: messages)
        # Whoever follows next does not tell it again, and knows that it was told.
        with following(watched):
            until(lambda: statuses(connection)["pisa-alb"].problem)
            monkeypatch.setenv(away.variable, away.url)
            until(lambda: len(messages) == 2)
    assert [(each["event"], each.get("is_over", False)) for each in messages] == [
        ("live_source_away:pisa-alb", False), ("live_source_away:pisa-alb", True),
    ]  # fmt: skip
    assert "there_is_none" in messages[0]["detail"]


def test_people_are_told_where_reading_works_and_the_canary_fails(
    settings: Settings, countries: list[Country], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk."""
    monkeypatch.setattr("elt.live.follower._AWAY_SECONDS", 0.0)
    monkeypatch.setattr("elt.live.telling.AGAIN_SECONDS", 0.0)
    with countries[0].connect() as source:
        source.execute(
            "create or replace function laurel_live.beat(number bigint) returns void language plpgsql"
            " as $$ begin raise exception using errcode = 'disk_full'; end $$"
        )
    # The webhook is away for longer, too, than one alert is tried.
    with (
        stamina.set_testing(True, attempts=2, cap=True),
        told(settings, refused=5) as (watched, messages),
        following(watched),
    ):
        until(lambda: messages)
        call(settings, countries[0])
        until(lambda: len(messages) == 2)
    assert [(each["event"], each.get("is_over", False)) for each in messages] == [
        ("live_source_away:pisa-alb", False), ("live_source_away:pisa-alb", True),
    ]  # fmt: skip


def test_lateness_ends_where_a_source_carries_no_canaries_any_more(
    settings: Settings, connection: Connection, countries: list[Country], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elt.live.follower._WAY_SECONDS", 0.2)
    follow_once(settings, "pisa-alb")
    connection.execute("update live.sources set lag_seconds = 9")
    connection.execute("insert into ops.alerts (event, sent_at) values ('live_late:pisa-alb', now())")
    with told(settings) as (watched, messages), following(watched):
        until(lambda: len(statuses(connection)) == 3)
        asyncio.run(unprepare(SecretStr(countries[0].url)))
        until(lambda: messages)
        until(lambda: statuses(connection)["pisa-alb"].way == "poll")
    assert statuses(connection)["pisa-alb"].lag_seconds is None
    assert (messages[0]["event"], messages[0]["is_over"]) == ("live_late:pisa-alb", True)


def test_people_are_told_once_that_changes_are_late_and_once_that_they_are_in_time(
    settings: Settings, connection: Connection, countries: list[Country], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = 3.0  # which canaries keep on a busy machine, too, when nothing delays them
    monkeypatch.setattr("elt.live.follower.BEAT_SECONDS", 0.2)
    monkeypatch.setattr("elt.live.follower.TELL_SECONDS", 0.2)
    connection.execute(
        "create function live.dawdle() returns trigger language plpgsql"
        " as 'begin perform pg_sleep(3.2); return new; end'"
    )
    connection.execute(
        "create trigger dawdle before update on live.version for each row execute function live.dawdle()"
    )
    bounded = settings.model_copy(update={"live_bound_seconds": bound})
    with told(bounded) as (watched, messages), following(watched):
        until(lambda: messages)
        connection.execute("drop trigger dawdle on live.version")
        until(lambda: len(messages) == 2)
        until(lambda: (statuses(connection)["pisa-alb"].lag_seconds or 9) < bound)
    assert [(each["event"], each.get("is_over", False)) for each in messages] == [
        ("live_late:pisa-alb", False), ("live_late:pisa-alb", True),
    ]  # fmt: skip


def test_sources_come_and_go(
    settings: Settings, database_url: str, connection: Connection, countries: list[Country],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for country in countries:
        country.fill(1, 20)
    configure(settings, countries[:1], monkeypatch.setenv)
    with following(settings):
        wait_until_followed(database_url, countries[:1])
        configure(settings, countries[1:], monkeypatch.setenv)
        wait_until_followed(database_url, countries[1:])
        until(lambda: "pisa-alb" not in statuses(connection))
        # A file that is wrong takes nothing away.
        (settings.home / "sources" / "pisa.yaml").write_text("name: [", "utf-8")
        countries[1].fill(21, 40)
        wait_until_followed(database_url, countries[1:])


def test_two_followers_count_nothing_twice(
    settings: Settings, database_url: str, connection: Connection, countries: list[Country]
) -> None:
    with following(settings), following(settings):
        for country in countries:
            country.fill(1, 30)
        wait_until_followed(database_url, countries)
        held = connection.execute(
            "select count(*) as n from pg_locks where locktype = 'advisory' and granted"
            " and database = (select oid from pg_database where datname = current_database())"
        ).fetchone()
        assert held == {"n": 1}


@pytest.mark.parametrize("side", ["warehouse", "sources"])
def test_connections_that_are_cut(
    settings: Settings, database_url: str, connection: Connection, countries: list[Country],
    postgres_server: PostgresServer, side: str,
) -> None:  # fmt: skip
    cut = """
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name like 'laurel-live%%'
          and (datname = current_database()) = (%s = 'warehouse') and pid <> pg_backend_pid()
    """
    with following(settings):
        for country in countries:
            country.fill(1, 30)
        wait_until_followed(database_url, countries)
        for number in range(1, 4):
            connection.execute(cut, (side,))
            for country in countries:
                country.fill(number * 100, number * 100 + 30)
            wait_until_followed(database_url, countries)
    assert check_live(settings) == []


def test_once_by_the_clock(
    settings: Settings, database_url: str, countries: list[Country], monkeypatch: pytest.MonkeyPatch
) -> None:
    for country in countries:
        country.fill(1, 100)
        first = follow_once(settings, country.name)
        assert (first.rows, first.rejected) == (100, 0)
        country.fill(101, 110)
        assert follow_once(settings, country.name).rows == 10
        with country.connect() as source:
            source.execute("delete from responses where id > 50")
        follow_once(settings, country.name)
    assert differences(database_url, countries) == []
    for country in countries:
        with country.connect() as source:
            source.execute("delete from responses where id = 5")
        country.fill(111, 120)  # more than are gone
        follow_once(settings, country.name)
    assert differences(database_url, countries) == []

    with pytest.raises(NotFound, match="pisa-alb, pisa-arg, pisa-aus"):
        follow_once(settings, "pisa-xyz")
    monkeypatch.setenv(countries[0].variable, countries[0].url.rsplit("/", 1)[0] + "/there_is_none")
    with pytest.raises(SourceUnavailable):
        follow_once(settings, "pisa-alb")


@pytest.mark.parametrize(
    "change",
    [
        "alter table responses alter id type text using id::text",
        "create table anew (like responses including all);"
        "insert into anew select * from responses where id < 1500;"
        "drop table responses; alter table anew rename to responses",
    ],
    ids=["its key is a text", "it has fewer rows"],
)
def test_a_table_that_was_made_anew(
    settings: Settings, connection: Connection, countries: list[Country], change: str
) -> None:
    country = countries[0]
    country.fill(1, 2500)
    follow_once(settings, country.name)
    with country.connect() as source:
        source.execute(change)  # type: ignore[call-overload]
        row = source.execute("select count(*) from responses").fetchone()
    call(settings, country)
    follow_once(settings, country.name)
    assert row == (statuses(connection)[country.name].responses,)
    assert not [each for each in check_live(settings) if each.startswith(country.name)]


def test_a_row_that_is_ahead_is_no_difference(settings: Settings, countries: list[Country]) -> None:
    configured = countries[1]
    with configured.connect() as source:
        source.execute(
            "insert into responses (id, cnt, time_submitted) values (1, 'ARG', now() + interval '1 day')"
        )
    follow_once(settings, configured.name)
    assert check_live(settings) == []


def test_once_beside_a_follower(settings: Settings, database_url: str, countries: list[Country]) -> None:
    with following(settings):
        for number in range(5):
            for country in countries:
                country.fill(number * 100, number * 100 + 50)
                follow_once(settings, country.name)
        wait_until_followed(database_url, countries)
    assert check_live(settings) == []


def test_the_check_finds_what_differs(
    settings: Settings, connection: Connection, countries: list[Country], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elt.live.audit._PATIENCE_SECONDS", 0.0)
    countries[0].fill(1, 10)
    follow_once(settings, "pisa-alb")
    connection.execute("update live.countries set responses = responses + 1")
    countries[0].fill(11, 12)
    assert check_live(settings) == [
        "pisa-alb, ALB: the sums differ",
        "pisa-alb: rows differ in 1 ranges of keys",
    ]
