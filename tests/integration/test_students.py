"""Students over the API: who sees whom, under which name, and that every look leaves a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from elt.audit.trail import person_subject, verify
from elt.people.principals import Assignment
from elt.people.sessions import start_session
from elt.people.users import create_user
from elt.settings import Settings
from elt.warehouse import Connection

BASE = "/api/v1/students"
pytestmark = pytest.mark.usefixtures("small_school")


@pytest.fixture
def teacher_of(api: Flask, connection: Connection) -> Callable[..., FlaskClient]:
    """A client in the session of a teacher with assignments."""

    def make(*assignments: Assignment) -> FlaskClient:
        user_id = create_user(
            connection, f"{uuid4()}@school.example", "T", "teacher", "test", assignments=assignments
        )
        client = api.test_client()
        client.set_cookie("laurel_session", start_session(connection, user_id))
        return client

    return make


@pytest.fixture
def class_teacher(teacher_of: Callable[..., FlaskClient]) -> FlaskClient:
    return teacher_of(Assignment("main", "JSS1"))


def listed(client: FlaskClient, query: str = "") -> list[tuple[str, str]]:
    return [(item["school_id"], item["student_id"]) for item in client.get(f"{BASE}{query}").json["items"]]


def lines(connection: Connection, action: str) -> list[dict[str, Any]]:
    return connection.execute(
        "select * from ops.audit where action = %s order by audit_id", (action,)
    ).fetchall()


def csrf(client: FlaskClient) -> dict[str, str]:
    return {
        "X-CSRF-Token": client.get("/api/v1/session").json["csrf_token"],
        "Origin": "http://localhost",
        "Sec-Fetch-Site": "same-origin",
    }


def test_an_admin_sees_all_students_by_school_and_number(admin: FlaskClient) -> None:
    found = admin.get(BASE).json
    assert [(item["school_id"], item["full_name"]) for item in found["items"]] == [
        ("main", "Dayo Ojo"),
        ("main", "Ngozi Okafor"),
        ("main", "Bola Ade"),
        ("main", "=Chi Eze"),
        ("north", "Efe Bello"),
    ]
    assert found["next"] is None


def test_students_come_in_pages(admin: FlaskClient) -> None:
    first = admin.get(f"{BASE}?limit=1").json
    assert first["next"] == "main,STU%2F4"
    seen, following = [], ""
    while following is not None:
        page = admin.get(f"{BASE}?limit=2{following}").json
        seen += [(item["school_id"], item["student_id"]) for item in page["items"]]
        following = page["next"] and f"&after={quote(page['next'], safe='')}"
    assert seen == listed(admin)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?q=okaf", ["STU001"]),
        ("?q=stu00", ["STU001", "STU002", "STU003", "STU001"]),
        ("?q=TU00", []),
        ("?q=%25", []),
        ("?q=_", []),
        ("?grade_level=JSS2", ["STU002"]),
        ("?school_id=north", ["STU001"]),
        ("?school_id=north&grade_level=JSS2", []),
    ],
)
def test_students_are_found_by_number_name_school_and_grade(
    admin: FlaskClient, query: str, expected: list[str]
) -> None:
    assert [student for _, student in listed(admin, query)] == expected


def test_a_record_has_who_figures_terms_and_guardians(admin: FlaskClient) -> None:
    record = admin.get(f"{BASE}/STU001?school=main").json
    assert (record["school_id"], record["student_id"]) == ("main", "STU001")
    assert record["profile"]["full_name"] == "Ngozi Okafor"
    assert record["profile"]["date_of_birth"] == "2012-03-04"
    assert record["overview"]["term_count"] == 2
    assert [(term["term"], term["average_score"]) for term in record["terms"]] == [
        ("First Term", 45),
        ("Second Term", 65),
    ]
    assert [guardian["phone_number"] for guardian in record["guardians"]] == ["+2348020000001"]


def test_risk_has_reasons_and_past_flags(admin: FlaskClient) -> None:
    risk = admin.get(f"{BASE}/STU001/risk?school=main").json
    assert risk["current"]["is_at_risk"] is False
    assert risk["current"]["reasons"][0]["text"] == "Average of 45"
    assert [flag["is_at_risk"] for flag in risk["flags"]] == [False, True]
    days = [flag["as_of_date"] for flag in risk["flags"]]
    assert days == sorted(days, reverse=True)


def test_a_number_of_several_schools_must_be_told_apart(admin: FlaskClient, client_of: Any) -> None:
    answer = admin.get(f"{BASE}/STU001")
    assert answer.status_code == 409
    assert "main, north" in answer.json["detail"]
    assert admin.get(f"{BASE}/STU002").json["school_id"] == "main"
    bound = client_of("admin", "north").get(f"{BASE}/STU001")
    assert bound.json["profile"]["full_name"] == "Efe Bello"


@pytest.mark.parametrize("part", ["", "/risk", "/interventions"])
def test_a_number_may_hold_a_slash(admin: FlaskClient, part: str) -> None:
    assert admin.get(f"{BASE}/STU/4{part}").status_code == 200
    assert admin.get(f"{BASE}/STU%2F4{part}").status_code == 200


def test_a_teacher_sees_the_students_of_own_classes_with_names(
    class_teacher: FlaskClient, teacher_of: Callable[..., FlaskClient]
) -> None:
    assert listed(class_teacher) == [("main", "STU/4"), ("main", "STU001"), ("main", "STU003")]
    assert class_teacher.get(f"{BASE}/STU001").json["guardians"][0]["full_name"] == "Amara Okafor"
    assert listed(teacher_of(Assignment("main", None, "English Language"))) == listed(class_teacher)
    assert listed(teacher_of()) == []


@pytest.mark.parametrize("part", ["", "/risk", "/interventions"])
@pytest.mark.parametrize("who", ["STU002", "STU001?school=north", "STU999", "a%00b"])
def test_anothers_student_is_as_unknown_as_one_that_there_is_not(
    class_teacher: FlaskClient, who: str, part: str
) -> None:
    student, _, query = who.partition("?")
    answer = class_teacher.get(f"{BASE}/{student}{part}?{query}")
    assert (answer.status_code, answer.json["detail"]) == (404, "There is no such student.")


def test_a_researcher_sees_pseudonyms_and_no_names(researcher: FlaskClient, admin: FlaskClient) -> None:
    found = researcher.get(BASE).json["items"]
    assert len(found) == 5
    assert {item["full_name"] for item in found} == {None}
    assert not {item["student_id"] for item in found} & {student for _, student in listed(admin)}
    one = found[0]["student_id"]
    record = researcher.get(f"{BASE}/{one}").json
    assert record["student_id"] == one
    text = researcher.get(f"{BASE}/{one}").text + researcher.get(f"{BASE}/{one}/risk").text
    for secret in ("Ngozi", "Okafor", "Bola", "Dayo", "Efe", "Palm", "STU0", "PAR0", "+234", "2012-"):
        assert secret not in text
    assert researcher.get(f"{BASE}/STU001?school=main").status_code == 404
    assert listed(researcher, "?q=Okafor") == []


def test_analysts_see_no_single_student(client_of: Any) -> None:
    assert client_of("analyst").get(BASE).status_code == 403
    assert client_of("analyst").get(f"{BASE}/STU001?school=main").status_code == 403


@pytest.mark.parametrize("part", ["", "/risk", "/interventions"])
def test_every_look_at_a_record_leaves_a_line(
    admin: FlaskClient, connection: Connection, settings: Settings, part: str
) -> None:
    admin.get(f"{BASE}/STU001{part}?school=main&reason=parents+call")
    admin.get(f"{BASE}/STU002{part}", headers={"X-Purpose": "report day"})
    action = "interventions:read" if part == "/interventions" else "students:read"
    first, second = lines(connection, action)
    assert first["subject"] == person_subject(settings, "student", "main", "STU001")
    assert second["subject"] == person_subject(settings, "student", "main", "STU002")
    assert [line["detail"]["reason"] for line in (first, second)] == ["parents call", "report day"]
    assert first["actor"].startswith("key:")
    assert "STU" not in str(first["detail"])
    assert verify(connection).is_sound


def test_a_look_at_anothers_student_leaves_a_line_too(
    class_teacher: FlaskClient, connection: Connection, settings: Settings
) -> None:
    class_teacher.get(f"{BASE}/STU002")
    [line] = lines(connection, "students:read")
    assert line["subject"] == person_subject(settings, "student", "main", "STU002")
    assert line["detail"]["denied"] == 404


def test_a_list_leaves_a_line_without_what_was_searched_for(
    admin: FlaskClient, connection: Connection
) -> None:
    admin.get(f"{BASE}?q=Okafor&grade_level=JSS1")
    [line] = lines(connection, "students:list")
    assert line["detail"]["grade_level"] == "JSS1"
    assert "Okafor" not in str(line)


def test_what_a_researcher_looked_at_is_found_by_the_students_number(
    researcher: FlaskClient, admin: FlaskClient, connection: Connection
) -> None:
    [found] = connection.execute(
        "select pseudonym from ops.pseudonyms where school_id = 'main' and source_id = 'STU001'"
        " and kind = 'student'"
    ).fetchall()
    researcher.get(f"{BASE}/{found['pseudonym']}")
    admin.get(f"{BASE}/STU001?school=main")
    admin.get(f"{BASE}/STU002")
    about = admin.get("/api/v1/audit?student_id=STU001&school_id=main").json["items"]
    assert [line["subject"].partition(":")[0] for line in about] == ["student", "pseudonym"]


DONE = {"done_on": "2025-02-01", "action": "Talked to the parents", "note": "They will help."}


def test_what_was_done_is_kept_with_who_and_what_followed(
    class_teacher: FlaskClient, connection: Connection, settings: Settings
) -> None:
    made = class_teacher.post(f"{BASE}/STU001/interventions", json=DONE, headers=csrf(class_teacher))
    assert made.status_code == 201, made.text
    [shown] = class_teacher.get(f"{BASE}/STU001/interventions").json["items"]
    assert shown["id"] == made.json["id"]
    assert (shown["action"], shown["note"]) == (DONE["action"], DONE["note"])
    assert shown["done_by"] == class_teacher.get("/api/v1/session").json["id"]
    assert (shown["was_at_risk"], shown["is_at_risk_after"]) == (True, False)
    [line] = lines(connection, "interventions:write")
    assert line["subject"] == person_subject(settings, "student", "main", "STU001")
    assert "parents" not in str(line["detail"])


def test_a_line_is_corrected_once_by_its_writer_and_both_stay(
    admin: FlaskClient, client_of: Any, class_teacher: FlaskClient
) -> None:
    address = f"{BASE}/STU002/interventions"
    first = admin.post(address, json=DONE).json["id"]
    second = admin.post(address, json={**DONE, "action": "Called them", "corrects": first}).json["id"]
    shown = admin.get(address).json["items"]
    assert [(line["id"], line["corrects"], line["corrected_by"]) for line in shown] == [
        (second, first, None),
        (first, None, second),
    ]
    assert admin.post(address, json={**DONE, "corrects": first}).status_code == 409
    assert admin.post(address, json={**DONE, "corrects": str(uuid4())}).status_code == 404
    elsewhere = f"{BASE}/STU003/interventions"
    assert admin.post(elsewhere, json={**DONE, "corrects": second}).status_code == 404
    of_admin = admin.post(elsewhere, json=DONE).json["id"]
    body = {**DONE, "corrects": of_admin}
    assert class_teacher.post(elsewhere, json=body, headers=csrf(class_teacher)).status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "x"},
        {**DONE, "done_on": "soon"},
        {**DONE, "action": ""},
        {**DONE, "mood": "good"},
    ],
)
def test_what_does_not_say_what_was_done_is_refused(admin: FlaskClient, body: dict[str, str]) -> None:
    assert admin.post(f"{BASE}/STU002/interventions", json=body).status_code == 422


def test_what_has_not_been_done_yet_is_refused(admin: FlaskClient) -> None:
    body = {**DONE, "done_on": "2999-01-01"}
    assert admin.post(f"{BASE}/STU002/interventions", json=body).status_code == 409


def test_nobody_writes_about_students_of_others(
    class_teacher: FlaskClient, researcher: FlaskClient, connection: Connection
) -> None:
    headers = csrf(class_teacher)
    assert class_teacher.post(f"{BASE}/STU002/interventions", json=DONE, headers=headers).status_code == 404
    assert researcher.post(f"{BASE}/STU002/interventions", json=DONE).status_code == 403
    assert connection.execute("select count(*) as n from ops.interventions").fetchone() == {"n": 0}


def test_interventions_are_not_changed_afterwards(admin: FlaskClient, connection: Connection) -> None:
    made = admin.post(f"{BASE}/STU002/interventions", json=DONE).json["id"]
    with pytest.raises(Exception, match="append only"):
        connection.execute("update ops.interventions set note = '' where intervention_id = %s", (UUID(made),))
