"""Lines about pipeline runs."""

from __future__ import annotations

from flask import Flask
from pydantic import SecretStr

from elt.pipeline import fail
from elt.runs import (
    find_airflow_run,
    finish_run,
    forget_published,
    get_run,
    list_runs,
    note_changed_marts,
    record_stage,
    start_run,
    unpublished_marts,
)
from elt.settings import Settings
from elt.warehouse import Connection
from tests.webhook import told


def test_idle_runs_in_a_row_share_one_line(connection: Connection) -> None:
    first = start_run(connection, trigger="schedule", idle=True)
    again = start_run(connection, trigger="schedule", idle=True)
    busy = start_run(connection, trigger="event")
    later = start_run(connection, trigger="schedule", idle=True)

    assert again == first
    assert [run.run_id for run in list_runs(connection)] == [later, busy, first]
    assert get_run(connection, first).status == "succeeded"
    assert get_run(connection, busy).status == "running"


def test_prometheus_is_told_how_long_ago_a_run_succeeded_or_had_nothing_to_do(
    api: Flask, connection: Connection
) -> None:
    assert _run_age(api) is None

    start_run(connection, trigger="schedule", idle=True)
    connection.execute("update ops.runs set finished_at = now() - interval '2 hours'")
    finish_run(connection, start_run(connection, trigger="cli"), status="failed", error="load: away")
    start_run(connection, trigger="cli")
    assert (_run_age(api) or 0) >= 7200

    finish_run(connection, start_run(connection, trigger="cli"), status="succeeded")
    assert (_run_age(api) or 0) < 7200


def _run_age(api: Flask) -> float | None:
    shown = api.test_client().get("/metrics").text.splitlines()
    name = "laurel_last_successful_run_age_seconds "
    return next((float(line.removeprefix(name)) for line in shown if line.startswith(name)), None)


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


def test_the_newest_line_of_a_run_of_airflow_is_found(connection: Connection) -> None:
    start_run(connection, trigger="event", airflow_run="asset_triggered__1")
    again = start_run(connection, trigger="event", airflow_run="asset_triggered__1")
    start_run(connection, trigger="event", airflow_run="asset_triggered__2")

    assert find_airflow_run(connection, "asset_triggered__1") == again
    assert find_airflow_run(connection, "asset_triggered__3") is None


def test_a_person_is_told_of_a_failed_run_also_while_the_database_is_away(
    settings: Settings, connection: Connection
) -> None:
    run_id = start_run(connection, trigger="cli")
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://laurel@127.0.0.1:1/school")})
    with told(away) as (settings_of_hook, messages):
        fail(settings_of_hook, run_id, "load", "the database is not available")

    assert [each["detail"] for each in messages] == ["load: the database is not available"]
    assert get_run(connection, run_id).status == "running"


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
