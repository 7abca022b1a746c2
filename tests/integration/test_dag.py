"""The DAGs as Airflow reads them. (That it really runs is shown end to end.)"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from elt.runs import get_run, start_run
from elt.settings import Settings
from elt.warehouse import Connection
from tests.webhook import told

PROJECT = Path(__file__).resolve().parents[2]

# Airflow reads its configuration when it is imported, so it gets a process of its own.
READ = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
heavy = {"pandas", "sklearn", "polars", "dbt", "psycopg"}
before = set(sys.modules)
bag = DagBag(sys.argv[1])
names = ("uploads", "maintenance", "sources", "train", "pisa")
dag, daily, reading, weekly, live = (bag.dags.get(name) for name in names)
print(json.dumps({
    "maintenance": {
        "cron": daily.timetable.expression,
        "catchup": daily.catchup,
        "max_active_runs": daily.max_active_runs,
        "upstream": {task.task_id: sorted(task.upstream_task_ids) for task in daily.tasks},
        "backup_follows": daily.get_task("backup").trigger_rule,
        "tidy_follows": daily.get_task("tidy").trigger_rule,
        "alerted": all(task.on_failure_callback for task in daily.tasks),
        "transient": daily.get_task("rebuild").retry_policy.evaluate(
            __import__("elt.errors").errors.StoreUnavailable("away"), 1, 5).action.value,
        "bug": daily.get_task("rebuild").retry_policy.evaluate(ValueError("x"), 1, 5).action.value,
    },
    "sources": {
        "cron": reading.timetable.expression,
        "catchup": reading.catchup,
        "max_active_runs": reading.max_active_runs,
        "upstream": {task.task_id: sorted(task.upstream_task_ids) for task in reading.tasks},
        "mapped": [task.task_id for task in reading.tasks if task.is_mapped],
        "alerted": all(task.on_failure_callback for task in reading.tasks),
        "emits": [asset.uri.rstrip("/") for asset in reading.get_task("extract").outlets],
    },
    "pisa": {
        "seconds": live.timetable.delta.total_seconds(),
        "catchup": live.catchup,
        "max_active_runs": live.max_active_runs,
        "is_paused": live.is_paused_upon_creation,
        "upstream": {task.task_id: sorted(task.upstream_task_ids) for task in live.tasks},
        "mapped": [task.task_id for task in live.tasks if task.is_mapped],
        "alerted": all(task.on_failure_callback for task in live.tasks),
    },
    "train": {
        "cron": weekly.timetable.expression,
        "catchup": weekly.catchup,
        "max_active_runs": weekly.max_active_runs,
        "mapped": [task.task_id for task in weekly.tasks if task.is_mapped],
        "alerted": all(task.on_failure_callback for task in weekly.tasks),
        "emits": [asset.uri.rstrip("/") for asset in weekly.get_task("train").outlets],
    },
    "errors": bag.import_errors,
    "ids": sorted(bag.dags),
    "catchup": dag.catchup,
    "max_active_runs": dag.max_active_runs,
    "upstream": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
    "retries": {task.task_id: task.retries for task in dag.tasks},
    "alerted": {task.task_id: bool(task.on_failure_callback) for task in dag.tasks},
    "mapped": [task.task_id for task in dag.tasks if task.is_mapped],
    "cron": dag.timetable.timetable.expression,
    "assets": [asset.uri for asset in dag.timetable.asset_condition.objects],
    "heavy": sorted(heavy & (set(sys.modules) - before)),
    "transient": dag.get_task("load").retry_policy.evaluate(
        __import__("elt.errors").errors.StoreUnavailable("away"), 1, 5).action.value,
    "bug": dag.get_task("load").retry_policy.evaluate(ValueError("x"), 1, 5).action.value,
}))
"""

# Airflow's API is away: whatever a callback asks the task's instance raises, as the SDK does then.
FAIL = """
import sys
from types import SimpleNamespace
from airflow.dag_processing.dagbag import DagBag
from elt.errors import DatabaseUnavailable

class Instance(SimpleNamespace):
    def xcom_pull(self, **asked):
        raise RuntimeError("API_SERVER_ERROR")

for name, dag in sorted(DagBag(sys.argv[1]).dags.items()):
    task = dag.tasks[-1]
    context = {
        "ti": Instance(task_id=task.task_id, run_id="scheduled__1", rendered_map_index=None),
        "exception": DatabaseUnavailable(f"of {name}"),
    }
    told = task.on_failure_callback
    for tell in told if isinstance(told, list) else [told]:
        tell(context)
"""


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(
        run_in_airflow(READ, tmp_path_factory.mktemp("airflow")).splitlines()[-1]
    )
    return read


def run_in_airflow(program: str, home: Path, **variables: str) -> str:
    """What a program says that gets the folder of DAGs."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", program, str(PROJECT / "airflow" / "dags")],
        env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_every_dag_file_imports_without_errors(dag: dict[str, Any]) -> None:
    assert dag["errors"] == {}
    assert dag["ids"] == ["maintenance", "pisa", "sources", "train", "uploads"]


def test_it_runs_every_five_minutes_and_on_the_event_of_an_upload(dag: dict[str, Any]) -> None:
    assert dag["cron"] == "*/5 * * * *"
    assert [uri.rstrip("/") for uri in dag["assets"]] == ["laurel://uploads"]


def test_one_run_at_a_time_and_none_for_the_past(dag: dict[str, Any]) -> None:
    assert dag["max_active_runs"] == 1
    assert dag["catchup"] is False


def test_the_stages_follow_each_other_and_loads_are_mapped(dag: dict[str, Any]) -> None:
    assert dag["upstream"] == {
        "discover": [],
        "load": ["discover"],
        "transform": ["discover", "load"],
        "score": ["transform"],
        "publish": ["score"],
    }
    assert dag["mapped"] == ["load"]


def test_what_can_pass_is_retried_and_a_bug_is_not(dag: dict[str, Any]) -> None:
    assert all(retries >= 3 for retries in dag["retries"].values())
    assert dag["transient"] == "retry"
    assert dag["bug"] == "fail"


def test_every_task_tells_a_person_when_it_fails(dag: dict[str, Any]) -> None:
    assert all(dag["alerted"].values())


def test_a_person_is_told_and_the_run_closed_while_airflow_does_not_answer(
    settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    run_id = start_run(connection, trigger="schedule", airflow_run="scheduled__1")
    with told(settings) as (to_hook, messages):
        assert to_hook.alert_webhook_url is not None
        run_in_airflow(
            FAIL,
            tmp_path / "airflow",
            LAUREL_HOME=str(settings.home),
            LAUREL_DATABASE_URL=settings.database_url.get_secret_value(),
            LAUREL_SECRET_KEY=settings.secret_key.get_secret_value(),
            LAUREL_PSEUDONYM_KEY=settings.pseudonym_key.get_secret_value(),
            LAUREL_ALERT_WEBHOOK_URL=to_hook.alert_webhook_url.get_secret_value(),
            LAUREL_OUTGOING_ALLOW=to_hook.outgoing_allow,
        )

    assert sorted(each["event"].partition(":")[0] for each in messages) == [
        "maintenance_failed", "pisa_failed", "run_failed", "sources_failed", "training_failed",
    ]  # fmt: skip
    run = get_run(connection, run_id)
    assert (run.status, run.error) == ("failed", "publish: of uploads")


def test_reading_the_file_loads_nothing_heavy(dag: dict[str, Any]) -> None:
    assert dag["heavy"] == []


def test_maintenance_runs_daily_and_tells_a_person_when_it_fails(dag: dict[str, Any]) -> None:
    assert dag["maintenance"] == {
        "cron": "30 2 * * *",
        "catchup": False,
        "max_active_runs": 1,
        "upstream": {
            "sweep": [],
            "rebuild": [],
            "forget": [],
            "backup": ["forget"],
            "tidy": ["backup"],
            "report": [],
        },
        "backup_follows": "all_done",
        "tidy_follows": "all_done",
        "alerted": True,
        "transient": "retry",
        "bug": "fail",
    }


def test_sources_are_read_each_in_a_task_of_its_own_and_start_the_loading(dag: dict[str, Any]) -> None:
    assert dag["sources"] == {
        "cron": "*/5 * * * *",
        "catchup": False,
        "max_active_runs": 1,
        "upstream": {"list_sources": [], "extract": ["list_sources"]},
        "mapped": ["extract"],
        "alerted": True,
        "emits": ["laurel://uploads"],
    }


def test_country_databases_are_followed_every_half_minute_where_somebody_lets_it_run(
    dag: dict[str, Any],
) -> None:
    assert dag["pisa"] == {
        "seconds": 30,
        "catchup": False,
        "max_active_runs": 1,
        "is_paused": True,
        "upstream": {"list_sources": [], "follow": ["list_sources"]},
        "mapped": ["follow"],
        "alerted": True,
    }


def test_models_are_trained_weekly_each_target_by_itself_and_start_the_scoring(dag: dict[str, Any]) -> None:
    assert dag["train"] == {
        "cron": "0 3 * * 0",
        "catchup": False,
        "max_active_runs": 1,
        "mapped": ["train"],
        "alerted": True,
        "emits": ["laurel://uploads"],
    }
