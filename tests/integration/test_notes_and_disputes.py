"""Notes about students and disputed values over the API: who writes them, who ends them, and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from elt.audit.trail import person_subject
from elt.people.keys import create_key
from elt.people.principals import Assignment
from elt.people.sessions import start_session
from elt.people.users import create_user
from elt.settings import Settings
from elt.warehouse import Connection, connect

BASE = "/api/v1/students"
STUDENT = f"{BASE}/STU001"
NOTES = "/api/v1/notes"
MAIN = "?school=main"
AVERAGE = {
    "mart": "mart_student_terms",
    "column": "average_score",
    "key": {"school_year": "2024/2025", "term": "First Term"},
    "reason": "The paper says 54",
    "should_be": "54",
}
pytestmark = pytest.mark.usefixtures("small_school")


@pytest.fixture
def teacher(api: Flask, connection: Connection) -> FlaskClient:
    """In the session of a teacher of JSS1 in the school main, in which STU001 is."""
    user_id = create_user(
        connection, f"{uuid4()}@school.example", "T", "teacher", "test",
        assignments=[Assignment("main", "JSS1")],
    )  # fmt: skip
    client = api.test_client()
    client.set_cookie("laurel_session", start_session(connection, user_id))
    client.environ_base["HTTP_X_CSRF_TOKEN"] = client.get("/api/v1/session").json["csrf_token"]
    client.environ_base["HTTP_ORIGIN"] = "http://localhost"
    client.environ_base["HTTP_SEC_FETCH_SITE"] = "same-origin"
    return client


def lines(connection: Connection, action: str) -> list[dict[str, Any]]:
    """The acts, without what was refused."""
    return connection.execute(
        "select * from ops.audit where action = %s and not detail ? 'denied' order by audit_id", (action,)
    ).fetchall()


def test_a_note_is_kept_and_taken_back_but_never_gone(
    admin: FlaskClient, connection: Connection, settings: Settings
) -> None:
    written = admin.post(f"{STUDENT}/notes{MAIN}", json={"note": "Lives with the aunt now"})
    assert written.status_code == 201
    assert written.json["taken_back_at"] is None
    taken = admin.delete(f"{NOTES}/{written.json['id']}")
    assert (taken.status_code, taken.json["note"]) == (200, "Lives with the aunt now")
    assert taken.json["taken_back_by"] == written.json["written_by"]
    again = admin.delete(f"{NOTES}/{written.json['id']}")
    assert again.status_code == 409
    assert admin.delete(f"{NOTES}/{uuid4()}").status_code == 404
    [shown] = admin.get(f"{STUDENT}/notes{MAIN}").json["items"]
    assert shown == taken.json
    subject = person_subject(settings, "student", "main", "STU001")
    assert [line["subject"] for line in lines(connection, "notes:write")] == [subject, subject]
    assert "aunt" not in str(lines(connection, "notes:write"))
    assert len(lines(connection, "notes:read")) == 1


def test_only_the_writer_or_an_admin_takes_a_note_back(
    admin: FlaskClient, teacher: FlaskClient, client_of: Callable[..., FlaskClient]
) -> None:
    mine = admin.post(f"{STUDENT}/notes{MAIN}", json={"note": "An admin's"}).json["id"]
    theirs = teacher.post(f"{STUDENT}/notes{MAIN}", json={"note": "A teacher's"}).json["id"]
    refused = teacher.delete(f"{NOTES}/{mine}")
    assert (refused.status_code, "administrator" in refused.json["detail"]) == (409, True)
    assert client_of("admin", "north").delete(f"{NOTES}/{theirs}").status_code == 404
    assert admin.delete(f"{NOTES}/{theirs}").status_code == 200


def test_a_teacher_writes_about_nobody_of_another_class(teacher: FlaskClient) -> None:
    for path in ("notes", "disputes"):
        body = {"note": "x"} if path == "notes" else {"mart": "mart_students", "column": "age", "reason": "x"}
        assert teacher.get(f"{BASE}/STU002/{path}{MAIN}").status_code == 404
        assert teacher.post(f"{BASE}/STU002/{path}{MAIN}", json=body).status_code == 404


def test_a_value_is_disputed_once_and_settled_once(
    admin: FlaskClient,
    teacher: FlaskClient,
    client_of: Callable[..., FlaskClient],
    connection: Connection,
) -> None:
    (term,) = connection.execute(
        """
        select school_year, average_score from marts.mart_student_terms
        where school_id = 'main' and student_id = 'STU001' and term = 'First Term'
        """
    ).fetchall()
    wrong = {**AVERAGE, "key": {"school_year": term["school_year"], "term": "First Term"}}
    raised = teacher.post(f"{STUDENT}/disputes{MAIN}", json=wrong)
    assert raised.status_code == 201, raised.json
    assert (raised.json["shown"], raised.json["should_be"]) == (str(term["average_score"]), "54")
    assert raised.json["key"] == wrong["key"]
    assert admin.post(f"{STUDENT}/disputes{MAIN}", json=wrong).status_code == 409
    assert [item["id"] for item in admin.get("/api/v1/disputes").json["items"]] == [raised.json["id"]]

    one = f"/api/v1/disputes/{raised.json['id']}"
    verdict = {"outcome": "stands", "why": "The paper was of another term"}
    assert teacher.patch(one, json=verdict).status_code == 403
    assert client_of("admin", "north").patch(one, json=verdict).status_code == 404
    settled = admin.patch(one, json=verdict)
    assert (settled.status_code, settled.json["outcome"]) == (200, "stands")
    assert admin.patch(one, json=verdict).status_code == 409
    assert admin.patch(f"/api/v1/disputes/{uuid4()}", json=verdict).status_code == 404
    assert admin.get("/api/v1/disputes").json["items"] == []
    assert admin.get("/api/v1/disputes?is_open=false").json["items"] == [settled.json]
    assert teacher.get(f"{STUDENT}/disputes{MAIN}").json["items"] == [settled.json]
    assert teacher.post(f"{STUDENT}/disputes{MAIN}", json=wrong).status_code == 201  # it may be wrong again
    assert [line["detail"]["column"] for line in lines(connection, "disputes:settle")] == ["average_score"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"column": "no_such"}, 404),
        ({"mart": "no_such"}, 404),
        ({"mart": "mart_class_summary"}, 404),
        ({"key": {}}, 422),
        ({"key": {"term": "First Term", "school_year": "1999/2000"}}, 404),
        ({"key": {"no_such": "x"}}, 404),
        ({"key": {"term_number": "one"}}, 422),
        ({"key": {"student_id": "STU002"}}, 422),
        ({"reason": ""}, 422),
        ({"reason": None}, 422),
    ],
    ids=str,
)
def test_what_is_no_value_of_the_student_cannot_be_disputed(
    admin: FlaskClient, changes: dict[str, Any], status: int
) -> None:
    assert admin.post(f"{STUDENT}/disputes{MAIN}", json={**AVERAGE, **changes}).status_code == status
    assert admin.get("/api/v1/disputes").json["items"] == []


def test_a_researcher_disputes_by_pseudonym_and_an_admin_of_that_school_sees_whose_it_is(
    client_of: Callable[..., FlaskClient], admin: FlaskClient, connection: Connection
) -> None:
    (known,) = connection.execute(
        "select pseudonym from ops.pseudonyms where kind = 'student' and school_id = 'main' "
        "and source_id = 'STU001'"
    ).fetchall()
    researcher = client_of("researcher")
    wrong = {"mart": "mart_student_overview", "column": "gender", "reason": "A boy in the survey"}
    raised = researcher.post(f"{BASE}/{known['pseudonym']}/disputes{MAIN}", json=wrong)
    assert (raised.status_code, raised.json["student_id"]) == (201, known["pseudonym"])
    assert "STU001" not in raised.text
    assert researcher.get(f"{BASE}/{known['pseudonym']}/disputes{MAIN}").status_code == 403
    assert [item["student_id"] for item in admin.get("/api/v1/disputes").json["items"]] == ["STU001"]
    assert client_of("admin", "north").get("/api/v1/disputes").json["items"] == []


def test_a_pseudonym_is_never_kept_beside_the_number(
    client_of: Callable[..., FlaskClient], connection: Connection
) -> None:
    (known,) = connection.execute(
        "select pseudonym from ops.pseudonyms where kind = 'student' and school_id = 'main' "
        "and source_id = 'STU001'"
    ).fetchall()
    wrong = {"mart": "mart_student_overview", "column": "student_id", "reason": "Looks odd"}
    refused = client_of("researcher").post(f"{BASE}/{known['pseudonym']}/disputes{MAIN}", json=wrong)
    assert (refused.status_code, "pseudonyms" in refused.json["detail"]) == (409, True)
    assert connection.execute("select from ops.disputes").rowcount == 0


def test_a_key_that_only_writes_disputes_reads_no_value(api: Flask, connection: Connection) -> None:
    (row,) = connection.execute(
        """
        select school_year, average_score::text as score from marts.mart_student_terms
        where school_id = 'main' and student_id = 'STU001' and term = 'First Term'
        """
    ).fetchall()
    body = {**AVERAGE, "key": {"term": "First Term"}}
    key = create_key(connection, "Writes only", "admin", None, "test", scopes=["disputes:write"])[1]
    raised = api.test_client().post(
        f"{STUDENT}/disputes{MAIN}", json=body, headers={"Authorization": f"Bearer {key}"}
    )
    assert (raised.status_code, raised.json["shown"]) == (201, None)
    assert raised.json["key"] == body["key"]
    (kept,) = connection.execute("select shown, row_key from ops.disputes").fetchall()
    assert kept["shown"] == row["score"]
    assert kept["row_key"] == {"term": "First Term", "school_year": row["school_year"]}


def test_what_was_written_stays_whoever_asks_the_database(
    admin: FlaskClient, connection: Connection, settings: Settings
) -> None:
    assert admin.post(f"{STUDENT}/notes{MAIN}", json={"note": "Kept"}).status_code == 201
    body = {"mart": "mart_student_overview", "column": "gender", "reason": "x"}
    assert admin.post(f"{STUDENT}/disputes{MAIN}", json=body).status_code == 201
    day = date(2025, 2, 1).isoformat()
    done = admin.post(f"{STUDENT}/interventions{MAIN}", json={"done_on": day, "action": "Talked"})
    assert done.status_code == 201
    for statement in (
        "delete from ops.student_notes", "delete from ops.disputes", "delete from ops.interventions",
        "update ops.student_notes set note = 'Other'", "update ops.disputes set shown = 'Other'",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.RaiseException, match="are kept"):
            connection.execute(statement)
        with (
            connect(settings.database_url.get_secret_value(), role="laurel_app") as api_session,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            api_session.execute(statement)


def test_the_loader_reads_nothing_that_people_wrote(settings: Settings) -> None:
    tables = (
        "interventions", "student_notes", "disputes", "student_assignments", "mails", "report_subscriptions",
    )  # fmt: skip
    with connect(settings.database_url.get_secret_value(), role="laurel_loader") as loader:
        for table in tables:
            for statement in (f"select from ops.{table}", f"delete from ops.{table}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    loader.execute(statement)


def test_disputes_come_in_pages(admin: FlaskClient) -> None:
    for column in ("gender", "grade_level", "stream"):
        body = {"mart": "mart_student_overview", "column": column, "reason": "x"}
        assert admin.post(f"{STUDENT}/disputes{MAIN}", json=body).status_code == 201
    seen: list[str] = []
    following = ""
    while following is not None:
        page = admin.get(f"/api/v1/disputes?limit=2{following}").json
        seen += [item["column"] for item in page["items"]]
        following = page["next"] and f"&after={page['next']}"
    assert seen == ["stream", "grade_level", "gender"]


def test_a_line_about_what_was_done_is_corrected_or_taken_back(
    admin: FlaskClient, connection: Connection
) -> None:
    def add(**line: Any) -> Any:
        body = {"done_on": date(2025, 2, 1).isoformat(), "action": "Talked", **line}
        return admin.post(f"{STUDENT}/interventions{MAIN}", json=body)

    first = add().json["id"]
    second = add(action="Called", corrects=first).json["id"]
    gone = add(action="It was another student", corrects=second, takes_back=True)
    assert gone.status_code == 201
    assert add(takes_back=True).status_code == 409
    assert add(corrects=gone.json["id"]).status_code == 409
    items = admin.get(f"{STUDENT}/interventions{MAIN}").json["items"]
    assert [(item["takes_back"], item["corrected_by"]) for item in items] == [
        (True, None),
        (False, gone.json["id"]),
        (False, second),
    ]
    assert UUID(first) in {
        row["intervention_id"] for row in connection.execute("select * from ops.interventions")
    }
