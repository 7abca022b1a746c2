"""What `laurel doctor` sees from one of several containers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from elt.settings import Settings
from elt.warehouse import connect
from local.doctor import Finding, examine
from local.environment import paths
from local.services import LIVE, WORKER

BROKER = "memory://"


@pytest.fixture
def in_container(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that the doctor finds, without any of Airflow's services."""
    found = settings.model_copy(update={"broker_url": SecretStr(BROKER), "airflow_url": "http://127.0.0.1:1"})
    monkeypatch.setenv("LAUREL_ENV_FILE", str(settings.home / "container.env"))
    monkeypatch.setattr("local.doctor.load_settings", lambda: found)
    return found


def test_the_live_follower_is_seen_at_the_database(in_container: Settings) -> None:
    away = _examine()[LIVE]
    assert (away.is_ok, away.found) == (False, "not connected to the database")
    assert "docker compose logs live" in away.advice

    with connect(in_container.database_url.get_secret_value(), application_name="laurel-live"):
        assert _examine()[LIVE].is_ok


@pytest.mark.usefixtures("in_container")
def test_one_worker_must_answer_where_tasks_go_by_a_broker() -> None:
    assert WORKER not in _examine()  # the scheduler runs tasks itself

    paths().broker_mark.parent.mkdir(parents=True)
    paths().broker_mark.touch()
    away = _examine()[WORKER]
    assert (away.is_ok, away.found) == (False, "no worker answers")

    with _worker():
        assert _examine()[WORKER].is_ok


@pytest.mark.usefixtures("in_container")
def test_a_broker_that_is_away_is_told(in_container: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    paths().broker_mark.parent.mkdir(parents=True)
    paths().broker_mark.touch()
    away = in_container.model_copy(update={"broker_url": SecretStr("redis://:for-tests@127.0.0.1:1/0")})
    monkeypatch.setattr("local.doctor.load_settings", lambda: away)

    found = _examine()[WORKER]
    assert (found.is_ok, found.found) == (False, "the broker does not answer")


def _examine() -> dict[str, Finding]:
    return {each.subject: each for each in examine()}


@contextmanager
def _worker() -> Iterator[None]:
    """A worker at the broker, in a thread of this process."""
    from celery import Celery
    from celery.contrib.testing.worker import start_worker

    with (
        Celery(broker=BROKER, backend="cache+memory://") as app,
        start_worker(app, pool="solo", perform_ping_check=False),
    ):
        yield
