"""The pages about security and privacy name only what exists, and the self-assessment leaves nothing out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from pydantic import SecretStr

from backend.app import create_app
from backend.permissions import PERMISSIONS
from cli.main import cli
from elt.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
ASSESSMENT = PROJECT / "docs/security.md"
PAGES = [
    PROJECT / "SECURITY.md",
    ASSESSMENT,
    *(
        PROJECT / "docs" / f"{name}.md"
        for name in ("threat-model", "data-protection", "audit", "administrator", "operations")
    ),
]

# How many requirements of level 1 and 2 each section of ASVS 5.0.0 has. Those of level 3 come last in it.
SECTIONS = {
    "1.1": 2, "1.2": 9, "1.3": 11, "1.4": 3, "1.5": 2,
    "2.1": 3, "2.2": 3, "2.3": 4, "2.4": 1,
    "3.2": 2, "3.3": 4, "3.4": 6, "3.5": 5, "3.7": 2,
    "4.1": 3, "4.2": 1, "4.3": 2, "4.4": 4,
    "5.1": 1, "5.2": 3, "5.3": 2, "5.4": 3,
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2,
    "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1,
    "9.1": 3, "9.2": 4,
    "10.1": 2, "10.2": 2, "10.3": 4, "10.4": 11, "10.5": 5, "10.6": 2, "10.7": 3,
    "11.1": 2, "11.2": 3, "11.3": 3, "11.4": 4, "11.5": 1, "11.6": 1,
    "12.1": 3, "12.2": 2, "12.3": 4,
    "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5,
    "14.1": 2, "14.2": 4, "14.3": 3,
    "15.1": 3, "15.2": 3, "15.3": 7,
    "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,
    "17.1": 1, "17.2": 4, "17.3": 2,
}  # fmt: skip
ANSWERS = ("yes", "no", "not relevant")


def requirements() -> list[str]:
    return [f"{section}.{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)]


def answers() -> list[tuple[str, str]]:
    """The numbers of a row and its last cell."""
    rows = re.findall(
        r"^\| ([\d.]+(?:–[\d.]+)?) \|.*?\| ([^|]+) \|$", ASSESSMENT.read_text("utf-8"), re.MULTILINE
    )
    return [(number, answer) for numbers, answer in rows for number in _each(numbers)]


def test_each_requirement_is_answered_once() -> None:
    assert len(requirements()) == 253
    assert [number for number, _ in answers()] == requirements()


def test_each_answer_is_yes_with_a_proof_or_says_why_not() -> None:
    wanting = []
    for number, answer in answers():
        word = next((word for word in ANSWERS if answer.startswith(f"{word}: ")), None)
        if word is None or (word == "yes" and "`" not in answer and "](" not in answer):
            wanting.append(f"{number}: {answer}")
    assert wanting == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Path) -> None:
    assert [name for name in _named(page) if not _exists(name)] == []


def test_a_name_that_does_not_exist_is_noticed() -> None:
    assert _exists("elt/people/keys.py")
    assert _exists("test_each_requirement_is_answered_once")
    assert _exists("laurel keys create --role admin")
    assert _exists("GET /api/v1/uploads/{id}")
    assert not _exists("elt/no_such_file.py")
    assert not _exists("test_" + "that_nobody_wrote")
    assert not _exists("laurel nothing")
    assert not _exists("GET /api/v1/nothing")
    assert not _exists("LAUREL_" + "NOTHING")


def _each(numbers: str) -> Iterator[str]:
    """`1.2.3` is itself; `1.2.3–1.2.5` are three."""
    first, _, last = numbers.partition("–")
    section, _, begin = first.rpartition(".")
    end = last.rpartition(".")[2] or begin
    yield from (f"{section}.{number}" for number in range(int(begin), int(end) + 1))


def _named(page: Path) -> list[str]:
    """Everything in backticks that looks like the name of something of ours."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [name for name in re.findall(r"`([^`\n]+)`", text) if _kind(name)]


_KINDS = {
    "test": r"test_\w+",
    "command": r"laurel [a-z].*",
    "route": r"(?:GET|POST|PUT|PATCH|DELETE) /\S*",
    "setting": r"LAUREL_[A-Z_]+",
    "action": r"[a-z_]+:[a-z_]+",
    "path": r"[\w.-]+(?:/[\w.-]+)+/?|[\w-]+\.(?:py|sh|md|lock|toml)",
}


def _kind(name: str) -> str | None:
    return next((kind for kind, form in _KINDS.items() if re.fullmatch(form, name)), None)


def _exists(name: str) -> bool:
    match _kind(name):
        case "test":
            return name in _tests()
        case "command":
            return _is_command(name.split()[1:])
        case "route":
            return _is_route(*name.split())
        case "setting":
            return re.search(rf"\b{name}\b", (PROJECT / ".env.example").read_text("utf-8")) is not None
        case "action":
            return name in PERMISSIONS
        case _:
            return (PROJECT / name).exists() or name.startswith(("var/", "logs/"))


@cache
def _tests() -> set[str]:
    files = [*(PROJECT / "tests").rglob("test_*.py")]
    return {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }


def _is_command(words: list[str]) -> bool:
    """Whether there is the command with its subcommand and options; other words stand for values."""
    command: click.Command = cli
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return False
            command = found
        elif word.startswith("--") and not any(word in parameter.opts for parameter in command.params):
            return False
    return True


def _is_route(method: str, path: str) -> bool:
    return (method, re.sub(r"<[^>]+>|\{[^}]+\}", "*", path)) in _routes()


@cache
def _routes() -> set[tuple[str, str]]:
    url = SecretStr("postgresql://nobody@127.0.0.1:1/none")  # only the list of routes is looked at
    secret = SecretStr("for-tests-only " * 4)
    app = create_app(Settings(database_url=url, secret_key=secret, pseudonym_key=secret))
    return {
        (method, re.sub(r"<[^>]+>", "*", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
