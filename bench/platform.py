"""What the benchmarks share: a server of their own, a migrated database, and a file handed in."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import uuid6
from pydantic import SecretStr

from elt.migrate import migrate
from elt.people.principals import Principal
from elt.reading.reader import ReadOptions
from elt.settings import Settings
from elt.store.base import open_store
from elt.store.object_keys import new_object_key
from elt.uploads.accept import NewUpload, accept_upload
from elt.warehouse import connect
from local import ports, postgres

_PASSWORD = "bench"


@dataclass(frozen=True, slots=True)
class Bench:
    """A running server with the database `elt`, and a folder that the server may read."""

    settings: Settings
    folder: Path

    @property
    def url(self) -> str:
        """The address of the database `elt`."""
        return self.settings.database_url.get_secret_value()


@contextmanager
def running_platform() -> Iterator[Bench]:
    """Start an embedded PostgreSQL with the platform's own settings (fsync on) in a temporary folder."""
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
            yield Bench(_settings(folder, url), folder)
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


def child_settings(payload: dict[str, Any]) -> Settings:
    """The settings that `run_child` handed over."""
    return _settings(Path(payload["home"]), payload["database_url"])


def peak_rss_mb() -> float:
    """The largest resident memory of this process so far, in MB.

    Not by getrusage: on Linux its figure starts with that of the process which started this one.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def _settings(folder: Path, url: str) -> Settings:
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=folder, database_url=SecretStr(url), secret_key=SecretStr("bench"),
        pseudonym_key=SecretStr("bench"),
    )  # fmt: skip
