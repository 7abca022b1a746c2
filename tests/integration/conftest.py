"""What tests of the API share: the application in process, and the same served by gunicorn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from elt.settings import Settings
from elt.warehouse import Connection
from tests.conftest import MakeTemplate, PostgresServer, settings_of
from tests.served_api import ApiServer, serve


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
    from elt.people.keys import create_key

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


@pytest.fixture(scope="session")
def _small_school_template(make_template: MakeTemplate, tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.small_school import build_small_school

    return make_template("small_school_template", tmp_path_factory.mktemp("school"), build_small_school)


@pytest.fixture
def small_school(begin_with: Callable[[str], None], _small_school_template: str) -> None:
    """The test's database holds the two schools of `tests.small_school`, with marts built."""
    begin_with(_small_school_template)


@pytest.fixture(scope="session")
def _uneven_school_template(make_template: MakeTemplate, tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.small_school import build_school
    from tests.uneven_school import files

    return make_template(
        "uneven_school_template",
        tmp_path_factory.mktemp("uneven"),
        lambda url, home: build_school(url, home, files()),
    )


@pytest.fixture(scope="session")
def uneven_settings(
    postgres_server: PostgresServer, _uneven_school_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings on one database with the schools of `tests.uneven_school`, for tests that only read it."""
    url = postgres_server.create_database("uneven_school", _uneven_school_template)
    return settings_of(url, tmp_path_factory.mktemp("home"))


@pytest.fixture
def uneven_school(begin_with: Callable[[str], None], _uneven_school_template: str) -> None:
    """The test's database holds the schools of `tests.uneven_school`, with marts built."""
    begin_with(_uneven_school_template)


@pytest.fixture(scope="module")
def api_server(
    postgres_server: PostgresServer, _template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """The API as it is served for real; shared by the tests of a module."""
    with serve(postgres_server, _template, tmp_path_factory.mktemp("server")) as server:
        yield server
