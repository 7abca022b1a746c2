"""The DAG `pisa` as Airflow runs it, in a process of its own with a database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from elt.live.listing import list_live
from elt.settings import PROJECT_DIR, Settings
from elt.warehouse import Connection
from tests.conftest import PostgresServer
from tests.countries import configure, differences, make_countries

# Airflow's database is made by its own command, as the platform does it.
RUN = """
import json, subprocess, sys
subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
from airflow.dag_processing.dagbag import DagBag
dag = DagBag(sys.argv[1] + "/pisa.py").dags["pisa"]
run = dag.test()
states = sorted((each.task_id, each.rendered_map_index or "", str(each.state)) for each in
                run.get_task_instances())
print(json.dumps({"run": str(run.state), "tasks": states}))
"""


def test_each_country_is_followed_in_a_task_of_its_own_and_one_that_is_away_stops_no_other(
    settings: Settings, database_url: str, connection: Connection, postgres_server: PostgresServer,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    *others, away = countries = make_countries(postgres_server, ["ALB", "ARG", "AUS"])
    for country in countries:
        country.fill(1, 200)
    configure(settings, countries, monkeypatch.setenv)
    monkeypatch.setenv(away.variable, away.url.rsplit("/", 1)[0] + "/there_is_none")
    connection.execute("insert into live.sources (source, way) values ('pisa-former', 'poll')")
    found = run_dag(settings, database_url, tmp_path)
    assert found["tasks"] == [
        ["follow", "pisa-alb", "success"],
        ["follow", "pisa-arg", "success"],
        ["follow", "pisa-aus", "failed"],
        ["list_sources", "", "success"],
    ]
    assert found["run"] == "failed"
    assert differences(database_url, others) == []
    assert {each.source: each.responses for each in list_live(connection)} == {
        "pisa-alb": 200, "pisa-arg": 200, "pisa-aus": 0,
    }  # fmt: skip
    assert [each.source for each in list_live(connection) if each.problem] == ["pisa-aus"]


def run_dag(settings: Settings, database_url: str, home: Path) -> dict[str, Any]:
    """How a run of the DAG ended."""
    environment = {
        **os.environ,
        "LAUREL_HOME": str(settings.home),
        "LAUREL_DATABASE_URL": database_url,
        "LAUREL_SECRET_KEY": settings.secret_key.get_secret_value(),
        "LAUREL_PSEUDONYM_KEY": settings.pseudonym_key.get_secret_value(),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_DIR / "airflow" / "dags"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(PROJECT_DIR / "airflow" / "dags")],
        env=environment, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=480,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    read: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return read
