"""What the benchmarks share: a server of their own, a migrated database, and a file handed in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import psycopg
import uuid6
from psycopg import sql

from bench.child import make_settings
from elt.contracts import Field
from elt.migrate import migrate
from elt.people.keys import create_key
from elt.people.principals import Principal
from elt.reading.reader import ReadOptions
from elt.settings import Settings
from elt.store.base import open_store
from elt.store.object_keys import new_object_key
from elt.uploads.accept import NewUpload, accept_upload
from elt.warehouse import connect
from local import ports, postgres

if TYPE_CHECKING:
    from demo.answers import AnswerKey

_PASSWORD = "bench"
_PLAIN_TYPES = {"string": "text", "integer": "bigint", "number": "numeric", "date": "date"}


@dataclass(frozen=True, slots=True)
class Bench:
    """A running server with the database `elt`, and a folder that the server may read."""

    settings: Settings
    folder: Path

    @property
    def url(self) -> str:
        """The address of the database `elt`."""
        return self.settings.database_url.get_secret_value()


@dataclass(frozen=True, slots=True)
class Server:
    """A running API."""

    port: int
    key: str
    pid: int


@contextmanager
def running_platform() -> Iterator[Bench]:
    """Start an embedded PostgreSQL with the platform's own settings (fsync on) in a temporary folder.

    It also ends where this process is asked to end.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="laurel-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server's account reads the files here
        cluster = postgres.prepare(folder / "postgres", ports.find_free_port())
        postgres.initialise(cluster, _PASSWORD)
        server = postgres.start(cluster, _PASSWORD, log=folder / "postgres.log")
        try:
            with psycopg.connect(cluster.url(_PASSWORD), autocommit=True) as connection:
                connection.execute("create database elt")
            url = cluster.url(_PASSWORD, "elt")
            migrate(url)
            yield Bench(make_settings(folder, url), folder)
        finally:
            postgres.stop(server)


def hand_in(bench: Bench, path: Path, dataset: str) -> UUID:
    """Store a file and accept it as an upload of a principal of its own (so that no bytes are the same)."""
    store = open_store(bench.settings.resolved_store_url)
    upload_id = uuid6.uuid7()
    with path.open("rb") as file:
        stored = store.put(
            new_object_key(upload_id, 1, path.name),
            iter(lambda: file.read(1 << 20), b""),
            media_type="text/csv",
        )
    request = NewUpload(
        dataset=dataset, filename=path.name, media_type="text/csv", school_id="main",
        title=None, note=None, fixes=None, options=ReadOptions(),
    )  # fmt: skip
    principal = Principal(id=f"key:bench-{upload_id}", role="admin", school_id=None, name="bench")
    with connect(bench.url) as connection:
        accept_upload(connection, store, upload_id, request, stored, principal)
    return upload_id


def fill_with_school(bench: Bench, *, students: int, schools: int) -> AnswerKey:
    """Hand in a demo school, let it be run, models included.

    What it needs is imported here: most measured processes import this module, and their memory counts.
    """
    from demo.school import draw_demo_school, write_files
    from elt.pipeline import run
    from ml.scoring import score_all

    folder = bench.folder / "school"
    key = write_files(draw_demo_school(students=students, schools=schools), folder)
    store = open_store(bench.settings.resolved_store_url)
    for path in sorted(folder.glob("*.csv")):
        store.put(path.name, [path.read_bytes()])
    run(bench.settings, trigger="cli", score=score_all)
    return key


def time_copy(bench: Bench, path: Path, columns: Mapping[str, Field], *, has_header: bool) -> float:
    """How long PostgreSQL takes to COPY a CSV file into an empty table without a key; the least it can take.

    Args:
        path: a file that the server may read.
        columns: the file's columns in their order, each with the contract's field that gives its type.
        has_header: whether the first line has names.
    """
    described = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(_PLAIN_TYPES[field.type]))
        for name, field in columns.items()
    )
    with psycopg.connect(bench.url, autocommit=True) as connection:
        connection.execute("drop table if exists public.plain")
        connection.execute(sql.SQL("create table public.plain ({})").format(described))
        started = time.perf_counter()
        connection.execute(
            sql.SQL("copy public.plain from {} with (format csv, header {})").format(
                sql.Literal(str(path)), sql.Literal(has_header)
            )
        )
        seconds = time.perf_counter() - started
        connection.execute("drop table public.plain")
    return seconds


def run_child(module: str, bench: Bench, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run `python -m MODULE --child` and read its JSON, so that its memory is its own."""
    payload = {
        **arguments,
        "home": str(bench.folder),
        "database_url": bench.url,
    }
    done = subprocess.run(
        [sys.executable, "-m", module, "--child", json.dumps(payload)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def environment_of(bench: Bench) -> dict[str, str]:
    """The environment of a process of the platform."""
    return {
        **os.environ,
        "LAUREL_HOME": str(bench.folder),
        "LAUREL_DATABASE_URL": bench.url,
        "LAUREL_SECRET_KEY": "made-for-this-benchmark-only",
        "LAUREL_PSEUDONYM_KEY": "made-for-this-benchmark-only",
        "LAUREL_STORE_URL": bench.settings.resolved_store_url,
    }


@contextmanager
def served(bench: Bench) -> Iterator[Server]:
    """Serve the API as it is for real, with an administrator's key."""
    port = ports.find_free_port()
    with connect(bench.url) as connection:
        _key_id, key = create_key(connection, "bench", "admin", None, "bench")
    environment = environment_of(bench) | {"LAUREL_PORT": str(port)}
    command = [sys.executable, "-m", "gunicorn", "--config", "python:backend.server", "backend.wsgi:app"]
    with (bench.folder / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_ready(port, process)
        yield Server(port, key, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=10).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("The API did not start.")
