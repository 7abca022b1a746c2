"""The whole platform, started once by `./start.sh demo` in a folder of its own, for all tests of a module;
and the demo school alone behind the API, for tests of pages.

Whole marts are compared with the answer key, which is about the files only: so sources are read by the last
test, and any other test that changes data starts a platform of its own.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from demo.answers import AnswerKey
from elt.settings import PROJECT_DIR
from local.environment import PLATFORM_MARK
from local.ports import find_free_port
from tests.conftest import MakeTemplate, PostgresServer
from tests.e2e.chromium import CHROMIUM, FLAGS
from tests.e2e.demo_pages import PATIENCE, School, SignIn, fill, signing_in
from tests.served_api import serve

DEMO_SECONDS = 1_500  # the demo itself gives up after twenty minutes, and says why
COMMAND_SECONDS = 300
SPLIT_BYTES = 2_000_000
"""The largest file of the demo school has more, and so is loaded in parts."""


@dataclass(frozen=True)
class Platform:
    """A running platform with the demo school in it.

    `output` is what `./start.sh demo` printed; `client` calls its API as an admin, below `/api/v1`.
    """

    home: Path
    environment: dict[str, str]
    output: str
    client: httpx.Client

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer of a GET that must succeed."""
        return self.ask(path, **query).json()

    def ask(self, path: str, **query: Any) -> httpx.Response:
        """The answer of a GET that must succeed."""
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, f"GET {path} {query}: {answer.status_code} {answer.text[:500]}"
        return answer

    def pages(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """All items of a list that comes in pages."""
        items: list[dict[str, Any]] = []
        after = None
        while True:
            page = self.get(path, **query, **({"after": after} if after is not None else {}))
            items += page["items"]
            after = page["next"]
            if after is None:
                return items

    def csv(self, path: str, **query: Any) -> list[dict[str, str]]:
        """The rows of a CSV answer."""
        text = self.ask(path, **query).content.decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def laurel(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `laurel` command on this platform."""
        return run([str(Path(sys.executable).with_name("laurel")), *arguments], self.environment)


def run(
    command: list[str], environment: dict[str, str], seconds: int = COMMAND_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run a command in the project folder; its output is in the result, also where it fails."""
    return subprocess.run(
        command, cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, timeout=seconds,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """`./start.sh demo`, ended by `./start.sh down`, which must leave no process."""
    folder = Path(tempfile.mkdtemp(prefix="laurel-e2e-"))
    folder.chmod(0o711)  # the database's account must pass when the tests run as root
    environment = _environment(folder)
    try:
        demo = run(["./start.sh", "demo", "--no-sources"], environment, DEMO_SECONDS)
        assert demo.returncode == 0, _explain(demo, folder)
        with httpx.Client(**_client_arguments(environment), timeout=60) as client:
            yield Platform(folder / "home", environment, demo.stdout, client)
    finally:
        down = run(["./start.sh", "down"], environment)
        left = _processes_of(folder / "home")
        for process in left:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    assert down.returncode == 0, down.stdout + down.stderr
    assert left == [], "`./start.sh down` left processes behind"


def _environment(folder: Path) -> dict[str, str]:
    """An own home, own logs, free ports; nothing of the caller's own platform."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAUREL_", "AIRFLOW"))}
    return kept | {
        "LAUREL_VENV": sys.prefix,
        "LAUREL_HOME": str(folder / "home"),
        "LAUREL_LOG_DIR": str(folder / "logs"),
        "LAUREL_PORT": str(find_free_port()),
        "LAUREL_AIRFLOW_PORT": str(find_free_port()),
        "LAUREL_SPLIT_BYTES": str(SPLIT_BYTES),
    }


def _client_arguments(environment: dict[str, str]) -> dict[str, Any]:
    laurel = str(Path(sys.executable).with_name("laurel"))
    made = run([laurel, "keys", "create", "--role", "admin", "--name", "e2e", "--json"], environment)
    assert made.returncode == 0, made.stderr
    return {
        "base_url": f"http://127.0.0.1:{environment['LAUREL_PORT']}/api/v1",
        "headers": {"Authorization": f"Bearer {json.loads(made.stdout)['key']}"},
    }


def _processes_of(home: Path) -> list[psutil.Process]:
    """Processes that carry this platform's mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(PLATFORM_MARK) == str(home):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _explain(demo: subprocess.CompletedProcess[str], folder: Path) -> str:
    """What the demo and the services said last."""
    logs = [
        f"--- {path.name}\n{path.read_text(errors='replace')[-2_000:]}"
        for path in sorted((folder / "logs").glob("*.log"))
    ]
    return "\n".join(
        [f"./start.sh demo: exit {demo.returncode}", demo.stdout[-4_000:], demo.stderr[-4_000:], *logs]
    )


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is; tests that need one are skipped where there is none. `.ci/run` installs it."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here; install one or name it in $CHROMIUM")
    return CHROMIUM


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A running browser."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """What the browser complains of, and what it fetches from elsewhere; at the end there must be nothing."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture(scope="session")
def _demo_school(
    make_template: MakeTemplate, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, AnswerKey]:
    """A database with the demo school in its marts, its home, and its answer key."""
    home = tmp_path_factory.mktemp("demo_school")
    keys = []
    name = make_template("demo_school", home, lambda url, home: keys.append(fill(url, home)))
    return name, home, keys[0]


@pytest.fixture(scope="module")
def school(
    chromium: str,
    postgres_server: PostgresServer,
    _demo_school: tuple[str, Path, AnswerKey],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[School]:
    """The demo school behind an API, as a copy of the module's own."""
    template, filled, key = _demo_school
    home = tmp_path_factory.mktemp("pages")
    shutil.copytree(filled, home, dirs_exist_ok=True)
    with serve(postgres_server, template, home) as server:
        yield School(server, key)


@pytest.fixture
def sign_in(browser: Browser, school: School, faults: list[str]) -> Iterator[SignIn]:
    """Opens the start page as somebody of a role, in their own browser."""
    with signing_in(browser, school, faults) as enter:
        yield enter
