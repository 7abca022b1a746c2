"""Backups: what was dumped comes back, damage is found, a cut leaves nothing half, nobody erased is back."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from pydantic import SecretStr

from cli.main import cli
from elt import postgres_programs
from elt.backup import contents, databases
from elt.backup import restore as restoring
from elt.backup import verify as verifying
from elt.backup.contents import snapshot, sum_tables
from elt.backup.daily import back_up
from elt.backup.databases import KEPT_ASIDE, connect_server
from elt.backup.keep import kept, remove_outdated
from elt.backup.manifest import ListedBackup, TableSum, find_manifest, list_backups, manifest_key
from elt.backup.restore import Restore, RestoreReport, drop_put_aside
from elt.backup.take import take_backup
from elt.backup.verify import verify_backup
from elt.errors import BackupError, ConfigurationError, Conflict, NotFound, SchemaMismatch, TransientError
from elt.loading import parts
from elt.migrate import downgrade
from elt.pipeline import run
from elt.privacy.erasure import erase_pending
from elt.privacy.erasure_requests import list_erasures, request_erasure
from elt.schema_version import HEAD, read_revision
from elt.settings import Settings
from elt.store.base import Store, open_store
from elt.uploads.discover import discover
from elt.uploads.lifecycle import withdraw_upload
from elt.warehouse import Connection, connect
from local import ports, postgres
from tests.conftest import PostgresServer, Sender, make_server_folder
from tests.faults.world import wait_until

SCHOOL = "school"  # the tests' database


@pytest.fixture(params=["folder", "s3"])
def anywhere(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings with a store in a folder, and with one in a bucket that keeps versions."""
    if request.param == "folder":
        return settings
    bucket = request.getfixturevalue("versioned_bucket")
    return settings.model_copy(update={"store_url": f"{bucket}/prefix"})


@pytest.fixture(autouse=True)
def _no_databases_stay(postgres_server: PostgresServer, database_url: str) -> Iterator[None]:
    """What a test has put aside, or left as a killed call does, goes before the next one."""
    yield
    for name in _databases(postgres_server):
        postgres_server.drop_database(name)


@pytest.fixture
def lived(settings: Settings, store: Store, history: Callable[..., str]) -> Settings:
    """A database in which something has been handed in; nobody is connected to it."""
    _hand_in(settings, history(range(200)))
    return settings


def _url(settings: Settings) -> str:
    return settings.database_url.get_secret_value()


def _databases(server: PostgresServer) -> list[str]:
    """The databases beside the school's own."""
    with psycopg.connect(server.url("postgres")) as connection:
        rows = connection.execute(
            "select datname from pg_database where datname like 'school\\_%' order by 1"
        )
        return [row[0] for row in rows]


def _may_connect(server: PostgresServer, name: str) -> bool:
    """Whether everybody may connect to a database."""
    with psycopg.connect(server.url("postgres")) as connection:
        row = connection.execute("select has_database_privilege('public', %s, 'connect')", (name,)).fetchone()
    return bool(row and row[0])


def _hand_in(settings: Settings, content: str, dataset: str = "academic_history"):
    with connect(_url(settings)) as connection:
        sender = Sender(settings, connection, open_store(settings.resolved_store_url))
        return sender.hand_in(content, dataset)


def _sums(url: str) -> dict[str, TableSum]:
    with connect(url) as connection, snapshot(connection):
        return {table.name: table for table in sum_tables(connection)}


def _restore(
    settings: Settings, name: str = "latest", *, replace: bool = True, databases=()
) -> RestoreReport:
    store = open_store(settings.resolved_store_url)
    work = Restore(settings, store, score=lambda _settings, _run: {}, by="cli:test")
    return work.run(name, databases, replace=replace)


def _break_off(*_args: object, **_kwargs: object) -> None:
    raise BackupError("broken off")


def _rewrite_manifest(store: Store, change: Callable[[dict], None]) -> None:
    manifest = find_manifest(store, "latest")
    document = json.loads(manifest.to_bytes())
    change(document)
    store.put(manifest_key(manifest.name), [json.dumps(document).encode()], replace=True)


def _kill_at(settings: Settings, where: str, call: str) -> None:
    """Run `call`, which may name settings and store, in a process that is killed when it comes to `where`."""
    module, _, name = where.rpartition(".")
    code = f"""
import os, signal
from pydantic import SecretStr
import {module}
from elt.settings import Settings
from elt.store.base import open_store
from elt.backup.restore import Restore
from elt.backup.take import take_backup
from elt.backup.verify import verify_backup
{module}.{name} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
secret = "a-key-for-tests-only-0123456789abcdef"
settings = Settings(
    home={str(settings.home)!r}, database_url=SecretStr({_url(settings)!r}), secret_key=SecretStr(secret),
    pseudonym_key=SecretStr(secret), store_url={settings.store_url!r})
store = open_store(settings.resolved_store_url)
{call}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == -9, done.stderr
    with psycopg.connect(databases.beside(_url(settings), "postgres"), autocommit=True) as connection:
        sessions = "select from pg_stat_activity where usename = current_user and pid <> pg_backend_pid()"
        wait_until(lambda: not connection.execute(sessions).rowcount, "sessions of the dead live on")


def test_a_backup_is_taken_and_restores_to_the_same_content(anywhere: Settings, history) -> None:
    _hand_in(anywhere, history(range(100)))
    store = open_store(anywhere.resolved_store_url)
    before = _sums(_url(anywhere))
    manifest = take_backup(anywhere, store)
    [dump] = manifest.dumps
    assert {table.name: table for table in dump.tables} == before
    assert before["raw.academic_history"].rows == 100
    assert dump.revision == HEAD
    assert [(backup.is_whole, backup.verified_at) for backup in list_backups(store)] == [(True, None)]
    verify_backup(anywhere, store)
    [listed] = list_backups(store)
    assert listed.verified_at is not None


def test_after_damage_the_backup_brings_every_row_back(
    lived: Settings, store: Store, postgres_server: PostgresServer
) -> None:
    before = _sums(_url(lived))
    take_backup(lived, store)
    with connect(_url(lived)) as connection:
        connection.execute("truncate raw.academic_history")
        connection.execute("delete from ops.loads")
    report = _restore(lived)
    after = _sums(_url(lived))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"ops.audit", "ops.marks"}  # the restore's line, and up to when it has looked
    assert report.forward is not None
    assert (report.forward.events, report.forward.waiting) == (0, 0)
    with connect(_url(lived)) as connection:
        line = connection.execute("select * from ops.audit order by audit_id desc limit 1").fetchone()
    assert line is not None
    assert (line["actor"], line["action"]) == ("cli:test", "database:restore")
    assert _databases(postgres_server) == [report.put_aside["elt"]]
    assert _sums(postgres_server.url(report.put_aside["elt"]))["raw.academic_history"].rows == 0


def _send_in_parts(sender: Sender, content: str) -> UUID:
    """Hand a file in and load its parts; what is left is the load that makes them rows of raw."""
    sent = sender.send(content.encode(), "academic_history", principal=sender.admin)
    small = sender.settings.model_copy(update={"split_bytes": 3000})
    for part in parts.split_version(small, sender.store, sent.upload_id, 1):
        parts.load_part(small, sender.store, sent.upload_id, 1, part)
    return sent.upload_id


def _meanwhile(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """Let something happen once, just before the backup's function of this name is called."""
    real = getattr(contents, name)

    def call(*args: object) -> object:
        monkeypatch.setattr(contents, name, real)
        act()
        return real(*args)

    monkeypatch.setattr(contents, name, call)


@pytest.mark.parametrize("when", ["_lock", "_sum"])
def test_a_load_in_parts_may_end_while_a_backup_begins_or_reads(
    sender: Sender, history, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    upload_id = _send_in_parts(sender, history(range(200)))
    monkeypatch.setattr(parts, "_PATIENCE_TO_SHOW", "50ms")
    _meanwhile(monkeypatch, when, lambda: sender.load(upload_id, 1))
    manifest = take_backup(sender.settings, sender.store)
    verify_backup(sender.settings, sender.store)
    there = {table.name: table.rows for table in manifest.dumps[0].tables}
    moved = [rows for name, rows in there.items() if name.startswith("raw.rows_")]
    waiting = [rows for name, rows in there.items() if name.startswith("parts.rows_")]
    assert (moved, waiting) == (([200], []) if when == "_lock" else ([], [200]))
    assert sender.connection.execute("select count(*) as n from raw.academic_history").fetchone() == {
        "n": 200
    }


def test_an_emptied_table_is_not_dropped_while_a_backup_reads(
    sender: Sender, history, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = _send_in_parts(sender, history(range(200)))
    sender.load(upload_id, 1)
    withdraw_upload(sender.connection, sender.store, upload_id, sender.admin, reason="sent twice")
    dropped = []
    _meanwhile(monkeypatch, "_sum", lambda: dropped.append(parts.discard_outdated(sender.connection)))
    take_backup(sender.settings, sender.store)
    assert dropped == [0]
    verify_backup(sender.settings, sender.store)
    assert parts.discard_outdated(sender.connection) == 1


def test_where_tables_change_all_the_time_the_backup_is_to_be_tried_again(
    lived: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = contents._lock

    def lock(connection: Connection, tables: list) -> None:
        real(connection, [*tables, {"schema": "raw", "name": "gone"}])

    monkeypatch.setattr(contents, "_lock", lock)
    with pytest.raises(TransientError, match="tables of the database school could not be held still"):
        take_backup(lived, store)
    monkeypatch.undo()
    take_backup(lived, store, now=datetime.now(UTC) + timedelta(seconds=5))


@pytest.mark.parametrize("what", ["checksum", "rows"])
def test_verification_finds_a_table_that_is_not_the_dumped_one(
    lived: Settings, store: Store, postgres_server: PostgresServer, what: str
) -> None:
    take_backup(lived, store)

    def damage(document: dict) -> None:
        [table] = [t for t in document["dumps"][0]["tables"] if t["name"] == "raw.academic_history"]
        table[what] += 1

    _rewrite_manifest(store, damage)
    with pytest.raises(BackupError, match=r"raw\.academic_history has 200 rows") as raised:
        verify_backup(lived, store)
    assert "STU0" not in raised.value.detail
    assert _databases(postgres_server) == []
    assert [backup.verified_at for backup in list_backups(store)] == [None]


def test_the_checksum_tells_two_equal_rows_from_one_and_one_cell_from_another(lived: Settings) -> None:
    before = _sums(_url(lived))["raw.academic_history"]
    with connect(_url(lived)) as connection:
        connection.execute("update raw.academic_history set exam_score = 41 where student_id = 'STU00007'")
        changed = _sums(_url(lived))["raw.academic_history"]
        connection.execute("update raw.academic_history set exam_score = 40 where student_id = 'STU00007'")
    assert changed.rows == before.rows
    assert changed.checksum != before.checksum
    assert _sums(_url(lived))["raw.academic_history"] == before  # the row stands elsewhere now


@pytest.mark.parametrize("keep", [0.5, 1.0], ids=["cut", "changed"])
def test_damaged_bytes_are_never_put_in_place(
    lived: Settings, store: Store, postgres_server: PostgresServer, keep: float
) -> None:
    [dump] = take_backup(lived, store).dumps
    with store.open(dump.key) as stream:
        content = bytearray(stream.read())
    content[len(content) // 3] ^= 0xFF
    store.put(dump.key, [bytes(content[: int(len(content) * keep)])], replace=True)
    before = _sums(_url(lived))
    for act in (verify_backup, lambda settings, _store: _restore(settings)):
        with pytest.raises(BackupError, match=r"damaged|pg_restore"):
            act(lived, store)
    assert _sums(_url(lived)) == before
    assert _databases(postgres_server) == []


def test_a_backup_that_was_killed_is_no_backup_and_the_next_one_removes_it(
    lived: Settings, store: Store
) -> None:
    _kill_at(lived, "elt.backup.take.write_manifest", "take_backup(settings, store)")
    [half] = list_backups(store)
    assert not half.is_whole
    with pytest.raises(NotFound):
        find_manifest(store, half.name)
    with pytest.raises(NotFound, match="no backup yet"):
        verify_backup(lived, store)
    manifest = take_backup(lived, store, now=datetime.now(UTC) + timedelta(seconds=5))
    assert [backup.name for backup in list_backups(store)] == [manifest.name]


def test_what_killed_calls_leave_in_the_server_goes_with_the_next(
    lived: Settings, store: Store, postgres_server: PostgresServer
) -> None:
    take_backup(lived, store)
    before = _sums(_url(lived))
    _kill_at(lived, "elt.backup.verify.require_equal", "verify_backup(settings, store)")
    restore = "Restore(settings, store, score=None, by='cli:test').run('latest', replace=True)"
    _kill_at(lived, "elt.backup.restore.bring_forward", restore)
    # The restore has dropped what the verification left.
    [left] = _databases(postgres_server)
    assert left.startswith("school_restore_")
    assert _sums(_url(lived)) == before
    verify_backup(lived, store)
    assert _databases(postgres_server) == []


def test_databases_of_others_are_never_dropped(lived: Settings, postgres_server: PostgresServer) -> None:
    now = datetime.now(UTC)
    long_ago = f"{now - KEPT_ASIDE - timedelta(days=1):school_before_%Y%m%dt%H%M%S}"
    lately = f"{now - KEPT_ASIDE + timedelta(days=1):school_before_%Y%m%dt%H%M%S}"
    others = ["school_check_of_2025", "school_before_christmas", "school_restore"]
    for name in [long_ago, lately, "school_check_0123abcd", *others]:
        postgres_server.create_database(name)
    with connect_server(_url(lived)) as server:
        assert server.drop_leftovers(now) == [long_ago, "school_check_0123abcd"]
    assert drop_put_aside(lived) == [lately]
    assert _databases(postgres_server) == sorted(others)


def test_a_restore_that_breaks_leaves_the_database_as_it_was(
    lived: Settings, store: Store, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_backup(lived, store)
    _hand_in(
        lived,
        "Student ID,Grade Level,Subject,Term,Test Score,Exam Score,Total Score\n"
        "A1,JSS1,Art,First Term,1,2,3\n",
    )
    before = _sums(_url(lived))
    monkeypatch.setattr(restoring, "bring_forward", _break_off)
    with pytest.raises(BackupError, match="broken off"):
        _restore(lived)
    assert _sums(_url(lived)) == before
    assert _databases(postgres_server) == []


def test_a_database_in_use_or_with_tables_is_not_replaced(
    lived: Settings, store: Store, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_backup(lived, store)
    with pytest.raises(Conflict, match="--replace"):
        _restore(lived, replace=False)
    # Of another user, as the services' sessions are.
    elsewhere = postgres_server.cluster.url(postgres_server.superuser_password, SCHOOL)
    with closing(psycopg.connect(elsewhere, application_name="laurel-api")):
        with pytest.raises(Conflict, match="in use by: laurel-api"):
            _restore(lived)
        monkeypatch.setattr(restoring, "in_use", lambda *_: "looked away")
        monkeypatch.setattr(restoring.Server, "sessions", lambda *_: [])
        with pytest.raises(Conflict, match="in use"):  # who comes while it is restored is found at the end
            _restore(lived)
    assert _databases(postgres_server) == []
    assert _sums(_url(lived))["raw.academic_history"].rows == 200


def test_one_backs_up_at_a_time(lived: Settings, store: Store) -> None:
    with connect_server(_url(lived)), pytest.raises(Conflict, match="Another backup"):
        take_backup(lived, store)
    assert list_backups(store) == []


def test_without_the_right_to_make_databases_it_says_which_is_missing(
    lived: Settings, store: Store, postgres_server: PostgresServer
) -> None:
    take_backup(lived, store)
    postgres_server.execute(sql.SQL("alter role laurel nocreatedb"))
    try:
        with pytest.raises(ConfigurationError, match='alter role "laurel" createdb'):
            verify_backup(lived, store)
    finally:
        postgres_server.execute(sql.SQL("alter role laurel createdb"))


def test_an_older_backup_is_brought_to_this_version_and_a_newer_one_refused(
    lived: Settings, store: Store
) -> None:
    downgrade(_url(lived), "0012", lose_data=True)
    older = take_backup(lived, store)
    assert older.dumps[0].revision == "0012"
    _restore(lived)
    with connect(_url(lived)) as connection:
        assert read_revision(connection) == HEAD
        connection.execute("update ops.alembic_version set version_num = '9999'")
    assert _sums(_url(lived))["raw.academic_history"].rows == 200
    take_backup(lived, store, now=datetime.now(UTC) + timedelta(seconds=5))
    with pytest.raises(SchemaMismatch, match="9999"):
        _restore(lived)


def test_what_the_store_knows_and_the_backup_does_not_is_taken_up_by_the_next_run(
    lived: Settings, store: Store, history
) -> None:
    with connect(_url(lived)) as connection:
        [first] = [row["upload_id"] for row in connection.execute("select upload_id from ops.uploads")]
    discover(lived, store)  # as a run does, so that it need not look at all events again
    take_backup(lived, store)
    _hand_in(lived, history(range(300, 350)))
    with connect(_url(lived)) as connection:
        withdraw_upload(connection, store, first, Sender(lived, connection, store).researcher)
    report = _restore(lived)
    assert report.forward is not None
    assert (report.forward.events, report.forward.waiting) == (2, 1)
    [pending] = discover(lived, store)
    with connect(_url(lived)) as connection:
        sender = Sender(lived, connection, store)
        assert sender.load(pending.upload_id).status == "loaded"
        assert {row[0] for row in sender.raw("academic_history", "_upload_id")} == {pending.upload_id}


def test_whoever_was_erased_after_the_backup_is_not_in_what_is_restored(
    settings: Settings, store: Store, small_school: None
) -> None:
    take_backup(settings, store)
    store.put("backups/what a dump may hold", [b"STU002"])  # the search leaves backups alone
    with connect(_url(settings)) as connection:
        request_erasure(
            settings, connection, store, kind="student", school_id="main", identifier="STU002",
            reason="asked for", principal=Sender(settings, connection, store).admin,
        )  # fmt: skip
    report = _restore(settings)
    assert report.forward is not None
    assert (report.forward.erased, report.forward.open_erasures) == (1, 0)
    with connect(_url(settings)) as connection:
        assert [row["finished_at"] is not None for row in list_erasures(connection)] == [True]
        for table in ("raw.students", "raw.academic_history", "marts.mart_student_profiles"):
            rows = connection.execute(f"select student_id from {table} where school_id = 'main'").fetchall()
            assert {row["student_id"] for row in rows} >= {"STU001", "STU003"}, table
            assert "STU002" not in {row["student_id"] for row in rows}, table
    assert run(settings, trigger="cli", score=lambda *_: {}).idle


_VERSIONS = """
select upload_id, version, status, size_bytes, rows_read, rows_accepted, rows_rejected, rows_repeated,
    rows_loaded, rows_erased, erased, object_key
from ops.upload_versions order by upload_id, version
"""


def test_an_erasure_that_had_ended_is_done_again_with_the_same_result(
    settings: Settings, store: Store, built_marts: None, history
) -> None:
    _hand_in(settings, history([*range(6), 2]))
    _hand_in(settings, history(range(2, 9), faults={4: "STU00004,X"}))
    take_backup(settings, store)
    with connect(_url(settings)) as connection:
        request_erasure(
            settings, connection, store, kind="student", school_id="main", identifier="STU00002",
            reason="asked for", principal=Sender(settings, connection, store).admin,
        )  # fmt: skip

    def build() -> object:
        return run(settings, trigger="cli", score=lambda *_: {})

    assert len(erase_pending(settings, store, rebuild=build).finished) == 1
    with connect(_url(settings)) as connection:
        versions = connection.execute(_VERSIONS).fetchall()
        rows = Sender(settings, connection, store).raw("academic_history")
    report = _restore(settings)
    assert report.forward is not None
    assert (report.forward.erased, report.forward.waiting, report.forward.open_erasures) == (1, 0, 0)
    with connect(_url(settings)) as connection:
        assert connection.execute(_VERSIONS).fetchall() == versions
        assert Sender(settings, connection, store).raw("academic_history") == rows
    assert run(settings, trigger="cli", score=lambda *_: {}).idle


def test_rows_that_were_loaded_in_parts_come_back_and_are_not_taken_for_leftovers(
    sender: Sender, history
) -> None:
    sender.load(_send_in_parts(sender, history(range(200))), 1)
    before = sender.raw("academic_history")
    assert len(before) == 200
    take_backup(sender.settings, sender.store)
    sender.connection.close()
    _restore(sender.settings)
    with connect(_url(sender.settings)) as connection:
        restored = Sender(sender.settings, connection, sender.store)
        assert restored.raw("academic_history") == before
        assert parts.discard_outdated(connection) == 0
        assert restored.raw("academic_history") == before


_RIGHTS = """
select n.nspname || '.' || c.relname as thing, c.relowner::regrole::text as owner, c.relacl::text as rights
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'v', 'S') and n.nspname !~ '^(pg_|information)'
union all
select p.oid::regprocedure::text, proowner::regrole::text, proacl::text from pg_proc p
where pronamespace::regnamespace::text !~ '^(pg_|information)'
union all
select nspname, nspowner::regrole::text, nspacl::text from pg_namespace
where nspname !~ '^(pg_|information|public)'
union all
select defaclnamespace::regnamespace::text || ' ' || defaclobjtype::text, defaclrole::regrole::text,
    defaclacl::text
from pg_default_acl
"""


def _rights(url: str) -> dict[str, tuple[str, frozenset[str]]]:
    with connect(url) as connection:
        return {
            row["thing"]: (row["owner"], frozenset((row["rights"] or "").strip("{}").split(",")))
            for row in connection.execute(_RIGHTS)
        }


def test_a_new_server_gets_the_roles_and_everything_belongs_to_whom_it_did(
    settings: Settings, store: Store, small_school: None, tmp_path: Path
) -> None:
    take_backup(settings, store)
    expected, before = _rights(_url(settings)), _sums(_url(settings))
    folder, password = make_server_folder("new"), secrets.token_urlsafe(16)
    version = int(os.environ.get("LAUREL_TEST_POSTGRES", postgres.DEFAULT_VERSION))
    cluster = postgres.prepare(folder / "postgres", ports.find_free_port(), version=version)
    postgres.initialise(cluster, password)
    process = postgres.start(cluster, password, log=tmp_path / "log", settings=postgres.TEST_SETTINGS)
    try:
        postgres.create_owner_and_database(cluster.url(password), "laurel", password, SCHOOL)
        url = f"postgresql://laurel:{password}@127.0.0.1:{cluster.port}/{SCHOOL}"
        report = _restore(settings.model_copy(update={"database_url": SecretStr(url)}), replace=False)
        assert report.put_aside == {}
        after = _rights(url)
        assert {name: after.get(name) for name in expected} == expected
        assert {name for name, table in _sums(url).items() if table != before[name]} == {
            "ops.audit",
            "ops.marks",
        }
    finally:
        postgres.stop(process)
        shutil.rmtree(folder)


@pytest.fixture
def outsider(lived: Settings, postgres_server: PostgresServer) -> Iterator[str]:
    """A role that Laurel knows nothing of, with rights to a schema and a column."""
    name = "bi tool"
    postgres_server.execute(sql.SQL("create role {} nologin").format(sql.Identifier(name)))
    try:
        with connect(_url(lived)) as connection:
            connection.execute(f'grant usage on schema raw to "{name}"')
            connection.execute(f'grant select (student_id) on raw.students to "{name}"')
        yield name
    finally:
        for database in [*_databases(postgres_server), SCHOOL]:  # what depends on it
            postgres_server.drop_database(database)
        postgres_server.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_a_restore_says_which_roles_of_others_are_missing(
    lived: Settings, store: Store, postgres_server: PostgresServer, outsider: str
) -> None:
    [dump] = take_backup(lived, store).dumps
    assert {outsider, "laurel_reader"} <= set(dump.roles)
    assert not {"laurel", "postgres", "pg_monitor"} & set(dump.roles)
    verify_backup(lived, store)
    before = _sums(_url(lived))
    postgres_server.execute(sql.SQL('alter role "bi tool" rename to gone'))
    try:
        with pytest.raises(ConfigurationError, match=r': create role "bi tool" nologin; then') as raised:
            _restore(lived)
    finally:
        postgres_server.execute(sql.SQL('alter role gone rename to "bi tool"'))
    assert "does not have: bi tool." in raised.value.detail
    assert _sums(_url(lived)) == before
    _restore(lived)
    with connect(_url(lived)) as connection:
        may = "select has_schema_privilege(%s, 'raw', 'usage') as may"
        assert connection.execute(may, (outsider,)).fetchone() == {"may": True}


def test_a_manifest_of_before_roles_were_noted_is_read(lived: Settings, store: Store) -> None:
    take_backup(lived, store)
    _rewrite_manifest(store, lambda document: document["dumps"][0].pop("roles"))
    [dump] = find_manifest(store, "latest").dumps
    assert dump.roles == ()
    assert _restore(lived).databases == ["elt"]


def test_a_database_that_is_gone_is_made_again_and_open_to_whom_it_was(
    lived: Settings, store: Store, postgres_server: PostgresServer
) -> None:
    take_backup(lived, store)
    before = _sums(_url(lived))
    postgres_server.drop_database(SCHOOL)
    report = _restore(lived, replace=False)
    assert (report.put_aside, report.made_new) == ({}, ["elt"])
    assert _sums(_url(lived))["raw.academic_history"] == before["raw.academic_history"]
    assert _may_connect(postgres_server, SCHOOL)


def test_a_restored_database_has_the_rights_and_settings_of_the_one_before(
    lived: Settings, store: Store, postgres_server: PostgresServer, outsider: str
) -> None:
    for statement in (
        "revoke all on database school from public",
        'grant connect, temporary on database school to "bi tool" with grant option',
        "grant connect on database school to laurel_reader",
        "alter database school set search_path = public, \"a, b\", 'c''d'",
        "alter database school set work_mem = '33MB'",
        "alter database school set application_name = 'a=b, c'",
        "alter role laurel in database school set statement_timeout = '77s'",
        "alter database school set log_min_messages = 'error'",  # for which one must be a superuser
    ):
        postgres_server.execute(sql.SQL(statement))
    take_backup(lived, store)
    before = _of_database(postgres_server, SCHOOL)
    report = _restore(lived)
    after = _of_database(postgres_server, SCHOOL)
    assert report.left_out == {"elt": ("log_min_messages",)}
    assert before - after == {"log_min_messages=error"}
    assert after < before
    aside = _of_database(postgres_server, report.put_aside["elt"])
    assert aside == before


def _of_database(server: PostgresServer, name: str) -> set[str]:
    """What was granted on a database itself, and set for it."""
    with psycopg.connect(server.url("postgres")) as connection:
        rows = connection.execute(
            """
            select concat_ws(' ', grantee::regrole, privilege_type, is_grantable)
            from pg_database, aclexplode(datacl) where datname = %(name)s
            union all
            select concat(nullif(setrole, 0)::regrole || ': ', unnest(setconfig))
            from pg_db_role_setting join pg_database d on d.oid = setdatabase where datname = %(name)s
            """,
            {"name": name},
        )
        return {row[0] for row in rows}


@pytest.mark.parametrize(
    "made", ["locale 'C'", "locale 'C' locale_provider builtin builtin_locale 'C.UTF-8'"]
)
def test_a_restored_database_sorts_as_the_one_before(
    lived: Settings, store: Store, postgres_server: PostgresServer, made: str
) -> None:
    with connect(_url(lived)) as connection:
        if "builtin" in made and connection.info.server_version < 17_00_00:
            pytest.skip("PostgreSQL has had locales of its own since 17")
    take_backup(lived, store)
    postgres_server.drop_database(SCHOOL)
    postgres_server.execute(sql.SQL(f"create database school owner laurel template template0 {made}"))
    sorts = "select datcollate, datctype, datlocprovider from pg_database where datname = current_database()"
    with connect(_url(lived)) as connection:
        before = connection.execute(sorts).fetchone()
    _restore(lived, replace=False)
    with connect(_url(lived)) as connection:
        assert connection.execute(sorts).fetchone() == before
    assert _databases(postgres_server) == []  # an empty one is not put aside


def test_nobody_else_may_connect_to_a_database_that_is_being_filled(
    lived: Settings, postgres_server: PostgresServer
) -> None:
    with connect_server(_url(lived)) as server:
        name = server.create("restore")
    assert not _may_connect(postgres_server, name)
    postgres_server.execute(
        sql.SQL("revoke connect on database {} from public").format(sql.Identifier(SCHOOL))
    )
    with connect_server(_url(lived)) as server:
        server.put_in_place(name, datetime.now(UTC))
    assert not _may_connect(postgres_server, SCHOOL)  # as the one that had the name before


def test_airflow_s_database_is_kept_and_restored_as_well(
    lived: Settings, store: Store, postgres_server: PostgresServer, empty_database_url: str
) -> None:
    both = lived.model_copy(
        update={
            "airflow_database_url": SecretStr(
                empty_database_url.replace("postgresql://", "postgresql+psycopg2://")
            )
        }
    )
    with connect(empty_database_url) as connection:
        connection.execute("create table dag_run (id int primary key, note text)")
        connection.execute("insert into dag_run select i, 'run ' || i from generate_series(1, 50) i")
    assert [dump.database for dump in take_backup(both, store).dumps] == ["elt", "airflow"]
    verify_backup(both, store)
    with connect(empty_database_url) as connection:
        connection.execute("drop table dag_run")
    with pytest.raises(ConfigurationError, match="LAUREL_AIRFLOW_DATABASE_URL"):
        _restore(lived)
    report = _restore(both, databases=["airflow"], replace=False)
    assert (report.databases, report.put_aside, report.forward) == (["airflow"], {}, None)
    assert _sums(empty_database_url)["public.dag_run"].rows == 50


def test_where_only_one_of_two_databases_could_be_put_in_place_it_says_which(
    lived: Settings, store: Store, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = lived.model_copy(update={"airflow_database_url": SecretStr(empty_database_url)})
    take_backup(both, store)
    monkeypatch.setattr(restoring.Server, "sessions", lambda *_: [])  # it comes while elt is restored
    with (
        closing(psycopg.connect(empty_database_url, application_name="scheduler")),
        pytest.raises(Conflict, match=r"elt is restored; airflow is not: --database airflow"),
    ):
        _restore(both)
    assert _sums(_url(lived))["raw.academic_history"].rows == 200


@pytest.mark.parametrize(
    "form", ["{0}://{1}/?dbname=school", "{0}://{1}/other?dbname=school", "host={1} dbname=school"]
)
def test_an_address_that_names_its_database_elsewhere_is_refused(
    lived: Settings, store: Store, form: str
) -> None:
    take_backup(lived, store)
    before = _sums(_url(lived))
    scheme, rest = _url(lived).split("://")
    address = form.format(scheme, rest.removesuffix("/school"))
    odd = lived.model_copy(update={"database_url": SecretStr(address)})
    for act in (take_backup, verify_backup, lambda settings, _store: _restore(settings)):
        with pytest.raises(ConfigurationError, match="name behind the host") as raised:
            act(odd, store)
        assert address not in raised.value.detail
    assert _sums(_url(lived)) == before


def test_nothing_is_restored_where_the_address_does_not_lead_to_the_database_that_was_made(
    lived: Settings, store: Store, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_backup(lived, store)
    before = _sums(_url(lived))
    real = databases.beside  # as where something stands between, which knows names of its own
    monkeypatch.setattr(
        databases, "beside", lambda url, name: real(url, name if name == "postgres" else SCHOOL)
    )
    for act in (verify_backup, lambda settings, _store: _restore(settings)):
        with pytest.raises(BackupError, match=r"leads to school\. Nothing was restored"):
            act(lived, store)
    monkeypatch.undo()
    assert _sums(_url(lived)) == before
    assert _databases(postgres_server) == []


def test_the_password_stands_in_no_list_of_processes(
    lived: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    popen = subprocess.Popen

    def watch(command, *args, **kwargs):
        process, line = popen(command, *args, **kwargs), ""
        while not line and process.poll() is None:  # the system shows it a moment after the start
            line = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace")
        seen.append(line)
        return process

    monkeypatch.setattr(postgres_programs.subprocess, "Popen", watch)
    take_backup(lived, store)
    verify_backup(lived, store)
    assert any("pg_dump\0--format" in line for line in seen)
    assert any("pg_restore\0--exit" in line for line in seen)
    password = psycopg.conninfo.conninfo_to_dict(_url(lived))["password"]
    assert not [line for line in seen if str(password) in line]


def test_the_daily_backup_never_removes_the_newest_that_was_verified(
    lived: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = datetime(2026, 1, 1, 2, 30, tzinfo=UTC)
    verified = back_up(lived, store, now=begin)
    monkeypatch.setattr(verifying, "require_equal", _break_off)
    for day in range(1, 60):
        store.put(manifest_key(f"{begin + timedelta(days=day):%Y-%m-%dT%H-%M-%SZ}"), [b"{}"])
    with pytest.raises(BackupError, match="broken off"):
        back_up(lived, store, now=begin + timedelta(days=60))
    names = [backup.name for backup in list_backups(store)]
    assert names[0] == "2026-03-02T02-30-00Z"
    assert names[-1] == verified
    assert len(names) == 10  # of seven days, of two weeks before those, and the verified one
    monkeypatch.undo()
    newest = back_up(lived, store, now=begin + timedelta(days=61))
    now_kept = list_backups(store)
    assert (now_kept[0].name, now_kept[0].verified_at is not None) == (newest, True)
    assert verified not in {backup.name for backup in now_kept}


def test_one_taken_later_that_day_does_not_push_out_the_one_that_was_verified() -> None:
    now = datetime(2026, 3, 20, tzinfo=UTC)

    def listed(name: str, verified_at: datetime | None) -> ListedBackup:
        return ListedBackup(name, 1, True, verified_at)

    backups = [
        listed(f"2026-03-{day}T{hour}-00-00Z", now if hour == "02" else None)
        for day in range(10, 20)
        for hour in ("02", "14")
    ]
    names = sorted(kept(backups, now))
    assert names[-1] == "2026-03-19T14-00-00Z"  # of the last day all are kept
    assert {name[11:13] for name in names[:-1]} == {"02"}


def test_outdated_backups_leave_nothing_in_a_bucket_that_keeps_versions(anywhere: Settings) -> None:
    store = open_store(anywhere.resolved_store_url)
    begin = datetime(2026, 1, 1, 2, 30, tzinfo=UTC)
    for day in range(60):
        name = f"{begin + timedelta(days=day):%Y-%m-%dT%H-%M-%SZ}"
        store.put(f"backups/{name}/elt.dump", [b"x"])
        store.put(manifest_key(name), [b"{}"])
    now = begin + timedelta(days=59, hours=1)
    for hours in (0.5, 25.5):  # beside the daily ones: of the last 24 hours, and from before them
        store.put(manifest_key(f"{now - timedelta(hours=hours):%Y-%m-%dT%H-%M-%SZ}"), [b"{}"])
    removed = remove_outdated(store, now)
    names = [backup.name for backup in list_backups(store)]
    assert len(removed) + len(names) == 62
    assert names[:3] == ["2026-03-01T03-00-00Z", "2026-03-01T02-30-00Z", "2026-02-28T02-30-00Z"]
    assert [name[:10] for name in names[3:8]] == [f"2026-02-{day}" for day in (27, 26, 25, 24, 23)]
    assert [name[:10] for name in names[8:]] == ["2026-02-22", "2026-02-15", "2026-02-08"]
    assert list(store.old_versions("backups/")) == []
    assert remove_outdated(store, now) == []


def test_the_commands_say_what_they_did_and_end_with_the_right_status(
    lived: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("database_url", "secret_key", "pseudonym_key"):
        monkeypatch.setenv(f"LAUREL_{name.upper()}", getattr(lived, name).get_secret_value())
    monkeypatch.setenv("LAUREL_STORE_URL", lived.store_url)

    def call(*arguments: str, **typed: str):
        return CliRunner().invoke(cli, arguments, **typed)

    taken = json.loads(call("backup", "--json").stdout)
    assert [dump["database"] for dump in taken["dumps"]] == ["elt"]
    assert call("backup", "verify", taken["name"]).exit_code == 0
    shown = call("backup", "list").stdout
    assert taken["name"] in shown
    assert "verified" in shown
    refused = call("restore", "latest", "--yes")
    assert isinstance(refused.exception, Conflict)
    assert call("restore").exit_code == 2
    assert call("restore", "latest", input="n\n").exit_code == 1
    done = call("restore", taken["name"], "--replace", "--yes")
    assert done.exit_code == 0, done.output
    assert "laurel run" in done.stdout
    dropped = call("backup", "drop-aside").stdout
    assert "school_before_" in dropped
