"""Builds the marts: starts dbt for exactly what the loads changed, and ticks the loads off.

The list of unbuilt loads (`ops.loads`) is stamped with the run before dbt starts and consumed, with the lists
of changed keys, in one transaction after dbt has succeeded. Killed anywhere, the next run does it again. One
advisory lock lets one build run at a time; the others wait and then find nothing to do.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from psycopg import sql

from elt import runs
from elt.log import get_logger
from elt.privacy.pseudonyms import name_new_people
from elt.serving.database_roles import let_dbt_build
from elt.serving.sessions import serve
from elt.settings import Settings
from elt.transforming.dbt_lineage import keep_lineage, read_lineage
from elt.transforming.dbt_process import DBT_DIR, SESSION_NAME, run_dbt
from elt.warehouse import Connection, connect

log = get_logger(__name__)

_LOCK = 0x6C61757264  # "laurd"

_DIGEST_NOTE = "Written by dbt. Built by the project with SHA-256 "

# Only what changed: tables, and the tests that look at changed keys. Views and seeds change with the code.
_LEFT_OUT = (
    "config.materialized:view",
    "tag:kept",
    "tag:whole",
    "resource_type:seed",
    "resource_type:unit_test",
)


@dataclass(frozen=True, slots=True)
class TransformResult:
    """What a build did. `skipped`: nothing was waiting, dbt was not started.

    `loads` counts ledger lines that the marts show now; `changed_marts` names the marts whose content may
    differ from before.
    """

    loads: int
    models: int
    tests: int
    skipped: bool
    seconds: float
    changed_marts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def transform(settings: Settings, run_id: UUID, *, full: bool = False) -> TransformResult:
    """Bring all loads that wait into the marts.

    Where `full` asks for it, everything is built again from raw, in place, and all tests run. Where the
    tables were made by other code than this, or a build of everything did not end, they are made anew.

    Raises:
        TransformError: a model or test failed; names them. The loads stay on the list for the next run.
        DatabaseUnavailable: the database does not answer.
    """
    started = time.perf_counter()
    with connect(settings.database_url.get_secret_value(), application_name="laurel-transform") as connection:
        keep_builds_out(connection)
        end_orphans(connection)
        digest = project_digest()
        is_current = digest == _built_digest(connection)
        changed = _stamp_loads(connection, run_id)
        if is_current and not changed and not full:
            serve(connection)
            return TransformResult(0, 0, 0, True, time.perf_counter() - started)
        let_dbt_build(connection)
        whole = full or not is_current
        log.info("build_started", run_id=str(run_id), datasets=sorted(changed), whole=whole)
        if whole:
            _remember_digest(connection, None)
            result = _build_whole(settings, digest, is_current=is_current)
        else:
            result = _build_changed(connection, settings, digest, changed)
        loads = _consume(connection, run_id, digest, result.changed_marts)
        name_new_people(connection, settings)
        serve(connection)
    seconds = time.perf_counter() - started
    log.info(
        "build_finished", run_id=str(run_id), loads=loads, models=result.models, tests=result.tests,
        seconds=round(seconds, 2),
    )  # fmt: skip
    return TransformResult(
        loads, result.models, result.tests, False, seconds, result.changed_marts, result.warnings
    )


def keep_builds_out(connection: Connection) -> None:
    """Wait for a build to end, and let none begin before this session has ended."""
    connection.execute("select pg_advisory_lock(%s)", (_LOCK,))


def project_digest() -> str:
    """A hash of everything that decides what dbt builds."""
    digest = hashlib.sha256()
    for path in sorted(_project_files()):
        digest.update(str(path.relative_to(DBT_DIR)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def must_build_anew(connection: Connection) -> bool:
    """Whether there are marts, but of other code than this, or of a build of everything that did not end."""
    found = connection.execute("select to_regnamespace('staging') is not null as has_built").fetchone()
    return bool(found and found["has_built"]) and _built_digest(connection) != project_digest()


def end_orphans(connection: Connection) -> None:
    """End database sessions of a build whose process was killed.

    Their statements run on in the server, keep locks, and could change a table under the build that follows.
    """
    leftovers = (
        "select pid from pg_stat_activity where application_name = %s and datname = current_database()"
    )
    while rows := connection.execute(leftovers, (SESSION_NAME,)).fetchall():
        for row in rows:
            connection.execute("select pg_terminate_backend(%s, 5000)", (row["pid"],))
        log.warning("orphaned_build_ended", sessions=len(rows))


@dataclass(frozen=True, slots=True)
class _Built:
    models: int = 0
    tests: int = 0
    changed_marts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _build_whole(settings: Settings, digest: str, *, is_current: bool) -> _Built:
    if is_current:
        # Views hold no rows, and making them again would take away for a moment what depends on them.
        outcome = run_dbt(
            settings, ["run", "--exclude", "config.materialized:view", "tag:kept"], rebuild=True
        )
        tested = run_dbt(settings, ["test", "--exclude-resource-type", "unit_test"])
    else:
        outcome = tested = run_dbt(
            settings, ["build", "--full-refresh", "--exclude-resource-type", "unit_test"]
        )
        keep_lineage(settings, digest)
    marts = read_lineage(settings, digest).marts
    return _Built(outcome.models, tested.tests, marts, tested.warnings)


def _build_changed(connection: Connection, settings: Settings, digest: str, changed: Iterable[str]) -> _Built:
    lineage = read_lineage(settings, digest)
    datasets = sorted(changed)
    marts = lineage.marts_of(datasets)
    if not lineage.tables_of(datasets):
        # Views over raw show it already.
        return _Built(changed_marts=marts)
    for dataset in datasets:
        prepare_raw(connection, dataset)
    outcome = run_dbt(
        settings,
        ["build", "--select", *[f"source:raw.{name}+" for name in datasets], "--exclude", *_LEFT_OUT],
    )
    return _Built(outcome.models, outcome.tests, marts, outcome.warnings)


def _stamp_loads(connection: Connection, run_id: UUID) -> set[str]:
    """Mark what is unbuilt as part of this build; returns its datasets."""
    rows = connection.execute(
        "update ops.loads set build_run_id = %s where built_at is null returning dataset", (run_id,)
    )
    return {row["dataset"] for row in rows}


def prepare_raw(connection: Connection, dataset: str) -> None:
    """Let the block indexes know the new rows; without that, each search for them reads them all.

    A file that was loaded in parts has a table of its own beside the dataset's.
    """
    indexes = connection.execute(
        """
        select index.oid as oid
        from pg_class index
        join pg_index on pg_index.indexrelid = index.oid
        join pg_am on pg_am.oid = index.relam and pg_am.amname = 'brin'
        where pg_index.indrelid = to_regclass(%(table)s) or pg_index.indrelid in (
            select inhrelid from pg_inherits where inhparent = to_regclass(%(table)s)
        )
        """,
        {"table": sql.Identifier("raw", dataset).as_string(None)},
    ).fetchall()
    for index in indexes:
        connection.execute("select brin_summarize_new_values(%s)", (index["oid"],))
    _analyze_where_grown(connection, dataset)


def _analyze_where_grown(connection: Connection, dataset: str) -> None:
    """Fresh statistics where a tenth is new; autovacuum would come too late for this build.

    Of the dataset's table, for all rows that it shows, and of each table of a file that was loaded in parts:
    before PostgreSQL 18 `analyze` of the former leaves the latter out.
    """
    table = sql.Identifier("raw", dataset)
    grown = connection.execute(
        """
        with shown as (
            select relid, schemaname, relname, n_mod_since_analyze as changed, n_live_tup as live
            from pg_stat_all_tables
            where relid = to_regclass(%(table)s)
               or relid in (select inhrelid from pg_inherits where inhparent = to_regclass(%(table)s))
        )
        select schemaname, relname from shown
        where case
            when relid = to_regclass(%(table)s)
            then (select sum(changed) > 0.1 * greatest(sum(live), 1) from shown)
            else changed > 0.1 * greatest(live, 1)
        end
        """,
        {"table": table.as_string(None)},
    ).fetchall()
    for each in grown:
        connection.execute(sql.SQL("analyze {}").format(sql.Identifier(*each.values())))


def _consume(connection: Connection, run_id: UUID, digest: str, changed_marts: Sequence[str]) -> int:
    """The marts show it: date the loads, empty the lists of changed keys, remember what was built.

    What changed is noted in the same transaction, so that it is published even if this run ends here.
    """
    with connection.transaction():
        built = connection.execute(
            """
            update ops.loads set built_at = now()
            where built_at is null and build_run_id = %s returning load_id, dataset
            """,
            (run_id,),
        ).fetchall()
        for dataset in sorted({row["dataset"] for row in built}):
            _forget_removed(connection, dataset, [row["load_id"] for row in built])
        for row in connection.execute(
            r"""
            select schemaname, tablename from pg_tables
            where (schemaname = 'staging' and tablename like '%\_\_changed')
               or (schemaname = 'intermediate' and tablename like 'int\_changed\_%')
            """
        ).fetchall():
            connection.execute(sql.SQL("truncate {}").format(sql.Identifier(*row.values())))
        _remember_digest(connection, digest)
        runs.note_changed_marts(connection, changed_marts)
    return len(built)


def _forget_removed(connection: Connection, dataset: str, load_ids: list[int]) -> None:
    table = sql.Identifier("raw", f"{dataset}__changed")
    exists = connection.execute("select to_regclass(%s) as oid", (table.as_string(None),)).fetchone()
    if exists and exists["oid"]:
        connection.execute(sql.SQL("delete from {} where load_id = any(%s)").format(table), (load_ids,))


def _built_digest(connection: Connection) -> str | None:
    """The digest of the project that built the tables last; kept as the comment of schema staging."""
    row = connection.execute(
        "select obj_description(to_regnamespace('staging'), 'pg_namespace') as note"
    ).fetchone()
    note: str | None = row["note"] if row else None
    return note.removeprefix(_DIGEST_NOTE) if note else None


def _remember_digest(connection: Connection, digest: str | None) -> None:
    """Note what built the tables; None while everything is built, so that a build cut short is done again."""
    exists = connection.execute("select to_regnamespace('staging') as oid").fetchone()
    if exists and exists["oid"]:
        note = None if digest is None else _DIGEST_NOTE + digest
        connection.execute(sql.SQL("comment on schema staging is {}").format(sql.Literal(note)))


def _project_files() -> Iterable[Path]:
    yield DBT_DIR / "dbt_project.yml"
    for folder in ("models", "macros", "seeds", "tests"):
        for path in (DBT_DIR / folder).rglob("*"):
            if path.suffix in {".sql", ".yml", ".csv"} and path.name != "_unit_tests.yml":
                yield path
