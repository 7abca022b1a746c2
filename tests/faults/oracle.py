"""What must hold after a fault and at most two runs, whatever the fault was."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import sql

from elt.contracts import get_contract, load_contracts
from elt.settings import Settings
from elt.store.base import open_store
from elt.store.folder import FolderStore
from elt.uploads.sweep import sweep
from elt.warehouse import Connection, connect

# What tells when or under which id something was done. All else in the marts follows from the files.
_CIRCUMSTANCES = {"upload_id", "scored_at", "last_upload_at", "last_load_at", "last_build_at"}
_PATIENCE_SECONDS = 120


@dataclass(slots=True)
class HandedIn:
    """A file whose cells are in raw's own spelling. `upload_id` is None where no answer came."""

    dataset: str
    content: bytes
    upload_id: UUID | None = None
    outcome: str = "loaded"

    @property
    def identity(self) -> tuple[str, str]:
        """What makes two files the same."""
        return self.dataset, hashlib.sha256(self.content).hexdigest()


def assert_nothing_lost(
    settings: Settings, files: Sequence[HandedIn], undisturbed: Mapping[str, str] | None = None
) -> None:
    """Every promise at once.

    Args:
        settings: the platform's.
        files: all that was ever handed in, each content once.
        undisturbed: checksums of marts and predictions of a platform that nothing happened to; None where
            nothing was built.
    """
    with connect(settings.database_url.get_secret_value(), application_name="laurel-test") as connection:
        uploads = connection.execute(
            """
            select upload_id, dataset, sha256, object_key, status, reason, withdrawn_by, rows_loaded,
                (select count(*) from ops.loads l where l.upload_id = u.upload_id and kind = 'load') as loads,
                (select count(*) from ops.loads l
                 where l.upload_id = u.upload_id and kind = 'withdraw') as withdrawals
            from ops.uploads u join ops.upload_versions v using (upload_id)
            order by upload_id
            """
        ).fetchall()
        _assert_outcomes(uploads, files)
        _assert_rows(connection, uploads, files)
        _assert_issues_once(connection)
        _assert_nothing_left_over(connection)
        if undisturbed is not None:
            _assert_all_students_shown(connection)
            assert checksums(connection) == undisturbed
    store = open_store(settings.resolved_store_url)
    assert isinstance(store, FolderStore)
    _assert_objects(store, settings, {upload["object_key"]: upload["sha256"] for upload in uploads})


def _assert_outcomes(uploads: Sequence[dict[str, Any]], files: Sequence[HandedIn]) -> None:
    """Each answered file is one upload with one outcome; one without an answer is that, or nothing."""
    by_identity: dict[tuple[str, str], list[dict[str, Any]]] = {file.identity: [] for file in files}
    for upload in uploads:
        by_identity[upload["dataset"], upload["sha256"]].append(upload)  # anything else was never handed in
    for file in files:
        there = by_identity[file.identity]
        counted = [upload for upload in there if upload["withdrawn_by"] is None]
        if file.upload_id is not None:
            assert file.upload_id in [upload["upload_id"] for upload in counted], counted
        # Rows with a key may be sent again to win over what came between; then the file is there twice.
        assert len(counted) <= 1 or get_contract(file.dataset).is_keyed, counted
        assert {upload["status"] for upload in counted} <= {file.outcome}, counted
        for upload in there:
            is_live = upload["status"] == "loaded"
            assert is_live or upload["reason"], f"no reason: {upload}"
            assert upload["loads"] - upload["withdrawals"] == int(is_live), upload


def _assert_rows(
    connection: Connection, uploads: Sequence[dict[str, Any]], files: Sequence[HandedIn]
) -> None:
    """The multiset of raw rows is that of the live uploads' files, each under its upload and its line."""
    contents = {file.identity: file for file in files}
    for dataset in load_contracts():
        expected: Counter[Any] = Counter()
        for upload in uploads:
            if upload["dataset"] == dataset and upload["status"] == "loaded":
                rows = _rows_of(contents[dataset, upload["sha256"]], upload["upload_id"])
                assert len(rows) == upload["rows_loaded"]
                expected.update(rows)
        query = sql.SQL("select jsonb_strip_nulls(to_jsonb(t) - '_loaded_at') as row from {} t").format(
            sql.Identifier("raw", dataset)
        )
        found = Counter(_as_text(row["row"]) for row in connection.execute(query))
        assert found == expected, f"{dataset}: {found.total()} rows, {expected.total()} expected"


def _rows_of(file: HandedIn, upload_id: UUID) -> list[Any]:
    header, *rows = filter(None, csv.reader(io.StringIO(file.content.decode())))
    names = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in header]
    common = {"school_id": "main", "_upload_id": str(upload_id)}
    return [
        _as_text(common | dict(zip(names, row, strict=True)) | {"_line": line})
        for line, row in enumerate(rows, start=2)
    ]


def _as_text(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, str(value)) for name, value in row.items()))


def _assert_issues_once(connection: Connection) -> None:
    twice = connection.execute(
        """
        select upload_id, version, line, column_name, rule from ops.row_issues
        group by upload_id, version, line, column_name, rule having count(*) > 1
        """
    ).fetchall()
    assert twice == []


def _assert_all_students_shown(connection: Connection) -> None:
    """Whatever else the marts say, nobody is left out: neither here nor in what this is compared with."""
    missing = connection.execute(
        """
        select school_id, student_id from raw.academic_history
        except select school_id, student_id from marts.mart_student_overview
        """
    ).fetchall()
    assert missing == []


def _assert_nothing_left_over(connection: Connection) -> None:
    """No session, lock, temporary table or table of a build that was cut short.

    A server process notices its client's end when it reads, and autovacuum removes the temporary tables of
    one that was killed.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for find in (other_sessions, _tables_left, _advisory_locks):
        while (found := find(connection)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert found == []


def _tables_left(connection: Connection) -> list[dict[str, Any]]:
    return connection.execute(
        r"""
        select oid::regclass::text as name from pg_class
        where relpersistence = 't' or relname ~ '__dbt_' or relnamespace = 'parts'::regnamespace
        union all select split_id::text from ops.splits
        """
    ).fetchall()


def _advisory_locks(connection: Connection) -> list[dict[str, Any]]:
    return connection.execute(
        """
        select * from pg_locks where locktype = 'advisory'
          and database = (select oid from pg_database where datname = current_database())
        """
    ).fetchall()


def other_sessions(connection: Connection) -> list[dict[str, Any]]:
    """Who else is connected to the database, the API's idle ones aside."""
    return connection.execute(
        """
        select application_name, state, query from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
          and (state <> 'idle' or application_name <> 'laurel-api')
        """
    ).fetchall()


def _assert_objects(store: FolderStore, settings: Settings, digests: Mapping[str, str]) -> None:
    """The bytes of uploads are whole; what dead writers had begun goes with the next sweeps."""
    temporary = store.root / ".laurel-tmp"
    for path in temporary.iterdir():
        os.utime(path, (0, 0))
    store.sweep()
    assert list(temporary.iterdir()) == []
    sweep(settings, store, now=datetime.now(UTC) + timedelta(days=3))
    found = {}
    for item in store.list("uploads/"):
        with store.open(item.key) as stream:
            found[item.key] = hashlib.file_digest(stream, "sha256").hexdigest()
    assert found == digests


def checksums(connection: Connection) -> dict[str, str]:
    """Of each mart, and of the newest prediction of each student, without times and ids."""
    columns: dict[str, list[str]] = {}
    for row in connection.execute(
        "select table_name, column_name from information_schema.columns where table_schema = 'marts'"
    ):
        if row["column_name"] not in _CIRCUMSTANCES:
            columns.setdefault(row["table_name"], []).append(row["column_name"])
    queries = {
        name: sql.SQL("select {} from {}").format(
            sql.SQL(", ").join(map(sql.Identifier, sorted(names))), sql.Identifier("marts", name)
        )
        for name, names in columns.items()
    }
    queries["predictions"] = sql.SQL(
        """
        select distinct on (target, school_id, student_id) target, method, school_id, student_id, as_of_date,
            probability, score, is_at_risk, reasons, recommendations, data_version
        from ml.predictions order by target, school_id, student_id, prediction_id desc
        """
    )
    return {name: _checksum(connection, query) for name, query in sorted(queries.items())}


def _checksum(connection: Connection, query: sql.Composable) -> str:
    statement = sql.SQL(
        "select count(*) || ' rows ' || coalesce(md5(string_agg(t::text, E'\\n' order by t::text)), '')"
        " as sum from ({}) t"
    ).format(query)
    row = connection.execute(statement).fetchone()
    assert row is not None
    return str(row["sum"])
