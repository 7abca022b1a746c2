"""The platform in containers, from a fresh copy of the project, on ports of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from dotenv import dotenv_values

from demo.answers import AnswerKey
from elt.settings import PROJECT_DIR
from local.ports import find_free_port
from tests.e2e.conftest import Platform

PATIENCE_SECONDS = 900
# What runs for good without a profile; with `scale` there are more.
SERVICES = (
    "postgres-elt", "postgres-airflow", "api", "live", "airflow-api-server", "airflow-scheduler",
    "airflow-dag-processor", "airflow-triggerer",
)  # fmt: skip
ONE_SHOTS = ("migrate", "init-airflow")

Json = dict[str, Any]


def why_not() -> str | None:
    """Why containers cannot be tried here; None when they can."""
    if shutil.which("docker") is None:
        return "there is no docker"
    for question in (["docker", "info"], ["docker", "compose", "version"]):
        done = subprocess.run(question, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            return f"`{' '.join(question)}` fails: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"
    return None


def copy_project(target: Path) -> None:
    """What a fresh clone would hold, uncommitted changes included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT_DIR, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, copy = PROJECT_DIR / name, target / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)


@dataclass
class Stack:
    """One compose project in `folder`."""

    folder: Path
    environment: dict[str, str]
    port: int
    airflow_port: int
    https_port: int
    prometheus_port: int

    @classmethod
    def make(cls, folder: Path) -> Stack:
        """A copy of the project with an `.env` as `./start.sh env` makes it, and ports that are free."""
        copy_project(folder)
        port = find_free_port(25_000)
        ports = [port, *(find_free_port(port + offset) for offset in (100, 200, 300, 400))]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LAUREL_")},
            "COMPOSE_PROJECT_NAME": f"laurel-test-{secrets.token_hex(4)}",
        }
        subprocess.run([folder / "start.sh", "env"], check=True, capture_output=True, env=environment)
        names = (
            "LAUREL_PORT", "LAUREL_AIRFLOW_PORT", "LAUREL_HTTPS_PORT", "LAUREL_PROMETHEUS_PORT",
            "LAUREL_HTTP_PORT",
        )  # fmt: skip
        with (folder / ".env").open("a", encoding="utf-8") as output:
            output.writelines(f"{name}={value}\n" for name, value in zip(names, ports, strict=True))
            output.write("LAUREL_VERSION=test\nLAUREL_PROXY_HOST=127.0.0.1\nLAUREL_SHARED_BUFFERS=128MB\n")
        return cls(folder, environment, *ports[:4])

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Call `docker compose` in the project; its standard output."""
        return self._run(["docker", "compose", *arguments], check=check)

    def docker(self, *arguments: str) -> str:
        """Call `docker`; its standard output."""
        return self._run(["docker", *arguments], check=True)

    def up(self, *profiles: str) -> None:
        """Start what does not run, and wait until all is healthy."""
        flags = [part for profile in profiles for part in ("--profile", profile)]
        self.compose(*flags, "up", "-d", "--wait", "--wait-timeout", str(PATIENCE_SECONDS))

    def laurel(self, *arguments: str) -> str:
        """Run the `laurel` command beside the API, as operations.md says."""
        return self.compose("exec", "-T", "api", "laurel", *arguments)

    def containers(self, service: str | None = None, *, also_ended: bool = True) -> list[Json]:
        """What the engine knows about the project's containers, or those of one service."""
        flags = [*(["--all"] if also_ended else []), "--quiet"]
        ids = self.compose("--profile", "*", "ps", *flags, *([service] if service else [])).split()
        return json.loads(self.docker("inspect", *ids)) if ids else []

    def kill(self, container: Json) -> None:
        """End a container as a crash would: the engine is not asked, and so starts it again."""
        try:
            os.kill(container["State"]["Pid"], signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pytest.skip("needs root on the engine's own machine, to end a container's process")

    def wait_until_healthy(self) -> None:
        """Until every container that should run does, and says that it is well."""
        until(lambda: not self._unwell(), lambda: f"not healthy: {self._unwell()}")

    def _unwell(self) -> list[str]:
        return [
            f"{name_of(each)} {each['State']['Status']} {each['State'].get('Health', {}).get('Status')}"
            for each in self.containers()
            if service_of(each) not in ONE_SHOTS
            and (
                each["State"]["Status"] != "running"
                or each["State"].get("Health", {}).get("Status") != "healthy"
            )
        ]

    def secrets(self) -> set[str]:
        """Every secret of this project."""
        known = dotenv_values(self.folder / ".env")
        return {value for name, value in known.items() if value and name.endswith(("_PASSWORD", "_KEY"))}

    def as_platform(self) -> Platform:
        """The API on its published port, called by an admin."""
        key = json.loads(self.laurel("keys", "create", "--role", "admin", "--name", "containers", "--json"))
        client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}/api/v1",
            headers={"Authorization": f"Bearer {key['key']}"},
            timeout=120,
            trust_env=False,
        )
        return Platform(self.folder, {}, "", client)

    def airflow_tasks(self, task: str) -> list[Json]:
        """Every instance of a task of the DAG `uploads`, as Airflow's API tells on its published port."""
        password = dotenv_values(self.folder / ".env")["LAUREL_AIRFLOW_PASSWORD"]
        with httpx.Client(
            base_url=f"http://127.0.0.1:{self.airflow_port}", timeout=60, trust_env=False
        ) as client:
            signed_in = client.post("/auth/token", json={"username": "admin", "password": password})
            token = signed_in.raise_for_status().json()["access_token"]
            answer = client.get(
                "/api/v2/dags/uploads/dagRuns/~/taskInstances",
                params={"task_id": task, "limit": 1000},
                headers={"Authorization": f"Bearer {token}"},
            )
        found: list[Json] = answer.raise_for_status().json()["task_instances"]
        return [each for each in found if each["task_id"] == task]

    def _run(self, command: list[str], *, check: bool) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False, timeout=PATIENCE_SECONDS * 2,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{' '.join(command)}\n{done.stderr[-4000:]}"
        return done.stdout


def until(is_so: Callable[[], bool], otherwise: Callable[[], str], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something is so; fails with the words of `otherwise` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(1)


def hand_in(platform: Platform, folder: Path, key: AnswerKey) -> dict[str, str]:
    """Send every file of the demo school; the upload's id by the file's name."""
    uploads = {}
    for name, answer in key.files.items():
        query = {"dataset": answer.dataset, "filename": name}
        with (folder / name).open("rb") as body:
            sent = platform.client.post(
                "/uploads", params=query, content=body, headers={"Content-Type": "text/csv"}
            )
        assert sent.status_code in (200, 201), f"{name}: {sent.status_code} {sent.text[:500]}"
        uploads[name] = sent.json()["id"]
    return uploads


def service_of(container: Json) -> str:
    """The service that a container is one of."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def name_of(container: Json) -> str:
    """A container's name, without the slash."""
    return str(container["Name"]).removeprefix("/")
