"""What happens to the follower of country databases, and to them: nothing is lost, nothing is counted twice.

- the follower is killed at random moments while others write; another one stands by and takes over
- the network to a source, or to the warehouse, is cut or falls silent
- the sources' server stops, or dies and recovers; a table is locked beside 19 healthy ones
- 100 000 rows came while nobody followed

After each the running sums and the rows are those of a full recount at the sources. Connections that are
ended, transactions that commit late, two followers at once, sources that come and go, bad rows:
`integration/test_live_follower`.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from elt.errors import SourceFault
from elt.live.audit import check_live
from elt.live.listing import list_live
from elt.live.opening import find_live_source
from elt.live.prepare import prepare, reader_of
from elt.settings import PROJECT_DIR, Settings
from elt.warehouse import Connection, connect
from local import postgres
from local.ports import find_free_port
from tests.conftest import PostgresServer
from tests.countries import Country, configure, following, make_countries, wait_until_followed
from tests.faults.network import State, network_to
from tests.faults.world import FragileServer, wait_until

KILLS = int(os.environ.get("LAUREL_RANDOM_KILLS", "6"))
SEED = int(os.environ.get("LAUREL_RANDOM_SEED", "20261129"))
CODES = [
    "ALB", "ARG", "AUS", "AUT", "BEL", "BGR", "BIH", "BLR", "BRA", "BRN",
    "CAN", "CHE", "CHL", "COL", "CRI", "CZE", "DEU", "DNK", "DOM", "ESP",
]  # fmt: skip


class Follower:
    """`laurel live` as a process."""

    def __init__(self, settings: Settings) -> None:
        self._log = (settings.home / "live.log").open("ab")
        environment = os.environ | {
            "LAUREL_HOME": str(settings.home),
            "LAUREL_DATABASE_URL": settings.database_url.get_secret_value(),
            "LAUREL_SECRET_KEY": settings.secret_key.get_secret_value(),
            "LAUREL_PSEUDONYM_KEY": settings.pseudonym_key.get_secret_value(),
            "LAUREL_LOG_JSON": "true",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "live"],
            cwd=PROJECT_DIR, env=environment, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def end(self, by: signal.Signals) -> int:
        """Send a signal; how the process ended."""
        self._process.send_signal(by)
        status = self._process.wait(timeout=120)
        self._log.close()
        return status


@contextmanager
def follower(settings: Settings) -> Iterator[Follower]:
    """One that is asked to end when the test has."""
    running = Follower(settings)
    try:
        yield running
    finally:
        assert running.end(signal.SIGTERM) == 0


def prepared(settings: Settings, countries: list[Country]) -> None:
    """Let these call."""
    for country in countries:
        source, address = find_live_source(settings, country.name), SecretStr(country.url)
        asyncio.run(prepare(address, source, reader_of(source, address)))


@pytest.fixture
def countries(
    postgres_server: PostgresServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> list[Country]:
    """Two that call and two that are looked at."""
    made = make_countries(postgres_server, CODES[:4])
    configure(settings, made, monkeypatch.setenv)
    prepared(settings, made[:2])
    return made


class Writers:
    """Someone who writes to each country: inserts, changes, removals, some of it committed late."""

    def __init__(self, countries: list[Country], seed: int) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(country, random.Random(f"{seed} {country.code}")))
            for country in countries
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait until all have committed."""
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()

    def _write(self, country: Country, random_: random.Random) -> None:
        numbers = iter(range(1, 1_000_000))
        with country.connect() as now, country.connect() as later:
            while not self._stop.is_set():
                if random_.random() < 0.1:
                    with later.transaction():
                        self._act(later, country, next(numbers), random_)
                        for _ in range(5):
                            self._act(now, country, next(numbers), random_)
                            time.sleep(0.02)
                self._act(now, country, next(numbers), random_)
                time.sleep(random_.random() * 0.02)

    def _act(
        self, connection: psycopg.Connection[object], country: Country, number: int, random_: random.Random
    ) -> None:
        connection.execute(
            "insert into responses (id, cnt, escs, tmins, belong, durecec, time_submitted)"
            " values (%s, %s, %s, %s, %s, %s, now())",
            (number, country.code, random_.uniform(-3, 3), str(random_.randint(0, 2000)), 0.5, number % 4),
        )
        older = random_.randint(1, number)
        # Never one that the other connection has not committed yet.
        if random_.random() < 0.2:
            connection.execute(
                "update responses set escs = -escs, durecec = null where id in"
                " (select id from responses where id = %s for update skip locked)",
                (older,),
            )
        if random_.random() < 0.1:
            connection.execute(
                "delete from responses where id in"
                " (select id from responses where id = %s for update skip locked)",
                (older,),
            )


def test_killed_at_random_moments(settings: Settings, database_url: str, countries: list[Country]) -> None:
    moments = random.Random(SEED)
    writers = Writers(countries, SEED)
    try:
        for _ in range(KILLS):
            running = Follower(settings)
            time.sleep(1 + moments.random() * 3)
            assert running.end(signal.SIGKILL) == -signal.SIGKILL
    finally:
        writers.stop()
    with follower(settings):
        wait_until_followed(database_url, countries)
    assert check_live(settings) == []


def test_another_one_takes_over(settings: Settings, database_url: str, countries: list[Country]) -> None:
    writers = Writers(countries, SEED)
    try:
        first = Follower(settings)
        wait_until(lambda: "follower_started" in _log(settings), "no follower")
        with follower(settings):
            wait_until(lambda: "follower_stands_by" in _log(settings), "nobody stands by")
            first.end(signal.SIGKILL)
            wait_until(lambda: _log(settings).count("follower_started") == 2, "nobody took over")
            time.sleep(1)
            writers.stop()
            wait_until_followed(database_url, countries)
    finally:
        writers.stop()
    assert check_live(settings) == []


def test_a_hundred_thousand_rows_came_while_nobody_followed(
    settings: Settings, database_url: str, countries: list[Country]
) -> None:
    with follower(settings):
        for country in countries:
            country.fill(1, 100)
        wait_until_followed(database_url, countries)
    for country in countries:
        country.fill(1001, 26_000)
        with country.connect() as source:
            source.execute("delete from responses where id between 50 and 1100")
    with follower(settings):
        wait_until_followed(database_url, countries)
    assert check_live(settings) == []


def test_one_that_is_locked_delays_no_other(
    settings: Settings, postgres_server: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    twenty = make_countries(postgres_server, CODES)
    configure(settings, twenty, monkeypatch.setenv)
    prepared(settings, twenty[::2])
    locked, others = twenty[:2], twenty[2:]
    with follower(settings):
        for country in twenty:
            country.fill(1, 10)
        wait_until_followed(database_url, twenty)
        with (
            locked[0].connect() as one, locked[1].connect() as other, one.transaction(), other.transaction()
        ):  # fmt: skip
            for holder in (one, other):
                holder.execute("lock table responses in access exclusive mode")
            for country in others:
                country.fill(11, 20)
            wait_until_followed(database_url, others)
        for country in locked:
            country.fill(11, 20)
        wait_until_followed(database_url, twenty)


@pytest.fixture
def quick_to_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed in seconds; what the driver waits for by itself (ten seconds) is not changed."""
    monkeypatch.setattr("elt.live.connection._GRACE_SECONDS", 0.5)
    monkeypatch.setattr("elt.live.connection._CONNECT_SECONDS", 2)
    monkeypatch.setattr("elt.live.applier.PING_SECONDS", 0.5)
    monkeypatch.setattr("elt.live.follower.EAR_SECONDS", 0.5)
    monkeypatch.setattr("elt.live.follower._LOCK_KEPT", "3s")


@pytest.mark.usefixtures("quick_to_notice")
def test_the_network_to_sources_is_cut_and_falls_silent(
    settings: Settings, postgres_server: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    six = make_countries(postgres_server, CODES[:6])
    with network_to(postgres_server.cluster.port) as cut, network_to(postgres_server.cluster.port) as silent:
        configure(settings, six, monkeypatch.setenv, timeout_seconds=1)
        prepared(settings, six[::2])
        for network, behind in ((cut, six[:2]), (silent, six[2:4])):
            for country in behind:
                monkeypatch.setenv(country.variable, network.address(country.url))
        with following(settings):
            for country in six:
                country.fill(1, 20)
            wait_until_followed(database_url, six)
            cut.become("cut")
            silent.become("silent")
            for country in six:
                country.fill(21, 40)
                with country.connect() as source:
                    source.execute("delete from responses where id < 5; update responses set escs = 0.25")
            wait_until_followed(database_url, six[4:])
            with connect(database_url) as warehouse:
                wait_until(lambda: sum(bool(each.problem) for each in list_live(warehouse)) == 4, "not told")
            cut.become("whole")
            silent.become("whole")
            for country in six:
                country.fill(41, 50)
            wait_until_followed(database_url, six)
    assert cut.passed > 2
    assert silent.passed > 2
    for country in six:
        monkeypatch.setenv(country.variable, country.url)
    assert check_live(settings) == []


@pytest.mark.usefixtures("quick_to_notice")
@pytest.mark.parametrize("state", ["cut", "silent"])
def test_the_network_to_the_warehouse_is_cut_or_falls_silent(
    settings: Settings, postgres_server: PostgresServer, database_url: str, countries: list[Country],
    state: State,
) -> None:  # fmt: skip
    writers = Writers(countries, SEED)
    with network_to(postgres_server.cluster.port) as network:
        behind = settings.model_copy(update={"database_url": SecretStr(network.address(database_url))})
        try:
            with following(behind):
                wait_until(lambda: network.passed >= 3, "nobody follows")
                time.sleep(1)  # so that something is on its way
                network.become(state)
                with connect(database_url) as warehouse:
                    wait_until(lambda: not _followers(warehouse), "the server keeps the lock")
                network.become("whole")
                writers.stop()
                wait_until_followed(database_url, countries)
        finally:
            writers.stop()
    assert check_live(settings) == []


def _followers(warehouse: Connection) -> list[object]:
    """Sessions that have the lock of followers."""
    return list(warehouse.execute("select pid from pg_locks where locktype = 'advisory' and granted"))


@pytest.fixture
def fragile() -> Iterator[FragileServer]:
    """A server for sources only."""
    folder = Path(tempfile.mkdtemp(prefix="laurel-test-countries-"))
    folder.chmod(0o711)  # the server's account must pass when the tests run as root
    cluster = postgres.prepare(folder / "postgres", find_free_port())
    password, owner = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
    postgres.initialise(cluster, password)
    server = FragileServer(PostgresServer(cluster, password, owner), folder / "log")
    try:
        postgres.create_owner_and_database(cluster.url(password), "laurel", owner, "elt")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_the_server_of_the_sources_stops_and_dies(
    settings: Settings, database_url: str, fragile: FragileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_countries(fragile.databases, CODES[:4])
    configure(settings, made, monkeypatch.setenv)
    prepared(settings, made[:2])
    with follower(settings):
        for number, end in enumerate((fragile.kill, fragile.stop, fragile.kill)):
            for country in made:
                country.fill(number * 1000 + 1, number * 1000 + 200)
            if number != 2:  # the last time it dies while changes are on their way
                wait_until_followed(database_url, made)
            end()
            fragile.start()
        for country in made:
            country.fill(9001, 9100)
        wait_until_followed(database_url, made)
    # What was noted while nobody followed is gone after a crash, and so is the sign that it was complete.
    for country in made:
        with country.connect() as source:
            source.execute("delete from responses where id < 100; update responses set tmins = '7'")
    fragile.kill()
    fragile.start()
    for country in made[:2]:
        with country.connect() as source:
            noted = source.execute("table laurel_live.changes").fetchall()
            complete = source.execute("table laurel_live.floor").fetchall()
        assert (noted, complete) == ([], [])
    with follower(settings):
        wait_until_followed(database_url, made)
        for country in made:
            country.fill(9201, 9300)
        wait_until_followed(database_url, made)
    assert "what changed since then is no longer noted at the source" in _log(settings)
    assert check_live(settings) == []

    # Whoever writes in two phases must not be disturbed by a call.
    fragile.stop()
    fragile.start(max_prepared_transactions="2")
    with pytest.raises(SourceFault, match="two phases"):
        prepared(settings, made[2:])


def _log(settings: Settings) -> str:
    return (settings.home / "live.log").read_text("utf-8", errors="replace")
