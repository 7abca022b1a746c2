"""What tests share: a real PostgreSQL for the session, a fresh migrated database for each test."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pymysql
import pytest
from psycopg import sql
from pydantic import SecretStr
from uuid6 import uuid7

from elt.settings import PROJECT_DIR, Settings
from elt.warehouse import Connection, connect
from local import mariadb, ports, postgres

if TYPE_CHECKING:
    from elt.loading.loader import LoadOutcome
    from elt.people.principals import Principal
    from elt.store.base import Store
    from elt.uploads.accept import Accepted
    from elt.uploads.ledger import UploadRecord
    from tests.exam_board import ExamBoard, MakeExamBoard

_TEMPLATE = "laurel_template"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class PostgresServer:
    """A running server. Tests work as their database's owner, who is no superuser, as on the platform."""

    cluster: postgres.Cluster
    superuser_password: str
    owner_password: str

    def url(self, database: str) -> str:
        """The address of a database for its owner."""
        return f"postgresql://laurel:{self.owner_password}@127.0.0.1:{self.cluster.port}/{database}"

    def execute(self, statement: sql.Composable) -> None:
        """Run one statement outside any transaction, as superuser, in the database `postgres`."""
        with psycopg.connect(self.cluster.url(self.superuser_password), autocommit=True) as connection:
            connection.execute(statement)

    def create_database(self, name: str, template: str = "template1") -> str:
        """Make a database as a copy of another; returns its address."""
        # Copying files is quickest where nothing is flushed to disk.
        self.execute(
            sql.SQL("create database {} owner laurel template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL in a temporary folder; `LAUREL_TEST_POSTGRES=16` picks the wheel's other version."""
    version = int(os.environ.get("LAUREL_TEST_POSTGRES", postgres.DEFAULT_VERSION))
    folder = Path(tempfile.mkdtemp(prefix="laurel-test-pg-"))
    folder.chmod(0o711)  # the server's account must pass when the tests run as root
    password = secrets.token_urlsafe(16)
    cluster = postgres.prepare(folder / "postgres", ports.find_free_port(), version=version)
    try:
        postgres.initialise(cluster, password)
        process = postgres.start(cluster, password, log=folder / "log", settings=postgres.TEST_SETTINGS)
        try:
            server = PostgresServer(cluster, password, secrets.token_urlsafe(16))
            postgres.create_owner_and_database(cluster.url(password), "laurel", server.owner_password, "elt")
            yield server
        finally:
            postgres.stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class MariaDBServer:
    """A running server. Tests work as its only user, who may do everything."""

    server: mariadb.Server
    password: str

    def connect(self, database: str | None = None) -> pymysql.Connection:
        """A connection that commits each statement."""
        return self.server.connect(self.password, database)

    def create_database(self, name: str, charset: str = "utf8mb4") -> str:
        """Make an empty database; returns its address, mysql://…"""
        return self.server.create_database(self.password, name, charset)

    def drop_database(self, name: str) -> None:
        """Drop a database, if it is there."""
        self.server.drop_database(self.password, name)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    """A real MariaDB in a temporary folder; skipped where it is not installed."""
    if mariadb.find_program() is None:
        pytest.skip(f"MariaDB is not installed (Debian: apt-get install {mariadb.PACKAGES})")
    folder = Path(tempfile.mkdtemp(prefix="laurel-test-mariadb-"))
    folder.chmod(0o711)  # the server's account must pass when the tests run as root
    password = secrets.token_urlsafe(16)
    try:
        server = mariadb.prepare(folder / "mariadb", ports.find_free_port())
        mariadb.initialise(server)
        process = mariadb.start(server, password, log=folder / "log", settings=mariadb.TEST_SETTINGS)
        try:
            yield MariaDBServer(server, password)
        finally:
            mariadb.stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mariadb_url(mariadb_server: MariaDBServer) -> Iterator[str]:
    """The address of a fresh, empty database of this test only."""
    name = f"test_{next(_numbers)}"
    yield mariadb_server.create_database(name)
    mariadb_server.drop_database(name)


@pytest.fixture
def make_exam_board(tmp_path: Path) -> Iterator[MakeExamBoard]:
    """Starts the exam boards' API for a test: `make_exam_board(records=None, api_key=None)`.

    `records`: a folder with files of records; without one, a test publishes its own.
    """
    from tests.exam_board import run_exam_board  # here, so that other tests do not wait for Flask

    with ExitStack() as stack:

        def make(records: Path | None = None, api_key: str | None = None) -> ExamBoard:
            return stack.enter_context(run_exam_board(records or tmp_path / "exam_board", api_key))

        yield make


@pytest.fixture(scope="session")
def _template(postgres_server: PostgresServer) -> str:
    from elt.migrate import migrate  # here, so that unit tests do not wait for Alembic

    migrate(postgres_server.create_database(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database without any of our tables, of this test only."""
    name = f"empty_{next(_numbers)}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture
def database_url(postgres_server: PostgresServer, _template: str) -> Iterator[str]:
    """A fresh, migrated database of this test only."""
    name = f"test_{next(_numbers)}"
    yield postgres_server.create_database(name, _template)
    postgres_server.drop_database(name)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection to the test's database; rows are dictionaries, transactions explicit."""
    with connect(database_url, application_name="laurel-test") as opened:
        yield opened


@pytest.fixture
def settings(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings on the test's database, with home and store in a temporary folder."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("LAUREL_HOME", str(home))
    return Settings(
        home=home,
        database_url=SecretStr(database_url),
        secret_key=SecretStr("a-key-for-tests-only-0123456789abcdef"),
        pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
        store_url=(home / "store").as_uri(),
    )


@pytest.fixture
def store(settings: Settings) -> Store:
    """The test's object store, a folder."""
    from elt.store.base import open_store

    return open_store(settings.resolved_store_url)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the first real files; the test is skipped where they are not."""
    folder = Path(os.environ.get("LAUREL_SHARED_DATA") or PROJECT_DIR.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"the real files are not at {folder} (set LAUREL_SHARED_DATA)")
    return folder


class Sender:
    """Hands files in as the API does and loads them as the pipeline does, for tests of what follows."""

    def __init__(self, settings: Settings, connection: Connection, store: Store) -> None:
        from elt.people.principals import Principal

        self.settings = settings
        self.connection = connection
        self.store = store
        self.researcher = Principal("key:researcher", "researcher", name="R")
        self.admin = Principal("key:admin", "admin", name="A")

    def send(
        self,
        content: bytes | str,
        dataset: str = "academic_history",
        *,
        principal: Principal | None = None,
        filename: str = "file.csv",
        idempotency_key: str | None = None,
        **request: Any,
    ) -> Accepted:
        """Store the bytes and accept them."""
        from elt.store.object_keys import new_object_key
        from elt.uploads.accept import NewUpload, accept_upload

        upload_id = UUID(int=uuid7().int)
        stored = self.store.put(new_object_key(upload_id, 1, filename), [_bytes(content)])
        new = NewUpload(**{"dataset": dataset, "filename": filename, "school_id": "main", **request})
        return accept_upload(
            self.connection, self.store, upload_id, new, stored, principal or self.researcher,
            idempotency_key=idempotency_key,
        )  # fmt: skip

    def replace(self, upload_id: UUID, content: bytes | str, principal: Principal | None = None) -> int:
        """Store the bytes as the upload's next version."""
        from elt.reading.reader import ReadOptions
        from elt.store.object_keys import new_object_key
        from elt.uploads.lifecycle import replace_upload

        stored = self.store.put(new_object_key(upload_id, 2, "file.csv"), [_bytes(content)])
        return replace_upload(
            self.connection, self.store, upload_id, stored, "file.csv", "text/csv", ReadOptions(),
            principal or self.researcher,
        )  # fmt: skip

    def load(self, upload_id: UUID, version: int = 1) -> LoadOutcome:
        """Load one version."""
        from elt.loading.loader import load_version

        return load_version(self.settings, self.store, upload_id, version)

    def hand_in(self, content: bytes | str, dataset: str = "academic_history", **request: Any) -> UUID:
        """Send and load; returns the upload's id."""
        accepted = self.send(content, dataset, **request)
        self.load(accepted.upload_id)
        return accepted.upload_id

    def upload(self, upload_id: UUID) -> UploadRecord:
        """What the ledger says."""
        from elt.uploads.ledger import get_upload

        return get_upload(self.connection, upload_id)

    def raw(self, dataset: str = "academic_history", *columns: str) -> list[tuple[Any, ...]]:
        """Rows of raw, sorted; all columns but the time of loading unless some are named."""
        from elt.contracts import get_contract

        names = columns or (*get_contract(dataset).columns, "_upload_id", "_line")
        query = sql.SQL("select {} from {}").format(
            sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier("raw", dataset)
        )
        return sorted((tuple(row.values()) for row in self.connection.execute(query)), key=repr)


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


@pytest.fixture
def sender(settings: Settings, connection: Connection, store: Store) -> Sender:
    """Hands files in and loads them."""
    return Sender(settings, connection, store)


@pytest.fixture(scope="session")
def history() -> Callable[..., str]:
    """Makes a file of academic history: one row per student number; `faults` maps rows to lines."""

    def make(
        students: Iterable[int], *, exam: int = 40, faults: dict[int, str] | None = None, columns: str = ""
    ) -> str:
        lines = ["Student ID,Grade Level,Subject,Term,Test Score,Exam Score,Total Score" + columns]
        for number in students:
            sound = f"STU{number:05},JSS1,Mathematics,First Term,20,{exam},{20 + exam}"
            lines.append((faults or {}).get(number, sound))
        return "\n".join(lines) + "\n"

    return make
