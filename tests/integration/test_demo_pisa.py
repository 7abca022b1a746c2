"""Country databases of the demo: what is in them, and what is submitted over time."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import sql

from cli.demo_countries import COLLECTOR, READER, Wanted, read_collectors, set_up, take_away
from demo.pisa import (
    COUNTRIES,
    WIDE,
    Response,
    create_countries,
    draw_response,
    find_countries,
    question_names,
)
from demo.pisa_submissions import Shares, Submitted, submit
from elt.errors import ConfigurationError
from elt.live.listing import list_live
from elt.live.once import follow_once
from elt.live.opening import live_sources
from elt.settings import Settings
from elt.sources.configuration import environment_of
from elt.warehouse import Connection
from tests.conftest import PostgresServer

WAIT_SECONDS = 180


@pytest.fixture
def server_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A role that may create databases; a test's country databases are dropped after it."""
    yield postgres_server.cluster.url(postgres_server.superuser_password)
    for country in COUNTRIES:
        postgres_server.drop_database(f"pisa_{country.lower()}")
    for role in (READER, COLLECTOR):
        postgres_server.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))


def test_what_is_drawn_differs_between_countries_and_not_between_runs() -> None:
    draws = [[draw_response(random.Random(1), each, 1) for each in COUNTRIES] for _ in range(2)]
    assert [each[:7] for each in draws[0]] == [each[:7] for each in draws[1]]
    assert len({each.w_fstuwt for each in draws[0]}) == len(COUNTRIES)


def test_a_wide_table_holds_what_was_asked_for(server_url: str) -> None:
    addresses = create_countries(server_url, ["ALB", "ESP"], columns=WIDE, responses=50, seed=1)
    assert len(set(question_names(WIDE))) == WIDE
    for country, address in addresses.items():
        with psycopg.connect(address) as connection:
            cursor = connection.execute("select * from responses where id = 50")
            assert cursor.description is not None
            assert len(cursor.description) == WIDE
            found = connection.execute("select count(*), min(cnt), max(cnt) from responses").fetchone()
        assert found == (50, country, country)


@pytest.mark.parametrize("columns", [len(Response._fields) - 1, WIDE + 1])
def test_a_table_has_the_followed_columns_and_not_too_many(server_url: str, columns: int) -> None:
    with pytest.raises(ValueError, match="columns"):
        create_countries(server_url, ["ALB"], columns=columns, responses=1, seed=1)


def test_what_is_recorded_is_what_is_there(server_url: str) -> None:
    addresses = create_countries(server_url, ["ALB", "ARG"], columns=8, responses=20, seed=1)
    recorded: list[Submitted] = []
    shares = Shares(late=0.2, updates=0.1, deletes=0, bad=0.2)
    asyncio.run(submit(addresses, 60, 2, 1, recorded.append, shares))
    assert recorded
    for country, address in addresses.items():
        with psycopg.connect(address) as connection:
            rows = connection.execute("select id, tmins from responses where id > 20").fetchall()
        assert {id for id, _ in rows} == {each.id for each in recorded if each.country == country}
        assert "many" in {tmins for _, tmins in rows}


def test_responses_go(server_url: str) -> None:
    addresses = create_countries(server_url, ["ALB"], columns=8, responses=1_000, seed=1)
    shares = Shares(late=0, updates=0, deletes=1, bad=0)
    asyncio.run(submit(addresses, 40, 1, 1, lambda _: None, shares))
    with psycopg.connect(addresses["ALB"]) as connection:
        found = connection.execute("select count(*) from responses where id <= 1000").fetchone()
    assert found is not None
    assert found[0] < 1_000


def wanted(*countries: str, responses: int = 30) -> Wanted:
    return Wanted(countries, columns=8, responses=responses, seed=1)


def said(_text: str) -> None:
    pass


def count(address: str) -> int:
    with psycopg.connect(address) as connection:
        found = connection.execute("select count(*) from responses").fetchone()
    assert found is not None
    return int(found[0])


def test_countries_are_sources_that_call_and_are_read_by_a_role_that_may_do_nothing_else(
    settings: Settings, connection: Connection, server_url: str
) -> None:
    set_up(settings, server_url, wanted("ALB", "ARG"), said)
    assert [source.name for source in live_sources(settings)] == ["demo-pisa-alb", "demo-pisa-arg"]
    for source in live_sources(settings):
        assert follow_once(settings, source.name).rows == 30
        address = source.address(environment_of(settings)).get_secret_value()
        for forbidden in (
            "delete from responses", "insert into responses (id) values (-1)", "create table t ()",
            "create schema s", "create role r",
        ):  # fmt: skip
            with psycopg.connect(address) as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(forbidden.encode())
    assert [(each.way, each.responses) for each in list_live(connection)] == [("notify", 30)] * 2
    with psycopg.connect(server_url) as server:
        powers = server.execute(
            "select rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls from pg_roles"
            " where rolname = any(%s)",
            ([READER, COLLECTOR],),
        ).fetchall()
    assert powers == [(False,) * 5] * 2
    folder = settings.home / "sources"
    assert {path.name: path.stat().st_mode & 0o077 for path in folder.glob("*.env")} == {"demo-pisa.env": 0}


def test_a_second_time_keeps_what_is_there_and_dropping_leaves_nothing(
    settings: Settings, server_url: str
) -> None:
    set_up(settings, server_url, wanted("ALB"), said)
    asyncio.run(submit(read_collectors(settings), 40, 1, 1, said_nothing, Shares(0, 0, 0, 0)))
    grown = count(read_collectors(settings)["ALB"])
    assert grown > 30
    set_up(settings, server_url, wanted("ALB", "ARG"), said)
    assert [count(address) for address in read_collectors(settings).values()] == [grown, 30]
    assert follow_once(settings, "demo-pisa-alb").rows == grown

    assert take_away(settings, server_url) == ["ALB", "ARG"]
    assert (read_collectors(settings), live_sources(settings), find_countries(server_url)) == ({}, [], [])
    assert not list(settings.home.rglob("*pisa*"))
    with psycopg.connect(server_url) as server:
        assert not server.execute("select from pg_roles where rolname like 'demo_pisa%'").fetchall()
    assert take_away(settings, server_url) == []


def said_nothing(_submitted: Submitted) -> None:
    pass


def test_where_one_database_is_somebody_elses_none_is_made(
    settings: Settings, server_url: str, postgres_server: PostgresServer
) -> None:
    postgres_server.create_database("pisa_aus")
    with pytest.raises(ConfigurationError, match='"pisa_aus" already exists'):
        set_up(settings, server_url, wanted("ALB", "ARG", "AUS"), said)
    assert find_countries(server_url) == []
    with psycopg.connect(server_url) as server:
        left = server.execute("select datname from pg_database where datname like 'pisa_%'").fetchall()
    assert left == [("pisa_aus",)]
    assert live_sources(settings) == []
    assert take_away(settings, server_url) == []
    with psycopg.connect(postgres_server.url("pisa_aus")):
        pass


def test_a_role_that_may_create_nothing_is_told_so(
    settings: Settings, server_url: str, postgres_server: PostgresServer
) -> None:
    set_up(settings, server_url, wanted("ALB"), said)
    address = read_collectors(settings)["ALB"]
    with pytest.raises(ConfigurationError, match="--server"):
        set_up(settings, address, wanted("ARG"), said)


RunCommand = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run_command(settings: Settings, database_url: str, server_url: str) -> Iterator[RunCommand]:
    """Starts `laurel demo-pisa` with the test's home and server."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ, "LAUREL_HOME": str(settings.home), "LAUREL_DATABASE_URL": database_url,
            "LAUREL_SECRET_KEY": settings.secret_key.get_secret_value(),
            "LAUREL_PSEUDONYM_KEY": settings.pseudonym_key.get_secret_value(), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "cli.main", "demo-pisa", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
            # Where the tests themselves run in the background, Ctrl-C is ignored, and that is inherited.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_ctrl_c_while_databases_are_made_leaves_none(
    run_command: RunCommand, server_url: str, settings: Settings
) -> None:
    process = run_command("--server", server_url, "--countries", "2", "--responses", "5000000")
    with psycopg.connect(server_url, autocommit=True) as server:
        made = "select from pg_database where datname like 'pisa_%'"
        until(lambda: server.execute(made).fetchone() is not None or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 1, output
        assert server.execute(made).fetchone() is None
    assert live_sources(settings) == []


def test_the_command_makes_countries_submits_and_takes_them_away(
    run_command: RunCommand, server_url: str, settings: Settings
) -> None:
    made = run_command(
        "--server", server_url, "--countries", "2", "--responses", "20", "--rate", "40", "--seconds", "600"
    )
    until(lambda: len(read_collectors(settings)) == 2 and len(live_sources(settings)) == 2)
    until(lambda: all(count(address) > 25 for address in read_collectors(settings).values()))
    made.send_signal(signal.SIGINT)
    output, _ = made.communicate(timeout=WAIT_SECONDS)
    assert made.returncode == 0, output
    assert "responses were submitted in 2 countries" in output

    dropping = run_command("--server", server_url, "--drop")
    output, _ = dropping.communicate(timeout=WAIT_SECONDS)
    assert "Dropped 2 country databases" in output
    assert find_countries(server_url) == []


def test_the_service_submits_wherever_countries_are_there_until_it_is_told(
    run_command: RunCommand, server_url: str, settings: Settings
) -> None:
    service = run_command("--only-submit", "--rate", "50")
    set_up(settings, server_url, wanted("ALB", "ARG"), said)
    until(lambda: any(count(address) > 30 for address in read_collectors(settings).values()))
    service.send_signal(signal.SIGTERM)
    output, _ = service.communicate(timeout=WAIT_SECONDS)
    assert service.returncode == 0, output
    assert "Traceback" not in output
