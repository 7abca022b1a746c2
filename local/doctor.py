"""Look at this machine and the platform the way a person would who has been called for help."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import inf

from elt.errors import LaurelError
from elt.schema_version import HEAD, require_head
from elt.settings import Settings, load_settings
from elt.store.base import open_store
from elt.warehouse import connect
from local import ports, preparation
from local.environment import Paths, in_container
from local.health import check_airflow_job, check_url
from local.platform import Platform
from local.services import (
    AIRFLOW_API,
    DAG_PROCESSOR,
    LIVE,
    SCHEDULER,
    WORKER,
    check_live,
    check_workers,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `advice` says what to do; empty when nothing needs doing."""

    subject: str
    is_ok: bool
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, object]:
        """The finding as plain JSON values."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look at everything; a check that cannot be made is a finding, not an error."""
    platform = Platform(lambda _text: None)
    findings = [_python(), _versions(), _disk(platform)]
    try:
        settings = platform.settings() if platform.is_running() else load_settings()
    except LaurelError as error:
        advice = f"./start.sh {'env' if in_container() else 'up'} writes what is missing."
        return [*findings, Finding("settings", False, error.detail, advice)]
    findings.append(Finding("settings", True, f"home {settings.home}"))
    if in_container():
        findings += _containers(settings, platform.where)
    else:
        findings += _services(platform) if platform.is_running() else _ports(settings)
    findings.append(_attempt("database", lambda: _database(settings), _look_at_the_database()))
    findings.append(_attempt("tables", lambda: _tables(settings), "See docs/operations.md, Upgrade."))
    findings.append(
        _attempt("store", lambda: _store(settings), "Check LAUREL_STORE_URL and the AWS_* variables.")
    )
    return findings


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Finding("python", fits, found, "" if fits else "Install Python 3.11 to 3.13.")


def _versions() -> Finding:
    packages = ("laurel", "apache-airflow-core", "dbt-core", "polars", "psycopg", "scikit-learn")
    return Finding("versions", True, ", ".join(f"{name} {version(name)}" for name in packages))


def _disk(platform: Platform) -> Finding:
    folder = next(path for path in (platform.where.home, *platform.where.home.parents) if path.exists())
    free_gb = shutil.disk_usage(folder).free / 1024**3
    try:
        preparation.require_room(folder)
    except LaurelError as error:
        return Finding("disk", False, f"{free_gb:.1f} GB free", error.detail)
    return Finding("disk", True, f"{free_gb:.1f} GB free at {folder}")


def _ports(settings: Settings) -> list[Finding]:
    wanted = {
        "api": (settings.port, "LAUREL_PORT"),
        "airflow": (settings.airflow_port, "LAUREL_AIRFLOW_PORT"),
    }
    findings = [Finding("platform", False, "not running", "./start.sh up -d")]
    for purpose, (port, variable) in wanted.items():
        try:
            ports.require_free(settings.host, port, variable, purpose)
        except LaurelError as error:
            findings.append(Finding(f"port {port}", False, "in use", error.detail))
        else:
            findings.append(Finding(f"port {port}", True, f"free, for {purpose}"))
    return findings


def _services(platform: Platform) -> list[Finding]:
    return [
        Finding(
            state.name,
            state.problem is None,
            state.problem or "healthy",
            f"Look at {platform.where.logs / state.name}.log" if state.problem else "",
        )
        for state in platform.status()
    ]


def _containers(settings: Settings, where: Paths) -> list[Finding]:
    """Services in other containers, as Airflow's API, database and broker tell.

    A heartbeat of any age of process counts, and of workers the first that answers.
    """
    url = settings.resolved_airflow_url
    problems = {
        AIRFLOW_API: check_url(f"{url}/execution/health"),
        SCHEDULER: check_airflow_job(url, "scheduler", inf),
        DAG_PROCESSOR: check_airflow_job(url, "dag_processor", inf),
        LIVE: check_live(settings),
    }
    if where.broker_mark.exists():
        problems[WORKER] = check_workers(settings)
    return [
        Finding(
            name,
            problem is None,
            problem or "healthy",
            f"Look at `docker compose ps` and `docker compose logs {name}`." if problem else "",
        )
        for name, problem in problems.items()
    ]


def _database(settings: Settings) -> str:
    with connect(settings.database_url.get_secret_value(), application_name="laurel-doctor") as connection:
        return f"PostgreSQL {connection.info.parameter_status('server_version')}"


def _tables(settings: Settings) -> str:
    with connect(settings.database_url.get_secret_value(), application_name="laurel-doctor") as connection:
        require_head(connection)
    return f"revision {HEAD}"


def _store(settings: Settings) -> str:
    open_store(settings.resolved_store_url).check()
    return settings.resolved_store_url


def _look_at_the_database() -> str:
    if in_container():
        return "Look at `docker compose ps` and `docker compose logs postgres-elt`."
    return "./start.sh up, then look at logs/postgres.log."


def _attempt(subject: str, check: Callable[[], str], advice: str) -> Finding:
    try:
        return Finding(subject, True, check())
    except LaurelError as error:
        return Finding(subject, False, error.detail, advice)
