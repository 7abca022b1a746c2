"""Who looks after which student: assigned, passed on, ended; kept, found, exported and erased."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from elt.people.principals import Assignment
from elt.people.sessions import start_session
from elt.people.users import UserChanges, change_user, create_user
from elt.privacy.erase_rows import erase_beside_raw
from elt.privacy.retention import Rule, apply_retention
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection

pytestmark = pytest.mark.usefixtures("small_school")
ONE = "/api/v1/students/STU001/assignment?school=main"
LIST = "/api/v1/risk?only_at_risk=false"


@pytest.fixture
def people(connection: Connection) -> dict[str, UUID]:
    """Ada teaches JSS1, Bisi JSS2 of main; Chidi administers north, Dele everything; Efe reads data."""

    def make(name: str, role: str, school: str | None = None, taught: str | None = None) -> UUID:
        classes = [Assignment("main", taught)] if taught else []
        return create_user(
            connection,
            f"{name}@school.example",
            name,
            role,
            "test",
            school_id=school,
            assignments=classes,
        )

    return {
        "ada": make("ada", "teacher", taught="JSS1"), "bisi": make("bisi", "teacher", taught="JSS2"),
        "chidi": make("chidi", "admin", "north"), "dele": make("dele", "admin"),
        "efe": make("efe", "researcher"),
    }  # fmt: skip


@pytest.fixture
def as_ada(api: Flask, connection: Connection, people: dict[str, UUID]) -> FlaskClient:
    client = api.test_client()
    client.set_cookie("laurel_session", start_session(connection, people["ada"]))
    token = client.get("/api/v1/session").json["csrf_token"]
    client.environ_base |= {
        "HTTP_X_CSRF_TOKEN": token, "HTTP_ORIGIN": "http://localhost", "HTTP_SEC_FETCH_SITE": "same-origin",
    }  # fmt: skip
    return client


def history(connection: Connection) -> list[tuple[Any, ...]]:
    rows = connection.execute(
        "select user_id, assigned_by, ended_by from ops.student_assignments order by assignment_id"
    )
    return [tuple(row.values()) for row in rows]


def listed(client: FlaskClient, assigned: str) -> list[tuple[str, str]]:
    items = client.get(f"{LIST}&assigned={assigned}").json["items"]
    return sorted((item["school_id"], item["student_id"]) for item in items)


def test_a_student_is_assigned_passed_on_and_let_go_and_all_is_kept(
    as_ada: FlaskClient, connection: Connection, people: dict[str, UUID]
) -> None:
    ada, dele = people["ada"], people["dele"]
    answer = as_ada.put(ONE, json={})
    assert answer.status_code == 200
    assert answer.json.items() >= {"user_id": str(ada), "name": "ada", "assigned_by": f"user:{ada}"}.items()
    assert as_ada.put(ONE, json={"user_id": str(ada)}).json == answer.json  # nothing changes
    assert as_ada.put(ONE, json={"user_id": str(dele)}).json["name"] == "dele"
    assert as_ada.get(ONE).json["name"] == "dele"
    assert [as_ada.delete(ONE).status_code for _ in range(2)] == [204, 204]
    assert as_ada.get(ONE).status_code == 404
    by = f"user:{ada}"
    assert history(connection) == [(ada, by, by), (dele, by, by)]
    told = connection.execute(
        "select actor, subject, detail from ops.audit where action = 'assignments:write' order by audit_id"
    ).fetchall()
    assert [line["detail"]["assigned_to"] for line in told] == [f"user:{ada}", f"user:{dele}", None]
    assert {line["actor"] for line in told} == {by}
    assert len({line["subject"] for line in told}) == 1


def test_the_worklist_is_narrowed_to_mine_and_to_nobody_s(
    as_ada: FlaskClient, admin: FlaskClient, people: dict[str, UUID]
) -> None:
    everybody = listed(as_ada, "all")
    assert ("main", "STU001") in everybody
    assert ("main", "STU003") in everybody
    as_ada.put(ONE, json={})
    admin.put(ONE.replace("STU001", "STU003"), json={"user_id": str(people["dele"])})
    assert listed(as_ada, "mine") == [("main", "STU001")]
    theirs = {("main", "STU001"), ("main", "STU003")}
    assert listed(as_ada, "nobody") == sorted(set(everybody) - theirs)
    assert listed(admin, "mine") == []  # a key looks after nobody
    found = {item["student_id"]: item["assigned_to"] for item in as_ada.get(LIST).json["items"]}
    assert found["STU001"] == {"user_id": str(people["ada"]), "name": "ada"}
    assert found["STU/4"] is None
    page = as_ada.get("/worklist?only_at_risk=false&assigned=mine").text
    assert "Ngozi Okafor" in page
    assert "=Chi Eze" not in page
    assert as_ada.get("/worklist?assigned=theirs").status_code == 422


@pytest.mark.parametrize("name", ["bisi", "chidi", "efe"])
def test_only_who_may_see_the_student_can_look_after_them(
    admin: FlaskClient, connection: Connection, people: dict[str, UUID], name: str
) -> None:
    answer = admin.put(ONE, json={"user_id": str(people[name])})
    assert (answer.status_code, history(connection)) == (409, [])


def test_neither_strangers_nor_those_who_left_nor_keys_are_assigned(
    admin: FlaskClient, connection: Connection, people: dict[str, UUID]
) -> None:
    change_user(connection, people["ada"], "test", disabled=True)
    for sent in ({"user_id": str(people["ada"])}, {"user_id": str(UUID(int=1))}, {}):
        assert admin.put(ONE, json=sent).status_code == 409
    assert admin.put(ONE, json={"user_id": "x"}).status_code == 422
    assert history(connection) == []


def test_nobody_assigns_whom_they_do_not_see(
    as_ada: FlaskClient, client_of: Callable[..., FlaskClient], connection: Connection
) -> None:
    for path in (ONE.replace("STU001", "STU002"), ONE.replace("main", "north")):
        assert as_ada.put(path, json={}).status_code == 404
        assert as_ada.delete(path).status_code == 404
    assert client_of("researcher").put(ONE, json={}).status_code == 403
    assert history(connection) == []


def test_who_was_disabled_looks_after_nobody(
    admin: FlaskClient, connection: Connection, people: dict[str, UUID]
) -> None:
    admin.put(ONE, json={"user_id": str(people["ada"])})
    assert ("main", "STU001") not in listed(admin, "nobody")
    change_user(connection, people["ada"], "test", disabled=True)
    assert ("main", "STU001") in listed(admin, "nobody")


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "researcher"},
        {"role": "analyst"},
        {"school_id": "north"},
        {"assignments": []},
        {"assignments": [Assignment("main", "JSS2")]},
        {"assignments": [Assignment("north", "JSS1")]},
        {"assignments": [Assignment("main", "JSS1", "Physics")]},
    ],
)
def test_who_may_not_see_the_student_any_more_does_not_look_after_them(
    admin: FlaskClient, connection: Connection, people: dict[str, UUID], changes: UserChanges
) -> None:
    ada = people["ada"]
    for same in ([Assignment("main", "JSS1", "Mathematics")], [Assignment("main")]):
        admin.put(ONE, json={"user_id": str(ada)})
        change_user(connection, ada, "test", assignments=same)
        assert ("main", "STU001") not in listed(admin, "nobody")
    change_user(connection, ada, "test", **changes)
    assert ("main", "STU001") in listed(admin, "nobody")
    found = {(item["school_id"], item["student_id"]): item for item in admin.get(LIST).json["items"]}
    assert found["main", "STU001"]["assigned_to"] is None
    assert admin.put(ONE, json={"user_id": str(ada)}).status_code == 409  # the same rule


def test_a_student_who_goes_to_another_class_is_looked_after_by_nobody_there(
    admin: FlaskClient, connection: Connection, people: dict[str, UUID]
) -> None:
    admin.put(ONE, json={"user_id": str(people["ada"])})
    connection.execute("update marts.mart_student_overview set grade_level = 'JSS2'")
    assert ("main", "STU001") in listed(admin, "nobody")
    assert admin.put(ONE, json={"user_id": str(people["dele"])}).status_code == 200
    assert ("main", "STU001") not in listed(admin, "nobody")


def test_the_page_assigns_and_goes_back(as_ada: FlaskClient, people: dict[str, UUID]) -> None:
    page = "/student/assignment?school=main&id=STU001"
    sent = {"user_id": str(people["ada"]), "next": "/worklist?grade_level=JSS1"}
    answer = as_ada.post(page, data=sent)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/worklist?grade_level=JSS1")
    assert listed(as_ada, "mine") == [("main", "STU001")]
    assert as_ada.post(page, data={"user_id": "", "next": "//evil.example"}).headers["Location"] == "/"
    assert listed(as_ada, "mine") == []
    assert as_ada.post(page, data={"user_id": "x"}).status_code == 422


def test_what_is_kept_of_it_is_exported_forgotten_and_erased(
    as_ada: FlaskClient, admin: FlaskClient, settings: Settings, connection: Connection, store: Store
) -> None:
    as_ada.put(ONE, json={})
    as_ada.delete(ONE)
    as_ada.put(ONE, json={})
    export = admin.get("/api/v1/students/STU001/export?school=main")
    assert b"csv/assignments.csv" in export.data
    rule = Rule(rule="student_assignments", days=1, since="x", what="x")
    connection.execute(
        "update ops.student_assignments set ended_at = now() - interval '2 days' where ended_at is not null"
    )
    (kept,) = apply_retention(settings, store, dry_run=False, rules=[rule])
    assert (kept.due, kept.is_removed, len(history(connection))) == (1, True, 1)
    counts = erase_beside_raw(connection, ("student", "main", "STU001"))
    assert counts["ops.student_assignments"] == 1
    assert history(connection) == []
