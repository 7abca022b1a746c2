"""What stands behind the pages for administrators: what waits, counts, people, and who sees what of them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from backend.app import create_app
from backend.pages import admin_quality
from elt.audit.trail import record
from elt.backup.manifest import BACKED_UP
from elt.people.sessions import count_sessions, start_session
from elt.people.users import create_user
from elt.privacy.erasure_requests import request_erasure
from elt.runs import finish_run, record_stage, start_run
from elt.serving.attention import list_attention
from elt.serving.quality import Counts, QualityFilter, monday_of, read_quality
from elt.settings import Settings
from elt.sources.listing import ListedSource
from elt.warehouse import Connection
from tests.conftest import Sender

OUTSIDE = {"REMOTE_ADDR": "203.0.113.9"}
HEADER = "Student ID,First Name,Last Name,Gender,Grade Level,Date of Birth\n"
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def students(number: int, wrong: int = 0) -> bytes:
    lines = [f"STU{n},Ada,Obi,Female,JSS1,{'never' if n < wrong else '2010-01-01'}" for n in range(number)]
    return "\n".join([HEADER.strip(), *lines, ""]).encode()


def kinds(connection: Connection, **more: Any) -> list[str]:
    return [each.kind for each in list_attention(connection, **more)]


def test_nothing_waits_where_nothing_is_wrong(connection: Connection, sender: Sender) -> None:
    sender.hand_in(students(3), "students")
    assert list_attention(connection) == []


def test_what_waits_is_counted_for_the_school_whose_it_is(
    connection: Connection, sender: Sender, settings: Settings
) -> None:
    held = sender.hand_in(students(3), "students", school_id="north")
    failed = sender.hand_in(students(4), "students", school_id="south")
    sender.send(students(5), "students", school_id="south")
    set_status = "update ops.upload_versions set status = %s where upload_id = %s"
    connection.execute(set_status, ("held", held))
    connection.execute(set_status, ("failed", failed))
    request_erasure(
        settings, connection, sender.store, kind="student", school_id="north", identifier="STU1",
        reason="asked for it", principal=sender.admin,
    )  # fmt: skip
    assert kinds(connection) == ["failed", "held"]
    later = datetime.now(UTC) + timedelta(days=3)
    assert kinds(connection, now=later) == ["failed", "held", "waiting", "erasures"]
    assert kinds(connection, now=later, school_id="north") == ["held", "erasures"]
    assert kinds(connection, now=later, school_id="south") == ["failed", "waiting"]


def test_failed_runs_wait_until_one_succeeds(connection: Connection) -> None:
    for status in ("succeeded", "failed", "failed"):
        finish_run(connection, start_run(connection, trigger="cli"), status=status)
    assert [(each.kind, each.number) for each in list_attention(connection)] == [("run", 2)]
    finish_run(connection, start_run(connection, trigger="cli"), status="succeeded")
    assert list_attention(connection) == []


def test_an_alert_that_nothing_else_shows_stands_for_two_days(connection: Connection) -> None:
    connection.execute("insert into ops.alerts (event, sent_at) values ('maintenance_failed', %s)", (NOW,))
    connection.execute("insert into ops.alerts (event, sent_at) values ('load_failed', %s)", (NOW,))
    assert kinds(connection, now=NOW + timedelta(hours=47)) == ["maintenance"]
    assert kinds(connection, now=NOW + timedelta(hours=49)) == []


def test_a_backup_that_is_older_than_two_days_is_told(connection: Connection) -> None:
    assert kinds(connection) == []  # a new platform has not come to its first one
    connection.execute("insert into ops.marks (name, reached) values (%s, %s)", (BACKED_UP, NOW))
    assert kinds(connection, now=NOW + timedelta(hours=47)) == []
    assert kinds(connection, now=NOW + timedelta(hours=49)) == ["backup"]


def test_a_platform_of_two_days_whose_backups_were_never_tried_is_told(connection: Connection) -> None:
    connection.execute(
        "insert into ops.runs (run_id, trigger, status, started_at, finished_at) "
        "values (gen_random_uuid(), 'cli', 'succeeded', %s, %s)",
        (NOW, NOW),
    )
    assert kinds(connection, now=NOW + timedelta(hours=47)) == []
    assert kinds(connection, now=NOW + timedelta(hours=49)) == ["unverified"]
    connection.execute("insert into ops.marks (name, reached) values (%s, %s)", (BACKED_UP, NOW))
    assert kinds(connection, now=NOW + timedelta(hours=49)) == ["backup"]


def test_a_source_that_is_not_read_for_an_hour_is_silent(connection: Connection) -> None:
    def source(name: str, status: Any, succeeded_at: datetime | None) -> ListedSource:
        return ListedSource(name, "mysql", "main", status, None, succeeded_at, None, 0, [])

    sources = [
        source("fresh", "succeeded", NOW - timedelta(minutes=5)),
        source("silent", "succeeded", NOW - timedelta(minutes=61)),
        source("failing", "failed", NOW - timedelta(minutes=5)),
        source("new", "never", None),
    ]
    found = list_attention(connection, sources, now=NOW)
    assert [(each.kind, each.name) for each in found] == [("source", "silent"), ("source", "failing")]


def test_a_file_belongs_to_the_week_that_the_schools_clock_has(
    connection: Connection, sender: Sender
) -> None:
    upload_id = sender.hand_in(students(40, wrong=2), "students")
    # Sunday half past eleven in London; in Lagos it is Monday.
    connection.execute(
        "update ops.upload_versions set received_at = '2026-11-22T23:30Z' where upload_id = %s", (upload_id,)
    )
    until = date(2026, 11, 29)
    weeks = {
        zone: read_quality(connection, QualityFilter(monday_of(until, 1), zone), until).weeks
        for zone in ("Africa/Lagos", "UTC")
    }
    assert weeks["Africa/Lagos"] == {date(2026, 11, 16): Counts(), date(2026, 11, 23): Counts(40, 2)}
    assert weeks["UTC"] == {date(2026, 11, 16): Counts(40, 2), date(2026, 11, 23): Counts()}
    later = QualityFilter(date(2026, 11, 23), "UTC")
    assert read_quality(connection, later, until).total == Counts()


def test_an_administrator_of_a_school_sees_the_quality_of_its_files_only(
    connection: Connection, sender: Sender, api: Flask, make_key: Callable[..., str]
) -> None:
    sender.hand_in(students(40, wrong=2), "students", school_id="north", title="of the north")
    sender.hand_in(students(100, wrong=3), "students", school_id="south", title="of the south")
    client = api.test_client()

    def shown(**school: Any) -> tuple[str, list[str]]:
        headers = {"Authorization": f"Bearer {make_key('admin', **school)}"}
        page = client.get("/admin/quality", headers=headers, environ_base=OUTSIDE)
        chart = client.get("/admin/quality?csv=rules", headers=headers, environ_base=OUTSIDE)
        assert (page.status_code, chart.status_code) == (200, 200)
        return page.text, chart.text.splitlines()[1:]

    page, rules = shown(school_id="north")
    assert rules == ["type,2,0"]
    assert ("of the north" in page, "of the south" in page) == (True, False)
    page, rules = shown()
    assert rules == ["type,5,0"]
    assert "of the south" in page


def test_what_is_still_open_is_counted_over_all_files(
    connection: Connection,
    sender: Sender,
    client_of: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admin_quality, "_SHOWN_FILES", 1)
    for wrong in (2, 3):
        sender.hand_in(students(100 + wrong, wrong=wrong), "students", title=f"with {wrong}")
    sender.hand_in(students(10), "students", title="without")
    page = client_of("admin").get("/admin/quality").text
    assert re.search(r"Still open</abbr></dt>\s*<dd>5</dd>", page)
    assert ("with 3" in page, "with 2" in page) == (True, False)
    assert "1 older file waits, too." in page


def test_a_run_says_in_words_which_rows_it_warns_of(
    connection: Connection, client_of: Callable[..., FlaskClient]
) -> None:
    run_id = start_run(connection, trigger="cli")
    warnings = [
        "test known_in_dim_guardians_school_id__student_id__ref_dim_students_: Got 4 results, configured",
        "test known_in_fct_exam_results_school_id__student_id__ref_dim_students_: Got 1 result, configured",
        "test something_else: Got 1 result",
    ]
    record_stage(connection, run_id, "transform", {"models": 3, "warnings": warnings})
    page = client_of("admin").get(f"/admin/runs/{run_id}").text
    assert "4 rows of dim_guardians have a student_id that dim_students does not know." in page
    assert "1 row of fct_exam_results has a student_id that dim_students does not know." in page
    assert "test something_else: Got 1 result" in page
    assert "known_in" not in page
    assert "/admin/quality#unknown" in page


def test_what_a_run_says_about_people_is_for_administrators_of_all_schools(
    connection: Connection, api: Flask, make_key: Callable[..., str]
) -> None:
    run_id = start_run(connection, trigger="cli")
    other = {"target": "jamb_score", "students": 432198765, "at_risk": 987654321}
    record_stage(connection, run_id, "score", {"seconds": 1.5, "students": 432198765, "others": [other]})
    client = api.test_client()

    def shown(path: str, role: str, **school: Any) -> str:
        headers = {"Authorization": f"Bearer {make_key(role, **school)}"}
        answer = client.get(f"{path}/{run_id}", headers=headers, environ_base=OUTSIDE)
        assert answer.status_code == 200
        return answer.text.replace(",", "")

    for path in ("/admin/runs", "/api/v1/runs"):
        for text in (shown(path, "analyst"), shown(path, "admin", school_id="north")):
            assert ("jamb_score" in text, "432198765" in text, "987654321" in text) == (True, False, False)
        assert "987654321" in shown(path, "admin")


def test_a_run_that_is_asked_for_on_the_page_is_written_down(
    settings: Settings, connection: Connection, make_key: Callable[..., str]
) -> None:
    away = {"airflow_password": SecretStr("for-tests"), "airflow_url": "http://127.0.0.1:9"}
    app = create_app(settings.model_copy(update=away))
    headers = {"Authorization": f"Bearer {make_key('admin')}"}
    answer = app.test_client().post("/admin/runs", headers=headers, environ_base=OUTSIDE)
    app.extensions["laurel"].close()
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/runs?asked=yes")
    (lines,) = connection.execute(
        "select count(*) as n from ops.audit where action = 'runs:start'"
    ).fetchall()
    assert lines["n"] == 1


def test_people_are_found_by_name_and_signed_out_everywhere(
    connection: Connection, api: Flask, make_key: Callable[..., str]
) -> None:
    ada = create_user(connection, "ada@school.example", "Ada Obi", "teacher", "test", school_id="north")
    create_user(connection, "ben@school.example", "Ben 100%", "analyst", "test", school_id="south")
    start_session(connection, ada)
    start_session(connection, ada)
    client = api.test_client()
    headers = {"Authorization": f"Bearer {make_key('admin')}"}

    def found(query: str) -> list[str]:
        answer = client.get(f"/api/v1/users?{query}", headers=headers, environ_base=OUTSIDE)
        return [item["name"] for item in json.loads(answer.text)["items"]]

    assert found("q=OBI") == found("role=teacher") == found("q=ada@") == ["Ada Obi"]
    assert found("q=%25") == ["Ben 100%"]  # stands for itself
    assert found("state=disabled") == []
    answer = client.delete(f"/api/v1/users/{ada}/sessions", headers=headers, environ_base=OUTSIDE)
    assert (answer.status_code, count_sessions(connection, ada)) == (204, 0)
    (line,) = connection.execute("select subject from ops.audit where action = 'users:sign_out'").fetchall()
    assert line["subject"] == f"user:{ada}"


def test_an_administrator_of_a_school_does_not_check_the_trail_of_all(
    api: Flask, make_key: Callable[..., str]
) -> None:
    client = api.test_client()
    for school, status in (({"school_id": "north"}, 403), ({}, 200)):
        headers = {"Authorization": f"Bearer {make_key('admin', **school)}"}
        answer = client.post("/admin/audit/verify", headers=headers, environ_base=OUTSIDE)
        assert answer.status_code == status


def test_every_way_on_from_a_check_of_the_trail_leads_somewhere(
    api: Flask, make_key: Callable[..., str], connection: Connection
) -> None:
    for _ in range(60):  # more than a page
        record(connection, "test", "sources:read")
    client = api.test_client()
    headers = {"Authorization": f"Bearer {make_key('admin')}"}
    page = client.post("/admin/audit/verify", headers=headers, environ_base=OUTSIDE).text
    ways = {html.unescape(way) for way in re.findall(r'(?:href|action)="(/admin/audit[^"]*)"', page)}
    assert {"/admin/audit", "/admin/audit?csv=lines"} < ways
    assert any("after=" in way for way in ways)
    for way in ways:
        answer = client.get(way, headers=headers, environ_base=OUTSIDE)
        assert answer.status_code == 200, way
    narrowed = client.get("/admin/audit?actor=test&action=", headers=headers, environ_base=OUTSIDE).text
    assert 'href="/admin/audit?actor=test&amp;csv=lines"' in narrowed


def test_what_an_address_cannot_mean_is_refused(api: Flask, make_key: Callable[..., str]) -> None:
    client = api.test_client()
    headers = {"Authorization": f"Bearer {make_key('admin')}"}
    for path, status in (
        ("/models/a%00b", 404), ("/api/v1/models/a%00b", 404), ("/api/v1/models/a%00b/card", 404),
        ("/admin/audit?until=9999-12-31", 422), ("/admin/audit?since=0001-01-01", 422),
        ("/admin/audit?since=2026-13-01", 422), ("/admin/audit?subject=%00", 422),
        ("/admin/quality?weeks=0", 422),
        ("/admin/quality?uploader=%00", 422), ("/admin/people?q=%00", 422), ("/admin/runs?after=x", 422),
        ("/admin/people?q=%ff", 200), ("/admin/audit?until=2999-12-31", 200),
    ):  # fmt: skip
        assert client.get(path, headers=headers, environ_base=OUTSIDE).status_code == status, path
    for path, form in (
        ("/admin/people/new", {"name": "a\0", "email": "a@b.c", "role": "admin"}),
        ("/admin/people/new", {"name": "a", "email": "a@b.c", "role": "teacher", "assigned_school": "",
                               "assigned_grade": "JSS1", "assigned_subject": ""}),
        ("/admin/keys/new", {"name": "a", "role": "admin", "expires_in_days": "soon"}),
        ("/admin/keys/new", {"name": "a", "role": "admin", "scopes": "everything"}),
        ("/admin/erasures", {"kind": "student", "id": "STU1", "reason": "asked"}),
        ("/admin/erasures", {"kind": "student", "id": "a\0", "reason": "asked", "sure": "on"}),
    ):  # fmt: skip
        answer = client.post(path, data=form, headers=headers, environ_base=OUTSIDE)
        assert (answer.status_code, 'role="alert"' in answer.text) == (422, True), (path, form)


def test_before_the_first_run_pages_say_what_comes_next(client_of: Callable[..., FlaskClient]) -> None:
    for path in ("/students", "/summary", "/worklist"):
        answer = client_of("teacher").get(path, headers={"Accept": "text/html"})
        assert (answer.status_code, "Not found" in answer.text) == (404, False), path
        assert "No figures have been made yet. The first run makes them" in answer.text
