"""The demo's own sources: a RosarioSIS on MariaDB, the exam boards' API, and twenty country databases.

They are services of the platform from the first demo on, until `$LAUREL_HOME/demo/sources.json` is removed.
What is in them is made by `cli.demo_sources`.
"""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from local import mariadb, ports
from local.environment import Paths, add_to_env_file, read_env_file

EXAM_BOARD = "demo-exam-board"
MYSQL = "demo-mysql"
SUBMISSIONS = "demo-pisa"

_SUBMISSIONS_A_SECOND = 1

_KEY_VARIABLE = "DEMO_EXAM_KEY"
_PASSWORD_VARIABLE = "DEMO_MYSQL_PASSWORD"  # noqa: S105 - a variable's name


@dataclass(frozen=True, slots=True)
class DemoSources:
    """Where the demo's servers listen. `mysql_port` None: MariaDB is not installed here."""

    exam_port: int
    mysql_port: int | None


def read(where: Paths) -> DemoSources | None:
    """What was set up; None before the first demo with sources."""
    try:
        return DemoSources(**json.loads(_file(where).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def set_up(where: Paths) -> DemoSources:
    """Choose ports and passwords, unless that was done before. MariaDB counts if it is installed by now."""
    known = read(where)
    has_mysql = mariadb.find_program() is not None
    if known and (known.mysql_port is not None) == has_mysql:
        return known
    found = DemoSources(
        exam_port=known.exam_port if known else ports.find_free_port(),
        mysql_port=ports.find_free_port() if has_mysql else None,
    )
    fresh = {_KEY_VARIABLE: secrets.token_urlsafe(24), _PASSWORD_VARIABLE: secrets.token_urlsafe(24)}
    add_to_env_file(where, {**fresh, **{n: v for n, v in read_env_file(where).items() if n in fresh}})
    records_folder(where).mkdir(parents=True, exist_ok=True)
    _key_file(where).touch(mode=0o600)
    _key_file(where).write_text(read_env_file(where)[_KEY_VARIABLE])
    _file(where).write_text(json.dumps(asdict(found)), "utf-8")
    return found


def records_folder(where: Paths) -> Path:
    """What the exam boards know."""
    return where.home / "demo" / "exam_board"


def exam_address(found: DemoSources) -> str:
    """The exam boards' API."""
    return f"http://127.0.0.1:{found.exam_port}"


def exam_command(where: Paths, found: DemoSources) -> list[str]:
    """The command line that serves the exam boards' records."""
    return [
        str(Path(sys.executable).with_name("laurel")), "exam-server", "--records", str(records_folder(where)),
        "--port", str(found.exam_port), "--api-key-file", str(_key_file(where)),
    ]  # fmt: skip


def submit_command() -> list[str]:
    """The command line that submits responses to the country databases, gently."""
    return [
        sys.executable, "-m", "cli.main", "demo-pisa", "--only-submit", "--rate", str(_SUBMISSIONS_A_SECOND)
    ]  # fmt: skip


def mysql_server(where: Paths, found: DemoSources) -> mariadb.Server:
    """The server of the demo's RosarioSIS; makes its folder.

    Raises:
        ConfigurationError: MariaDB is not installed any more.
    """
    return mariadb.prepare(where.home / "demo" / "mariadb", found.mysql_port or 0)


def mysql_password(where: Paths) -> str:
    """The password of its only user."""
    return read_env_file(where)[_PASSWORD_VARIABLE]


def _file(where: Paths) -> Path:
    return where.home / "demo" / "sources.json"


def _key_file(where: Paths) -> Path:
    return where.home / "demo" / "exam-key"
