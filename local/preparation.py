"""What must be there before the services start: databases, their tables, room on the disk."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import psycopg

from elt.errors import ConfigurationError, DatabaseUnavailable, DiskFull, LaurelError
from elt.migrate import migrate
from elt.settings import Settings
from local import ports, postgres
from local.environment import (
    Paths,
    airflow_database_url,
    embedded_passwords,
    move_postgres_port,
    read_embedded,
    service_environment,
)

_ROOM_NEEDED_MB = 500

Say = Callable[[str], None]


def require_room(folder: Path) -> None:
    """Make sure that the platform has room to start.

    Raises:
        DiskFull: there is less than 500 MB.
    """
    free_mb = shutil.disk_usage(folder).free // 1024**2
    if free_mb < _ROOM_NEEDED_MB:
        raise DiskFull(
            f"Only {free_mb} MB are free where {folder} lies; at least {_ROOM_NEEDED_MB} MB are needed. "
            "Free some, or set LAUREL_HOME to a folder on another disk."
        )


def explain(error: OSError, folder: Path) -> LaurelError:
    """What an error of the system means for the person who started the platform."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"No room left where {folder} lies. Free some, then start again.")
    if error.filename:
        return ConfigurationError(
            f"{error.strerror}: {error.filename}. LAUREL_HOME must be a folder of yours."
        )
    return LaurelError(f"The platform could not be started: {error}")


def make_cluster(where: Paths, say: Say) -> None:
    """Make the embedded PostgreSQL's cluster, and give it another port if its own has been taken.

    Raises:
        ConfigurationError, DiskFull: see `local.postgres`.
    """
    embedded = read_embedded(where)
    if not ports.is_free("127.0.0.1", embedded.port):
        move_postgres_port(where)
        embedded = read_embedded(where)
        say(f"The port of PostgreSQL was taken; it moves to {embedded.port}")
    cluster = postgres.prepare(where.cluster_root, embedded.port)
    if not (cluster.data / "PG_VERSION").exists():
        say("Making the PostgreSQL cluster …")
        postgres.initialise(cluster, embedded.superuser_password)


def make_databases(where: Paths) -> None:
    """Make the databases `elt` and `airflow`, each with an owner of its own; safe to repeat."""
    url = read_embedded(where).url()
    passwords = embedded_passwords(where)
    postgres.create_owner_and_database(url, "laurel", passwords["laurel"], "elt")
    postgres.create_owner_and_database(url, "airflow", passwords["airflow"], "airflow")


def migrate_databases(where: Paths, settings: Settings, say: Say) -> None:
    """Bring `elt`, and Airflow's database where one is set, to what this version of the code expects.

    Raises:
        LaurelError: Airflow's migration failed; names its log.
    """
    migrate(settings.database_url.get_secret_value())
    if settings.airflow_database_url is not None:
        migrate_airflow(where, settings, say)


def migrate_airflow(where: Paths, settings: Settings, say: Say) -> None:
    """Bring Airflow's database to what the installed Airflow expects; at once where that was done.

    Raises:
        ConfigurationError: no database was named for Airflow.
        LaurelError: the migration failed; names its log.
    """
    stamp = where.run / "airflow-database.json"
    if _read_stamp(stamp) == _airflow_state(settings):
        return
    say("Preparing Airflow's database …")
    log = where.logs / "airflow-migrate.log"
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=where.home,
            env=service_environment(where, settings),
            check=False,
        )
    if done.returncode != 0:
        raise LaurelError(f"Preparing Airflow's database failed. See {log}.")
    stamp.write_text(json.dumps(_airflow_state(settings)))


def _airflow_state(settings: Settings) -> dict[str, str | None]:
    """Airflow's version, and the revision of the tables in its database (None: there are none)."""
    try:
        with psycopg.connect(airflow_database_url(settings), connect_timeout=5) as connection:
            table = connection.execute("select to_regclass('alembic_version')").fetchone()
            revision = (
                table
                and table[0]
                and connection.execute("select version_num from alembic_version").fetchone()
            )
    except psycopg.OperationalError as error:
        first_line = str(error).strip().splitlines()[0]
        raise DatabaseUnavailable(f"Airflow's database: {first_line}") from None
    return {"airflow": version("apache-airflow-core"), "revision": revision[0] if revision else None}


def _read_stamp(stamp: Path) -> object:
    try:
        return json.loads(stamp.read_text())
    except (OSError, ValueError):
        return None
