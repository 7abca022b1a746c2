"""The services of the platform: how each is run, in which order, and how one sees that it is healthy."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass

from elt.errors import ConfigurationError, DatabaseUnavailable
from elt.settings import Settings
from elt.warehouse import connect
from local import demo_sources
from local.environment import Paths, is_embedded, paths, read_embedded
from local.health import check_airflow_job, check_url

# In the order in which they start; they stop the other way round.
POSTGRES = "postgres"
AIRFLOW_API = "airflow-api-server"
API = "api"
SCHEDULER = "airflow-scheduler"
DAG_PROCESSOR = "airflow-dag-processor"
LIVE = "live"
TRIGGERER = "airflow-triggerer"  # a role for containers; no task of ours waits in it
WORKER = "airflow-worker"  # a role for containers: runs tasks that come by the broker


@dataclass(frozen=True, slots=True)
class Service:
    """One long-running process. `stop_seconds`: how long it may take to end before it is killed.

    `check` gets the seconds that the process has run, and answers None when it is healthy, else why not.
    """

    name: str
    command: list[str]
    check: Callable[[Paths, Settings, int], str | None]
    stop_signal: str = "TERM"
    stop_seconds: int = 20
    is_needed: bool = True
    """Whether the platform is not up without it."""


def all_services() -> dict[str, Service]:
    """Every role that can be run, by name."""
    python = sys.executable
    airflow = [python, "-m", "airflow"]
    services = [
        # Its command depends on where the cluster lies; the launcher makes it.
        Service(POSTGRES, [], _check_postgres, stop_signal="INT", stop_seconds=60),
        Service(AIRFLOW_API, [*airflow, "api-server"], _check_airflow_api),
        Service(
            API,
            [python, "-m", "gunicorn", "--config", "python:backend.server", "backend.wsgi:app"],
            _check_api,
            stop_seconds=40,
        ),
        Service(
            LIVE, [python, "-m", "cli.main", "live"], lambda _where, settings, _seconds: check_live(settings)
        ),
        # The api-server reads the log files itself, so nobody needs to serve them on every interface.
        Service(SCHEDULER, [*airflow, "scheduler", "--skip-serve-logs"], _airflow_job("scheduler")),
        Service(DAG_PROCESSOR, [*airflow, "dag-processor"], _airflow_job("dag_processor")),
        Service(TRIGGERER, [*airflow, "triggerer", "--skip-serve-logs"], _airflow_job("triggerer")),
        Service(WORKER, [*airflow, "celery", "worker", "--skip-serve-logs"], _check_worker),
        *demo_services(),
    ]
    return {service.name: service for service in services}


def platform_services() -> dict[str, Service]:
    """The services that make up the platform here, in the order in which they start."""
    services = all_services()
    for role in (TRIGGERER, WORKER):
        del services[role]
    if not is_embedded():
        del services[POSTGRES]
    return services


def demo_services() -> list[Service]:
    """The servers that the demo reads, and who submits to them, once there was a demo."""
    where = paths()
    found = demo_sources.read(where) if is_embedded() else None
    if found is None:
        return []
    services = [
        Service(
            demo_sources.EXAM_BOARD, demo_sources.exam_command(where, found), _check_exam_board,
            is_needed=False,
        ),
        Service(demo_sources.SUBMISSIONS, demo_sources.submit_command(), _check_runs, is_needed=False),
    ]  # fmt: skip
    if found.mysql_port is not None:
        # As PostgreSQL's, its command depends on where it lies.
        services.append(Service(demo_sources.MYSQL, [], _check_demo_mysql, stop_seconds=60, is_needed=False))
    return services


def local_url(settings: Settings, port: int) -> str:
    """Where a service that listens on `LAUREL_HOST` is reached from this machine."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "localhost") else settings.host  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _check_postgres(where: Paths, _settings: Settings, _seconds: int) -> str | None:
    try:
        connect(read_embedded(where).url(), application_name="laurel-health").close()
    except DatabaseUnavailable as error:
        return error.detail
    return None


def _check_api(_where: Paths, settings: Settings, _seconds: int) -> str | None:
    return check_url(f"{local_url(settings, settings.port)}/readyz")


def check_live(settings: Settings) -> str | None:
    """None when a follower is at the warehouse, else why not.

    How the sources are is told by `laurel live status`.
    """
    try:
        with connect(settings.database_url.get_secret_value(), application_name="laurel-health") as warehouse:
            found = warehouse.execute(
                "select from pg_stat_activity where application_name = 'laurel-live'"
                " and datname = current_database()"
            ).fetchone()
    except DatabaseUnavailable as error:
        return error.detail
    return None if found is not None else "not connected to the database"


def _check_airflow_api(_where: Paths, settings: Settings, _seconds: int) -> str | None:
    return check_url(f"{local_url(settings, settings.airflow_port)}/execution/health")


def _check_runs(_where: Paths, _settings: Settings, _seconds: int) -> str | None:
    """Healthy while it runs: it waits by itself for what is away."""
    return None


def _check_exam_board(where: Paths, _settings: Settings, _seconds: int) -> str | None:
    found = demo_sources.read(where)
    return check_url(f"{demo_sources.exam_address(found)}/openapi.json") if found else "not set up"


def _check_demo_mysql(where: Paths, _settings: Settings, _seconds: int) -> str | None:
    import pymysql

    found = demo_sources.read(where)
    if found is None:
        return "not set up"
    try:
        demo_sources.mysql_server(where, found).connect(demo_sources.mysql_password(where)).close()
    except (pymysql.err.MySQLError, ConfigurationError, KeyError) as error:
        return f"MariaDB does not answer ({type(error).__name__})"
    return None


def _airflow_job(job: str) -> Callable[[Paths, Settings, int], str | None]:
    """A check that asks the api-server for the job's heartbeat; one of an earlier process does not count."""

    def check(_where: Paths, settings: Settings, seconds: int) -> str | None:
        return check_airflow_job(local_url(settings, settings.airflow_port), job, seconds)

    return check


def _check_worker(_where: Paths, settings: Settings, _seconds: int) -> str | None:
    """Whether the worker of this machine answers at the broker."""
    return check_workers(settings, f"celery@{platform.node()}")


def check_workers(settings: Settings, name: str | None = None) -> str | None:
    """None when the worker of this name, or any, answers at the broker, else why not."""
    from celery import Celery
    from kombu.exceptions import OperationalError

    if settings.broker_url is None:
        return "LAUREL_BROKER_URL is not set"
    try:
        with Celery(broker=settings.broker_url.get_secret_value()) as app:
            destination = [name] if name else None
            answers = app.control.inspect(destination=destination, timeout=5, limit=1).ping()
    except OperationalError:
        return "the broker does not answer"
    if answers:
        return None
    return f"{name} does not answer" if name else "no worker answers"
