"""Where the platform on one machine keeps its things, and the environment its services run in.

Embedded mode: `LAUREL_DATABASE_URL` is not set, so a PostgreSQL of our own is started, and the secrets are
made once and kept in `$LAUREL_HOME/laurel.env` (mode 0600). Otherwise everything comes from the environment.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from elt.errors import ConfigurationError
from elt.settings import PROJECT_DIR, Settings, home_dir, load_settings
from local.ports import find_free_port
from local.postgres import SUPERUSER

# Marks every process of one platform, so that `down` finds what a killed supervisor left behind.
PLATFORM_MARK = "LAUREL_PLATFORM"
SERVICE_MARK = "LAUREL_SERVICE"
FIRST_POSTGRES_PORT = 15432  # below the ports that systems hand out to outgoing connections


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders of one platform. `home` is absolute."""

    home: Path

    @property
    def env_file(self) -> Path:
        """The generated settings and secrets."""
        return self.home / "laurel.env"

    @property
    def run(self) -> Path:
        """What only matters while the platform runs: the supervisor's files, locks, stamps."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """Where services write; `logs/` in the project unless `LAUREL_LOG_DIR` says otherwise."""
        return Path(os.environ.get("LAUREL_LOG_DIR") or PROJECT_DIR / "logs").resolve()

    @property
    def airflow_home(self) -> Path:
        """Airflow's own folder: its configuration and password file."""
        return self.home / "airflow"

    @property
    def broker_mark(self) -> Path:
        """There while Airflow's tasks go to workers by a broker, in every process that shares this home."""
        return self.airflow_home / "broker"

    @property
    def cluster_root(self) -> Path:
        """The embedded PostgreSQL's folder, or a link to it."""
        return self.home / "postgres"

    def make(self) -> None:
        """Make the folders; those with secrets are closed to others."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        for folder in (self.run, self.airflow_home):
            folder.mkdir(mode=0o700, exist_ok=True)


@dataclass(frozen=True, slots=True)
class Embedded:
    """What is known about the embedded PostgreSQL besides its addresses."""

    port: int
    superuser_password: str

    def url(self) -> str:
        """The superuser's address; for making databases and for looking whether the server is there."""
        return f"postgresql://{SUPERUSER}:{self.superuser_password}@127.0.0.1:{self.port}/postgres"


def paths() -> Paths:
    """The folders of the platform that this environment means."""
    return Paths(home_dir())


def is_embedded() -> bool:
    """Whether we run our own PostgreSQL: true unless the environment names a database or a file with one."""
    return not (os.environ.get("LAUREL_DATABASE_URL") or in_container())


def in_container() -> bool:
    """Whether this is one service of several containers, whose settings come from a file given to it."""
    return bool(os.environ.get("LAUREL_ENV_FILE"))


def read_embedded(where: Paths) -> Embedded:
    """The embedded server's port and superuser password.

    Raises:
        ConfigurationError: the file is missing or was cut.
    """
    values = dotenv_values(where.env_file)
    try:
        return Embedded(int(values["LAUREL_POSTGRES_PORT"] or ""), values["LAUREL_POSTGRES_PASSWORD"] or "")
    except (KeyError, ValueError):
        raise ConfigurationError(
            f"{where.env_file} is incomplete. Restore it from a backup; if there is no data to keep, "
            f"remove {where.home} and start again."
        ) from None


def ensure_env_file(where: Paths) -> None:
    """Write fresh secrets and a free port for PostgreSQL, unless that was done before.

    A home that was made before there were pseudonyms gets their key.
    """
    if where.env_file.exists():
        _add_pseudonym_key(where)
        return
    passwords = {name: secrets.token_urlsafe(24) for name in ("postgres", "elt", "airflow", "airflow_ui")}
    _write_env_file(
        where,
        {
            "LAUREL_POSTGRES_PASSWORD": passwords["postgres"],
            "LAUREL_ELT_PASSWORD": passwords["elt"],
            "LAUREL_AIRFLOW_DB_PASSWORD": passwords["airflow"],
            "LAUREL_AIRFLOW_PASSWORD": passwords["airflow_ui"],
            "LAUREL_SECRET_KEY": secrets.token_urlsafe(32),
            "LAUREL_PSEUDONYM_KEY": secrets.token_urlsafe(32),
        },
        find_free_port(FIRST_POSTGRES_PORT),
    )


def _add_pseudonym_key(where: Paths) -> None:
    values = read_env_file(where)
    if "LAUREL_PSEUDONYM_KEY" not in values and values.get("LAUREL_POSTGRES_PORT"):
        values["LAUREL_PSEUDONYM_KEY"] = secrets.token_urlsafe(32)
        _write_env_file(where, values, int(values["LAUREL_POSTGRES_PORT"]))


def put_pseudonym_key_in_front(where: Paths, key: str) -> None:
    """Let new pseudonyms be made with this key; the earlier ones stay, behind it."""
    add_to_env_file(where, {"LAUREL_PSEUDONYM_KEY": f"{key},{read_env_file(where)['LAUREL_PSEUDONYM_KEY']}"})


def read_env_file(where: Paths) -> dict[str, str]:
    """The generated settings and secrets, by the names of their variables."""
    return {name: value or "" for name, value in dotenv_values(where.env_file).items()}


def add_to_env_file(where: Paths, values: dict[str, str]) -> None:
    """Write more settings beside the generated ones; one of the same name is replaced."""
    known = {**read_env_file(where), **values}
    _write_env_file(where, known, int(known["LAUREL_POSTGRES_PORT"]))


def move_postgres_port(where: Paths) -> int:
    """Give the embedded PostgreSQL another port, because another program has taken its own."""
    port = find_free_port(FIRST_POSTGRES_PORT)
    _write_env_file(where, read_env_file(where), port)
    return port


def embedded_passwords(where: Paths) -> dict[str, str]:
    """The passwords of the roles `laurel` and `airflow`, who own the two databases."""
    values = dotenv_values(where.env_file)
    return {
        "laurel": values["LAUREL_ELT_PASSWORD"] or "",
        "airflow": values["LAUREL_AIRFLOW_DB_PASSWORD"] or "",
    }


def service_environment(where: Paths, settings: Settings) -> dict[str, str]:
    """What every service finds in its environment: Laurel's own values and all of Airflow's.

    What the caller's environment already sets for Airflow (`AIRFLOW__…`) wins.
    """
    ours = {
        "LAUREL_HOME": str(where.home),
        "LAUREL_LOG_DIR": str(where.logs),
        "AIRFLOW_HOME": str(where.airflow_home),
        "LAUREL_HOST": settings.host,
        "LAUREL_PORT": str(settings.port),
        "LAUREL_AIRFLOW_PORT": str(settings.airflow_port),
        "LAUREL_AIRFLOW_URL": settings.resolved_airflow_url,
        PLATFORM_MARK: str(where.home),
        # Keeps the environment readable from outside when a process changes its title; `down` looks there.
        "SPT_NOENV": "1",
        "PYTHONUNBUFFERED": "1",
        # Services find dbt and the rest beside their own Python, also where no one has activated it.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }
    airflow = airflow_environment(where, settings) if settings.airflow_database_url else {}
    return {**airflow, **os.environ, **ours}


def airflow_environment(where: Paths, settings: Settings) -> dict[str, str]:
    """Airflow's configuration. Its secrets derive from `LAUREL_SECRET_KEY`, so that all roles share them.

    Raises:
        ConfigurationError: no database was named for Airflow.
    """
    scheme, _, rest = airflow_database_url(settings).partition("://")
    url = settings.resolved_airflow_url
    values = {
        **executor_environment(where, settings),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__DAGS_FOLDER": str(PROJECT_DIR / "airflow" / "dags"),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{settings.airflow_user}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(where.airflow_home / "passwords.json"),
        "CORE__FERNET_KEY": _derive(settings, "airflow fernet"),
        "DATABASE__SQL_ALCHEMY_CONN": f"{scheme.split('+')[0]}+psycopg2://{rest}",
        "API__HOST": settings.host,
        "API__PORT": str(settings.airflow_port),
        "API__BASE_URL": settings.resolved_airflow_public_url,
        "API__WORKERS": "1",
        "API__SECRET_KEY": _derive(settings, "airflow api"),
        "API_AUTH__JWT_SECRET": _derive(settings, "airflow jwt"),
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "WORKERS__EXECUTION_API_TIMEOUT": "30",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "LOGGING__BASE_LOG_FOLDER": str(where.logs / "airflow"),
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(where.logs / "airflow" / "dag_processor"),
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return {f"AIRFLOW__{name}": value for name, value in values.items()}


def executor_environment(where: Paths, settings: Settings) -> dict[str, str]:
    """Who runs Airflow's tasks: the scheduler, or workers behind the broker where `init-airflow` met one."""
    if settings.broker_url is None or not where.broker_mark.exists():
        return {"CORE__EXECUTOR": "LocalExecutor", "CORE__PARALLELISM": "4"}
    return {
        "CORE__EXECUTOR": "CeleryExecutor",
        "CORE__PARALLELISM": "32",
        "CELERY__BROKER_URL": settings.broker_url.get_secret_value(),
        "CELERY__WORKER_CONCURRENCY": "4",
        # A worker that was killed gives its task back after so long, not after a day.
        "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "21600",
        # … and Airflow starts a task anew whose process has been silent for so long.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    }


def airflow_database_url(settings: Settings) -> str:
    """The address of Airflow's database.

    Raises:
        ConfigurationError: there is none.
    """
    if settings.airflow_database_url is None:
        raise ConfigurationError("LAUREL_AIRFLOW_DATABASE_URL is not set (see .env.example).")
    return settings.airflow_database_url.get_secret_value()


def load_platform_settings(where: Paths) -> Settings:
    """The settings, after the embedded ones have been written where they are ours to write.

    Raises:
        ConfigurationError: a value is missing or wrong.
    """
    if is_embedded():
        ensure_env_file(where)
    return load_settings()


def _derive(settings: Settings, purpose: str) -> str:
    """A secret of its own for one purpose, 256 bits, in the form that Fernet wants."""
    key = settings.secret_key.get_secret_value().encode()
    return base64.urlsafe_b64encode(hmac.digest(key, purpose.encode(), hashlib.sha256)).decode()


def _write_env_file(where: Paths, values: dict[str, str], port: int) -> None:
    address = f"127.0.0.1:{port}"
    values = {
        **values,
        "LAUREL_POSTGRES_PORT": str(port),
        "LAUREL_DATABASE_URL": f"postgresql://laurel:{values['LAUREL_ELT_PASSWORD']}@{address}/elt",
        "LAUREL_AIRFLOW_DATABASE_URL": (
            f"postgresql://airflow:{values['LAUREL_AIRFLOW_DB_PASSWORD']}@{address}/airflow"
        ),
    }
    heading = (
        "# Made by ./start.sh up for the embedded platform. Holds secrets; part of what a backup needs.\n"
    )
    draft = where.env_file.with_name("laurel.env.new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(heading + "".join(f"{name}='{value}'\n" for name, value in values.items()))
    draft.replace(where.env_file)
