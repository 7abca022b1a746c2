"""`laurel upload`, `status`, `retry` and `withdraw`, over HTTP and straight: the same words either way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elt.settings import PROJECT_DIR
from elt.warehouse import connect
from local.ports import find_free_port

CSV = "Student ID,First Name\nSTU001,Ada\n"
Laurel = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=["http", "direct"])
def laurel(request: pytest.FixtureRequest, api_server: Any, tmp_path: Path) -> Laurel:
    """The command, on the same platform either way."""
    if request.param == "http":
        key = api_server.make_key("researcher")
        return command(tmp_path, {"LAUREL_URL": api_server.url, "LAUREL_API_KEY": key})
    return command(tmp_path, of_this_machine(api_server))


def of_this_machine(api_server: Any, port: int | None = None) -> dict[str, str]:
    settings = api_server.settings
    return {
        "LAUREL_DATABASE_URL": settings.database_url.get_secret_value(),
        "LAUREL_SECRET_KEY": settings.secret_key.get_secret_value(),
        "LAUREL_PSEUDONYM_KEY": settings.pseudonym_key.get_secret_value(),
        "LAUREL_STORE_URL": settings.store_url,
        "LAUREL_PORT": str(port or settings.port),
    }


def command(home: Path, variables: dict[str, str]) -> Laurel:
    environment = {"PATH": "/usr/bin:/bin", "LAUREL_HOME": str(home), **variables}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [str(Path(sys.executable).with_name("laurel")), *arguments]
        return subprocess.run(
            line, env=environment, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=120
        )

    return run


def test_a_file_is_handed_in_followed_retried_and_withdrawn(
    laurel: Laurel, api_server: Any, tmp_path: Path
) -> None:
    file = tmp_path / "students.csv"
    file.write_text(CSV)
    handed_in = laurel("upload", str(file), "--dataset", "students", "--note", "first", "--json")
    assert handed_in.returncode == 0, handed_in.stderr
    made = json.loads(handed_in.stdout)
    assert (made["status"], made["filename"], made["note"]) == ("stored", "students.csv", "first")
    again = laurel("upload", str(file), "--dataset", "students", "--json")
    assert json.loads(again.stdout)["id"] == made["id"]
    listed = laurel("status", "--json")
    assert made["id"] in [item["id"] for item in json.loads(listed.stdout)]
    (line,) = [line for line in laurel("status").stdout.splitlines() if made["id"] in line]
    assert line.split()[1:4] == ["students", "students.csv", "stored"]  # whole, since a program gets it
    shown = laurel("status", made["id"])
    assert "stored" in shown.stdout
    refused = laurel("retry", made["id"])
    assert refused.returncode == 1
    assert "only one that failed can be retried" in refused.stderr
    with connect(api_server.settings.database_url.get_secret_value()) as connection:
        connection.execute(
            "update ops.upload_versions set status = 'failed' where upload_id = %s", (made["id"],)
        )
    assert "stored" in laurel("retry", made["id"]).stdout
    withdrawn = laurel("withdraw", made["id"])
    assert withdrawn.returncode == 0, withdrawn.stderr
    assert "withdrawn" in withdrawn.stdout


@pytest.mark.parametrize(
    ("content", "options", "word"),
    [
        ("%PDF-1.7\nand so on", ["--dataset", "students"], "PDF"),
        (CSV, ["--dataset", "pupils"], "academic_history"),
        (CSV, ["--dataset", "students", "--encoding", "klingon"], "encoding"),
    ],
)
def test_what_is_refused_is_said_in_words(
    laurel: Laurel, tmp_path: Path, content: str, options: list[str], word: str
) -> None:
    file = tmp_path / "file.csv"
    file.write_text(content)
    refused = laurel("upload", str(file), *options)
    assert refused.returncode == 1, refused.stderr
    assert word in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_missing_file_and_an_unknown_upload_are_told_apart(laurel: Laurel) -> None:
    assert laurel("upload", "nowhere.csv", "--dataset", "students").returncode == 2
    unknown = laurel("status", "00000000-0000-7000-8000-000000000000")
    assert unknown.returncode == 1
    assert "no upload" in unknown.stderr


def test_a_key_without_an_address_acts_as_its_owner(api_server: Any, tmp_path: Path) -> None:
    laurel = command(
        tmp_path, {**of_this_machine(api_server), "LAUREL_API_KEY": api_server.make_key("researcher")}
    )
    file = tmp_path / "students.csv"
    file.write_text("Student ID,First Name\nSTU777,Obi\n")
    handed_in = laurel("upload", str(file), "--dataset", "students", "--json")
    assert handed_in.returncode == 0, handed_in.stderr
    assert json.loads(handed_in.stdout)["uploader"].startswith("key:")


def test_a_key_that_nobody_can_check_is_never_passed_over(api_server: Any, tmp_path: Path) -> None:
    key = api_server.make_key("researcher")
    laurel = command(tmp_path, of_this_machine(api_server, port=find_free_port()))
    for given, word in ((key, "no Laurel answers"), (key[:-1], "no API key"), ("clé" * 18, "no API key")):
        refused = laurel("status", "--key", given)
        assert refused.returncode == 2, refused.stderr
        assert word in " ".join(refused.stderr.split())
        assert "Traceback" not in refused.stderr


def test_help_on_psql_is_ours(tmp_path: Path) -> None:
    shown = command(tmp_path, {})("psql", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Example: laurel psql -c" in shown.stdout


def test_a_written_school_is_told_as_json(tmp_path: Path) -> None:
    shown = command(tmp_path, {})("demo-school", str(tmp_path / "school"), "--students", "60", "--json")
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert Path(told["answer_key"]).is_file()
    assert all((tmp_path / "school" / name).is_file() for name in told["files"])
    assert told["files"]
