"""Everything about a student in one zip: nothing left out, nothing of others, and a line that says so."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from cli.main import cli
from elt.audit.trail import person_subject
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection
from tests.conftest import Sender

pytestmark = pytest.mark.usefixtures("small_school")
OF_OTHERS = ("Bola", "Dayo", "Efe", "Chi Eze", "Hill Road", "2, Palm", "+2348020000002", "+2348020000003")


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call `laurel` on the test's platform."""
    monkeypatch.setenv("LAUREL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("LAUREL_SECRET_KEY", settings.secret_key.get_secret_value())
    monkeypatch.setenv("LAUREL_PSEUDONYM_KEY", settings.pseudonym_key.get_secret_value())
    monkeypatch.setenv("LAUREL_STORE_URL", settings.store_url)
    return lambda *arguments: CliRunner().invoke(cli, [str(argument) for argument in arguments])


def opened(content: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """The record, and all files as text."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name).decode("utf-8-sig") for name in archive.namelist()}
    return json.loads(files["record.json"]), files


def test_the_command_line_writes_all_about_a_student(
    run: Callable[..., Result], tmp_path: Path, admin: FlaskClient, connection: Connection, settings: Settings
) -> None:
    admin.post(
        "/api/v1/students/STU001/interventions?school=main",
        json={"done_on": "2025-02-01", "action": "Talked to the parents"},
    )
    target = tmp_path / "out.zip"
    result = run("export-student", "main", "STU001", "--to", target, "--reason", "request 7")
    assert result.exit_code == 0, result.output
    record, files = opened(target.read_bytes())
    tables = record["tables"]
    assert {name: len(rows) for name, rows in tables.items() if name.startswith("raw.")} == {
        "raw.students": 1, "raw.guardians": 1, "raw.academic_history": 4,
    }  # fmt: skip
    [student] = tables["raw.students"]
    assert (student["first_name"], student["date_of_birth"]) == ("Ngozi", "2012-03-04")
    assert (student["_filename"], student["_line"], student["_uploader"]) == (
        "students.csv",
        2,
        "key:registrar",
    )
    assert {"marts.mart_students", "marts.mart_student_overview", "marts.mart_student_terms"} <= set(tables)
    assert [row["is_at_risk"] for row in tables["predictions"]] == [True, False]
    assert [row["action"] for row in tables["interventions"]] == ["Talked to the parents"]
    assert "interventions:write" in {line["action"] for line in tables["audit"]}
    assert {name.removeprefix("csv/").removesuffix(".csv") for name in files if "/" in name} == set(tables)
    assert "STU001 of the school main" in files["README.txt"]
    assert not [secret for secret in OF_OTHERS for text in files.values() if secret in text]
    [line] = connection.execute("select * from ops.audit where action = 'students:export'").fetchall()
    assert line["subject"] == person_subject(settings, "student", "main", "STU001")
    assert line["detail"] == {"reason": "request 7"}
    assert target.stat().st_mode & 0o077 == 0


def test_rows_of_files_that_are_not_in_use_are_there_too(
    run: Callable[..., Result], sender: Sender, tmp_path: Path
) -> None:
    head = "Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level\n"
    mine = "STU777,Ada,Obi,Female,2012-01-01,JSS1\n"
    other = "STU778,Obi,Ada,Male,2012-01-01,JSS1\n"
    withdrawn = sender.hand_in(head + mine + other, "students")
    from elt.uploads.lifecycle import withdraw_upload

    withdraw_upload(sender.connection, sender.store, withdrawn, sender.admin)
    many = "".join(f"STU8{n:02},A,B,Male,2012-01-01,JSS1\n" for n in range(60))
    refused = sender.hand_in(head + many + mine.replace("Female", "Girl"), "students")
    sender.send("not a table at all \x00", "students")
    target = tmp_path / "out.zip"
    result = run("export-student", "main", "STU777", "--to", target)
    assert result.exit_code == 0, result.output
    record, files = opened(target.read_bytes())
    assert [
        (row["_upload_id"], row["_line"], row["_status"], row["gender"])
        for row in record["tables"]["files.students"]
    ] == [(str(withdrawn), 2, "withdrawn", "Female"), (str(refused), 62, "not loaded", "Girl")]
    assert "raw.students" not in record["tables"]
    assert "STU778" not in files["record.json"]
    assert len(record["unread"]) >= 1
    assert "Could not be read" in files["README.txt"]


def test_nothing_is_written_over_and_nothing_is_made_for_nobody(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    target = tmp_path / "out.zip"
    assert "Nothing is held" in str(run("export-student", "main", "STU999", "--to", target).exception)
    assert not target.exists()
    target.write_bytes(b"precious")
    assert run("export-student", "main", "STU001", "--to", target).exit_code == 1
    assert target.read_bytes() == b"precious"


def test_admins_get_it_over_http(
    admin: FlaskClient, client_of: Callable[..., FlaskClient], connection: Connection
) -> None:
    answer = admin.get("/api/v1/students/STU001/export?school=north&reason=request+8")
    assert answer.content_type == "application/zip"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    record, _ = opened(answer.data)
    assert record["tables"]["raw.students"][0]["first_name"] == "Efe"
    [line] = connection.execute("select * from ops.audit where action = 'students:export'").fetchall()
    assert line["detail"]["reason"] == "request 8"
    assert client_of("researcher").get("/api/v1/students/STU001/export?school=main").status_code == 403
    assert client_of("teacher").get("/api/v1/students/STU001/export?school=main").status_code == 403
    bound = client_of("admin", "north")
    assert bound.get("/api/v1/students/STU002/export").status_code == 404


def test_csv_is_safe_to_open_and_json_exact(admin: FlaskClient, store: Store) -> None:
    record, files = opened(admin.get("/api/v1/students/STU003/export").data)
    assert record["tables"]["raw.students"][0]["first_name"] == "=Chi"
    [row] = csv.DictReader(io.StringIO(files["csv/raw.students.csv"]))
    assert row["first_name"] == "'=Chi"
    assert list(store.list()) == []  # nothing of it is kept
