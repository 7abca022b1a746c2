"""Everything about a student in one zip: nothing left out, nothing of others, and a line that says so."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from cli.main import cli
from elt.audit.trail import person_subject, record
from elt.privacy.erase_rows import find_people
from elt.privacy.tombstones import Person, Tombstones, tombstones_of
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.lifecycle import withdraw_upload
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
    admin.post("/api/v1/students/STU001/notes?school=main", json={"note": "Sings in the choir"})
    wrong = {"mart": "mart_students", "column": "gender", "reason": "Says so"}
    assert admin.post("/api/v1/students/STU001/disputes?school=main", json=wrong).status_code == 201
    target = tmp_path / "out.zip"
    result = run("export-student", "main", "STU001", "--to", target, "--reason", "request 7")
    assert result.exit_code == 0, result.output
    exported, files = opened(target.read_bytes())
    tables = exported["tables"]
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
    assert [row["note"] for row in tables["notes"]] == ["Sings in the choir"]
    assert [row["reason"] for row in tables["disputes"]] == ["Says so"]
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
    withdraw_upload(sender.connection, sender.store, withdrawn, sender.admin)
    many = "".join(f"STU8{n:02},A,B,Male,2012-01-01,JSS1\n" for n in range(60))
    refused = sender.hand_in(head + many + mine.replace("Female", "Girl"), "students")
    sender.send("not a table at all \x00", "students", filename="mine.csv")
    sender.send("nor is this \x00", "students", filename="Ngozi of the north.csv", school_id="north")
    removed = sender.send("nor this \x00", "students", filename="removed.csv").upload_id
    sender.connection.execute(
        "update ops.upload_versions set bytes_removed_at = now() where upload_id = %s", (removed,)
    )
    target = tmp_path / "out.zip"
    result = run("export-student", "main", "STU777", "--to", target)
    assert result.exit_code == 0, result.output
    exported, files = opened(target.read_bytes())
    assert [
        (row["_upload_id"], row["_line"], row["_status"], row["gender"])
        for row in exported["tables"]["files.students"]
    ] == [(str(withdrawn), 2, "withdrawn", "Female"), (str(refused), 62, "not loaded", "Girl")]
    assert "raw.students" not in exported["tables"]
    assert "STU778" not in files["record.json"]
    assert [name.partition(" (upload")[0] for name in exported["unread"]] == [
        "mine.csv", "another school's file",
    ]  # fmt: skip
    assert "Could not be read" in files["README.txt"]


SPELLED_OTHERWISE = (
    "School ID,Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level\n"
    "main,stu 001,Ngozi,Okafor,Female,2012-03-04,JSS2\n"
    "main,STU0011,Not,Her,Female,2012-03-04,JSS2\n"
    "north,stu001,Not,Hers,Male,2012-03-04,JSS2\n"
)


def test_a_student_is_found_in_every_spelling_that_an_erasure_would_find(
    run: Callable[..., Result], sender: Sender, tmp_path: Path, settings: Settings
) -> None:
    loaded = sender.hand_in(SPELLED_OTHERWISE, "students")
    withdrawn = sender.hand_in(SPELLED_OTHERWISE.replace("stu 001", "\u3000Stu001\t"), "students")
    withdraw_upload(sender.connection, sender.store, withdrawn, sender.admin)
    sender.connection.execute(
        """
        insert into ml.predictions
            (target, method, school_id, student_id, as_of_date, score, is_at_risk, reasons, recommendations,
             data_version)
        values ('at_risk', 'rule', 'main', 'sTU001', '2026-01-01', 1, true, '[]', '[]', 'x')
        """
    )
    sender.connection.execute(
        "insert into ml.outcomes (target, school_id, student_id, as_of_date, came, known_at)"
        " values ('at_risk', 'main', 'sTU001', '2026-01-01', true, '2026-05-01'),"
        " ('at_risk', 'north', 'stu001', '2026-01-01', true, '2026-05-01')"
    )
    sender.connection.execute(
        "insert into ops.pseudonyms values ('student', 'main', 'stu 001', 'p-of-her', 1)"
    )
    record(sender.connection, "user:1", "students:read", "pseudonym:p-of-her")
    target = tmp_path / "out.zip"
    result = run("export-student", "main", "  stu001", "--to", target)
    assert result.exit_code == 0, result.output

    exported, files = opened(target.read_bytes())
    tables = exported["tables"]
    assert sorted(row["student_id"] for row in tables["raw.students"]) == ["STU001", "stu 001"]
    assert [(row["_upload_id"], row["_line"]) for row in tables["files.students"]] == [(str(withdrawn), 2)]
    assert {row["student_id"] for row in tables["predictions"]} == {"STU001", "sTU001"}
    assert [row["school_id"] for row in tables["outcomes"]] == ["main"]
    assert "pseudonym:p-of-her" in {line["subject"] for line in tables["audit"]}
    assert tables["marts.mart_students"][0]["student_id"] == "STU001"
    assert {row["_upload_id"] for row in tables["raw.students"]} >= {str(loaded)}
    assert exported["spellings"] == ["STU001", "sTU001", "stu 001", "\u3000Stu001\t"]
    for spelling in ('"STU001"', '"sTU001"', '"stu 001"', '"\u3000Stu001\\t"'):
        assert spelling in files["README.txt"]
    assert "Not" not in files["record.json"]

    _, erased = find_all_that_an_erasure_finds(sender)
    assert {who[2] for who in erased} | {"\u3000Stu001\t"} == set(exported["spellings"])


def find_all_that_an_erasure_finds(sender: Sender) -> tuple[UUID, set[Person]]:
    """The spellings that an erasure of STU001 would take out of the database."""
    erasure_id = UUID(int=1)
    [mark, *_] = tombstones_of(sender.settings, "student", "main", "STU001")
    line = {
        "tombstone": mark, "erasure_id": erasure_id, "kind": "student", "school_id": "main", "traces": [],
    }  # fmt: skip
    [found] = find_people(sender.connection, Tombstones(sender.settings, [line])).items()
    return found


def test_admins_get_it_over_http_in_any_spelling_but_of_no_other_school(
    admin: FlaskClient, client_of: Callable[..., FlaskClient], sender: Sender
) -> None:
    exported, _ = opened(admin.get("/api/v1/students/stu%20001/export").data)
    assert exported["spellings"] == ["STU001"]
    assert exported["tables"]["raw.students"][0]["first_name"] == "Ngozi"
    bound = client_of("admin", "north")
    exported, _ = opened(bound.get("/api/v1/students/stu001/export").data)
    assert exported["tables"]["raw.students"][0]["first_name"] == "Efe"
    for question in ("stu002/export", "stu001/export?school=main", "STU001/export?school=main"):
        assert bound.get(f"/api/v1/students/{question}").status_code == 404


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
    exported, _ = opened(answer.data)
    assert exported["tables"]["raw.students"][0]["first_name"] == "Efe"
    [line] = connection.execute("select * from ops.audit where action = 'students:export'").fetchall()
    assert line["detail"]["reason"] == "request 8"
    assert client_of("researcher").get("/api/v1/students/STU001/export?school=main").status_code == 403
    assert client_of("teacher").get("/api/v1/students/STU001/export?school=main").status_code == 403
    bound = client_of("admin", "north")
    assert bound.get("/api/v1/students/STU002/export").status_code == 404


def test_csv_is_safe_to_open_and_json_exact(admin: FlaskClient, store: Store) -> None:
    exported, files = opened(admin.get("/api/v1/students/STU003/export").data)
    assert exported["tables"]["raw.students"][0]["first_name"] == "=Chi"
    [row] = csv.DictReader(io.StringIO(files["csv/raw.students.csv"]))
    assert row["first_name"] == "'=Chi"
    assert list(store.list()) == []  # nothing of it is kept
