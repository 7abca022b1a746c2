"""Databases of countries, each a PostgreSQL database of its own: after each reading raw equals the source."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from elt.errors import Conflict, NotFound, SourceFault, SourceUnavailable
from elt.people.principals import SYSTEM
from elt.sources.listing import list_sources
from elt.sources.sync import sync_source
from elt.uploads.lifecycle import retry_upload, withdraw_upload
from tests.conftest import PostgresServer
from tests.integration.sources_world import Rows, SourceWorld, source_world

__all__ = ["source_world"]

_numbers = itertools.count(1)

TABLE = """
create table responses (
    id bigint primary key, cnt text not null, escs numeric(15, 4), tmins integer, belong numeric(15, 4),
    durecec integer, time_submitted timestamptz default now()
);
insert into responses
select n, '{country}', round((n % 40 - 20) / 7.0, 4), n % 2000, null, n % 4, '2018-04-01T10:00:00Z'
from generate_series({first}, {last}) as n;
"""

COUNTRIES = (
    "ALB", "ARG", "AUS", "AUT", "BEL", "BGR", "BIH", "BLR", "BRA", "BRN",
    "CAN", "CHE", "CHL", "COL", "CRI", "CZE", "DEU", "DNK", "DOM", "ESP",
)  # fmt: skip


class Country:
    """One source database."""

    def __init__(self, server: PostgresServer, url: str, name: str) -> None:
        self.server = server
        self.url = url
        self.name = name

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    def rows(self) -> Rows:
        with psycopg.connect(self.url) as connection:
            return sorted(connection.execute("select id, escs, tmins, durecec from responses"), key=repr)


MakeCountry = Callable[..., Country]


@pytest.fixture
def make_country(postgres_server: PostgresServer) -> Iterator[MakeCountry]:
    """Makes databases with responses; they are gone after the test."""
    made: list[str] = []

    def make(country: str = "ALB", *, rows: int = 30, first: int = 1) -> Country:
        name = f"country_{country.lower()}_{next(_numbers)}"
        made.append(name)
        source = Country(postgres_server, postgres_server.create_database(name), country)
        source.execute(TABLE.format(country=country, first=first, last=first + rows - 1))
        return source

    yield make
    for name in made:
        postgres_server.drop_database(name)


@pytest.fixture
def albania(source_world: SourceWorld, make_country: MakeCountry) -> Country:
    country = make_country("ALB")
    source_world.configure("alb", country.url, kind="pisa")
    return country


def live(world: SourceWorld) -> Rows:
    return world.live("pisa_responses", "id", "escs", "tmins", "durecec")


def test_first_reading_brings_all_and_the_second_nothing(source_world: SourceWorld, albania: Country) -> None:
    first = source_world.sync("alb")
    assert first.changed == 30
    assert live(source_world) == albania.rows()
    second = source_world.sync("alb")
    assert (second.changed, second.removed, second.uploads) == (0, 0, [])
    assert source_world.connection.execute("select count(*) as n from ops.uploads").fetchone() == {"n": 1}


def test_new_changed_and_deleted_rows_are_seen_and_nothing_else_is_sent(
    source_world: SourceWorld, albania: Country
) -> None:
    source_world.sync("alb")
    albania.execute("insert into responses (id, cnt, tmins) values (5001, 'ALB', 7)")
    albania.execute("update responses set escs = 9.5 where id in (3, 4)")
    albania.execute("delete from responses where id in (10, 11, 12)")
    report = source_world.sync("alb")
    assert (report.changed, report.removed) == (3, 3)
    assert live(source_world) == albania.rows()


def test_rows_that_swap_their_values_are_seen(source_world: SourceWorld, albania: Country) -> None:
    source_world.sync("alb")
    albania.execute("update responses set tmins = case id when 5 then 6 else 5 end where id in (5, 6)")
    assert source_world.sync("alb").changed == 2
    assert live(source_world) == albania.rows()


def test_a_deleted_row_that_returns_is_there_again(source_world: SourceWorld, albania: Country) -> None:
    before = albania.rows()
    source_world.sync("alb")
    albania.execute("create table kept as select * from responses where id = 7")
    albania.execute("delete from responses where id = 7")
    source_world.sync("alb")
    assert len(live(source_world)) == 29
    albania.execute("insert into responses select * from kept")
    source_world.sync("alb")
    assert live(source_world) == before


def test_a_transaction_that_commits_late_is_not_missed(source_world: SourceWorld, albania: Country) -> None:
    with psycopg.connect(albania.url) as late:
        late.execute("insert into responses (id, cnt, time_submitted) values (31, 'ALB', '2018-01-01')")
        albania.execute("insert into responses (id, cnt) values (32, 'ALB')")
        source_world.sync("alb")
        assert [row[0] for row in live(source_world)].count(31) == 0
        late.commit()
    source_world.sync("alb")
    assert live(source_world) == albania.rows()


def test_times_arrive_with_their_zone_and_numbers_digit_for_digit(
    source_world: SourceWorld, albania: Country
) -> None:
    albania.execute(
        "set time zone 'Africa/Lagos'; update responses set time_submitted = '2020-03-29 01:30:00'"
    )
    albania.execute("update responses set escs = -0.1000 where id = 1")
    source_world.sync("alb")
    row = source_world.connection.execute(
        "select time_submitted::text as t, escs::text as e from raw.pisa_responses where id = 1"
    ).fetchone()
    assert row == {"t": "2020-03-29 00:30:00+00", "e": "-0.1000"}


def test_deleting_what_has_not_been_loaded_yet_takes_it_out_in_the_end(
    source_world: SourceWorld, albania: Country
) -> None:
    source_world.read("alb")  # not loaded
    albania.execute("delete from responses where id = 2")
    source_world.read("alb")
    source_world.load()
    source_world.sync("alb")
    assert live(source_world) == albania.rows()


def test_a_lost_state_is_made_again_from_raw(source_world: SourceWorld, albania: Country) -> None:
    source_world.sync("alb")
    source_world.connection.execute("delete from ops.source_tables")
    albania.execute("delete from responses where id = 8")
    albania.execute("update responses set tmins = 1 where id = 9")
    source_world.sync("alb")
    assert live(source_world) == albania.rows()
    assert source_world.sync("alb").uploads == []


def test_another_secret_key_makes_the_state_again(source_world: SourceWorld, albania: Country) -> None:
    source_world.sync("alb")
    albania.execute("delete from responses where id = 8")
    changed = {"secret_key": type(source_world.settings.secret_key)("another-key-for-tests-only-987654321")}
    source_world.settings = source_world.settings.model_copy(update=changed)
    source_world.sync("alb")
    assert live(source_world) == albania.rows()


def test_resend_hands_in_every_row_again(source_world: SourceWorld, albania: Country) -> None:
    upload_id = source_world.sync("alb").uploads[0]
    withdraw_upload(source_world.connection, source_world.store, upload_id, SYSTEM, reason="a test")
    assert live(source_world) == []
    assert source_world.sync("alb").changed == 0
    assert source_world.sync("alb", resend=True).changed == 30
    assert live(source_world) == albania.rows()


def test_an_emptied_table_is_not_believed_until_a_person_says_so(
    source_world: SourceWorld, make_country: MakeCountry
) -> None:
    country = make_country("ALB", rows=400)
    source_world.configure("alb", country.url, kind="pisa")
    source_world.sync("alb")
    country.execute("delete from responses where id > 20")
    with pytest.raises(SourceFault, match=r"380 of the 400 rows .* --accept-removals"):
        source_world.read("alb")
    assert len(live(source_world)) == 400
    assert source_world.sync("alb", accept_removals=True).removed == 380
    assert live(source_world) == country.rows()


def test_ranges_far_apart_negative_and_large_keys(source_world: SourceWorld, albania: Country) -> None:
    albania.execute(
        "insert into responses (id, cnt) values (999999, 'ALB'), (9223372036854775000, 'ALB'), (1000, 'ALB')"
    )
    source_world.sync("alb")
    albania.execute("delete from responses where id in (1000, 9223372036854775000)")
    albania.execute("update responses set tmins = 3 where id = 999999")
    report = source_world.sync("alb")
    assert (report.changed, report.removed) == (1, 2)
    assert live(source_world) == albania.rows()


def test_twenty_countries_one_dead_one_locked_one_wrong_and_the_others_arrive(
    source_world: SourceWorld, make_country: MakeCountry, monkeypatch: pytest.MonkeyPatch
) -> None:
    countries = {code: make_country(code, rows=5, first=100 * n) for n, code in enumerate(COUNTRIES)}
    source_world.configure(
        "pisa", "PISA_{country}_URL", kind="pisa", timeout_seconds=5, each={"country": list(countries)}
    )
    for code, country in countries.items():
        monkeypatch.setenv(f"PISA_{code}_URL", country.url)
    monkeypatch.setenv("PISA_ALB_URL", "postgresql://nobody:s3cret@127.0.0.1:1/none")
    countries["AUS"].execute("drop table responses")
    failures: dict[str, str] = {}
    with psycopg.connect(countries["ARG"].url) as locker:
        locker.execute("lock table responses in access exclusive mode")
        for code in COUNTRIES:
            try:
                source_world.read(f"pisa-{code.lower()}")
            except (SourceUnavailable, SourceFault) as error:
                failures[code] = error.detail
    assert sorted(failures) == ["ALB", "ARG", "AUS"]
    assert "did not answer in time" in failures["ARG"]
    assert "There is no table responses" in failures["AUS"]
    assert "s3cret" not in str(failures)
    source_world.load()
    rows = live(source_world)
    assert len(rows) == 17 * 5
    listed = {source.name: source for source in list_sources(source_world.settings, source_world.connection)}
    assert [name for name, source in listed.items() if source.status == "failed"] == [
        "pisa-alb", "pisa-arg", "pisa-aus",
    ]  # fmt: skip
    assert listed["pisa-esp"].status == "succeeded"
    assert listed["pisa-esp"].rows == 5
    source_world.sync("pisa-arg")
    assert len(live(source_world)) == 18 * 5


def test_a_new_column_is_reported_and_a_missing_one_is_empty(
    source_world: SourceWorld, albania: Country
) -> None:
    source_world.sync("alb")
    albania.execute(
        "alter table responses add column st034q01 integer; alter table responses drop column escs"
    )
    report = source_world.sync("alb")
    assert report.tables[0].findings == [
        "column st034q01 is new at the source and not loaded",
        "column escs is missing at the source and loaded as empty",
    ]
    assert {row[1] for row in live(source_world)} == {None}


def test_a_column_of_another_type_quarantines_the_rows_that_do_not_fit(
    source_world: SourceWorld, albania: Country
) -> None:
    source_world.sync("alb")
    albania.execute("alter table responses alter column tmins type text")
    albania.execute(
        "update responses set tmins = case when id <= 20 then 'about a day' else tmins || '0' end"
    )
    report = source_world.read("alb")
    assert source_world.load() == ["loaded"]
    found = source_world.connection.execute(
        "select rows_read, rows_accepted, rows_rejected from ops.upload_versions where upload_id = %s",
        (report.uploads[0],),
    ).fetchone()
    assert found == {"rows_read": 30, "rows_accepted": 10, "rows_rejected": 20}
    assert [row[2] for row in live(source_world) if row[0] in (1, 21)] == [1, 210]


def test_a_key_that_is_missing_stops_the_table_with_what_to_do(
    source_world: SourceWorld, albania: Country
) -> None:
    albania.execute("alter table responses rename column cnt to country")
    with pytest.raises(SourceFault, match=r"has no column cnt, which names its rows; .* under `columns`"):
        source_world.read("alb")


def test_one_reading_at_a_time(source_world: SourceWorld, albania: Country) -> None:
    from elt.sources.configuration import find_source
    from elt.sources.sync import _claim
    from elt.warehouse import connect

    url = source_world.settings.database_url.get_secret_value()
    source = find_source(source_world.settings, "alb")
    with connect(url) as other, _claim(other, "alb"), pytest.raises(Conflict, match="being read right now"):
        sync_source(source_world.settings, source_world.store, source)
    source_world.sync("alb")


def test_unknown_source_lists_those_there_are(source_world: SourceWorld, albania: Country) -> None:
    with pytest.raises(NotFound, match="there are: alb"):
        source_world.read("pisa")


def test_a_reading_killed_between_its_batches_goes_on_where_it_was(
    source_world: SourceWorld, make_country: MakeCountry, monkeypatch: pytest.MonkeyPatch
) -> None:
    country = make_country("ALB", rows=5000)
    source_world.configure("alb", country.url, kind="pisa")
    monkeypatch.setattr("elt.sources.comparison.BATCH_ROWS", 1000)
    puts = 0
    put = source_world.store.put

    def cut_off(*args: Any, **kwargs: Any) -> Any:
        nonlocal puts
        puts += str(args[0]).startswith("uploads/")
        if puts == 3:
            raise KeyboardInterrupt
        return put(*args, **kwargs)

    monkeypatch.setattr(source_world.store, "put", cut_off)
    with pytest.raises(KeyboardInterrupt):
        source_world.read("alb")
    monkeypatch.setattr(source_world.store, "put", put)
    rest = source_world.sync("alb")
    assert rest.changed < 5000
    assert live(source_world) == country.rows()
    copies = source_world.connection.execute("select count(*) as n from raw.pisa_responses").fetchone()
    assert copies == {"n": 5000}


def test_a_writer_beside_the_reading_never_makes_raw_differ_in_the_end(
    source_world: SourceWorld, make_country: MakeCountry
) -> None:
    country = make_country("ALB", rows=3000)
    source_world.configure("alb", country.url, kind="pisa")
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(country.url, autocommit=True) as connection:
            for number in itertools.count(10_000):
                if stop.is_set():
                    return
                connection.execute("insert into responses (id, cnt, tmins) values (%s, 'ALB', 1)", (number,))
                connection.execute("update responses set tmins = tmins + 1 where id = %s", (number % 3000,))
                connection.execute("delete from responses where id = %s", (number - 50,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(4):
            source_world.sync("alb")
    finally:
        stop.set()
        writer.join()
    source_world.sync("alb")
    assert live(source_world) == country.rows()


def test_a_batch_that_was_never_acknowledged_is_adopted_and_its_rows_can_still_go(
    source_world: SourceWorld, albania: Country, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the batch's event was in the store, and the database did not know yet."""

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("elt.uploads.acts.adopt_event", die)
        with pytest.raises(KeyboardInterrupt):
            source_world.read("alb")
    albania.execute("delete from responses where id in (2, 3)")
    source_world.load()  # adopts the batch, which has the two
    source_world.sync("alb")
    assert live(source_world) == albania.rows()
    albania.execute("update responses set tmins = 1 where id = 9")
    with monkeypatch.context() as patched:
        patched.setattr("elt.uploads.acts.adopt_event", die)
        with pytest.raises(KeyboardInterrupt):
            source_world.read("alb")
    albania.execute("delete from responses where id = 9")
    source_world.read("alb")  # adopts it itself
    source_world.load()
    source_world.sync("alb")
    assert live(source_world) == albania.rows()
    assert source_world.sync("alb").uploads == []


def test_a_row_that_went_while_its_batch_had_failed_is_gone_after_the_retry(
    source_world: SourceWorld, albania: Country, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("a fault of ours")

    (upload_id,) = source_world.read("alb").uploads
    with monkeypatch.context() as patched:
        patched.setattr("elt.loading.loader.copy_rows", fail)
        assert source_world.load() == ["failed"]
    albania.execute("delete from responses where id = 2")
    source_world.read("alb")
    retry_upload(source_world.connection, upload_id, SYSTEM)
    source_world.load()
    source_world.sync("alb")
    assert live(source_world) == albania.rows()
