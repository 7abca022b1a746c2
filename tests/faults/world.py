"""A platform to be disturbed: a PostgreSQL server of its own, one school's database, home and store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
from pydantic import SecretStr
from uuid6 import uuid7

from elt import pipeline
from elt.people.principals import Principal
from elt.settings import PROJECT_DIR, Settings
from elt.store.base import open_store
from elt.store.object_keys import new_object_key
from elt.uploads.accept import NewUpload, accept_upload
from elt.warehouse import Connection, connect
from local import postgres
from local.ports import find_free_port
from tests.conftest import PostgresServer
from tests.faults.oracle import HandedIn, assert_nothing_lost, checksums, other_sessions

LAUNCHER = Path(__file__).with_name("launcher.py")
SENDER = Principal("key:sender", "researcher", name="S")
# Whatever dies here is a process; the machine lives on, and with it what was written without a flush.
_SETTINGS = {
    "fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB",
    "autovacuum_naptime": "1s",  # what it removes after a fault is gone soon
}  # fmt: skip
_DATABASE = "school"
_BEGIN_SECONDS = 240  # only against hanging: dbt begins late on a busy machine


class FragileServer:
    """A server that keeps what it has acknowledged, to be killed and started again."""

    def __init__(self, server: PostgresServer, log: Path) -> None:
        self.databases = server
        self._log = log
        self.start()

    def start(self, **settings: str) -> None:
        """Start it, after a death with recovery from its log."""
        self._process = postgres.start(
            self.databases.cluster, self.databases.superuser_password, log=self._log,
            settings={**_SETTINGS, **settings},
        )  # fmt: skip

    def kill(self) -> None:
        """End all of its processes at once."""
        main = psutil.Process(self._process.pid)
        main.suspend()  # or it would begin new ones meanwhile
        children = main.children(recursive=True)
        for process in [*children, main]:
            process.kill()
        self._process.wait()
        wait_until(lambda: not any(map(_lives, children)), "the server's processes live on")

    def stop(self) -> None:
        """End it."""
        postgres.stop(self._process)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class World:
    """What a test disturbs. `files` is all that was handed in since the last reset."""

    server: FragileServer
    settings: Settings
    files: list[HandedIn] = field(default_factory=list)

    @property
    def orders(self) -> Path:
        """Where the points lie at which a program is to stop."""
        return self.settings.home / "orders"

    def reset(self, template: str, files: list[HandedIn] | None = None) -> None:
        """Be as the template was when it was kept."""
        self.server.databases.drop_database(_DATABASE)
        self.server.databases.create_database(_DATABASE, template)
        for name in ("store", "orders"):
            shutil.rmtree(self.settings.home / name, ignore_errors=True)
        kept = self.settings.home / template
        if kept.exists():
            shutil.copytree(kept, self.settings.home / "store")
        self.orders.mkdir()
        self.files = list(files or [])

    def keep(self, template: str) -> list[HandedIn]:
        """Keep what is there as a template; returns its files."""
        self.server.databases.create_database(template, _DATABASE)
        shutil.copytree(self.settings.home / "store", self.settings.home / template)
        return list(self.files)

    def connect(self) -> Connection:
        """A session of the test."""
        return connect(self.settings.database_url.get_secret_value(), application_name="laurel-test")

    def hand_in(self, dataset: str, content: bytes, outcome: str = "loaded") -> None:
        """Hand a file in as the API does."""
        store = open_store(self.settings.resolved_store_url)
        upload_id = UUID(int=uuid7().int)
        stored = store.put(new_object_key(upload_id, 1, "file.csv"), [content])
        request = NewUpload(dataset=dataset, filename="file.csv", school_id="main")
        with self.connect() as connection:
            accept_upload(connection, store, upload_id, request, stored, SENDER)
        self.files.append(HandedIn(dataset, content, upload_id, outcome))

    def start(self, point: str = "", signal: int = 0) -> subprocess.Popen[str]:
        """`laurel run`, which sends itself the signal at the point."""
        laurel = ["cli.main", "run", "--json"]
        command = [sys.executable, "-m", *laurel]
        if point:
            (self.orders / point).write_text(str(int(signal)))
            command = [sys.executable, str(LAUNCHER), str(self.orders), point, *laurel]
        return subprocess.Popen(
            command, cwd=PROJECT_DIR, env=self.environment(), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        """That of our programs."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LAUREL_")}
        return kept | {
            "LAUREL_HOME": str(self.settings.home),
            "LAUREL_DATABASE_URL": self.settings.database_url.get_secret_value(),
            "LAUREL_SECRET_KEY": self.settings.secret_key.get_secret_value(),
            "LAUREL_PSEUDONYM_KEY": self.settings.pseudonym_key.get_secret_value(),
            "LAUREL_PORT": str(self.settings.port),
        }

    def load(self) -> None:
        """The first half of a run: find what waits, and load it."""
        self.settle()
        plan = pipeline.begin(self.settings, trigger="cli")
        for group in plan.groups:
            pipeline.load(self.settings, plan.run_id, group)

    def run(self) -> None:
        """A whole run."""
        from ml.scoring import score_all

        self.settle()
        pipeline.run(self.settings, trigger="cli", score=score_all)

    def settle(self) -> None:
        """Wait until the server has noticed who is dead; a run of the next minutes finds it so."""
        with self.connect() as connection:
            wait_until(lambda: not other_sessions(connection), "sessions of the dead live on")

    def checksums(self) -> dict[str, str]:
        """Of marts and predictions."""
        with self.connect() as connection:
            return checksums(connection)

    def undisturbed(self, template: str, known: list[HandedIn]) -> dict[str, str]:
        """Start again from the template, and bring what was handed in since through one run in peace."""
        with self.connect() as connection:
            rows = connection.execute(
                """
                select dataset, sha256 from ops.uploads join ops.upload_versions using (upload_id)
                where withdrawn_at is null order by ranked_at
                """
            ).fetchall()
        files = {file.identity: file for file in self.files}
        before = {file.identity for file in known}
        self.reset(template, known)
        for row in rows:
            identity = (row["dataset"], row["sha256"])
            if identity not in before:
                self.hand_in(*_facts(files[identity]))
        self.run()
        return self.checksums()

    def assert_nothing_lost(self, undisturbed: dict[str, str] | None = None) -> None:
        """See `oracle`."""
        assert_nothing_lost(self.settings, self.files, undisturbed)


def _facts(file: HandedIn) -> tuple[str, bytes, str]:
    return file.dataset, file.content, file.outcome


@contextmanager
def new_world(home: Path) -> Iterator[World]:
    """A server of its own with an owner; the database is made by `World.reset`."""
    version = int(os.environ.get("LAUREL_TEST_POSTGRES", postgres.DEFAULT_VERSION))
    cluster = postgres.prepare(home / "postgres", find_free_port(), version=version)
    postgres.initialise(cluster, "superuser")
    server = FragileServer(PostgresServer(cluster, "superuser", "owner"), home / "log")
    try:
        postgres.create_owner_and_database(cluster.url("superuser"), "laurel", "owner", _DATABASE)
        settings = Settings(
            home=home,
            database_url=SecretStr(server.databases.url(_DATABASE)),
            secret_key=SecretStr("a-key-for-tests-only-0123456789abcdef"),
            pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
        )
        yield World(server, settings)
    finally:
        server.stop()


@contextmanager
def serve(world: World, points: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The API as it is served, which looks out for orders at the points; on a port that is free now."""
    world.settings = world.settings.model_copy(update={"port": find_free_port()})
    command = [sys.executable, str(LAUNCHER), str(world.orders), ",".join(points)]
    command += ["gunicorn", "--config", "python:backend.server", "backend.wsgi:app"]
    with (world.settings.home / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=PROJECT_DIR, env=world.environment(), stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_alive(world), "gunicorn did not start")
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def _is_alive(world: World) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{world.settings.port}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def wait_until(condition: Any, reason: str, seconds: float = _BEGIN_SECONDS) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, reason
        time.sleep(0.02)


def history_file(number: int, *, rows: int = 500) -> bytes:
    """Academic history: students of this file only, and ten that all files tell something else about."""
    lines = ["Student ID,Academic Year,Grade Level,Subject,Term,Test Score,Exam Score,Total Score"]
    for row in range(rows):
        student = f"ALL{row:02}" if row < 10 else f"S{number:05}-{row // 7:03}"
        exam = 15 + (number * 7 + row) % 40
        subject = f"Subject {row % 7}"
        lines.append(f"{student},2024/2025,JSS1,{subject},First Term,20,{exam},{20 + exam}")
    return ("\n".join(lines) + "\n").encode()


def performance_file(number: int, *, rows: int = 500) -> bytes:
    """Rows without a key, so that one loaded twice would count twice."""
    lines = [
        "gender,race/ethnicity,parental level of education,lunch,test preparation course,math score,"
        "reading score,writing score"
    ]
    for row in range(rows):
        scores = f"{(number + row) % 101},{(number // 101 + row) % 101},{row % 101}"
        lines.append(f"female,group {'ABCDE'[row % 5]},high school,standard,none,{scores}")
    return ("\n".join(lines) + "\n").encode()
