"""The audit trail over the API and on the command line: what is written, who reads it, what verify says."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient

from backend.denials import LINES_PER_CALLER
from cli.main import cli
from elt.audit.anchors import read_anchors, write_anchor
from elt.audit.trail import person_subject, record, verify
from elt.people.principals import SYSTEM
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.lifecycle import approve_upload, withdraw_upload
from elt.uploads.replay import replay
from elt.warehouse import Connection
from tests.conftest import Sender

BASE = "/api/v1"
FILE = b"Student ID,Grade Level,Subject,Term,Total Score\nSTU1,JSS1,Mathematics,First Term,60\n"


def lines(connection: Connection, action: str | None = None) -> list[dict[str, Any]]:
    return connection.execute(
        "select * from ops.audit where %(action)s::text is null or action = %(action)s order by audit_id",
        {"action": action},
    ).fetchall()


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call `laurel` on the test's platform."""
    monkeypatch.setenv("LAUREL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("LAUREL_SECRET_KEY", settings.secret_key.get_secret_value())
    monkeypatch.setenv("LAUREL_PSEUDONYM_KEY", settings.pseudonym_key.get_secret_value())
    monkeypatch.setenv("LAUREL_STORE_URL", settings.store_url)
    return lambda *arguments: CliRunner().invoke(cli, arguments)


def test_the_life_of_an_upload_is_told(researcher: FlaskClient, admin: FlaskClient, api: Flask) -> None:
    address = f"{BASE}/uploads?dataset=academic_history&filename=a.csv"
    made = researcher.post(address, data=FILE, content_type="text/csv").json["id"]
    researcher.post(address, data=FILE, content_type="text/csv")  # the same again is no act
    one = f"{BASE}/uploads/{made}"
    researcher.put(f"{one}?filename=b.csv", data=FILE.replace(b"60", b"61"), content_type="text/csv")
    researcher.patch(one, json={"title": "A file of Ngozi"})
    researcher.get(f"{one}/content")
    researcher.delete(one)
    told = admin.get(f"{BASE}/audit?subject=upload:{made}").json["items"]
    assert [line["action"] for line in told] == [
        "uploads:withdraw", "uploads:content", "uploads:amend", "uploads:replace", "uploads:create",
    ]  # fmt: skip
    assert {line["actor_name"] for line in told} == {"researcher of a test"}
    assert told[-1]["detail"]["dataset"] == "academic_history"
    assert len(told[-1]["detail"]["sha256"]) == 64
    assert "Ngozi" not in json.dumps(told)


def test_approvals_and_retries_are_told(sender: Sender, connection: Connection, store: Store) -> None:
    held = sender.send(FILE).upload_id
    connection.execute("update ops.upload_versions set status = 'held' where upload_id = %s", (held,))
    approve_upload(connection, store, held, sender.admin)
    [line] = lines(connection, "uploads:approve")
    assert (line["actor"], line["subject"]) == (sender.admin.id, f"upload:{held}")


def test_a_replay_tells_nothing_twice(
    sender: Sender, settings: Settings, connection: Connection, store: Store
) -> None:
    kept, gone = sender.hand_in(FILE), sender.send(FILE.replace(b"60", b"70")).upload_id
    withdraw_upload(connection, store, gone, SYSTEM)
    before = [(line["action"], line["subject"]) for line in lines(connection)]
    assert ("uploads:create", f"upload:{kept}") in before
    replay(settings, store, wipe=True)
    assert [(line["action"], line["subject"]) for line in lines(connection)] == before
    assert verify(connection).is_sound


def test_an_act_that_is_refused_leaves_no_line(sender: Sender, connection: Connection, store: Store) -> None:
    upload_id = sender.send(FILE).upload_id
    withdraw_upload(connection, store, upload_id, sender.admin)
    before = len(lines(connection))
    with pytest.raises(Exception, match="withdrawn"):
        withdraw_upload(connection, store, upload_id, sender.admin)
    assert len(lines(connection)) == before


def test_keys_are_told_and_never_shown(admin: FlaskClient, connection: Connection) -> None:
    made = admin.post(f"{BASE}/keys", json={"name": "study", "role": "researcher"}).json
    admin.delete(f"{BASE}/keys/{made['id']}")
    told = [(line["action"], line["detail"].get("role")) for line in lines(connection)
            if line["subject"] == f"key:{made['id']}"]  # fmt: skip
    assert told == [("keys:create", "researcher"), ("keys:revoke", None)]
    assert made["key"] not in str(lines(connection))


@pytest.mark.usefixtures("small_school")
def test_reads_say_which_mart_and_which_columns_but_not_which_values(
    admin: FlaskClient, connection: Connection, settings: Settings
) -> None:
    admin.get(f"{BASE}/marts/mart_students?student_id=STU001&school_id=main&format=csv&columns=full_name")
    admin.get(f"{BASE}/marts/mart_students?last_name=Okafor", headers={"X-Purpose": "letters"})
    admin.get(f"{BASE}/marts/mart_nothing")
    key = "school_id=main,student_id=STU002"
    admin.get(f"{BASE}/provenance?mart=mart_student_overview&column=average_score&key={key}")
    admin.get(f"{BASE}/risk?grade_level=JSS1")
    one, named = lines(connection, "marts:read")
    assert one["subject"] == person_subject(settings, "student", "main", "STU001")
    assert one["detail"] | {"request": ""} == {
        "request": "", "mart": "mart_students", "format": "csv", "columns": "full_name",
        "where": ["school_id", "student_id"],
    }  # fmt: skip
    assert (named["subject"], named["detail"]["where"], named["detail"]["reason"]) == (
        "", ["last_name"], "letters",
    )  # fmt: skip
    [traced] = lines(connection, "provenance:read")
    assert traced["subject"] == person_subject(settings, "student", "main", "STU002")
    assert lines(connection, "risk:read")[0]["detail"]["grade_level"] == "JSS1"
    assert "Okafor" not in str(lines(connection))


@pytest.mark.usefixtures("small_school")
def test_typed_sql_is_kept_without_its_values_also_if_it_fails(
    admin: FlaskClient, connection: Connection
) -> None:
    good = "select count(*) from served.mart_students where last_name = 'Okafor'"
    assert admin.post(f"{BASE}/query", json={"sql": good}).status_code == 200
    assert admin.post(f"{BASE}/query", json={"sql": good.replace("count", "coun")}).status_code == 422
    kept = [line["detail"]["sql"] for line in lines(connection, "query:run")]
    assert [text.partition(" where ")[0] for text in kept] == [
        "select count(*) from served.mart_students", "select coun(*) from served.mart_students",
    ]  # fmt: skip
    assert "Okafor" not in str(kept)


@pytest.mark.usefixtures("small_school")
def test_no_students_number_is_kept_however_it_was_typed(
    client_of: Callable[..., FlaskClient], admin: FlaskClient, connection: Connection, settings: Settings
) -> None:
    """Lines stay for good, so a number in one would keep its student from ever being erased everywhere."""
    researcher, analyst = client_of("researcher"), client_of("analyst")
    assert researcher.get(f"{BASE}/students/STU001?school=main").status_code == 404
    assert researcher.get(f"{BASE}/marts/mart_students?student_id=STU001&school_id=main").json == []
    for value in ("STU001", '"STU001"', '"stu001 of JSS1"'):
        sql = f"select count(*) as n from mart_class_summary where grade_level = {value}"
        assert analyst.post(f"{BASE}/query", json={"sql": sql}).status_code == 422
    admin.get(f"{BASE}/students/STU001?school=main&reason=mother of Stu001 (and stu003's) on 12 May 2026")
    admin.get(f"{BASE}/students/STU00077?reason=who is STU00077?")
    admin.get(f"{BASE}/risk", headers={"X-Purpose": "list for STU002, ROOM24 of 2026"})
    told = str(lines(connection)).lower()
    assert [number for number in ("stu001", "stu002", "stu003", "stu00077") if number in told] == []
    looked, unknown = (line for line in lines(connection, "students:read") if "reason" in line["detail"])
    assert looked["detail"]["reason"] == "mother of [number] (and [number]'s) on 12 May 2026"
    assert unknown["detail"]["reason"] == "who is [number]?"
    [worklist] = lines(connection, "risk:read")
    assert worklist["detail"]["reason"] == "list for [number], ROOM24 of 2026"  # nobody has that number
    sought = [*lines(connection, "students:read")[:1], *lines(connection, "marts:read")]
    assert {line["subject"] for line in sought} == {person_subject(settings, "student", "main", "STU001")}


@pytest.mark.usefixtures("small_school")
def test_a_mart_that_is_asked_for_one_student_names_whom(
    admin: FlaskClient, connection: Connection, settings: Settings
) -> None:
    admin.get(f"{BASE}/marts/mart_students?student_id__eq=STU001&school_id__eq=north")
    [line] = lines(connection, "marts:read")
    assert line["subject"] == person_subject(settings, "student", "north", "STU001")


@pytest.mark.usefixtures("small_school")
def test_a_figure_names_its_student_however_the_row_was_asked_for(
    admin: FlaskClient, connection: Connection, settings: Settings
) -> None:
    (known,) = connection.execute(
        "select full_name from marts.mart_students where school_id = 'north' order by student_id limit 1"
    ).fetchall()
    (student,) = connection.execute(
        "select student_id from marts.mart_students where school_id = 'north' and full_name = %s",
        (known["full_name"],),
    ).fetchall()
    key = json.dumps({"full_name": known["full_name"], "school_id": "north"})
    asked = {"mart": "mart_students", "key": key, "column": "gender"}
    assert admin.get(f"{BASE}/provenance", query_string=asked).status_code == 200
    assert admin.get("/provenance", query_string=asked).status_code == 200
    told = [*lines(connection, "provenance:read"), *lines(connection, "disputes:read")]
    subject = person_subject(settings, "student", "north", student["student_id"])
    assert [line["subject"] for line in told] == [subject] * 3


def test_denials_are_told_but_not_without_end(
    researcher: FlaskClient, api: Flask, connection: Connection
) -> None:
    stranger = api.test_client()
    for _ in range(LINES_PER_CALLER + 20):
        assert stranger.get(f"{BASE}/uploads").status_code == 401
    assert researcher.get(f"{BASE}/audit").status_code == 403
    told = [line for line in lines(connection) if "denied" in line["detail"]]
    assert len(told) == LINES_PER_CALLER + 1
    assert [told[0]["actor"], told[0]["action"], told[0]["detail"]["denied"]] == [
        "anonymous", "uploads:read", 401,
    ]  # fmt: skip
    last = told[-1]
    assert (last["action"], last["detail"]["denied"], last["detail"]["others_left_out"]) == (
        "audit:read", 403, 20,
    )  # fmt: skip
    assert last["actor"].startswith("key:")


def test_no_data_leaves_that_cannot_be_written_down(
    admin: FlaskClient, connection: Connection, sender: Sender
) -> None:
    address = f"{BASE}/uploads/{sender.send(FILE).upload_id}/content"
    assert admin.get(address).data == FILE
    connection.execute(
        """
        create function ops.refuse() returns trigger language plpgsql as $$
            begin raise exception 'disk full' using errcode = 'disk_full'; end $$;
        create trigger refuse before insert on ops.audit for each statement execute function ops.refuse();
        """
    )
    answer = admin.get(address)
    assert answer.status_code == 503
    assert FILE not in answer.data
    assert answer.headers["Retry-After"]


def test_the_trail_is_read_in_pages_newest_first(admin: FlaskClient, connection: Connection) -> None:
    for number in range(5):
        record(connection, f"user:{number % 2}", "students:read", f"student:{number}")
    first = admin.get(f"{BASE}/audit?action=students:read&limit=3").json
    rest = admin.get(f"{BASE}/audit?action=students:read&limit=3&after={first['next']}").json
    subjects = [line["subject"] for page in (first, rest) for line in page["items"]]
    assert subjects == [f"student:{number}" for number in (4, 3, 2, 1, 0)]
    assert rest["next"] is None
    of_one = admin.get(f"{BASE}/audit?actor=user:1").json["items"]
    assert [line["subject"] for line in of_one] == ["student:3", "student:1"]
    moment = of_one[0]["occurred_at"].replace("+", "%2B")
    assert admin.get(f"{BASE}/audit?actor=user:1&since={moment}").json["items"] == of_one[:1]
    assert admin.get(f"{BASE}/audit?actor=user:1&until={moment}").json["items"] == of_one[1:]
    assert admin.get(f"{BASE}/audit?since=yesterday").status_code == 422


def test_reading_the_trail_is_told_too(admin: FlaskClient, connection: Connection) -> None:
    admin.get(f"{BASE}/audit?action=keys:create")
    assert lines(connection, "audit:read")[0]["detail"]["filters"] == ["action"]


def test_the_trail_as_csv_holds_no_formula(admin: FlaskClient, connection: Connection) -> None:
    record(connection, "=cmd|' /C calc'!A0", "students:read", "", {"reason": '=1+1, "x"'})
    answer = admin.get(f"{BASE}/audit?format=csv&action=students:read")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert row["actor"] == "'=cmd|' /C calc'!A0"
    assert json.loads(row["detail"]) == {"reason": '=1+1, "x"'}
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())


def test_an_admin_of_one_school_sees_what_its_people_did(
    client_of: Callable[..., FlaskClient], admin: FlaskClient
) -> None:
    north = client_of("admin", "north")
    north.get(f"{BASE}/audit")
    admin.get(f"{BASE}/audit")
    actors = {line["actor"] for line in north.get(f"{BASE}/audit").json["items"]}
    [own] = actors
    everybody = {line["actor"] for line in admin.get(f"{BASE}/audit").json["items"]}
    assert actors < everybody
    assert own.startswith("key:")


def tamper(connection: Connection, statement: str) -> None:
    with connection.transaction():
        connection.execute("alter table ops.audit disable trigger append_only")
        connection.execute(statement)
        connection.execute("alter table ops.audit enable trigger append_only")


def test_verify_says_whole_and_anchors_what_it_saw(
    run: Callable[..., Result], connection: Connection, store: Store
) -> None:
    for _ in range(3):
        record(connection, "user:1", "students:read")
    result = run("audit", "verify")
    assert (result.exit_code, result.output) == (0, "Whole: 3 lines, compared with 0 anchors in the store.\n")
    assert [anchor.audit_id for anchor in read_anchors(store)] == [3]


def test_verify_names_the_line_that_was_changed(run: Callable[..., Result], connection: Connection) -> None:
    for _ in range(3):
        record(connection, "user:1", "students:read")
    tamper(connection, "update ops.audit set actor = 'user:2' where audit_id = 2")
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert "Line 2 does not match its own hash" in result.stderr
    as_json = json.loads(run("audit", "verify", "--json").stdout)
    assert (as_json["sound"], [fault["line"] for fault in as_json["faults"]]) == (False, [2])


def test_verify_finds_a_cut_tail_by_the_store(
    run: Callable[..., Result], connection: Connection, store: Store
) -> None:
    for _ in range(3):
        record(connection, "user:1", "students:read")
    write_anchor(connection, store)
    tamper(connection, "delete from ops.audit where audit_id = 3")
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert "Line 3 is gone" in result.stderr


def test_the_command_line_lists_by_student_day_and_form(
    run: Callable[..., Result], connection: Connection, settings: Settings
) -> None:
    record(connection, "user:1", "students:read", person_subject(settings, "student", "main", "STU1"))
    record(connection, "user:1", "students:read", person_subject(settings, "student", "main", "STU2"))
    found = json.loads(run("audit", "list", "--student", "main", "STU2", "--json").stdout)
    assert [line["audit_id"] for line in found] == [2]
    assert json.loads(run("audit", "list", "--until", "2020-01-01", "--json").stdout) == []
    rows = list(csv.DictReader(io.StringIO(run("audit", "list", "--csv").stdout)))
    assert [row["action"] for row in rows] == ["audit:read"] * 3 + ["students:read"] * 2
    assert "students:read" in run("audit", "list").output


def test_the_command_line_leaves_lines_of_its_own(run: Callable[..., Result], connection: Connection) -> None:
    made = json.loads(run("keys", "create", "--role", "teacher", "--json").stdout)
    run("keys", "revoke", made["key_id"])
    told = [(line["action"], line["actor"].partition(":")[0]) for line in lines(connection)]
    assert told == [("keys:create", "cli"), ("keys:revoke", "cli")]
    assert UUID(made["key_id"])


@pytest.mark.usefixtures("small_school")
def test_exports_on_the_command_line_leave_a_line(run: Callable[..., Result], connection: Connection) -> None:
    exported = run("export", "mart_students", "--where", "last_name=Okafor", "--columns", "first_name")
    assert exported.stdout == "first_name\nNgozi\n"
    [line] = lines(connection, "marts:read")
    assert line["actor"].startswith("cli:")
    assert line["detail"] == {
        "mart": "mart_students", "format": "csv", "columns": "first_name", "where": ["last_name"],
    }  # fmt: skip
