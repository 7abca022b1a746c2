"""The API served by gunicorn as in production, with a database and a store of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from elt.people.keys import create_key
from elt.settings import PROJECT_DIR, Settings
from elt.warehouse import connect
from local.ports import find_free_port
from tests.conftest import PostgresServer

START_SECONDS = 180  # only against hanging


@dataclass(frozen=True)
class ApiServer:
    """A running gunicorn with a database and a store of its own; `log` is what it has written."""

    url: str
    settings: Settings
    process: subprocess.Popen[bytes]
    log: Path

    def make_key(self, role: str) -> str:
        """A fresh key of a role."""
        with connect(self.settings.database_url.get_secret_value()) as connection:
            return create_key(connection, f"{role} of a test", role, None, "test")[1]


@contextmanager
def serve(postgres_server: PostgresServer, template: str, home: Path) -> Iterator[ApiServer]:
    """Start gunicorn on a fresh database and a store below `home`; stop it at the end."""
    name = f"api_{home.name}"
    port = find_free_port()
    settings = Settings(
        home=home,
        database_url=SecretStr(postgres_server.create_database(name, template)),
        secret_key=SecretStr("a-key-for-tests-only-0123456789abcdef"),
        pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
        store_url=(home / "store").as_uri(),
        max_upload_bytes=100 * 1024**2,
        port=port,
    )
    process = _start(settings, home / "gunicorn.log")
    try:
        server = ApiServer(f"http://127.0.0.1:{port}", settings, process, home / "gunicorn.log")
        _wait_until_alive(server)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)
        postgres_server.drop_database(name)


def _start(settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAUREL_")}
    environment |= {
        "LAUREL_HOME": str(settings.home),
        "LAUREL_DATABASE_URL": settings.database_url.get_secret_value(),
        "LAUREL_SECRET_KEY": settings.secret_key.get_secret_value(),
        "LAUREL_PSEUDONYM_KEY": settings.pseudonym_key.get_secret_value(),
        "LAUREL_STORE_URL": settings.store_url,
        "LAUREL_MAX_UPLOAD_BYTES": str(settings.max_upload_bytes),
        "LAUREL_PORT": str(settings.port),
    }
    command = [sys.executable, "-m", "gunicorn", "--config", "python:backend.server", "backend.wsgi:app"]
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, cwd=PROJECT_DIR, stdout=output, stderr=output)


def _wait_until_alive(server: ApiServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if httpx.get(f"{server.url}/healthz", timeout=5, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"gunicorn did not start:\n{server.log.read_text()[-2000:]}")
