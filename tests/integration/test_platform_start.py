"""What a person reads when something is in the way: one clear line, exit status 1, nothing left running."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values

from elt.settings import PROJECT_DIR

START = PROJECT_DIR / "start.sh"
LAUREL = [sys.executable, "-m", "cli.main"]


def _environment(home: Path, **values: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LAUREL_")}
    return {**ours, "LAUREL_HOME": str(home), "LAUREL_LOG_DIR": str(home / "logs"), **values}


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


def _runs_nothing(home: Path) -> bool:
    return not (home / "run" / "supervisord.pid").exists()


@pytest.mark.parametrize("variable", ["LAUREL_PORT", "LAUREL_AIRFLOW_PORT"])
def test_a_busy_port_is_named_with_who_has_it_and_the_way_out(variable: str, tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        found = _run([*LAUREL, "up", "-d"], _environment(tmp_path, **{variable: str(port)}))

    assert found.returncode == 1
    lines = found.stderr.splitlines()
    assert len(lines) == 1
    assert f"Port {port}" in lines[0]
    assert f"process {os.getpid()}" in lines[0]
    assert f"{variable}={port + 1}" in lines[0]
    assert _runs_nothing(tmp_path)


def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    code = (
        "import shutil, local.preparation as p; usage = shutil.disk_usage('/');"
        "p.shutil.disk_usage = lambda _: usage._replace(free=7 * 1024**2);"
        "import cli.main; cli.main.main()"
    )
    found = _run([sys.executable, "-c", code, "up", "-d"], _environment(tmp_path))

    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 1
    assert "Only 7 MB are free" in found.stderr
    assert _runs_nothing(tmp_path)


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = _run(
        [*LAUREL, "up", "-d"], _environment(tmp_path / "file" / "home", LAUREL_LOG_DIR=str(tmp_path))
    )

    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 1
    assert str(tmp_path / "file") in found.stderr


def test_status_of_a_platform_that_never_ran_is_not_healthy(tmp_path: Path) -> None:
    found = _run([*LAUREL, "services"], _environment(tmp_path))

    assert found.returncode == 1
    assert found.stdout.count("not running") == 6
    assert not (tmp_path / "laurel.env").exists()


def test_down_where_nothing_runs_is_no_error(tmp_path: Path) -> None:
    found = _run([*LAUREL, "down"], _environment(tmp_path))

    assert (found.returncode, found.stdout) == (0, "Nothing was running.\n")


def test_a_python_too_old_is_named(tmp_path: Path) -> None:
    for name in ("python3", "python3.13", "python3.12", "python3.11", "python"):
        fake = tmp_path / name
        fake.write_text("#!/bin/sh\nexit 1\n")
        fake.chmod(0o755)
    environment = _environment(
        tmp_path, PATH=f"{tmp_path}:/usr/bin:/bin", LAUREL_VENV=str(tmp_path / "none"), HOME=str(tmp_path)
    )
    found = _run([str(START), "setup"], environment)

    assert found.returncode == 1
    assert found.stderr.splitlines() == [
        "start.sh: Python 3.11, 3.12 or 3.13 is needed and was not found. Install one, or name it: "
        "LAUREL_PYTHON=/path/to/python3.12"
    ]


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        ("Error: ensurepip is not available", "apt install python3-venv"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: No matching distribution found for uv", "Check the network"),
    ],
)
def test_a_failed_setup_says_what_to_do(failure: str, advice: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in ("start.sh", "requirements.lock", "pyproject.toml"):
        shutil.copy(PROJECT_DIR / name, project)
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "{failure}"\nexit 1\n')
    fake.chmod(0o755)
    environment = _environment(tmp_path, LAUREL_PYTHON=str(fake), HOME=str(tmp_path))
    found = _run([str(project / "start.sh"), "up"], environment)

    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 1
    assert advice in found.stderr


def test_an_unknown_command_shows_the_known_ones(tmp_path: Path) -> None:
    found = _run([str(START), "strat"], _environment(tmp_path))

    assert found.returncode == 1
    assert "up -d" in found.stderr
    assert "there is no command 'strat'" in found.stderr


@pytest.fixture
def new_clone(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A folder with nothing but what `./start.sh env` needs; called, it calls that there."""
    (tmp_path / "local").mkdir()
    shutil.copy(START, tmp_path)
    shutil.copy(PROJECT_DIR / "local" / "new_env.py", tmp_path / "local")
    shutil.copy(PROJECT_DIR / ".env.example", tmp_path)
    return lambda *arguments: _run([str(tmp_path / "start.sh"), "env", *arguments], _environment(tmp_path))


def test_env_writes_fresh_secrets_and_never_overwrites(
    tmp_path: Path, new_clone: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    first = new_clone()
    written = (tmp_path / ".env").read_text()
    second = new_clone()

    assert (first.returncode, second.returncode) == (0, 0)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert "=<secret>" not in written
    assert (tmp_path / ".env").read_text() == written


def test_env_writes_what_containers_read_in_a_closed_folder(
    tmp_path: Path, new_clone: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    new_clone("--domain", "laurel.example.org")
    with (tmp_path / ".env").open("a") as output:
        output.write("LAUREL_TIME_ZONE=Africa/Lagos\nROSARIOSIS_URL='mysql://reader:pw@10.0.0.7/r'\n")
    printed = new_clone()

    folder = tmp_path / "secrets"
    ours = dotenv_values(folder / "laurel.env")
    known = dotenv_values(tmp_path / ".env")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {"laurel.env", "laurel", "airflow", "postgres", "redis"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "laurel").read_text() == known["LAUREL_ELT_PASSWORD"]
    assert ours["LAUREL_DATABASE_URL"] == (
        f"postgresql://laurel:{known['LAUREL_ELT_PASSWORD']}@postgres-elt:5432/elt"
    )
    assert ours["LAUREL_PUBLIC_URL"] == "https://laurel.example.org"
    assert ours["LAUREL_TRUSTED_PROXIES"] == "1"
    assert ours["LAUREL_TIME_ZONE"] == "Africa/Lagos"
    assert ours["ROSARIOSIS_URL"] == "mysql://reader:pw@10.0.0.7/r"
    assert "LAUREL_POSTGRES_PASSWORD" not in ours
    assert known["LAUREL_POSTGRES_PASSWORD"] not in printed.stdout + printed.stderr


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("St. Mary's account", "St. Mary's account"),
        ('"St. Mary\'s account"', "St. Mary's account"),
        ("Africa/Lagos # our school", "Africa/Lagos"),
        ("'with # inside'", "with # inside"),
        ("C:\\\\share", "C:\\\\share"),
        ("new,old   # rotated", "new,old"),
    ],
)
def test_containers_read_what_a_person_has_written(
    tmp_path: Path, new_clone: Callable[..., subprocess.CompletedProcess[str]], written: str, read: str
) -> None:
    new_clone()
    with (tmp_path / ".env").open("a") as output:
        output.write(f"LAUREL_OIDC_NAME={written}\n")
    new_clone()

    assert dotenv_values(tmp_path / "secrets" / "laurel.env")["LAUREL_OIDC_NAME"] == read


@pytest.mark.parametrize(
    ("before", "profiles"), [("observability", "tls,observability"), ("scale", "scale"), ("", "tls")]
)
def test_a_domain_brings_its_proxy_beside_what_is_there(
    tmp_path: Path, new_clone: Callable[..., subprocess.CompletedProcess[str]], before: str, profiles: str
) -> None:
    new_clone()
    with (tmp_path / ".env").open("a") as output:
        output.write(f"COMPOSE_PROFILES={before}\n")
    new_clone("--domain", "laurel.example.org")

    assert dotenv_values(tmp_path / ".env")["COMPOSE_PROFILES"] == profiles


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("LAUREL_PUBLIC_URL=https://other.example.org", "Change that line"),
        ("LAUREL_HOST=0.0.0.0", "the proxy is the way in"),
    ],
)
def test_a_domain_that_contradicts_the_file_is_refused(
    tmp_path: Path, new_clone: Callable[..., subprocess.CompletedProcess[str]], line: str, said: str
) -> None:
    new_clone()
    with (tmp_path / ".env").open("a") as output:
        output.write(f"{line}\n")
    done = new_clone("--domain", "laurel.example.org")

    assert done.returncode == 1
    assert said in done.stderr


def test_an_empty_password_is_refused(
    tmp_path: Path, new_clone: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    new_clone()
    with (tmp_path / ".env").open("a") as output:
        output.write("LAUREL_REDIS_PASSWORD=\n")
    done = new_clone()

    assert done.returncode == 1
    assert "LAUREL_REDIS_PASSWORD" in done.stderr


def test_env_adds_the_secrets_that_an_older_file_lacks(
    tmp_path: Path, new_clone: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / ".env").write_text("LAUREL_SECRET_KEY=kept-as-it-is\n")
    done = new_clone()

    known = dotenv_values(tmp_path / ".env")
    assert done.returncode == 0
    assert known["LAUREL_SECRET_KEY"] == "kept-as-it-is"
    assert len(known["LAUREL_REDIS_PASSWORD"] or "") > 40


def test_env_example_names_every_setting() -> None:
    from elt.settings import Settings

    text = (PROJECT_DIR / ".env.example").read_text()
    missing = [name for name in Settings.model_fields if f"LAUREL_{name.upper()}=" not in text]
    assert missing == []
