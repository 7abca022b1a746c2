"""What tests of the API share: the application in process, and the same served by gunicorn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from elt.settings import PROJECT_DIR, Settings
from elt.warehouse import Connection, connect
from local.ports import find_free_port

if TYPE_CHECKING:
    from tests.conftest import PostgresServer

START_SECONDS = 60


@pytest.fixture
def api(settings: Settings) -> Iterator[Flask]:
    """The application on the test's database and store."""
    from backend.app import create_app

    app = create_app(settings)
    yield app
    app.extensions["laurel"].close()


@pytest.fixture
def make_key(connection: Connection) -> Callable[..., str]:
    """Make a key of a role."""
    from elt.keys import create_key

    def make(role: str, school_id: str | None = None) -> str:
        return create_key(connection, f"{role} of a test", role, school_id, "test")[1]

    return make


@pytest.fixture
def client_of(api: Flask, make_key: Callable[..., str]) -> Callable[..., FlaskClient]:
    """A client with a fresh key of a role."""

    def make(role: str, school_id: str | None = None) -> FlaskClient:
        client = api.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {make_key(role, school_id)}"
        return client

    return make


@pytest.fixture
def researcher(client_of: Callable[..., FlaskClient]) -> FlaskClient:
    return client_of("researcher")


@pytest.fixture
def admin(client_of: Callable[..., FlaskClient]) -> FlaskClient:
    return client_of("admin")


@dataclass(frozen=True)
class ApiServer:
    """A running gunicorn with a database and a store of its own; `log` is what it has written."""

    url: str
    settings: Settings
    process: subprocess.Popen[bytes]
    log: Path

    def make_key(self, role: str) -> str:
        """A fresh key of a role."""
        from elt.keys import create_key

        with connect(self.settings.database_url.get_secret_value()) as connection:
            return create_key(connection, f"{role} of a test", role, None, "test")[1]


@pytest.fixture(scope="module")
def api_server(
    postgres_server: PostgresServer, _template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """The API as it is served for real; shared by the tests of a module."""
    home = tmp_path_factory.mktemp("server")
    name = f"api_{home.name}".replace("-", "_")
    port = find_free_port()
    settings = Settings(
        home=home,
        database_url=SecretStr(postgres_server.create_database(name, _template)),
        secret_key=SecretStr("a-key-for-tests-only-0123456789abcdef"),
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
