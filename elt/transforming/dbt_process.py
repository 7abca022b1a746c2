"""Runs dbt as a command: its environment, its end, and what it says about models and tests.

dbt's target folder and parse cache live under `$LAUREL_HOME/dbt`. The address of
the database reaches it by environment only, the password under a name that dbt masks in its logs.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from elt.errors import BuildInterrupted, ConfigurationError, TransformError
from elt.settings import PROJECT_DIR, Settings

DBT_DIR = PROJECT_DIR / "dbt"
SESSION_NAME = "laurel-dbt"

# dbt's own connections: more memory for sorting, and dates that do not depend on the server's zone.
_SESSION_OPTIONS = "-c work_mem=64MB -c maintenance_work_mem=256MB -c jit=off -c timezone=UTC"
_FAILED = {"error", "fail", "runtime error", "partial success"}
_MESSAGE_LINES = 3
# Sent by who stops services, or has no memory left; a crash (SIGSEGV, SIGABRT) comes again.
_FROM_OUTSIDE = {signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP}


@dataclass(frozen=True, slots=True)
class DbtOutcome:
    """How many models were built and tests passed (of formulas: unit tests); one line per test that warns."""

    models: int
    tests: int
    unit_tests: int
    warnings: tuple[str, ...]


def target_dir(settings: Settings) -> Path:
    """Where dbt writes its manifest, results and parse cache."""
    return settings.home / "dbt"


def run_dbt(settings: Settings, arguments: Sequence[str], *, rebuild: bool = False) -> DbtOutcome:
    """Run `dbt <arguments>` to its end. With `rebuild`, tables are emptied and filled again in place.

    Raises:
        TransformError: dbt failed. One line per model or test, without values of the data.
        BuildInterrupted: dbt was ended from outside, and nothing had failed before.
    """
    target = target_dir(settings)
    target.mkdir(parents=True, exist_ok=True)
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    process = subprocess.run(
        [str(_dbt_program()), "--no-use-colors", *arguments],
        cwd=DBT_DIR,
        env=_environment(settings)
        | {"DBT_TARGET_PATH": str(target), "LAUREL_DBT_REBUILD": str(int(rebuild))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_die_with_parent(),
        check=False,
    )
    nodes = _read_results(results)
    failures = [_in_words(node) for node in nodes if node["status"] in _FAILED]
    if -process.returncode in _FROM_OUTSIDE and not failures:
        raise BuildInterrupted(
            f"dbt was ended by {signal.Signals(-process.returncode).name} before it had finished. "
            "Services were being stopped, or memory was short; the next run builds the same."
        )
    if process.returncode != 0 or failures:
        raise TransformError(_summary(failures, process), failures)
    return DbtOutcome(
        models=sum(_kind(node) == "model" for node in nodes if node["status"] == "success"),
        tests=sum(_kind(node) == "test" for node in nodes if node["status"] in {"pass", "warn"}),
        unit_tests=sum(_kind(node) == "unit_test" for node in nodes if node["status"] == "pass"),
        warnings=tuple(_in_words(node) for node in nodes if node["status"] == "warn"),
    )


def dbt_connection(settings: Settings) -> dict[str, str]:
    """The environment from which `dbt/profiles.yml` reads the database's address."""
    parts = conninfo_to_dict(settings.database_url.get_secret_value())
    return {
        "LAUREL_DBT_HOST": str(parts.get("host") or "localhost"),
        "LAUREL_DBT_PORT": str(parts.get("port") or 5432),
        "LAUREL_DBT_USER": str(parts.get("user") or "postgres"),
        "LAUREL_DBT_DATABASE": str(parts.get("dbname") or parts.get("user") or "postgres"),
        "LAUREL_DBT_SSLMODE": str(parts.get("sslmode") or "prefer"),
        "LAUREL_DBT_SSLROOTCERT": str(parts.get("sslrootcert") or ""),
        "DBT_ENV_SECRET_LAUREL_PASSWORD": str(parts.get("password") or ""),
    }


def _environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        **dbt_connection(settings),
        "DBT_PROFILES_DIR": str(DBT_DIR),
        "DBT_PROJECT_DIR": str(DBT_DIR),
        "DBT_LOG_PATH": str(target_dir(settings) / "logs"),
        # PostgreSQL's words about a broken constraint name the row; dbt would write them down whole.
        "DBT_LOG_LEVEL_FILE": "none",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_VERSION_CHECK": "false",
        "PGOPTIONS": _SESSION_OPTIONS,
        "PYTHONUNBUFFERED": "1",
    }


def _dbt_program() -> Path:
    """The command of the environment that this Python belongs to.

    Raises:
        ConfigurationError: dbt is not installed there.
    """
    for folder in (sysconfig.get_path("scripts"), Path(sys.executable).parent):
        program = Path(folder) / "dbt"
        if program.exists():
            return program
    raise ConfigurationError(
        "dbt is not installed in this environment. Run ./start.sh up, or install Laurel."
    )


def _die_with_parent() -> Callable[[], None] | None:
    """What makes dbt end when we are killed; Linux only. Elsewhere the next build ends its sessions."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    return ask


def _read_results(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    results: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["results"]
    return results


def _kind(node: dict[str, Any]) -> str:
    return str(node["unique_id"]).split(".", 1)[0]


def _in_words(node: dict[str, Any]) -> str:
    """`test unique_x: Got 3 results`; of an error of PostgreSQL its first lines, never the row in DETAIL."""
    name = str(node["unique_id"]).split(".")[2]
    lines = [
        line.strip()
        for line in str(node.get("message") or "").splitlines()
        if line.strip() and not line.strip().startswith(("DETAIL:", "CONTEXT:", "compiled code at"))
    ]
    return f"{_kind(node)} {name}: {' '.join(lines[:_MESSAGE_LINES])}"


def _summary(failures: list[str], process: subprocess.CompletedProcess[str]) -> str:
    if failures:
        return f"dbt: {len(failures)} failed. {failures[0]}"
    if process.returncode < 0:
        return f"dbt was ended by signal {-process.returncode} before it had finished"
    said = " ".join([line for line in process.stdout.splitlines() if line.strip()][-_MESSAGE_LINES:])
    return f"dbt ended with status {process.returncode}: {said}"
