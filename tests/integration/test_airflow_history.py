"""What Airflow keeps of old runs is removed, and no more: logs in a folder, rows in its own database."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from elt.airflow_history import KEPT, remove_old_logs, remove_old_rows
from elt.errors import TransientError
from elt.settings import Settings
from elt.warehouse import connect

NOW = datetime.now(UTC)
OLD, RECENT = NOW - KEPT - timedelta(hours=1), NOW - KEPT + timedelta(hours=1)

ADD_RUN = """
insert into dag_run (dag_id, run_id, run_type, state, logical_date, run_after, start_date, clear_number,
                     span_status)
values ('uploads', %(name)s, 'scheduled', 'success', %(at)s, %(at)s, %(at)s, 0, 'ended')
"""


@pytest.fixture
def airflow(
    settings: Settings, empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings with a database of Airflow, in the environment of one of its tasks."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env={**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": empty_database_url},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=480,
    )
    # As `airflow.sdk.execution_time.supervisor.block_orm_access` leaves it to tasks.
    for section in ("DATABASE", "CORE"):
        monkeypatch.setenv(f"AIRFLOW__{section}__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    return settings.model_copy(update={"airflow_database_url": SecretStr(empty_database_url)})


def test_rows_of_old_runs_go_and_those_of_later_ones_stay(airflow: Settings) -> None:
    assert airflow.airflow_database_url is not None
    with connect(airflow.airflow_database_url.get_secret_value()) as connection:
        for name, at in (("old", OLD), ("recent", RECENT)):
            connection.execute(ADD_RUN, {"name": name, "at": at})
            connection.execute("insert into log (dttm, event) values (%s, %s)", (at, name))

        assert remove_old_rows(airflow, now=NOW)

        assert connection.execute("select run_id from dag_run").fetchall() == [{"run_id": "recent"}]
        events = connection.execute("select event from log where event in ('old', 'recent')").fetchall()
        assert events == [{"event": "recent"}]
        archives = "select from pg_class where relname like %s"
        assert connection.execute(archives, (r"\_airflow\_deleted%",)).fetchone() is None


def test_a_database_that_is_away_is_tried_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    away = SecretStr("postgresql://airflow@127.0.0.1:1/airflow")
    with pytest.raises(TransientError, match="airflow db clean"):
        remove_old_rows(settings.model_copy(update={"airflow_database_url": away}))


def test_without_a_database_for_airflow_there_are_no_rows_to_remove(settings: Settings) -> None:
    assert not remove_old_rows(settings)


def test_logs_go_where_nothing_was_written_for_long(tmp_path: Path) -> None:
    kept = [
        _write(tmp_path / "dag_id=uploads" / "run_id=recent" / "task_id=load" / "attempt=1.log", RECENT),
        _write(tmp_path / "dag_processor" / "2026-11-29" / "dags-folder" / "uploads.py.log", RECENT),
        _write(tmp_path / "of_somebody_else" / "run_id=old" / "attempt=1.log", OLD),
    ]
    again = tmp_path / "dag_id=uploads" / "run_id=tried_again_by_hand" / "task_id=load"
    kept += [_write(again / "attempt=2.log", RECENT), _write(again / "attempt=1.log", OLD)]
    gone = [
        _write(tmp_path / "dag_id=uploads" / "run_id=old" / "task_id=load" / "attempt=1.log", OLD),
        _write(tmp_path / "dag_processor" / "2026-10-01" / "dags-folder" / "uploads.py.log", OLD),
    ]

    assert remove_old_logs(tmp_path, now=NOW) == len(gone)

    assert all(path.exists() for path in kept)
    assert not any(path.parents[1].exists() for path in gone)
    assert remove_old_logs(tmp_path / "not_made_yet", now=NOW) == 0


def _write(path: Path, at: datetime) -> Path:
    """A file, and folders above it, that were last written at that moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("log")
    for each in (path, *list(path.parents)[:2]):
        os.utime(each, (at.timestamp(), at.timestamp()))
    return path
