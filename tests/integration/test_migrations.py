"""Migrations forward and back: each revision's schema is the same again, and what it can hold stays."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from psycopg import sql

from cli.main import cli
from elt.errors import Conflict, SchemaMismatch
from elt.migrate import BASE, alembic, downgrade, migrate
from elt.pipeline import begin, run
from elt.postgres_programs import connection_environment, find_binaries
from elt.schema_version import HEAD, MIGRATIONS, REVISIONS, read_revision
from elt.settings import Settings
from elt.store.base import open_store
from elt.warehouse import Connection, connect
from local.doctor import examine
from tests.conftest import PostgresServer, Sender

DUMP = Path(__file__).parents[1] / "upgrades" / "revision_0008.sql.gz"
OURS = ("ops", "raw", "ml", "live", "served")

# What needs no asking: it is read from the sources again, worked out anew, or of no use in a minute.
FOUND_AGAIN = {
    "live.countries", "live.hours", "live.rejects", "live.responses", "live.sources", "live.version",
    "live.sources.problem_detail", "ops.audit_turn", "ops.keys.owner", "ops.rates", "ops.scopes",
    "ops.scopes.backend_pid", "ops.source_ranges", "ops.source_tables", "ops.sources",
    "ops.split_findings", "ops.split_parts", "ops.splits",
}  # fmt: skip

# Beside the two schools: something in each table and column that a revision brought and that is not found
# again by itself.
WRITTEN = """
insert into ops.users (user_id, email, name, role, created_by, mails_loaded)
    values ('00000000-0000-7000-8000-000000000001', 'ada@example.org', 'Ada', 'teacher', 'cli:test', true);
insert into ops.assignments (user_id, school_id, created_by)
    values ('00000000-0000-7000-8000-000000000001', 'main', 'cli:test');
insert into ops.sessions (session_sha256, user_id, expires_at)
    values ('\\x01', '00000000-0000-7000-8000-000000000001', '2030-01-01');
insert into ops.scopes (token_sha256, backend_pid, principal, role, expires_at)
    values ('\\x02', 1, 'user:1', 'admin', '2030-01-01');
insert into ops.keys (key_id, name, role, prefix, key_sha256, created_by, owner)
    values ('00000000-0000-7000-8000-000000000002', 'K', 'researcher', 'lk', '\\x03',
            'user:00000000-0000-7000-8000-000000000001', 'user:00000000-0000-7000-8000-000000000001');
insert into ops.keys (key_id, name, role, prefix, key_sha256, created_by, owner)
    values ('00000000-0000-7000-8000-000000000003', 'L', 'researcher', 'll', '\\x04',
            'key:00000000-0000-7000-8000-000000000002', 'user:00000000-0000-7000-8000-000000000001');
insert into ops.erasures (erasure_id, kind, school_id, tombstone, reason, requested_by, traces, found)
    values ('00000000-0000-7000-8000-000000000004', 'student', 'main', 't', 'asked', 'user:1', '{a}', '{b}');
insert into ops.interventions (intervention_id, school_id, student_id, done_on, done_by, action)
    values ('00000000-0000-7000-8000-000000000005', 'main', 'STU001', '2025-01-01', 'user:1', 'Talked');
insert into ops.interventions
    (intervention_id, school_id, student_id, done_on, done_by, action, corrects, takes_back)
    values ('00000000-0000-7000-8000-000000000006', 'main', 'STU001', '2025-01-01', 'user:1', 'Was another',
            '00000000-0000-7000-8000-000000000005', true);
insert into ops.student_notes (note_id, school_id, student_id, note, written_by)
    values ('00000000-0000-7000-8000-000000000007', 'main', 'STU001', 'Reads a lot', 'user:1');
insert into ops.disputes (dispute_id, school_id, student_id, mart, column_name, row_key, reason, raised_by)
    values ('00000000-0000-7000-8000-000000000008', 'main', 'STU001', 'm', 'c', '{}', 'wrong', 'user:1');
insert into ops.alerts (event, sent_at) values ('run_failed', now());
insert into ops.mails (mail_id, about, kind, user_id, detail)
    values ('00000000-0000-7000-8000-000000000009', 'a', 'upload', '00000000-0000-7000-8000-000000000001',
            '{}');
insert into ops.report_subscriptions (subscription_id, user_id, school_id, grade_level, due_on)
    values ('00000000-0000-7000-8000-00000000000a', '00000000-0000-7000-8000-000000000001', 'main', 'JSS1',
            '2030-01-01');
insert into ops.student_assignments (assignment_id, school_id, student_id, user_id, assigned_by)
    values ('00000000-0000-7000-8000-00000000000b', 'main', 'STU001', '00000000-0000-7000-8000-000000000001',
            'user:1');
insert into ops.sources (source, status, started_at) values ('s', 'succeeded', now());
insert into live.sources (source, way, problem_detail) values ('l', 'poll', 'host away');
insert into ml.models (model_id, target, version, algorithm, code_version, data_window, features, metrics,
                       gate, is_published)
    values ('00000000-0000-7000-8000-00000000000c', 'at_risk', 1, 'a', '1', '{}', '{}', '{}', '{}', false);
insert into ml.acceptances (model_id, accepted_by, reason, gaps)
    values ('00000000-0000-7000-8000-00000000000c', 'user:1', 'small school', '[]');
insert into ml.predictions (target, method, school_id, student_id, as_of_date, score, is_at_risk, reasons,
                            recommendations, data_version, subject, value, features)
    values ('subject_pass', 'rule', 'main', 'STU002', '2025-01-01', 1, true, '[]', '[]', 't', 'English', 40,
            '{}');
"""


def schema_of(database_url: str) -> list[str]:
    """Our schemas as pg_dump writes them: tables, defaults, constraints, functions, rights, comments; sorted.

    Without what a run makes: the views of schema served, and the note there of what they were made of.
    """
    chosen = [f"--schema={name}" for name in OURS]
    left_out = ["--exclude-table=ops.alembic_version", "--exclude-table=served.*"]
    dump = subprocess.run(
        [find_binaries() / "pg_dump", "--schema-only", *chosen, *left_out],
        env={**os.environ, **connection_environment(database_url)},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    # Each dump has a key of its own in the lines with a backslash; SET stands before the first that needs it.
    lines = [line for line in dump.splitlines() if not line.startswith(("\\", "SET "))]
    things = "\n".join(lines).split("\n--\n-- Name: ")
    return sorted(thing.strip() for thing in things if not thing.startswith("SCHEMA served; Type: COMMENT"))


def rows_of(connection: Connection, *schemas: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables and views of these schemas, as JSON values."""
    tables = connection.execute(
        "select schemaname, tablename from pg_tables where schemaname = any (%(schemas)s)"
        " and tablename <> 'alembic_version'"
        " union all select schemaname, viewname from pg_views where schemaname = any (%(schemas)s)",
        {"schemas": list(schemas)},
    ).fetchall()
    found = {}
    for table in tables:
        name = sql.Identifier(*table.values())
        rows = connection.execute(sql.SQL("select to_jsonb(each) as row from {} as each").format(name))
        found[".".join(table.values())] = [row["row"] for row in rows]
    return found


def tables_that_differ(
    found: dict[str, list[dict[str, Any]]],
    before: dict[str, list[dict[str, Any]]],
    columns: dict[str, list[str]],
) -> list[str]:
    """Tables whose rows are not those of before, in the columns given."""

    def in_order(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
        return sorted(repr([row[name] for name in names]) for row in rows)

    return [
        table
        for table, names in columns.items()
        if in_order(found[table], names) != in_order(before[table], names)
    ]


def columns_of(connection: Connection) -> dict[str, list[str]]:
    """The columns of each of our tables that has any."""
    rows = connection.execute(
        """
        select table_schema || '.' || table_name as table, array_agg(column_name::text) as names
        from information_schema.columns join information_schema.tables using (table_schema, table_name)
        where table_schema = any (%s) and table_type = 'BASE TABLE' and table_name <> 'alembic_version'
        group by 1
        """,
        (list(OURS),),
    )
    return {row["table"]: row["names"] for row in rows}


def upgrade(database_url: str, revision: str) -> None:
    with alembic(database_url) as (config, _):
        command.upgrade(config, revision)


def load_dump(server: PostgresServer, database: str, dump: bytes) -> None:
    """Fill an empty database with what pg_dump has written, as superuser."""
    address = connection_environment(server.cluster.url(server.superuser_password, database))
    subprocess.run(
        [find_binaries() / "psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null"],
        env={**os.environ, **address}, input=dump, check=True,
    )  # fmt: skip


def url_of(settings: Settings) -> str:
    return settings.database_url.get_secret_value()


@pytest.fixture
def written(small_school: None, connection: Connection) -> Connection:
    """The two schools, and what people wrote there."""
    connection.execute(WRITTEN.encode())
    return connection


@pytest.fixture
def older(settings: Settings, postgres_server: PostgresServer) -> Iterator[Connection]:
    """The two schools as an older version has loaded and built them; see tests/upgrades/make.py."""
    postgres_server.drop_database("school")
    postgres_server.create_database("school")
    load_dump(postgres_server, "school", gzip.decompress(DUMP.read_bytes()))
    with connect(url_of(settings)) as opened:
        yield opened


def test_each_revision_back_and_forward_again_is_the_same_schema(empty_database_url: str) -> None:
    migrate(empty_database_url)
    downgrade(empty_database_url, BASE, lose_data=True)
    known = {BASE: schema_of(empty_database_url)}
    for before, revision in zip((BASE, *REVISIONS), REVISIONS, strict=False):
        upgrade(empty_database_url, revision)
        known[revision] = schema_of(empty_database_url)
        downgrade(empty_database_url, before)
        assert schema_of(empty_database_url) == known[before], f"{revision} → {before}"
        upgrade(empty_database_url, revision)
        assert schema_of(empty_database_url) == known[revision], f"{before} → {revision}"


def test_the_files_names_say_the_revisions_in_their_order() -> None:
    steps = ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    assert [step.revision for step in steps] == list(reversed(REVISIONS))


def test_whatever_goes_with_a_revision_is_counted_or_found_again(
    connection: Connection, settings: Settings
) -> None:
    steps = list(ScriptDirectory(str(MIGRATIONS)).walk_revisions())
    before = columns_of(connection)
    for step in steps[:-1]:  # with the first one everything goes
        downgrade(url_of(settings), step.down_revision, lose_data=True)
        after = columns_of(connection)
        counted = {loss.table for loss in getattr(step.module, "LOSES", ())}
        tables = set(before) - set(after) - counted
        columns = {
            f"{table}.{name}"
            for table in set(after) - counted
            for name in set(before[table]) - set(after[table])
        }
        assert (tables | columns) <= FOUND_AGAIN, step.revision
        before = after


def test_what_a_revision_can_hold_stays_on_the_way_there_and_back(
    written: Connection, settings: Settings
) -> None:
    schema, before = schema_of(url_of(settings)), rows_of(written, *OURS)
    for revision in reversed(REVISIONS[:-1]):
        lost = downgrade(url_of(settings), revision, lose_data=True)
        columns = columns_of(written)
        columns.pop("ops.scopes", None)  # of sessions that are open, whose views are gone
        columns.pop("ops.unpublished_marts")  # so that the next run builds
        assert tables_that_differ(rows_of(written, *OURS), before, columns) == [], revision
        assert lost or revision in ("0014", "0013", "0012", "0009", "0008", "0004", "0003", "0002"), revision
        migrate(url_of(settings))
        assert schema_of(url_of(settings)) == schema, revision
        assert tables_that_differ(rows_of(written, *OURS), before, columns) == [], revision


def test_the_marts_are_the_same_after_the_way_back_and_forth(written: Connection, settings: Settings) -> None:
    def build(*, full: bool = False) -> dict[str, list[dict[str, Any]]]:
        report = run(settings, trigger="cli", score=lambda _settings, _run: {"written": 0}, full=full)
        assert not report.idle
        return rows_of(written, "marts")

    before = build(full=True)
    downgrade(url_of(settings), "0008", lose_data=True)
    migrate(url_of(settings))
    after = build()
    columns = {mart: sorted(set().union(*rows)) for mart, rows in before.items()}
    assert set(after) == set(before)
    assert tables_that_differ(after, before, columns) == []
    assert run(settings, trigger="cli", score=lambda _settings, _run: {}).idle


def test_a_run_after_an_upgrade_is_not_idle(
    built_marts: None, connection: Connection, settings: Settings
) -> None:
    def ask() -> bool:
        return begin(settings, trigger="cli").is_idle

    connection.execute("delete from ops.unpublished_marts")
    assert ask()
    connection.execute(
        "comment on schema staging is 'Written by dbt. Built by the project with SHA-256 other'"
    )
    assert not ask()


def test_where_nothing_was_built_there_is_nothing_to_build_anew(settings: Settings) -> None:
    assert begin(settings, trigger="cli").is_idle


def test_an_older_versions_database_loses_nothing_and_shows_what_a_new_one_does(
    older: Connection, settings: Settings, postgres_server: PostgresServer, request: pytest.FixtureRequest
) -> None:
    assert read_revision(older) == "0008"
    with pytest.raises(SchemaMismatch, match=r"0008.*Run laurel migrate"):
        begin(settings, trigger="cli")
    before, columns = rows_of(older, *OURS), columns_of(older)
    migrate(url_of(settings))
    assert tables_that_differ(rows_of(older, *OURS), before, columns) == []

    run(settings, trigger="cli", score=lambda _settings, _run: {"written": 0})
    marts = rows_of(older, "marts")
    template = request.getfixturevalue("_small_school_template")
    with connect(postgres_server.create_database("of_today", template)) as fresh:
        of_today = rows_of(fresh, "marts")
    postgres_server.drop_database("of_today")
    assert set(marts) == set(of_today)
    columns = {
        mart: sorted(name for name in set().union(*rows) if not name.endswith("_at"))
        for mart, rows in of_today.items()
    }
    assert tables_that_differ(marts, of_today, columns) == []


def test_an_upgraded_database_takes_a_file_and_goes_back(older: Connection, settings: Settings) -> None:
    before = rows_of(older, "ml", "raw")
    migrate(url_of(settings))
    sender = Sender(settings, older, open_store(settings.resolved_store_url))
    upload_id = sender.send(
        "School ID,Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level\n"
        "main,STU009,Ife,Alabi,Female,2012-03-04,JSS1\n",
        "students",
    ).upload_id
    run(settings, trigger="cli", score=lambda _settings, _run: {"written": 0})
    found = older.execute("select full_name from marts.mart_students where student_id = 'STU009'").fetchone()
    assert found == {"full_name": "Ife Alabi"}

    assert downgrade(url_of(settings), "0008") == []
    older.execute("delete from raw.students where _upload_id = %s", (upload_id,))
    assert rows_of(older, "ml", "raw") == before


def test_nothing_is_lost_without_being_asked_for(written: Connection, settings: Settings) -> None:
    schema, before = schema_of(url_of(settings)), rows_of(written, *OURS)
    with pytest.raises(Conflict) as refused:
        downgrade(url_of(settings), "0010")
    for lost in (
        "ops.student_notes: rows (1)", "ops.disputes: rows (1)", "ops.mails: rows (1)",
        "ops.users: choices of what to hear by e-mail (1)", "ops.interventions: lines that", "--lose-data",
    ):  # fmt: skip
        assert lost in refused.value.detail
    assert "alerts" not in refused.value.detail  # this one was told by the webhook, and stays
    assert read_revision(written) == HEAD
    assert (schema_of(url_of(settings)), rows_of(written, *OURS)) == (schema, before)


def test_views_that_somebody_made_of_what_goes_stop_nothing(written: Connection, settings: Settings) -> None:
    written.execute("create view marts.somebodys as select subject from ml.predictions")
    downgrade(url_of(settings), "0007", lose_data=True)
    assert read_revision(written) == "0007"


def test_a_table_in_use_ends_the_way_back_before_it_begins(
    connection: Connection, settings: Settings
) -> None:
    with connection.transaction():
        connection.execute("select from ops.student_notes")
        with pytest.raises(Conflict, match="Nothing was changed"):
            downgrade(url_of(settings), "0010")
    assert read_revision(connection) == HEAD


def test_a_key_loses_no_bound_with_the_column_that_held_it(
    connection: Connection, settings: Settings
) -> None:
    connection.execute(
        """
        insert into ops.keys (key_id, name, role, prefix, key_sha256, created_by, owner, scopes)
        values (%s, 'wide', 'admin', 'a', '\\x01', 'cli:x', 'cli:x', null),
               (%s, 'narrow', 'admin', 'b', '\\x02', 'cli:x', 'cli:x', '{uploads:read}')
        """,
        (uuid4(), uuid4()),
    )
    lost = downgrade(url_of(settings), "0001", lose_data=True)
    assert "ops.keys: keys narrowed to some actions, which are revoked (1)" in lost
    keys = connection.execute("select name, revoked_at is null as is_open from ops.keys").fetchall()
    assert {row["name"]: row["is_open"] for row in keys} == {"wide": True, "narrow": False}


def test_erasures_of_one_version_become_one_line_of_the_ledger(
    connection: Connection, settings: Settings
) -> None:
    upload_id = uuid4()
    connection.execute(
        "insert into ops.uploads (upload_id, dataset, school_id, uploader, created_at)"
        " values (%s, 'students', 'main', 'key:x', now())",
        (upload_id,),
    )
    for kind, rows in (("load", 9), ("erase", 1), ("erase", 2)):
        connection.execute(
            "insert into ops.loads (upload_id, version, dataset, kind, rows)"
            " values (%s, 1, 'students', %s, %s)",
            (upload_id, kind, rows),
        )
    downgrade(url_of(settings), "0001", lose_data=True)
    loads = connection.execute("select kind, rows from ops.loads order by load_id").fetchall()
    assert [(row["kind"], row["rows"]) for row in loads] == [("load", 9), ("erase", 3)]


def test_no_alert_by_mail_is_taken_for_one_by_the_webhook(connection: Connection, settings: Settings) -> None:
    connection.execute(
        "insert into ops.alerts (event, way, sent_at) values ('a', 'webhook', now()), ('a', 'mail', now()),"
        " ('b', 'mail', now())"
    )
    assert downgrade(url_of(settings), "0011", lose_data=True) == ["ops.alerts: alerts by e-mail (2)"]
    assert [row["event"] for row in connection.execute("select event from ops.alerts")] == ["a"]


@pytest.mark.parametrize(
    ("revision", "said"), [("9999", "no revision"), (HEAD, "not after"), ("14", "no revision")]
)
def test_back_is_to_an_earlier_revision_that_there_is(
    connection: Connection, settings: Settings, revision: str, said: str
) -> None:
    with pytest.raises(Conflict, match=said):
        downgrade(url_of(settings), revision)


def test_a_database_newer_than_the_code_is_left_alone_and_said_to_be_so(
    connection: Connection, settings: Settings
) -> None:
    connection.execute("update ops.alembic_version set version_num = '9999'")
    for attempt in (
        lambda: migrate(url_of(settings)),
        lambda: downgrade(url_of(settings), "0010", lose_data=True),
        lambda: run(settings, trigger="cli", score=lambda _settings, _run: {}),
    ):
        with pytest.raises(SchemaMismatch, match="revision 9999") as refused:
            attempt()
        assert f"--back-to {HEAD}" in refused.value.detail
    assert connection.execute("select from ops.runs").fetchone() is None


@pytest.mark.parametrize(("revision", "advice"), [("9999", "newer version"), ("0008", "Run laurel migrate")])
def test_the_doctor_says_when_the_tables_do_not_fit(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch, revision: str, advice: str
) -> None:
    monkeypatch.setattr("local.doctor.load_settings", lambda: settings)
    assert all(each.is_ok for each in examine() if each.subject in ("database", "tables"))
    connection.execute("update ops.alembic_version set version_num = %s", (revision,))
    found = {each.subject: each for each in examine()}
    assert found["database"].is_ok
    assert not found["tables"].is_ok
    assert advice in found["tables"].found


def test_the_command_shows_goes_back_and_forward(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.migrate.load_settings", lambda: settings)

    def call(*arguments: str) -> str:
        answer = CliRunner().invoke(cli, ["migrate", *arguments])
        assert answer.exit_code == 0, answer.output
        return answer.output

    assert "pending   nothing" in call("--show")
    connection.execute("insert into ops.alerts (event, way, sent_at) values ('a', 'mail', now())")
    refused = CliRunner().invoke(cli, ["migrate", "--back-to", "0011"])
    assert isinstance(refused.exception, Conflict)
    assert "Lost: ops.alerts: alerts by e-mail (1)." in call("--back-to", "0011", "--lose-data")
    assert "pending   0012, 0013, 0014" in call("--show")
    line = connection.execute(
        "select subject, detail from ops.audit where action = 'database:back'"
    ).fetchone()
    assert line == {"subject": "0011", "detail": {"lost": ["ops.alerts: alerts by e-mail (1)"]}}
    assert "up to date" in call()
    with connect(url_of(settings)) as again:
        assert read_revision(again) == HEAD


@pytest.mark.parametrize("arguments", [("--lose-data",), ("--json",), ("--show", "--back-to", "0001")])
def test_options_that_do_not_go_together_are_refused(arguments: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(cli, ["migrate", *arguments])
    assert answer.exit_code == 2
