"""Accounts: by the API, by the command line, and the first one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient

from backend.permissions import actions_of
from elt.errors import AccountRefused, Conflict, WeakPassword
from elt.people.keys import create_key
from elt.people.principals import Assignment
from elt.people.sign_in import sign_in
from elt.people.users import (
    FIRST_ADMIN,
    change_user,
    create_user,
    find_user,
    get_user,
    list_users,
    make_first_admin,
)
from elt.settings import PROJECT_DIR, Settings
from elt.warehouse import Connection, connect

PASSWORD = "violin tractor ninety"
USERS = "/api/v1/users"


def new(email: str = "t@school.example", **more: Any) -> dict[str, Any]:
    return {"email": email, "name": "Tolu", "role": "teacher", **more}


def test_an_account_is_made_with_a_password_that_is_shown_once(
    admin: FlaskClient, connection: Connection
) -> None:
    answer = admin.post(USERS, json=new(assignments=[{"school_id": "main", "grade_level": "JSS1"}]))
    assert answer.status_code == 201
    made = answer.get_json()
    assert made["user"]["assignments"] == [{"school_id": "main", "grade_level": "JSS1", "subject": None}]
    assert made["user"]["created_by"].startswith("key:")
    shown = admin.get(f"{USERS}/{made['user']['id']}")
    assert shown.get_json() == made["user"]
    assert made["password"] not in shown.text
    assert sign_in(connection, "t@school.example", made["password"], "203.0.113.1", PASSWORD)


def test_an_account_without_a_password_cannot_sign_in_by_one(
    admin: FlaskClient, connection: Connection, api: Any
) -> None:
    made = admin.post(USERS, json=new(with_password=False)).get_json()
    assert made["password"] is None
    assert made["user"]["has_password"] is False
    for password in ("", "x", "None"):
        answer = api.test_client().post("/sign-in", data={"email": "t@school.example", "password": password})
        assert answer.status_code == 401


def test_people_are_listed_in_pages(admin: FlaskClient) -> None:
    emails = [f"{number}@school.example" for number in range(3)]
    for email in emails:
        admin.post(USERS, json=new(email, with_password=False))
    first = admin.get(USERS, query_string={"limit": 2}).get_json()
    second = admin.get(USERS, query_string={"limit": 2, "after": first["next"]}).get_json()
    assert [user["email"] for page in (first, second) for user in page["items"]] == emails[::-1]
    assert second["next"] is None


def test_an_e_mail_is_taken_once_whatever_its_capitals(admin: FlaskClient) -> None:
    admin.post(USERS, json=new())
    assert admin.post(USERS, json=new("T@School.example")).status_code == 409
    other = admin.post(USERS, json=new("u@school.example")).get_json()["user"]["id"]
    assert admin.patch(f"{USERS}/{other}", json={"email": "t@school.example"}).status_code == 409


def test_a_change_leaves_the_rest_as_it_is(admin: FlaskClient) -> None:
    user = admin.post(USERS, json=new(school_id="main", assignments=[{"school_id": "main"}])).get_json()[
        "user"
    ]
    changed = admin.patch(f"{USERS}/{user['id']}", json={"name": "Tola", "role": None}).get_json()
    assert changed == {**user, "name": "Tola"}
    assert admin.patch(f"{USERS}/{user['id']}", json={"school_id": None}).get_json()["school_id"] is None


def test_who_is_no_teacher_any_more_has_no_classes(admin: FlaskClient) -> None:
    user = admin.post(USERS, json=new(assignments=[{"school_id": "main"}])).get_json()["user"]
    changed = admin.patch(f"{USERS}/{user['id']}", json={"role": "analyst"}).get_json()
    assert changed["assignments"] == []
    answer = admin.patch(f"{USERS}/{user['id']}", json={"assignments": [{"school_id": "main"}]})
    assert answer.status_code == 409


def test_disabling_keeps_the_account_and_can_be_undone(admin: FlaskClient, connection: Connection) -> None:
    path = f"{USERS}/{admin.post(USERS, json=new()).get_json()['user']['id']}"
    for _ in range(2):
        disabled = admin.delete(path)
        assert (disabled.status_code, disabled.get_json()["state"]) == (200, "disabled")
    assert admin.patch(path, json={"disabled": False}).get_json()["state"] == "active"


def test_a_reset_password_replaces_the_old_one(admin: FlaskClient, connection: Connection, api: Any) -> None:
    made = admin.post(USERS, json=new()).get_json()
    answer = admin.post(f"{USERS}/{made['user']['id']}/password")
    assert answer.status_code == 201
    client = api.test_client()
    for password, status in ((made["password"], 401), (answer.get_json()["password"], 403)):
        sent = {"email": "t@school.example", "password": password}
        assert client.post("/api/v1/session", json=sent).status_code == status


@pytest.mark.parametrize("method", ["get", "patch", "delete", "post"])
def test_an_unknown_person_is_not_found(admin: FlaskClient, method: str) -> None:
    path = f"{USERS}/{uuid4()}" + ("/password" if method == "post" else "")
    sent = {"json": {}} if method == "patch" else {}
    assert getattr(admin, method)(path, **sent).status_code == 404


@pytest.mark.parametrize("role", ["researcher", "teacher", "analyst"])
def test_only_admins_see_people(client_of: Callable[..., FlaskClient], role: str) -> None:
    assert client_of(role).get(USERS).status_code == 403


def test_an_admin_of_one_school_reaches_no_further(
    admin: FlaskClient, client_of: Callable[..., FlaskClient]
) -> None:
    local = client_of("admin", "north")
    other = admin.post(USERS, json=new("s@school.example", school_id="south")).get_json()["user"]["id"]
    anywhere = admin.post(USERS, json=new("a@school.example")).get_json()["user"]["id"]
    mine = local.post(USERS, json=new()).get_json()["user"]
    assert mine["school_id"] == "north"
    assert [user["id"] for user in local.get(USERS).get_json()["items"]] == [mine["id"]]
    for user_id in (other, anywhere):
        assert local.get(f"{USERS}/{user_id}").status_code == 404
        assert local.patch(f"{USERS}/{user_id}", json={"name": "x"}).status_code == 404
        assert local.delete(f"{USERS}/{user_id}").status_code == 404
        assert local.post(f"{USERS}/{user_id}/password").status_code == 404
    for reach in ({"school_id": None}, {"school_id": "south"}, {"assignments": [{"school_id": "south"}]}):
        assert local.patch(f"{USERS}/{mine['id']}", json=reach).status_code == 403
        if reach != {"school_id": None}:
            assert local.post(USERS, json=new("n@school.example", **reach)).status_code == 403


def test_a_narrowed_key_gets_at_no_other_actions_by_making_people(
    admin: FlaskClient, api: Any, connection: Connection
) -> None:
    boss = create_user(connection, "boss@school.example", "Boss", "admin", "test", password=PASSWORD)
    scopes = ["users:manage", *actions_of("analyst")]
    key = create_key(connection, "narrow", "admin", None, "test", None, scopes)[1]
    narrow = api.test_client()
    narrow.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
    analyst = narrow.post(USERS, json=new(role="analyst"))
    assert analyst.status_code == 201
    assert narrow.post(USERS, json=new("a@school.example", role="admin")).status_code == 403
    assert narrow.patch(f"{USERS}/{analyst.json['user']['id']}", json={"role": "admin"}).status_code == 403
    assert narrow.post(f"{USERS}/{boss}/password").status_code == 403
    assert narrow.patch(f"{USERS}/{boss}", json={"email": "mine@school.example"}).status_code == 403
    assert narrow.delete(f"{USERS}/{boss}").status_code == 403
    assert narrow.delete(f"{USERS}/{analyst.json['user']['id']}").status_code == 200


def test_the_last_admin_stays(connection: Connection) -> None:
    first, second = (
        create_user(connection, f"{name}@school.example", name, "admin", "test") for name in "ab"
    )
    create_user(connection, "c@school.example", "c", "admin", "test", school_id="main")
    change_user(connection, first, "test", disabled=True)
    for change in ({"disabled": True}, {"role": "analyst"}, {"school_id": "main"}):
        with pytest.raises(Conflict):
            change_user(connection, second, "test", **change)  # type: ignore[arg-type]
    change_user(connection, second, "test", name="still here")


def test_two_admins_who_disable_each_other_do_not_both_succeed(
    connection: Connection, database_url: str
) -> None:
    ids = [create_user(connection, f"{name}@school.example", name, "admin", "test") for name in "ab"]
    outcomes: list[str] = []
    together = threading.Barrier(2)

    def disable(user_id: UUID) -> None:
        with connect(database_url) as own:
            together.wait()
            try:
                change_user(own, user_id, "test", disabled=True)
                outcomes.append("disabled")
            except Exception as error:  # a deadlock would be an answer too: what counts is who is left
                outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=disable, args=(user_id,)) for user_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(user.state == "active" for user in list_users(connection)) >= 1
    assert "disabled" in outcomes


@pytest.mark.parametrize(
    ("email", "name", "role"),
    [
        ("no-at-sign", "N", "analyst"),
        ("a@b", " ", "analyst"),
        (" a@b", "N", "analyst"),
        ("a@b", "N", "god"),
        ("=?utf-8?b?!!?=@x.example", "N", "analyst"),
        ("a@b\r\nBcc:c@d", "N", "analyst"),
        ("@b", "N", "analyst"),
    ],
)
def test_an_account_that_cannot_be_is_refused(
    connection: Connection, email: str, name: str, role: str
) -> None:
    with pytest.raises(AccountRefused):
        create_user(connection, email, name, role, "test")


@pytest.mark.parametrize(
    ("email", "status"),
    [
        ("=?utf-8?b?!!?=@x.example", 422),
        ("a==?b@x.example", 422),
        ("=a?b==@x.example", 201),
        ("?=b=@x.example", 201),
    ],
)
def test_no_address_holds_what_begins_an_encoded_word(admin: FlaskClient, email: str, status: int) -> None:
    assert admin.post(USERS, json=new(email)).status_code == status
    if status == 201:
        made = admin.get(USERS).get_json()["items"][0]["id"]
        assert admin.patch(f"{USERS}/{made}", json={"email": f"=?{email}"}).status_code == 422


def test_every_change_is_in_the_audit_trail_without_names(connection: Connection, admin: FlaskClient) -> None:
    user_id = admin.post(USERS, json=new(school_id="main")).get_json()["user"]["id"]
    admin.patch(f"{USERS}/{user_id}", json={"role": "admin", "name": "Tola"})
    admin.delete(f"{USERS}/{user_id}")
    rows = connection.execute(
        "select action, detail from ops.audit where subject = %s order by audit_id", (f"user:{user_id}",)
    ).fetchall()
    assert [row["action"] for row in rows] == [
        "users:create", "users:change", "users:change",
    ]  # fmt: skip
    assert rows[1]["detail"] == {"changed": ["name", "role"], "role": "admin"}
    assert rows[2]["detail"] == {"changed": ["disabled"], "disabled": True}
    assert not {"Tolu", "Tola", "t@school.example"} & set(json.dumps([dict(row) for row in rows]).split('"'))


def test_the_first_admin_is_made_once(connection: Connection, api: Any) -> None:
    password = make_first_admin(connection)
    assert password is not None
    assert make_first_admin(connection) is None
    assert find_user(connection, FIRST_ADMIN).role == "admin"
    sent = {"email": FIRST_ADMIN, "password": password, "new_password": PASSWORD}
    assert api.test_client().post("/api/v1/session", json=sent).status_code == 201


def test_no_first_admin_is_made_where_somebody_is(connection: Connection) -> None:
    create_user(connection, "a@school.example", "A", "analyst", "test")
    assert make_first_admin(connection) is None


@pytest.fixture
def laurel(settings: Settings) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `laurel users …` on the test's database; `said` is what is typed."""
    environment = os.environ | {
        "LAUREL_DATABASE_URL": settings.database_url.get_secret_value(),
        "LAUREL_SECRET_KEY": settings.secret_key.get_secret_value(),
        "LAUREL_PSEUDONYM_KEY": settings.pseudonym_key.get_secret_value(),
        "LAUREL_STORE_URL": settings.store_url,
    }

    def run(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("laurel")), "users", *arguments],
            env=environment, cwd=PROJECT_DIR, capture_output=True, text=True, input=said, timeout=120,
        )  # fmt: skip

    return run


def test_the_command_line_makes_people_and_shows_a_password_once(
    laurel: Callable[..., subprocess.CompletedProcess[str]], connection: Connection
) -> None:
    added = laurel("add", "t@school.example", "--name", "Tolu", "--role", "teacher", "--generate", "--json")
    assert added.returncode == 0, added.stderr
    made = json.loads(added.stdout)
    assert made["password"]
    assigned = laurel("assign", "t@school.example", "--school", "main", "--grade", "JSS1", "--json")
    assert assigned.returncode == 0, assigned.stderr
    assert json.loads(assigned.stdout)["assignments"] == [
        {"school_id": "main", "grade_level": "JSS1", "subject": None}
    ]
    listed = laurel("list", "--json")
    assert [user["email"] for user in json.loads(listed.stdout)] == ["t@school.example"]
    assert made["password"] not in listed.stdout
    assert sign_in(connection, "t@school.example", made["password"], "203.0.113.1", PASSWORD)
    removed = laurel("assign", "t@school.example", "--school", "main", "--grade", "JSS1", "--remove")
    assert removed.returncode == 0, removed.stderr
    assert get_user(connection, UUID(made["id"])).assignments == ()


def test_the_command_line_takes_a_typed_password(
    laurel: Callable[..., subprocess.CompletedProcess[str]], connection: Connection
) -> None:
    typed = laurel("add", "a@school.example", "--role", "admin", said=f"{PASSWORD}\n{PASSWORD}\n")
    assert typed.returncode == 0, typed.stderr
    assert PASSWORD not in typed.stdout + typed.stderr
    assert sign_in(connection, "a@school.example", PASSWORD, "203.0.113.1")
    weak = laurel("password", "a@school.example", said="password1234\npassword1234\n")
    assert weak.returncode == 1
    assert "easy to guess" in weak.stderr
    assert sign_in(connection, "a@school.example", PASSWORD, "203.0.113.1")


def test_the_command_line_disables_and_enables(
    laurel: Callable[..., subprocess.CompletedProcess[str]], connection: Connection
) -> None:
    create_user(connection, "t@school.example", "T", "teacher", "test", assignments=[Assignment("main")])
    assert laurel("disable", "T@school.example").returncode == 0
    assert find_user(connection, "t@school.example").state == "disabled"
    undone = laurel("disable", "t@school.example", "--undo", "--json")
    assert json.loads(undone.stdout)["state"] == "active"
    unknown = laurel("disable", "nobody@school.example")
    assert unknown.returncode == 1
    assert "no user" in unknown.stderr


def test_a_weak_password_makes_no_account(connection: Connection) -> None:
    with pytest.raises(WeakPassword):
        create_user(connection, "a@school.example", "A", "analyst", "test", password="password1234")
    assert list_users(connection) == []
