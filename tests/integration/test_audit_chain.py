"""The audit trail in the database: written by many at once, and what is done to it shows."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from elt.audit.anchors import read_anchors, write_anchor, write_hourly_anchor
from elt.audit.trail import record, verify
from elt.pipeline import begin
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection, connect


def fill(connection: Connection, lines: int = 6) -> None:
    for number in range(lines):
        record(connection, "user:1", "students:read", f"student:{number}", {"reason": "parents' evening"})


def tamper(connection: Connection, statement: str) -> None:
    """What somebody with all rights on the table could do."""
    with connection.transaction():
        connection.execute("alter table ops.audit disable trigger append_only")
        connection.execute(statement)
        connection.execute("alter table ops.audit enable trigger append_only")


def faulty_lines(connection: Connection, store: Store | None = None) -> list[int]:
    return [fault.audit_id for fault in verify(connection, read_anchors(store) if store else ()).faults]


def test_a_sound_chain_is_sound(connection: Connection, store: Store) -> None:
    assert verify(connection).is_sound
    fill(connection)
    write_anchor(connection, store)
    fill(connection, 1)
    report = verify(connection, read_anchors(store))
    assert (report.lines, report.anchors, report.head.audit_id, report.faults) == (7, 1, 7, [])


@pytest.mark.parametrize(
    "detail",
    [
        {"sql": "select '\x00', '\ud800', 'é\U0001f393'", "\x00": None},
        {"small": 0.1, "big": 1e22, "one": 1.0, "whole": 2**70, "yes": True},
        {"id": uuid4(), "nested": [{"b": 1, "a": (1, None)}]},
    ],
    ids=["awkward text", "numbers", "other types"],
)
def test_any_detail_hashes_as_it_is_read_back(connection: Connection, detail: dict[str, Any]) -> None:
    record(connection, "user:\x00", "query:run", "", detail)
    assert verify(connection).faults == []


def test_the_table_refuses_changes(connection: Connection) -> None:
    fill(connection, 1)
    for statement in ("update ops.audit set actor = 'x'", "delete from ops.audit", "truncate ops.audit"):
        with pytest.raises(psycopg.errors.RaiseException, match="append only"):
            connection.execute(statement)


@pytest.mark.parametrize("column", ["occurred_at", "actor", "action", "subject", "detail", "sha256"])
def test_a_changed_line_is_found(connection: Connection, column: str) -> None:
    fill(connection)
    values = {"occurred_at": "now()", "detail": "'{}'", "sha256": "sha256('')"}
    tamper(connection, f"update ops.audit set {column} = {values.get(column, repr('x'))} where audit_id = 3")
    assert faulty_lines(connection)[0] == 3


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("delete from ops.audit where audit_id = 3", 4),
        ("delete from ops.audit where audit_id = 1", 2),
        (
            "delete from ops.audit where audit_id = 3;"
            "update ops.audit set audit_id = -audit_id where audit_id > 3;"
            "update ops.audit set audit_id = -audit_id - 1 where audit_id < 0",
            3,
        ),
    ],
    ids=["from the middle", "the first", "and the others renumbered"],
)
def test_a_removed_line_is_found(connection: Connection, statement: str, line: int) -> None:
    fill(connection)
    tamper(connection, statement)
    assert faulty_lines(connection)[0] == line


def test_lines_that_changed_places_are_found(connection: Connection) -> None:
    fill(connection)
    tamper(
        connection,
        "update ops.audit set audit_id = -audit_id where audit_id in (3, 4);"
        "update ops.audit set audit_id = 7 + audit_id where audit_id < 0",
    )
    assert faulty_lines(connection)[0] == 3


def test_a_cut_tail_is_found_against_the_store(connection: Connection, store: Store) -> None:
    fill(connection, 4)
    write_anchor(connection, store)
    fill(connection, 2)
    tamper(connection, "delete from ops.audit where audit_id > 4")
    assert faulty_lines(connection, store) == []  # nothing that was anchored is gone
    tamper(connection, "delete from ops.audit where audit_id > 3")
    assert faulty_lines(connection) == []  # the chain alone cannot tell
    assert faulty_lines(connection, store) == [4]


def test_a_tail_written_anew_is_found_against_the_store(connection: Connection, store: Store) -> None:
    fill(connection, 4)
    write_anchor(connection, store)
    tamper(connection, "delete from ops.audit where audit_id > 2")
    fill(connection, 5)
    assert faulty_lines(connection) == []
    assert faulty_lines(connection, store) == [4]


def test_an_emptied_table_is_found_against_the_store(connection: Connection, store: Store) -> None:
    fill(connection, 2)
    write_anchor(connection, store)
    tamper(connection, "truncate ops.audit")
    assert faulty_lines(connection, store) == [2]


def test_runs_anchor_the_chain_once_an_hour(connection: Connection, store: Store) -> None:
    start = datetime(2026, 11, 20, 16, 5, tzinfo=UTC)
    write_hourly_anchor(connection, store, now=start)
    assert list(store.list()) == []  # there is nothing to anchor yet
    for minutes in (0, 5, 50, 54, 55, 60):
        fill(connection, 1)
        write_hourly_anchor(connection, store, now=start + timedelta(minutes=minutes))
    assert [anchor.audit_id for anchor in read_anchors(store)] == [1, 5]
    assert verify(connection, read_anchors(store)).anchors == 2


def test_every_run_of_the_pipeline_anchors(connection: Connection, settings: Settings, store: Store) -> None:
    fill(connection, 2)
    begin(settings, trigger="test")
    assert [anchor.audit_id for anchor in read_anchors(store)] == [2]


def test_a_line_is_lost_with_the_act_it_tells_of(connection: Connection) -> None:
    fill(connection, 1)
    with connection.transaction() as transaction:
        record(connection, "user:1", "keys:create")
        raise psycopg.Rollback(transaction)
    assert record(connection, "user:1", "keys:create") == 2
    assert verify(connection).is_sound


def test_many_writers_make_one_chain_without_gaps(database_url: str, connection: Connection) -> None:
    start = threading.Barrier(5)

    def write(number: int) -> None:
        with connect(database_url) as own:
            start.wait()
            for turn in range(20):
                with own.transaction() as transaction:
                    record(own, f"user:{number}", "students:read")
                    if turn % 7 == 3:
                        raise psycopg.Rollback(transaction)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify(connection)
    assert report.lines == 5 * 17
    assert report.faults == []


def test_a_line_waits_for_no_lock_that_typed_sql_could_take(connection: Connection) -> None:
    with connection.transaction():
        record(connection, "user:1", "students:read")
        held = connection.execute(
            "select from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'"
        ).fetchall()
    assert held == []


def test_faults_are_told_up_to_a_hundred(connection: Connection) -> None:
    fill(connection, 120)
    tamper(connection, "update ops.audit set actor = 'x'")
    assert len(verify(connection).faults) == 100
