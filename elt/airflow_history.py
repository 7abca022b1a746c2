"""Airflow's own past: each run leaves rows in its database and a folder of logs, which grow without end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from elt.backup.manifest import address_of
from elt.errors import TransientError
from elt.log import get_logger
from elt.settings import Settings

KEPT = timedelta(days=30)
"""How long Airflow's runs and logs are kept."""

# A folder for each run, and one for each day on which DAG files were read.
_LOG_FOLDERS = ("dag_id=*/run_id=*", "dag_processor/????-??-??")

log = get_logger(__name__)


def remove_old_logs(folder: Path, *, now: datetime | None = None) -> int:
    """Remove logs in which nothing was written for as long as `KEPT` says.

    Args:
        folder: what Airflow calls `base_log_folder`.

    Returns:
        How many folders of runs and days were removed.
    """
    before = ((now or datetime.now(UTC)) - KEPT).timestamp()
    old = [
        found for pattern in _LOG_FOLDERS for found in folder.glob(pattern) if _last_written(found) < before
    ]
    for each in old:
        shutil.rmtree(each)
    return len(old)


def remove_old_rows(settings: Settings, *, now: datetime | None = None) -> bool:
    """Remove rows of older runs from Airflow's database by Airflow's own command, which writes to our output.

    Of each DAG the last scheduled run stays. False: no database was named for Airflow.

    Raises:
        TransientError: a table could not be cleaned; those before it are.
    """
    address = address_of(settings, "airflow")
    if address is None:
        log.warning("airflow_rows_kept", reason="LAUREL_AIRFLOW_DATABASE_URL is not set")
        return False
    before = (now or datetime.now(UTC)) - KEPT
    done = subprocess.run(
        [
            *(sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive"),
            *("--error-on-cleanup-failure", "--clean-before-timestamp", before.isoformat()),
        ],
        # Airflow hides its database from tasks by another address in this variable.
        env={**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise TransientError(
            f"`airflow db clean` ended with status {done.returncode}; the log of this task says why."
        )
    return True


def _last_written(folder: Path) -> float:
    return max(each.stat().st_mtime for each in (folder, *folder.rglob("*")))
