"""What tests share: a real PostgreSQL for the session, a fresh database for each test.

Most begin with a migrated database. Tests of what dbt makes begin with one in which it has built the marts of
no data: it reads the project and builds everything once a session, and each test pays for what it changes.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import boto3
import psutil
import psycopg
import pymysql
import pytest
from psycopg import sql
from pydantic import SecretStr
from uuid6 import uuid7

from elt.settings import PROJECT_DIR, Settings
from elt.warehouse import Connection, connect
from local import mariadb, ports, postgres
from tests.dbt_server import DbtServer

if TYPE_CHECKING:
    from elt.loading.loader import LoadOutcome
    from elt.people.principals import Principal
    from elt.store.base import Store
    from elt.uploads.accept import Accepted
    from elt.uploads.ledger import UploadRecord
    from tests.exam_board import ExamBoard, MakeExamBoard

_TEMPLATE = "laurel_template"
_BUILT_TEMPLATE = "built_template"
# One for all tests, each after the other: what dbt keeps of its reading of the project holds for one name.
_SCHOOL = "school"
_MEMORY = Path("/dev/shm")
_ROOM_IN_MEMORY = 4 * 1024**3  # bytes; far more than the servers of two workers need
_numbers = itertools.count(1)

# Modules that take minutes, the longest first: with them at the end one worker would work alone.
_LONG_MODULES = (
    "test_containers", "test_demo_school", "test_api_fuzz", "test_platform_services", "test_process_death",
    "test_postgres_faults", "test_transform", "test_disk_full", "test_demo_in_process",
    "test_migrations", "test_marts_registers", "test_rosariosis", "test_engines", "test_dbt",
    "test_live_faults", "test_random_kills", "test_upload_state_machine", "test_serving", "test_pages",
    "test_pages_admin", "test_pages_marts", "test_pages_student", "test_pages_summary", "test_pages_report",
    "test_pages_figures", "test_pages_planted", "test_translation", "test_parts", "test_parts_faults",
)  # fmt: skip

MakeTemplate = Callable[[str, Path, Callable[[str, Path], None]], str]


def make_server_folder(name: str) -> Path:
    """A folder for the data of a server: in memory where there is room, for they end with the tests."""
    has_room = (
        _MEMORY.is_dir()
        and shutil.disk_usage(_MEMORY).free > _ROOM_IN_MEMORY
        and psutil.virtual_memory().available > _ROOM_IN_MEMORY
    )
    folder = Path(tempfile.mkdtemp(prefix=f"laurel-test-{name}-", dir=_MEMORY if has_room else None))
    folder.chmod(0o711)  # the server's account must pass when the tests run as root
    return folder


def settings_of(database_url: str, home: Path) -> Settings:
    """Settings on a database, with a store below `home`; the keys are those of all tests."""
    return Settings(
        home=home,
        database_url=SecretStr(database_url),
        secret_key=SecretStr("a-key-for-tests-only-0123456789abcdef"),
        pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
        store_url=(home / "store").as_uri(),
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among workers (`--no-loadscope-reorder` lets them begin so), let the long modules begin."""
    if hasattr(config, "workerinput"):
        places = {name: place for place, name in enumerate(_LONG_MODULES)}
        items.sort(key=lambda item: places.get(item.path.stem, len(places)))


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

    def keep_database(self, name: str) -> str:
        """Let the database of `school` go on as a template of this name, which it returns."""
        self.drop_database(name)
        self.execute(
            sql.SQL("alter database {} rename to {}").format(sql.Identifier(_SCHOOL), sql.Identifier(name))
        )
        return name

    @contextmanager
    def school(self, template: str) -> Iterator[str]:
        """The address of a copy of the template, which is there until the end, or `keep_database`."""
        self.drop_database(_SCHOOL)
        try:
            yield self.create_database(_SCHOOL, template)
        finally:
            self.drop_database(_SCHOOL)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL in a temporary folder; `LAUREL_TEST_POSTGRES=16` picks the wheel's other version."""
    version = int(os.environ.get("LAUREL_TEST_POSTGRES", postgres.DEFAULT_VERSION))
    folder = make_server_folder("pg")
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
    folder = make_server_folder("mariadb")
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


@pytest.fixture(scope="session", autouse=True)
def _dbt_server() -> Iterator[None]:
    """What builds in the process of the tests finds dbt loaded already, see `tests.dbt_server`."""
    from elt.transforming import dbt_process

    if not sys.platform.startswith("linux"):
        yield
        return
    server = DbtServer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dbt_process, "_dbt_program", server.program)
        yield
    server.stop()


@pytest.fixture(scope="session")
def _parsed(
    postgres_server: PostgresServer, _template: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What dbt keeps under `dbt` in a home, once it has built the marts of no data: `_BUILT_TEMPLATE`."""
    from elt.transforming.transform import transform

    home = tmp_path_factory.mktemp("built")
    with postgres_server.school(_template) as url:
        transform(settings_of(url, home), uuid4())
        postgres_server.keep_database(_BUILT_TEMPLATE)
    return home / "dbt"


@pytest.fixture(scope="session")
def make_template(postgres_server: PostgresServer, _parsed: Path) -> MakeTemplate:
    """Makes a database for tests to begin with, from one with the marts of no data; returns its name.

    `make_template(name, home, fill)`: `fill` is given its address and a home, and leaves no session.
    """

    def make(name: str, home: Path, fill: Callable[[str, Path], None]) -> str:
        shutil.copytree(_parsed, home / "dbt")
        with postgres_server.school(_BUILT_TEMPLATE) as url:
            fill(url, home)
            return postgres_server.keep_database(name)

    return make


@pytest.fixture(scope="session")
def built_template(_parsed: Path) -> str:
    """A database with the marts of no data: what the fixture `template` of a module that builds returns."""
    return _BUILT_TEMPLATE


@pytest.fixture
def template(_template: str) -> str:
    """What a test's database is a copy of; a module whose tests begin with more overrides it."""
    return _template


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database without any of our tables, of this test only."""
    name = f"empty_{next(_numbers)}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture
def database_url(postgres_server: PostgresServer, template: str) -> Iterator[str]:
    """A fresh, migrated database of this test only."""
    with postgres_server.school(template) as url:
        yield url


@pytest.fixture
def begin_with(
    postgres_server: PostgresServer, database_url: str, settings: Settings, request: pytest.FixtureRequest
) -> Callable[[str], None]:
    """Makes the test's database, to which nobody is connected, a copy of a template with marts."""

    def begin(template: str) -> None:
        postgres_server.drop_database(_SCHOOL)
        postgres_server.create_database(_SCHOOL, template)
        shutil.copytree(request.getfixturevalue("_parsed"), settings.home / "dbt", dirs_exist_ok=True)

    return begin


@pytest.fixture
def built_marts(begin_with: Callable[[str], None], built_template: str) -> None:
    """The test's database has the marts of no data."""
    begin_with(built_template)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection to the test's database; rows are dictionaries, transactions explicit."""
    with connect(database_url, application_name="laurel-test") as opened:
        yield opened


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Where an S3 server (moto's) answers; tests of this process share it, each with buckets of its own."""
    from moto.s3.responses import S3Response  # takes seconds, which most tests need not wait for
    from moto.server import ThreadedMotoServer

    put_object, one_by_one = S3Response.put_object, threading.Lock()

    def look_and_put(response: S3Response) -> Any:
        """In one step, as S3 does: moto lets two writers look before either has written."""
        with one_by_one:
            return put_object(response)

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Response, "put_object", look_and_put)
        server.start()
        yield "http://{}:{}".format(*server.get_host_and_port())
        server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket; the environment tells clients how to reach it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    name = f"b{secrets.token_hex(8)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def versioned_bucket(bucket: str) -> str:
    """The same, of a bucket that keeps versions."""
    boto3.client("s3").put_bucket_versioning(
        Bucket=bucket.removeprefix("s3://"), VersioningConfiguration={"Status": "Enabled"}
    )
    return bucket


@pytest.fixture
def settings(
    database_url: str,
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Settings:
    """Settings on the test's database, with home and store in a temporary folder."""
    home = tmp_path / "home"
    home.mkdir()
    if template != _TEMPLATE:
        shutil.copytree(request.getfixturevalue("_parsed"), home / "dbt")
    monkeypatch.setenv("LAUREL_HOME", str(home))
    return settings_of(database_url, home)


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
