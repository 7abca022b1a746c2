"""The live stream as it is served: a real gunicorn, real sockets, the database behind it.

The follower's part is written by `tests.live_figures`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from backend import live_hub, live_reader
from backend.live_hub import LIFE_SECONDS, LiveHub
from backend.live_places import Pass, Places, TooManyViewers
from backend.live_viewers import MOST_PENDING, Viewer
from elt.errors import TooManyRequests
from elt.live.picture import Picture, read_picture
from elt.people.keys import create_key, revoke_key
from elt.people.sessions import end_sessions, start_session
from elt.people.users import create_user
from elt.warehouse import Connection, connect
from tests.conftest import PostgresServer
from tests.live_figures import Given, add_responses, add_source, clear
from tests.served_api import ApiServer, serve

STREAM = "/api/v1/live/pisa/stream"
PATIENCE = 90.0  # on a busy machine; what is waited for mostly takes milliseconds
MANY = 300


@dataclass
class Event:
    """One event of a stream. A comment has only `name`, which begins with a colon."""

    name: str
    number: int | None = None
    content: dict[str, Any] = field(default_factory=dict)


class Watcher:
    """A viewer on a plain socket, which reads HTTP by itself."""

    def __init__(
        self, server: ApiServer, key: str | None, *, version: str = "1.1", method: str = "GET", **headers: str
    ) -> None:
        address = urlsplit(server.url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=PATIENCE)
        lines = [f"{method} {STREAM} HTTP/{version}", "Host: test"]
        lines += [f"Authorization: Bearer {key}"] if key else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._raw = b""
        self._text = b""
        self.is_ended = False
        while b"\r\n\r\n" not in self._raw:
            piece = self.socket.recv(65536)
            assert piece, "The connection was closed before the answer began."
            self._raw += piece
        self.head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        self.is_chunked = b"transfer-encoding: chunked" in self.head.lower()
        self._decode()  # events may have come with the headers

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    def next(self, *names: str) -> Event:
        """The next event, of one of these names if any are given; other events and comments are skipped."""
        while True:
            event = self._next()
            if event.name in names or (not names and not event.name.startswith(":")):
                return event

    def until(self, version: int) -> Event:
        """The event with this version: what happened just before may be told first."""
        while (event := self.next()).number != version:
            pass
        return event

    def wait_for_end(self) -> bool:
        """Read to the end of the answer; whether it ended as HTTP has it."""
        while self._receive():
            pass
        return self.is_ended

    def close(self) -> None:
        self.socket.close()

    def _next(self) -> Event:
        while b"\n\n" not in self._text:
            assert self._receive(), "The stream has ended."
        text, _, self._text = self._text.partition(b"\n\n")
        lines = dict(line.split(": ", 1) for line in text.decode().split("\n"))
        if "data" not in lines:
            return Event(":" if "" in lines else ":retry")
        number = int(lines["id"]) if "id" in lines else None
        return Event(lines["event"], number, json.loads(lines["data"]))

    def _receive(self) -> bool:
        """Read some more; False at the end of the answer or of the connection."""
        piece = self.socket.recv(65536)
        self._raw += piece
        self._decode()
        return bool(piece) and not self.is_ended

    def _decode(self) -> None:
        if not self.is_chunked:
            self._text, self._raw = self._text + self._raw, b""
            return
        while (found := re.match(rb"([0-9A-F]+)\r\n", self._raw)) is not None:
            size, start = int(found[1], 16), found.end()
            if len(self._raw) < start + size + 2:
                break
            assert self._raw[start + size : start + size + 2] == b"\r\n"
            self._text += self._raw[start : start + size]
            self._raw = self._raw[start + size + 2 :]
            self.is_ended = size == 0


@pytest.fixture
def connection(api_server: ApiServer) -> Iterator[Connection]:
    """To the database of the server, where nothing of others is left."""
    with connect(api_server.settings.database_url.get_secret_value()) as opened:
        clear(opened)
        yield opened


@pytest.fixture
def connection_here(database_url: str) -> Iterator[Connection]:
    """To the database of hubs in this process."""
    with connect(database_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def key(api_server: ApiServer) -> str:
    return api_server.make_key("analyst")


@pytest.fixture
def watch(api_server: ApiServer, key: str) -> Iterator[Callable[..., Watcher]]:
    """Opens streams, and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def open_one(**how: str) -> Watcher:
            return stack.enter_context(contextlib.closing(Watcher(api_server, key, **how)))

        yield open_one


def test_the_first_event_is_the_whole_picture_and_then_come_changes(
    watch: Callable[..., Watcher], connection: Connection
) -> None:
    add_source(connection, "alb", "ALB")
    add_source(connection, "arg", "ARG")
    add_responses(connection, "alb", "ALB", [Given(tmins=60)] * 40)
    version = add_responses(connection, "arg", "ARG", [Given(tmins=90)] * 30)
    viewer = watch()
    assert (viewer.status, viewer.is_chunked) == (200, True)
    headers = viewer.head.lower()
    for header in (b"content-type: text/event-stream", b"x-accel-buffering: no", b"cache-control: no-store"):
        assert header in headers
    viewer.until(version)
    first = watch().next()  # whatever the first viewer saw before
    assert (first.name, first.number) == ("picture", version)
    assert first.content["responses"] == 70
    assert [country["country"] for country in first.content["countries"]] == ["ALB", "ARG"]
    add_responses(connection, "arg", "ARG", [Given(tmins=120)] * 30)
    change = viewer.until(version + 1)
    assert change.name == "change"
    assert change.content["responses"] == 100
    [country] = change.content["countries"]  # only the one that changed
    assert (country["country"], country["lesson_hours"]) == ("ARG", 1.75)
    assert len(change.content["hours"]) == 1
    assert "sources" not in change.content


def test_who_comes_again_with_the_present_version_is_told_only_what_has_none(
    watch: Callable[..., Watcher], connection: Connection
) -> None:
    add_source(connection, "alb", "ALB")
    version = add_responses(connection, "alb", "ALB", [Given()])
    settle(watch, version)
    again = watch(Last_Event_ID=str(version)).next()
    assert (again.name, again.number) == ("change", None)
    assert "countries" not in again.content
    assert (len(again.content["hours"]), len(again.content["sources"])) == (24, 1)
    for other in (str(version - 1), "nonsense", "-1"):
        assert watch(Last_Event_ID=other).next().name == "picture"


def test_what_happened_during_a_break_is_in_the_picture(
    watch: Callable[..., Watcher], connection: Connection
) -> None:
    add_source(connection, "alb", "ALB")
    version = add_responses(connection, "alb", "ALB", [Given()])
    viewer = watch()
    viewer.until(version)
    viewer.close()
    settle(watch, add_responses(connection, "alb", "ALB", [Given()] * 2))
    again = watch(Last_Event_ID=str(version)).next()
    assert (again.name, again.content["responses"]) == ("picture", 3)


def test_who_breaks_off_again_and_again_misses_nothing_and_is_told_nothing_twice(
    watch: Callable[..., Watcher], connection: Connection
) -> None:
    """Each time at whichever of the two workers takes the connection."""
    chance = random.Random(7)
    add_source(connection, "all", None)
    counts: dict[str, int] = {}
    viewer, last = watch(), 0

    def read_to(version: int) -> None:
        nonlocal last
        while last < version:
            event = viewer.next()
            if event.number is not None:
                assert event.number > last
                last = event.number
            if event.name == "picture":
                counts.clear()  # of what a worker showed last, before this test
            for found in event.content.get("countries", ()):
                counts[found["country"]] = found["responses"]

    for number in range(60):
        version = add_responses(connection, "all", f"A{chr(65 + number % 5)}A", [Given()])
        if chance.random() < 0.4:
            read_to(version)
        if chance.random() < 0.5:
            viewer.close()
            viewer = watch(Last_Event_ID=str(last))
    read_to(version)
    assert counts == {f"A{letter}A": 12 for letter in "ABCDE"}


def test_nobody_is_taken_back_to_an_older_picture(database_url: str, connection_here: Connection) -> None:
    """Where the other process has shown a version that this one is about to read."""
    version = add_source(connection_here, "alb", "ALB")
    with join(database_url) as (_, [first]):
        wait_for(first, b"id: %d\n" % version)
    with join(database_url, known_version=version + 1) as (_, [viewer]):
        connection_here.execute("select pg_sleep(0.3)")  # it may have been read
        add_responses(connection_here, "alb", "ALB", [Given()])
        received = wait_for(viewer, b"data: ")
        assert b'"version":%d,' % (version + 1) in received
        assert b"event: picture" not in received  # it had been shown that one


def test_a_version_that_never_was_gets_the_picture_after_a_while(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the database was restored from a backup."""
    monkeypatch.setattr(live_reader, "LOOK_SECONDS", 0.1)
    with join(database_url, known_version=10**9) as (_, [viewer]):
        wait_for(viewer, b"event: picture")


def test_a_version_that_no_number_can_be_is_as_none(watch: Callable[..., Watcher]) -> None:
    assert watch(Last_Event_ID="9" * 5000).next().name == "picture"


def test_a_source_or_country_that_is_gone_is_told_by_a_whole_picture(
    watch: Callable[..., Watcher], connection: Connection
) -> None:
    add_source(connection, "alb", "ALB")
    viewer = watch()
    viewer.until(add_responses(connection, "alb", "ALB", [Given()]))
    gone = viewer.until(clear(connection))
    assert gone.name == "picture"
    assert gone.content["countries"] == gone.content["sources"] == []


def test_a_stream_says_that_it_stands_though_nothing_happens(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_hub, "HEARTBEAT_SECONDS", 0.1)
    with join(database_url) as (_, [viewer]):
        received = b""
        while received.count(b": alive\n\n") < 2:
            received += viewer.recv(65536)
    assert b"event: picture" in received


def test_how_fresh_a_source_is_is_told_without_a_new_version(
    watch: Callable[..., Watcher], connection: Connection
) -> None:
    viewer = watch()
    viewer.until(add_source(connection, "alb", "ALB"))
    connection.execute("update live.sources set problem = 'It does not answer.'")
    change = viewer.next()
    assert (change.name, change.number) == ("change", None)
    assert change.content["sources"][0]["problem"] == "It does not answer."


def test_http_1_0_gets_the_events_as_they_are(watch: Callable[..., Watcher], connection: Connection) -> None:
    viewer = watch(version="1.0")
    assert not viewer.is_chunked
    viewer.until(add_source(connection, "alb", "ALB"))
    assert viewer.until(add_responses(connection, "alb", "ALB", [Given()])).name == "change"


def test_head_gets_the_headers_and_takes_no_place(
    watch: Callable[..., Watcher], api_server: ApiServer
) -> None:
    for _ in range(5):
        viewer = watch(method="HEAD")
        assert viewer.status == 200
        assert b"text/event-stream" in viewer.head
    eventually(lambda: viewers(api_server) == 0)


def test_a_session_watches_and_nobody_else(api_server: ApiServer, connection: Connection) -> None:
    nobody = httpx.get(api_server.url + STREAM, timeout=PATIENCE, trust_env=False)
    assert (nobody.status_code, nobody.headers["Content-Type"]) == (401, "application/problem+json")
    assert (
        httpx.get(
            api_server.url + STREAM,
            headers={"Authorization": "Bearer wrong"},
            timeout=PATIENCE,
            trust_env=False,
        ).status_code
        == 401
    )
    token = start_session(connection, create_user(connection, "a@example.org", "A", "teacher", "test"))
    cookie = {"Cookie": f"laurel_session={token}"}
    with httpx.stream(
        "GET", api_server.url + STREAM, headers=cookie, timeout=PATIENCE, trust_env=False
    ) as answer:
        assert answer.status_code == 200
        assert next(line for line in answer.iter_lines() if line.startswith("event")) == "event: picture"


def test_many_viewers_hold_none_of_the_threads_and_all_get_each_change(
    watch: Callable[..., Watcher], api_server: ApiServer, key: str, connection: Connection
) -> None:
    add_source(connection, "alb", "ALB")
    with ThreadPoolExecutor(8) as pool:
        watchers = list(pool.map(lambda _: watch(), range(MANY)))
    assert {watcher.next().name for watcher in watchers} == {"picture"}
    eventually(lambda: viewers(api_server) == MANY)  # those of the test before may just be going
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=api_server.url, headers=headers, timeout=PATIENCE, trust_env=False) as client:
        assert {client.get("/api/v1/datasets").status_code for _ in range(64)} == {200}
    sent = metric(api_server, "laurel_live_events_total")
    version = add_responses(connection, "alb", "ALB", [Given()] * 7)
    for watcher in watchers:
        assert watcher.until(version).content["responses"] == 7
    eventually(lambda: metric(api_server, "laurel_live_events_total") >= sent + MANY)
    for watcher in watchers:
        watcher.close()
    eventually(lambda: viewers(api_server) == 0)


def test_a_viewer_that_goes_away_frees_its_place_and_its_file(
    watch: Callable[..., Watcher], api_server: ApiServer
) -> None:
    reset = b"\1\0\0\0\0\0\0\0"

    def come_and_go(how: bytes) -> None:
        viewer = watch()
        viewer.next("picture")
        viewer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)
        viewer.close()

    for _ in range(8):
        come_and_go(reset)  # now both workers have the files that stay
    eventually(lambda: viewers(api_server) == 0)
    before = open_files(api_server)
    for _ in range(15):
        come_and_go(reset)
        come_and_go(bytes(8))
    eventually(lambda: viewers(api_server) == 0)
    eventually(lambda: open_files(api_server) <= before + 20)  # connections to the database come and go


def test_a_viewer_that_does_not_read_holds_nobody_up_and_is_dropped(
    watch: Callable[..., Watcher], api_server: ApiServer, connection: Connection
) -> None:
    add_source(connection, "alb", "ALB")
    sleeper = watch()
    sleeper.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    others = [watch() for _ in range(4)]
    # Problems as long as this fill what is kept for a viewer soon; and each event is read before the next.
    for number in range(40):
        connection.execute("update live.sources set problem = %s", (f"{number}" + "x" * (MOST_PENDING // 4),))
        version = add_responses(connection, "alb", "ALB", [Given()])
        for watcher in others:
            watcher.until(version)
    eventually(lambda: viewers(api_server) == len(others))


def test_while_the_database_is_away_viewers_are_told_so_and_then_go_on(
    postgres_server: PostgresServer,
    watch: Callable[..., Watcher],
    api_server: ApiServer,
    connection: Connection,
) -> None:
    viewer = watch()
    first = viewer.until(add_source(connection, "alb", "ALB"))
    name = urlsplit(api_server.settings.database_url.get_secret_value()).path.removeprefix("/")
    with let_nobody_in(postgres_server, name):
        stale = viewer.next()
        assert (stale.name, stale.content["version"]) == ("stale", first.number)
    with connect(api_server.settings.database_url.get_secret_value()) as again:
        back = viewer.next()
        assert (back.name, back.content["version"]) == ("change", first.number)
        version = add_responses(again, "alb", "ALB", [Given()] * 3)
        assert viewer.until(version).content["responses"] == 3


def test_the_end_of_the_server_ends_streams_properly_and_at_once(
    postgres_server: PostgresServer,
    _template: str,  # noqa: PT019
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So long gunicorn would wait for answers of its own; on the platform half a minute.
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--graceful-timeout=3600")
    with serve(postgres_server, _template, tmp_path_factory.mktemp("ending")) as server:
        key = server.make_key("analyst")
        watchers = [Watcher(server, key) for _ in range(8)]
        for watcher in watchers:
            watcher.next("picture")
        server.process.send_signal(signal.SIGTERM)
        assert [watcher.wait_for_end() for watcher in watchers] == [True] * 8
        server.process.wait(timeout=PATIENCE)
        log = server.log.read_text()
        assert "Traceback" not in log
        assert "Socket error" not in log


def test_a_worker_that_is_killed_loses_only_its_own_viewers(
    api_server: ApiServer, watch: Callable[..., Watcher], connection: Connection
) -> None:
    watchers = [watch() for _ in range(12)]
    for watcher in watchers:
        watcher.next("picture")
    [first, *_] = psutil.Process(api_server.process.pid).children()
    os.kill(first.pid, signal.SIGKILL)
    add_source(connection, "alb", "ALB")
    version = add_responses(connection, "alb", "ALB", [Given()])
    seen = []
    for watcher in watchers:
        with contextlib.suppress(AssertionError, ConnectionResetError):
            seen.append(watcher.until(version))
    assert watch().until(version)
    eventually(lambda: viewers(api_server) == len(seen) + 1)


def test_a_stream_ends_after_its_life(database_url: str) -> None:
    """So nothing is pushed for ever to somebody whom nobody checks again."""
    with join(database_url, life_seconds=0.5) as (hub, [viewer]):
        received = read_to_end(viewer)
        assert b"event: picture" in received
        assert received.endswith(b"0\r\n\r\n")
        eventually(lambda: hub.places.secrets() == set())


def test_a_viewer_that_cannot_be_taken_in_leaves_its_place_and_harms_nobody(database_url: str) -> None:
    with join(database_url, 2) as (hub, [first, _]):
        wait_for(first, b"event: picture")
        [valid] = hub.places.secrets()
        with hub._lock:  # so that both come in the same turn
            broken, beside = socket.socketpair(), socket.socketpair()
            broken[0].close()
            for sent, secret in ((broken[0], bytes(32)), (beside[0], valid)):
                place = hub.places.take(Pass("key:2", secret))
                hub._arrivals.append(Viewer(sent, place, True, None, time.monotonic() + 60))
            hub._wake()
        for connection in (broken[1], beside[1]):
            connection.settimeout(PATIENCE)
        wait_for(beside[1], b"event: picture")
        beside[1].close()
        broken[1].close()
        assert bytes(32) not in hub.places.secrets()


def test_without_a_thread_who_comes_is_turned_away_and_the_next_is_not(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, failures = threading.Thread.start, ["laurel-live-hub", "laurel-live-reader"]

    def start_or_fail(thread: threading.Thread) -> None:
        if thread.name in failures:
            failures.remove(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_fail)
    hub = LiveHub(database_url, 2, keep=lambda _: None, count=lambda _: None)
    held_with = Pass("key:1", bytes(32))
    for _ in range(2):
        ours, theirs = socket.socketpair()
        with ours, pytest.raises(RuntimeError, match="thread"):
            hub.adopt(theirs, hub.places.take(held_with), is_chunked=True, known_version=None)
        assert theirs.fileno() == -1
        assert hub.places.secrets() == set()
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(PATIENCE)
        hub.adopt(theirs, hub.places.take(held_with), is_chunked=True, known_version=None)
        wait_for(ours, b"event: picture")
        hub.stop()


def test_each_change_is_read_once_however_many_watch(
    database_url: str, connection_here: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def read_and_count(connection: Connection) -> Picture:
        read.append(1)
        return read_picture(connection)

    monkeypatch.setattr(live_reader, "read_picture", read_and_count)
    add_source(connection_here, "alb", "ALB")
    number, changes = 100, 5
    with join(database_url, number) as (_, watchers):
        for _ in range(changes):
            version = add_responses(connection_here, "alb", "ALB", [Given()])
            for watcher in watchers:
                wait_for(watcher, b"id: %d\n" % version)
    # One for each change, one at the start, and one every five seconds without.
    assert changes <= len(read) < number


def test_who_may_watch_no_longer_is_sent_away_at_once_and_nobody_else(
    api_server: ApiServer, connection: Connection
) -> None:
    key_id, revoked = create_key(connection, "leaves", "analyst", None, "test")
    _, kept = create_key(connection, "stays", "analyst", None, "test")
    user_id = create_user(connection, "leaves@example.org", "A", "teacher", "test")
    session = start_session(connection, user_id)
    leaving = [Watcher(api_server, revoked) for _ in range(4)]
    leaving += [Watcher(api_server, None, Cookie=f"laurel_session={session}") for _ in range(4)]
    staying = [Watcher(api_server, kept) for _ in range(4)]
    for watcher in leaving + staying:
        assert watcher.next().name == "picture"
    revoke_key(connection, key_id, "test")
    end_sessions(connection, user_id)
    assert [watcher.wait_for_end() for watcher in leaving] == [True] * 8
    add_source(connection, "alb", "ALB")
    version = add_responses(connection, "alb", "ALB", [Given()])
    for watcher in staying:
        watcher.until(version)
        watcher.close()
    assert Watcher(api_server, revoked).status == 401


def test_no_account_takes_more_than_half_of_the_places() -> None:
    places = Places(6)
    first, second, other = Pass("key:1", b"1"), Pass("key:1", b"2"), Pass("key:2", b"3")
    held = [places.take(first), places.take(first), places.take(second)]
    with pytest.raises(TooManyRequests, match="3 streams"):
        places.take(second)
    held += [places.take(other) for _ in range(3)]
    with pytest.raises(TooManyViewers, match="All 6"):
        places.take(Pass("key:3", b"4"))
    for place in held:
        place.release()
        place.release()  # once is enough
    assert places.secrets() == set()
    assert places.take(second).held_with == second


@contextlib.contextmanager
def join(
    database_url: str,
    number: int = 1,
    *,
    life_seconds: float = LIFE_SECONDS,
    known_version: int | None = None,
) -> Iterator[tuple[LiveHub, list[socket.socket]]]:
    """A hub in this process with so many viewers, who may watch for as long as the test lasts."""
    with connect(database_url) as connection:
        _, key = create_key(connection, "watches", "analyst", None, "test")
    held_with = Pass("key:test", hashlib.sha256(key.encode()).digest())
    hub = LiveHub(
        database_url, 2 * number, keep=lambda _: None, count=lambda _: None, life_seconds=life_seconds
    )
    with contextlib.ExitStack() as stack:
        stack.callback(hub.stop)
        watchers = []
        for _ in range(number):
            ours, theirs = socket.socketpair()
            ours.settimeout(PATIENCE)
            watchers.append(stack.enter_context(ours))
            hub.adopt(theirs, hub.places.take(held_with), is_chunked=True, known_version=known_version)
        yield hub, watchers


def read_to_end(watcher: socket.socket) -> bytes:
    received = b""
    while piece := watcher.recv(65536):
        received += piece
    return received


def wait_for(watcher: socket.socket, text: bytes) -> bytes:
    """Read until this has come; returns all that has."""
    received = b""
    while text not in received:
        piece = watcher.recv(65536)
        assert piece, "The stream has ended."
        received += piece
    return received


@contextlib.contextmanager
def let_nobody_in(postgres_server: PostgresServer, database: str) -> Iterator[None]:
    """Cut all connections to the database and refuse new ones."""
    from psycopg import sql

    name = sql.Identifier(database)
    allow = sql.SQL("alter database {} with allow_connections {}")
    postgres_server.execute(allow.format(name, sql.Literal(False)))
    try:
        postgres_server.execute(
            sql.SQL("select pg_terminate_backend(pid) from pg_stat_activity where datname = {}").format(
                sql.Literal(database)
            )
        )
        yield
    finally:
        postgres_server.execute(allow.format(name, sql.Literal(True)))


def settle(watch: Callable[..., Watcher], version: int) -> None:
    """Wait until both workers show this version: who comes may be greeted with what was shown just before."""
    for _ in range(12):
        watch().until(version)


def viewers(server: ApiServer) -> int:
    """How many the server counts over all its processes."""
    return metric(server, "laurel_live_viewers")


def metric(server: ApiServer, name: str) -> int:
    """Its value over all processes; zero before the first one."""
    metrics = httpx.get(f"{server.url}/metrics", timeout=PATIENCE, trust_env=False).text
    found = re.search(rf"^{name} (\S+)$", metrics, re.MULTILINE)
    return int(float(found[1])) if found else 0


def open_files(server: ApiServer) -> int:
    """Files that the server's workers have open."""
    return sum(worker.num_fds() for worker in psutil.Process(server.process.pid).children())


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for something that comes by itself."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "It did not come to hold."
        time.sleep(0.1)
