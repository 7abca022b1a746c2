"""The whole platform: services that are killed come back, down leaves nothing, data stay."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from elt.settings import PROJECT_DIR
from local import ports
from local.environment import PLATFORM_MARK, Paths
from local.leftovers import find_postmaster

pytestmark = pytest.mark.e2e

SERVICES = ["postgres", "airflow-api-server", "api", "live", "airflow-scheduler", "airflow-dag-processor"]


@dataclass
class RunningPlatform:
    """One platform with a home, logs and ports of its own, driven by the command line as a person would."""

    home: Path
    python: str = sys.executable
    extra: dict[str, str] = field(default_factory=dict)
    user: int | None = None
    port: int = field(default_factory=ports.find_free_port)
    airflow_port: int = field(default_factory=ports.find_free_port)

    @property
    def environment(self) -> dict[str, str]:
        ours = {
            name: value for name, value in os.environ.items() if not name.startswith(("LAUREL_", "AIRFLOW_"))
        }
        return {
            **ours,
            "LAUREL_HOME": str(self.home),
            "LAUREL_LOG_DIR": str(self.home / "logs"),
            "LAUREL_PORT": str(self.port),
            "LAUREL_AIRFLOW_PORT": str(self.airflow_port),
            **self.extra,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        identity: dict[str, Any] = {} if self.user is None else {"user": self.user, "extra_groups": []}
        return subprocess.Popen(
            [self.python, "-m", "cli.main", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=self.environment, cwd=self.home, start_new_session=True, **identity,
        )  # fmt: skip

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=400)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def up(self) -> None:
        found = self.run("up", "-d")
        assert found.returncode == 0, found.stderr + self._logs()

    def status(self) -> dict[str, dict[str, Any]]:
        return {one["service"]: one for one in json.loads(self.run("services", "--json").stdout)}

    def processes(self) -> list[psutil.Process]:
        """Every process of this platform that has not ended."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(PLATFORM_MARK) == str(self.home):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        postmaster = find_postmaster(Paths(self.home).cluster_root)
        return [*found, *([postmaster] if postmaster else [])]

    def wait_until_healthy(self) -> dict[str, dict[str, Any]]:
        for _ in range(120):
            states = self.status()
            if all(state["healthy"] for state in states.values()):
                return states
            time.sleep(1)
        raise AssertionError(f"not healthy: {states}{self._logs()}")

    def _logs(self) -> str:
        tails = [f"\n== {log.name}\n{log.read_text()[-1500:]}" for log in (self.home / "logs").glob("*.log")]
        return "".join(tails)


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    home = Path(tempfile.mkdtemp(prefix="laurel-test-"))  # closed to others, as a home may be
    platform = RunningPlatform(home)
    try:
        platform.up()
        yield platform
    finally:
        platform.run("down")
        shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def test_up_ends_when_all_is_healthy_and_says_where(platform: RunningPlatform) -> None:
    found = platform.run("services")
    again = platform.run("up", "-d")

    assert found.returncode == 0
    assert [line.split()[0] for line in found.stdout.splitlines()[1:]] == SERVICES
    assert found.stdout.count("healthy") == len(SERVICES)
    assert again.returncode == 0
    assert f"127.0.0.1:{platform.port}/apidocs/" in again.stdout


def test_nothing_listens_on_other_interfaces(platform: RunningPlatform) -> None:
    listening = {
        connection.laddr.ip
        for process in [
            *platform.processes(),
            *psutil.Process(_supervisor_pid(platform)).children(recursive=True),
        ]
        for connection in _connections(process)
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_every_killed_service_comes_back_and_orphans_end(platform: RunningPlatform) -> None:
    before = platform.wait_until_healthy()
    orphans = [
        child for state in before.values() for child in psutil.Process(state["pid"]).children(recursive=True)
    ]
    for state in before.values():
        os.kill(state["pid"], signal.SIGKILL)
    after = platform.wait_until_healthy()

    assert list(after) == SERVICES
    assert all(after[name]["pid"] != before[name]["pid"] for name in SERVICES)
    # They are told to end before the service starts again, and may take a moment.
    _ended, left = psutil.wait_procs(orphans, timeout=120)
    assert [child for child in left if child.status() != psutil.STATUS_ZOMBIE] == []


def test_down_leaves_no_process_and_up_finds_the_data(platform: RunningPlatform) -> None:
    made = platform.run("keys", "create", "--role", "researcher", "--name", "kept", "--json")
    assert made.returncode == 0, made.stderr

    os.kill(_supervisor_pid(platform), signal.SIGKILL)  # the hardest way: no one is left to stop the services
    assert platform.run("down").returncode == 0
    assert platform.processes() == []

    foreground = platform.start("up")
    try:
        platform.wait_until_healthy()
        assert "kept" in platform.run("keys", "list", "--json").stdout
        assert platform.run("psql", "-Atc", "select name from ops.keys").stdout == "kept\n"
    finally:
        os.kill(foreground.pid, signal.SIGINT)
        output, errors = foreground.communicate(timeout=200)
    assert foreground.returncode == 0, errors
    assert output.endswith("Stopped.\n")
    assert platform.processes() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_an_ordinary_user_runs_it_too() -> None:
    account = pwd.getpwnam("nobody")
    packages = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    python = _python_for(account.pw_uid, packages)
    home = Path(tempfile.mkdtemp(prefix="laurel test "))
    project = home / "a clone"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=PROJECT_DIR, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT_DIR / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT_DIR / name, project / name)
    for path in [home, *home.rglob("*")]:
        os.chown(path, account.pw_uid, account.pw_gid)
    extra = {"PYTHONPATH": f"{project}:{packages}", "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    platform = RunningPlatform(project / "var", python, extra, account.pw_uid)
    (project / "var").mkdir()
    os.chown(project / "var", account.pw_uid, account.pw_gid)
    try:
        platform.up()
        states = platform.status()
        assert all(state["healthy"] for state in states.values())
        owners = {psutil.Process(state["pid"]).uids().effective for state in states.values()}
        assert owners == {account.pw_uid}
    finally:
        stopped = platform.run("down")
        remains = platform.processes()
        shutil.rmtree(home, ignore_errors=True)
    assert stopped.returncode == 0
    assert remains == []


def _python_for(uid: int, packages: Path) -> str:
    """A Python of our version that the user may run with our packages."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    check = f"import sys, supervisor; sys.exit(not sys.version.startswith('{version}.'))"
    for candidate in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        try:
            done = subprocess.run(
                [candidate, "-c", check], user=uid, extra_groups=[], cwd="/", check=False,
                env={"PYTHONPATH": str(packages)}, capture_output=True,
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    pytest.skip(f"no Python {version} here that an ordinary user may run with our packages")


def _supervisor_pid(platform: RunningPlatform) -> int:
    return int((platform.home / "run" / "supervisord.pid").read_text())


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections()
    except psutil.Error:
        return []
