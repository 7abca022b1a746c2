"""Country databases of the demo: what is in them, and what is submitted over time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import psycopg
import pytest

from demo.pisa import COUNTRIES, WIDE, Response, create_countries, draw_response, question_names
from demo.pisa_submissions import Shares, Submitted, submit
from tests.conftest import PostgresServer


@pytest.fixture
def server_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A role that may create databases; a test's country databases are dropped after it."""
    yield postgres_server.cluster.url(postgres_server.superuser_password)
    for country in COUNTRIES:
        postgres_server.drop_database(f"pisa_{country.lower()}")


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
