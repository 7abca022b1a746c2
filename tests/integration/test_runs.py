"""Lines about pipeline runs."""

from __future__ import annotations

from elt.runs import (
    finish_run,
    forget_published,
    get_run,
    list_runs,
    note_changed_marts,
    record_stage,
    start_run,
    unpublished_marts,
)
from elt.warehouse import Connection


def test_idle_runs_in_a_row_share_one_line(connection: Connection) -> None:
    first = start_run(connection, trigger="schedule", idle=True)
    again = start_run(connection, trigger="schedule", idle=True)
    busy = start_run(connection, trigger="event")
    later = start_run(connection, trigger="schedule", idle=True)

    assert again == first
    assert [run.run_id for run in list_runs(connection)] == [later, busy, first]
    assert get_run(connection, first).status == "succeeded"
    assert get_run(connection, busy).status == "running"


def test_the_groups_of_the_load_stage_add_up(connection: Connection) -> None:
    run_id = start_run(connection, trigger="cli")
    record_stage(connection, run_id, "load", {"loaded": 2})
    record_stage(connection, run_id, "load", {"loaded": 1, "rejected": 3})

    assert get_run(connection, run_id).stages == {"load": {"loaded": 3, "rejected": 3}}


def test_a_failed_run_stays_failed(connection: Connection) -> None:
    run_id = start_run(connection, trigger="cli")
    finish_run(connection, run_id, status="failed", error="transform: a test failed")
    finish_run(connection, run_id, status="succeeded")

    run = get_run(connection, run_id)
    assert (run.status, run.error) == ("failed", "transform: a test failed")


def test_a_run_that_was_cut_off_is_closed_by_a_later_one(connection: Connection) -> None:
    run_id = start_run(connection, trigger="cli")
    connection.execute("update ops.runs set started_at = now() - interval '7 hours'")
    start_run(connection, trigger="cli")

    run = get_run(connection, run_id)
    assert (run.status, run.error) == ("failed", "The run was cut off.")


def test_a_mart_stays_on_the_list_until_its_last_change_is_published(connection: Connection) -> None:
    note_changed_marts(connection, ["mart_student_terms", "mart_insights"])
    before = unpublished_marts(connection)
    note_changed_marts(connection, ["mart_insights"])  # another build, while the first is being written
    forget_published(connection, before)

    assert list(unpublished_marts(connection)) == ["mart_insights"]
    forget_published(connection, unpublished_marts(connection))
    assert unpublished_marts(connection) == {}
