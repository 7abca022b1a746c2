"""Country databases of a test: real ones, with the table of the systems before; and who follows them."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import yaml
from psycopg import sql

from elt.live.follower import follow
from elt.settings import Settings
from tests.conftest import PostgresServer

TABLE = """
create table responses (
    id bigint primary key, cnt text, escs numeric(15, 4), tmins text, belong numeric, durecec integer,
    w_fstuwt numeric, time_submitted timestamptz
)
"""
_numbers = itertools.count(1)

Row = tuple[int, str | None, str | None, str | None, str | None, int | None]


class Country:
    """One database with responses."""

    def __init__(self, code: str, url: str) -> None:
        self.code = code
        self.url = url
        with self.connect() as connection:
            connection.execute(TABLE)

    @property
    def variable(self) -> str:
        """The environment variable with its address."""
        return f"PISA_{self.code}_URL"

    @property
    def name(self) -> str:
        """What the source is called."""
        return f"pisa-{self.code.lower()}"

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection that commits each statement."""
        with psycopg.connect(self.url, autocommit=True, application_name="writer") as connection:
            yield connection

    def fill(self, first: int, last: int) -> None:
        """Insert responses by one statement."""
        with self.connect() as connection:
            connection.execute(
                """
                insert into responses
                select n, %s, (n %% 70) / 10.0 - 3.5,
                       case when n %% 11 = 0 then 'NA' else (n %% 3000)::text end,
                       case when n %% 5 > 0 then (n %% 30) / 10.0 - 1.5 end, n %% 5, 1.5,
                       timestamptz '2026-01-01 00:00+00' + n * interval '1 minute'
                from generate_series(%s::bigint, %s) as n
                """,
                (self.code, first, last),
            )


def make_countries(server: PostgresServer, codes: list[str]) -> list[Country]:
    """Fresh databases."""
    return [
        Country(code, server.create_database(f"country_{next(_numbers)}_{code.lower()}")) for code in codes
    ]


def configure(
    settings: Settings, countries: list[Country], setenv: Callable[[str, str], None], **described: Any
) -> None:
    """Write the sources' file, and their addresses into the environment."""
    folder = settings.home / "sources"
    folder.mkdir(exist_ok=True)
    for country in countries:
        setenv(country.variable, country.url)
    each = {"country": [country.code for country in countries]}
    content = {"name": "pisa", "kind": "pisa", "address": "PISA_{country}_URL", "each": each, **described}
    # As an administrator's editor would: readers never see half of it.
    written = Path(folder / "pisa.yaml.new")
    written.write_text(yaml.safe_dump(content), "utf-8")
    written.rename(folder / "pisa.yaml")


_COUNTED = sql.SQL(
    """
    select cnt, count(*), sum(escs), sum(case when tmins <> 'NA' then tmins::numeric end), sum(belong),
           sum(durecec), count(*) filter (where durecec is not null and belong is not null)
    from responses group by cnt order by cnt
    """
)
_KEPT = """
    select country, responses, nullif(escs_sum, 0), nullif(tmins_sum, 0), nullif(belong_sum, 0),
           nullif(durecec_sum, 0), both_n
    from live.countries where source = %s order by country
"""
_ROWS = sql.SQL(
    """
    select id::text, cnt, escs, case when tmins <> 'NA' then tmins::numeric end, belong, durecec, w_fstuwt,
           time_submitted
    from responses
    """
)
_KEPT_ROWS = """
    select id, country, escs, tmins, belong, durecec, weight, submitted_at
    from live.responses where source = %s
"""
_HOURS = """
    select hour, responses from live.hours where source = %(source)s
    except
    select date_trunc('hour', submitted_at, 'UTC'), count(*)
    from live.responses where source = %(source)s group by 1
"""


def differences(warehouse: str, countries: list[Country]) -> list[str]:
    """The countries whose running sums, rows or hours are not what a full recount of their databases gives.

    A recount that shares nothing with the code under test. Rows that break a rule count as a difference.
    """
    with psycopg.connect(warehouse, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        found = [_difference(connection, country) for country in countries]
    return [difference for difference in found if difference]


def _difference(connection: psycopg.Connection[Any], country: Country) -> str | None:
    with country.connect() as source:
        counted = [tuple(value or None for value in row) for row in source.execute(_COUNTED)]
        kept = [tuple(value or None for value in row) for row in connection.execute(_KEPT, (country.name,))]
        if counted != kept:
            return f"{country.name}: {counted} at the source, {kept} followed"
        present = {row[0]: row[1:] for row in source.execute(_ROWS)}
    followed = {row[0]: row[1:] for row in connection.execute(_KEPT_ROWS, (country.name,))}
    for number in present.keys() | followed.keys():
        there, here = present.get(number), followed.get(number)
        # Where the source has no time, the row counts from when it was first seen.
        if there is None or here is None or there[:-1] != here[:-1] or there[-1] not in (None, here[-1]):
            return f"{country.name}, response {number}: {there} at the source, {here} followed"
    if connection.execute(_HOURS, {"source": country.name}).fetchone():
        return f"{country.name}: the hours are not those of its responses"
    return None


def wait_until_followed(warehouse: str, countries: list[Country], *, seconds: float = 300) -> None:
    """Until the running sums, and the rows, are those of the sources."""
    end = time.monotonic() + seconds
    while found := differences(warehouse, countries):
        assert time.monotonic() < end, found
        time.sleep(0.2)


@contextmanager
def following(settings: Settings) -> Iterator[None]:
    """A follower in a thread; it has ended on return."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(follow(settings, stop=stop)), name="follower"
    )
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(120)
        assert not thread.is_alive()
        loop.close()
