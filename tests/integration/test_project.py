"""What every commit keeps: style, types, the direction of imports, generated files, no secret places."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["lint-imports"],
        ["mypy"],
    ],
    ids=" ".join,
)
def test_the_tool_has_nothing_to_say(command: list[str]) -> None:
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=PROJECT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.mark.parametrize("folder", ["airflow", "dbt"])
def test_no_package_of_ours_hides_the_installed_one(folder: str) -> None:
    assert not list((PROJECT / folder).rglob("__init__.py"))


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_pin_every_package_by_hash_and_name_no_host(lock: str) -> None:
    text = (PROJECT / lock).read_text(encoding="utf-8")
    requirements = re.split(r"\n(?=[a-z0-9])", "\n".join(x for x in text.splitlines() if x[:1] != "#"))
    assert len(requirements) > 100
    assert [
        item.splitlines()[0] for item in requirements if item.strip() and "--hash=sha256:" not in item
    ] == []
    assert "://" not in text


def test_the_readme_is_short_and_shows_the_two_commands() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) < 150
    assert "./start.sh demo" in readme
    assert "./start.sh test" in readme


def test_every_link_in_the_documents_leads_somewhere() -> None:
    broken = []
    for page in [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(PROJECT)}: {target}")
    assert broken == []
