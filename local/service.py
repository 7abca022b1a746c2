"""Become one service: `python -m local.service NAME`. Used by the supervisor and as a container's role.

The process is replaced, so the supervisor's child is the service itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from elt.errors import ConfigurationError, LaurelError
from elt.settings import Settings, load_settings
from local import demo_sources, leftovers, mariadb, postgres
from local.accounts import Account
from local.environment import (
    PLATFORM_MARK,
    SERVICE_MARK,
    Paths,
    airflow_database_url,
    in_container,
    paths,
    read_embedded,
    service_environment,
)
from local.services import AIRFLOW_API, POSTGRES, SCHEDULER, WORKER, all_services


def run(name: str) -> None:
    """Replace this process by the service. What an earlier, killed one left behind is ended first.

    Raises:
        LaurelError: the configuration is incomplete.
    """
    where = paths()
    settings = load_settings()
    where.make()
    if os.environ.get(PLATFORM_MARK):
        # Workers without their scheduler ignore a request to end; only the database deserves the wait.
        patience = 30 if name == POSTGRES else 1
        leftovers.end(leftovers.find(where, name), patience_seconds=patience)
        leftovers.note_group(where, name)
    if name.startswith("airflow-"):
        airflow_database_url(settings)
    environment = {**service_environment(where, settings), SERVICE_MARK: name}
    os.chdir(where.home)
    if name == POSTGRES:
        _become_postgres(where, environment)
    if name == demo_sources.MYSQL:
        _become_mariadb(where, environment)
    if name == AIRFLOW_API:
        _write_airflow_password(where, settings)
    if name == WORKER and not where.broker_mark.exists():
        raise ConfigurationError(
            "Airflow's tasks do not go to workers: init-airflow has not met the broker (LAUREL_BROKER_URL). "
            "Set COMPOSE_PROFILES=scale in .env, then `docker compose up -d --wait`, so that it runs again."
        )
    command = all_services()[name].command
    if name == SCHEDULER and in_container():
        _run_while_executor_stays(where, command, environment)
    os.execve(command[0], command, environment)  # noqa: S606


def check(name: str) -> None:
    """End with status 0 when the service of this machine is healthy, else with why it is not."""
    sys.exit(all_services()[name].check(paths(), load_settings(), 0))


def _run_while_executor_stays(where: Paths, command: list[str], environment: dict[str, str]) -> None:
    """Run the scheduler until it ends, or `init-airflow` finds that others run its tasks from now on.

    Then it is ended too, so that the container engine starts it anew, with the other executor.
    """
    has_workers = where.broker_mark.exists()
    child = subprocess.Popen(command, env=environment)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: child.send_signal(number))
    while True:
        try:
            sys.exit(child.wait(timeout=5))
        except subprocess.TimeoutExpired:
            if where.broker_mark.exists() != has_workers:
                has_workers = not has_workers
                child.terminate()


def _become_postgres(where: Paths, environment: dict[str, str]) -> None:
    cluster = postgres.prepare(where.cluster_root, read_embedded(where).port)
    _forget_foreign_pid_file(cluster)
    _become(cluster.account, cluster.root, cluster.command(), environment)


def _become_mariadb(where: Paths, environment: dict[str, str]) -> None:
    found = demo_sources.read(where)
    if found is None:
        raise ConfigurationError("The demo's sources are not set up; ./start.sh demo does that.")
    server = demo_sources.mysql_server(where, found)
    mariadb.initialise(server)
    mariadb.write_init_file(server, demo_sources.mysql_password(where))
    _become(server.account, server.root, server.command(), environment)


def _become(account: Account | None, folder: Path, command: list[str], environment: dict[str, str]) -> None:
    """A database's server, with rights and environment of its own."""
    os.chdir(folder)
    if account is not None:
        os.setgroups([])
        os.setgid(account.gid)
        os.setuid(account.uid)
    kept = {name: environment[name] for name in ("PATH", PLATFORM_MARK, SERVICE_MARK) if name in environment}
    os.execve(command[0], command, kept)  # noqa: S606


def _forget_foreign_pid_file(cluster: postgres.Cluster) -> None:
    """After a crash of the machine the pid in the server's lock file may be another program's by now."""
    lock = cluster.data / "postmaster.pid"
    if not lock.exists() or leftovers.find_postmaster(cluster.root) is not None:
        return
    try:
        recycled = psutil.pid_exists(int(lock.read_text().splitlines()[0]))
    except (ValueError, IndexError):
        return
    if recycled:
        lock.unlink()


def _write_airflow_password(where: Paths, settings: Settings) -> None:
    """Give Airflow's simple sign-in our password, which it would otherwise make up and print."""
    if settings.airflow_password is None:
        return
    target = where.airflow_home / "passwords.json"
    target.touch(mode=0o600)
    target.write_text(json.dumps({settings.airflow_user: settings.airflow_password.get_secret_value()}))


def main() -> None:
    """Run the service that the command line names."""
    names = list(all_services())
    arguments = sys.argv[1:]
    act = check if arguments[:1] == ["--check"] else run
    if act is check:
        del arguments[0]
    if len(arguments) != 1 or arguments[0] not in names:
        sys.exit(f"usage: python -m local.service [--check] {'|'.join(names)}")
    try:
        act(arguments[0])
    except LaurelError as error:
        sys.exit(f"{error.title}: {error.detail}")


if __name__ == "__main__":
    main()
