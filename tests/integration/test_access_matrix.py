"""Every route, asked by every role, by key and by session, for things of the caller's own and of others."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from backend.access import action_of
from backend.permissions import PERMISSIONS, ROLES, Caller, actions_of, scope_of
from backend.session_cookie import csrf_token
from elt.people.keys import create_key
from elt.people.principals import Principal
from elt.people.sessions import start_session
from elt.people.users import create_user
from elt.runs import start_run
from elt.settings import Settings
from elt.warehouse import Connection
from tests.conftest import Sender

BASE = "/api/v1"
OUTSIDE = {"REMOTE_ADDR": "203.0.113.9"}  # a caller on this machine may do a little more
FILE = (
    b"Student ID,First Name,Last Name,Gender,Grade Level,Date of Birth\nSTU1,Ada,Obi,Female,JSS1,2010-01-01\n"
)

# What a stranger's thing is, by the name of the route's argument. `None`: it is nobody's own; which rows of
# it a caller sees is decided in the database and tested there.
OBJECTS: dict[str, str | None] = {
    "upload_id": "upload",
    "run_id": "run",
    "key_id": "key",
    "user_id": "user",
    "dataset": None,
    "name": None,
    "filename": None,
    "school_id": None,
    "student_id": None,
    "subscription_id": None,
    "note_id": None,
    "dispute_id": None,
}

# Said once more in plain numbers, so that a mistake in the table of permissions shows:
# anonymous, researcher, teacher, analyst, admin.
EXPECTED: dict[tuple[str, str], tuple[int, int, int, int, int]] = {
    ("GET", "/healthz"): (200, 200, 200, 200, 200),
    ("GET", "/openapi.json"): (200, 200, 200, 200, 200),
    ("GET", "/metrics"): (401, 403, 403, 403, 200),
    ("GET", f"{BASE}/datasets"): (401, 200, 200, 200, 200),
    ("POST", f"{BASE}/datasets"): (401, 422, 403, 403, 422),
    ("GET", f"{BASE}/uploads"): (401, 200, 403, 403, 200),
    ("POST", f"{BASE}/uploads"): (401, 422, 403, 403, 422),
    ("POST", f"{BASE}/runs"): (401, 403, 403, 403, 409),
    ("GET", f"{BASE}/sources"): (401, 403, 403, 403, 200),
    ("GET", f"{BASE}/keys"): (401, 403, 403, 403, 200),
    ("POST", f"{BASE}/keys"): (401, 403, 403, 403, 415),
    ("GET", f"{BASE}/users"): (401, 403, 403, 403, 200),
    ("POST", f"{BASE}/users"): (401, 403, 403, 403, 415),
    ("GET", f"{BASE}/audit"): (401, 403, 403, 403, 200),
    ("GET", f"{BASE}/erasures"): (401, 403, 403, 403, 200),
    ("POST", f"{BASE}/erasures"): (401, 403, 403, 403, 415),
    ("GET", f"{BASE}/disputes"): (401, 403, 403, 403, 200),
    ("POST", f"{BASE}/query"): (401, 403, 403, 415, 415),
    ("GET", f"{BASE}/provenance"): (401, 403, 422, 403, 422),
    ("GET", f"{BASE}/session"): (401, 200, 200, 200, 200),
    ("GET", f"{BASE}/live/pisa"): (401, 200, 200, 200, 200),
    ("GET", f"{BASE}/live/pisa/stream"): (401, 200, 200, 200, 200),
    ("GET", "/"): (401, 200, 200, 200, 200),
    ("GET", "/hand-in"): (401, 200, 403, 403, 200),
    ("GET", "/uploads"): (401, 200, 403, 403, 200),
    ("GET", "/summary"): (401, 403, 404, 403, 404),
    ("GET", "/provenance"): (401, 403, 422, 403, 422),
    ("GET", "/disputes"): (401, 403, 403, 403, 200),
    ("GET", "/worklist"): (401, 403, 404, 403, 404),  # nothing is built here
    ("GET", "/marts"): (401, 200, 200, 200, 200),
    ("GET", "/dictionary"): (401, 200, 200, 200, 200),
    ("GET", "/lineage"): (401, 403, 403, 200, 200),
    ("GET", "/lineage/dbt/"): (401, 403, 403, 404, 404),  # nothing is built here
    ("GET", "/sql"): (401, 403, 403, 200, 200),
    ("POST", "/sql"): (401, 403, 403, 422, 422),
    ("GET", "/report"): (401, 403, 422, 403, 422),
    ("GET", "/report.pdf"): (401, 403, 422, 403, 422),
    ("GET", "/account"): (401, 409, 409, 409, 409),  # keys have none
    ("GET", "/live"): (401, 200, 200, 200, 200),
    ("GET", "/resources"): (401, 403, 403, 404, 404),
    ("GET", "/insights"): (401, 403, 403, 404, 404),
    ("GET", "/admin"): (401, 403, 403, 200, 200),
    ("GET", "/admin/runs"): (401, 200, 403, 200, 200),
    ("POST", "/admin/runs"): (401, 403, 403, 403, 409),
    ("GET", "/admin/quality"): (401, 403, 403, 403, 200),
    ("GET", "/admin/people"): (401, 403, 403, 403, 200),
    ("POST", "/admin/people/new"): (401, 403, 403, 403, 422),
    ("GET", "/admin/keys"): (401, 403, 403, 403, 200),
    ("POST", "/admin/keys/new"): (401, 403, 403, 403, 422),
    ("GET", "/admin/audit"): (401, 403, 403, 403, 200),
    ("POST", "/admin/audit/verify"): (401, 403, 403, 403, 200),
    ("GET", "/admin/erasures"): (401, 403, 403, 403, 200),
    ("POST", "/admin/erasures"): (401, 403, 403, 403, 422),
    ("GET", "/models"): (401, 200, 200, 200, 200),
    ("GET", "/tmins"): (200, 200, 200, 200, 200),
}


@dataclass(frozen=True)
class Asker:
    """Somebody who asks: with a key, with a session, or with nothing."""

    app: Flask
    headers: dict[str, str]
    principal: str = ""

    def ask(self, method: str, path: str, **sent: Any) -> TestResponse:
        return self.app.test_client(use_cookies=False).open(
            path, method=method, headers=self.headers, environ_base=OUTSIDE, **sent
        )


@dataclass(frozen=True)
class Askers:
    """Makes askers of a role, bound to a school or not."""

    app: Flask
    connection: Connection

    def by_key(self, role: str, school_id: str | None = None, scopes: list[str] | None = None) -> Asker:
        key_id, key = create_key(self.connection, "x", role, school_id, "test", scopes=scopes)
        return Asker(self.app, {"Authorization": f"Bearer {key}"}, f"key:{key_id}")

    def by_session(self, role: str, school_id: str | None = None) -> Asker:
        email = f"{uuid4()}@example.org"
        user_id = create_user(self.connection, email, "Somebody", role, "test", school_id=school_id)
        token = start_session(self.connection, user_id)
        headers = {
            "Cookie": f"laurel_session={token}",
            "Sec-Fetch-Site": "same-origin",
            "X-CSRF-Token": csrf_token(token),
        }
        return Asker(self.app, headers, f"user:{user_id}")

    def anonymous(self) -> Asker:
        return Asker(self.app, {})


@pytest.fixture
def askers(api: Flask, connection: Connection) -> Askers:
    return Askers(api, connection)


def routes(app: Flask) -> Iterator[tuple[Rule, str, str]]:
    """Every route with each of its methods, and its action."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        action = action_of(app, rule.endpoint)
        assert action is not None, f"{rule.rule} names no action: add `@allow(…)`."
        assert action in PERMISSIONS, f"{rule.rule}: {action} is not in backend/permissions.py."
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method, action


def path_of(rule: Rule, ids: dict[str, Any]) -> str:
    """The route's address, with these identifiers or ones of nothing."""

    def value(found: re.Match[str]) -> str:
        name = found[1].rpartition(":")[2]
        assert name in OBJECTS, f"{rule.rule}: say in OBJECTS what <{name}> is."
        return str(ids.get(name) or ("students" if name == "dataset" else UUID(int=0)))

    return re.sub(r"<([^>]+)>", value, rule.rule)


def test_every_route_lets_in_whom_the_table_says_and_nobody_else(api: Flask, askers: Askers) -> None:
    wrong = []
    for rule, method, action in routes(api):
        for role in ("anonymous", *ROLES):
            makes: list[Callable[[Any], Asker]] = [lambda _: askers.anonymous()]
            if role != "anonymous":
                makes = [askers.by_key, askers.by_session]
            for make in makes:
                status = make(role).ask(method, path_of(rule, {})).status_code
                if not fits(role, action, status):
                    wrong.append((method, rule.rule, role, status))
    assert wrong == []


def fits(role: Caller, action: str, status: int) -> bool:
    """Whether an answer is one that this role can get."""
    if scope_of("anonymous", action):
        return status < 500 or action == "health:read"
    if role == "anonymous":
        return status == 401
    return status not in (401, 403) and status < 500 if scope_of(role, action) else status == 403


@pytest.mark.parametrize(("route", "statuses"), EXPECTED.items(), ids=lambda each: " ".join(map(str, each)))
def test_the_statuses_that_matter_are_these(
    askers: Askers, route: tuple[str, str], statuses: tuple[int, ...]
) -> None:
    found = [askers.anonymous().ask(*route).status_code]
    found += [askers.by_key(role).ask(*route).status_code for role in ROLES]
    assert dict(zip(("anonymous", *ROLES), found, strict=True)) == dict(
        zip(("anonymous", "researcher", "teacher", "analyst", "admin"), statuses, strict=True)
    )


def test_the_start_page_shows_a_researcher_no_file_of_others(askers: Askers) -> None:
    sent = askers.by_key("admin").ask(
        "POST",
        f"{BASE}/uploads?dataset=students&filename=of-an-admin.csv",
        data=FILE,
        content_type="text/csv",
    )
    assert sent.status_code == 201
    shown = {
        role: b"of-an-admin.csv" in askers.by_session(role).ask("GET", "/").data
        for role in ("researcher", "admin")
    }
    assert shown == {"researcher": False, "admin": True}


@dataclass(frozen=True)
class Things:
    """Things of the school north, of which `owner` has handed in the upload."""

    sender: Sender
    owner: Asker

    def make(self) -> dict[str, Any]:
        """A fresh one of each, by the names of arguments."""
        connection = self.sender.connection
        principal = Principal(self.owner.principal, "researcher", "north")
        content = FILE + f"STU{uuid4().hex},Ada,Obi,Female,JSS1,2010-01-01\n".encode()
        upload_id = self.sender.hand_in(content, "students", school_id="north", principal=principal)
        run_id = start_run(connection, trigger="cli")
        connection.execute(
            "update ops.upload_versions set run_id = %s where upload_id = %s", (run_id, upload_id)
        )
        key_id, _ = create_key(connection, "x", "teacher", "north", "test")
        email = f"{uuid4()}@example.org"
        user_id = create_user(connection, email, "X", "teacher", "test", school_id="north")
        return {"upload_id": upload_id, "run_id": run_id, "key_id": key_id, "user_id": user_id}


@pytest.mark.parametrize("by", ["by_key", "by_session"])
def test_the_things_of_others_are_not_there(
    api: Flask, askers: Askers, sender: Sender, settings: Settings, by: str
) -> None:
    make: Callable[..., Asker] = getattr(askers, by)
    owner = make("researcher", "north")
    things = Things(sender, owner)
    mine = things.make()
    wrong = []
    standings = [("owner", owner, "researcher"), ("stranger", make("researcher", "north"), "researcher")]
    standings += [("any school", make(role), role) for role in ROLES]
    standings += [("this school", make(role, "north"), role) for role in ROLES if role != "researcher"]
    standings += [("another school", make(role, "south"), role) for role in ROLES]
    for rule, method, action in routes(api):
        if not any(OBJECTS[name] for name in rule.arguments):
            continue
        for standing, asker, role in standings:
            wanted = is_there(standing, role, action)
            # What is not there cannot be changed either, so one set of things is enough for those.
            ids = things.make() if wanted and method != "GET" else mine
            status = ask_about(asker, rule, method, ids).status_code
            if (status != 404 and status < 500) if wanted else status in (403, 404):
                continue
            wrong.append((method, rule.rule, standing, role, status))
    assert wrong == []
    assert sender.upload(mine["upload_id"]).status == "loaded"


def ask_about(asker: Asker, rule: Rule, method: str, ids: dict[str, Any]) -> TestResponse:
    path = path_of(rule, ids)
    if rule.endpoint == "uploads.replace":
        return asker.ask(method, path, data={"file": (io.BytesIO(FILE), "x.csv")})
    changes = {"uploads.amend": {"note": "x"}, "users.change": {"name": "x"}}
    return asker.ask(method, path, json=changes.get(rule.endpoint))


def is_there(standing: str, role: Caller, action: str) -> bool:
    """Whether a thing is there for somebody, as the table says."""
    scope = scope_of(role, action)
    if scope == "own":
        return standing == "owner"
    if scope == "school":
        return standing in ("any school", "this school")
    return scope == "any"


def test_nothing_tells_a_thing_of_others_from_one_that_is_not(
    api: Flask, askers: Askers, sender: Sender, settings: Settings
) -> None:
    mine = Things(sender, askers.by_key("researcher", "north")).make()
    stranger, admin = askers.by_key("researcher"), askers.by_key("admin", "south")
    for rule, method, action in routes(api):
        if not any(OBJECTS[name] for name in rule.arguments):
            continue
        for asker, role in ((stranger, "researcher"), (admin, "admin")):
            if scope_of(role, action) in (None, "any"):
                continue
            nothing = {name: uuid4() for name in mine}
            answers = [ask_about(asker, rule, method, ids) for ids in (mine, nothing)]
            texts = [
                re.sub(r"urn:uuid:[^\"]+|[0-9a-f]{8}-[0-9a-f-]{27}", "", answer.text) for answer in answers
            ]
            assert [answer.status_code for answer in answers] == [404, 404], (method, rule.rule, role)
            assert texts[0] == texts[1], (method, rule.rule, role)


def test_a_list_holds_only_what_the_caller_may_see(askers: Askers, sender: Sender) -> None:
    owner = askers.by_key("researcher", "north")
    mine = Things(sender, owner).make()

    def listed(asker: Asker, what: str) -> set[str]:
        return {item["id"] for item in asker.ask("GET", f"{BASE}/{what}").json["items"]}  # type: ignore[index]

    for what, name in (("uploads", "upload_id"), ("runs", "run_id")):
        assert listed(owner, what) == {str(mine[name])}
        assert listed(askers.by_key("researcher", "north"), what) == set()
    for what, name in (("uploads", "upload_id"), ("keys", "key_id"), ("users", "user_id")):
        assert str(mine[name]) in listed(askers.by_key("admin"), what)
        assert str(mine[name]) in listed(askers.by_key("admin", "north"), what)
        assert str(mine[name]) not in listed(askers.by_key("admin", "south"), what)


def test_a_key_does_no_more_than_it_was_narrowed_to(api: Flask, askers: Askers) -> None:
    narrow = askers.by_key("admin", scopes=["keys:manage", "datasets:read"])
    for rule, method, action in routes(api):
        if action in actions_of("anonymous") | {"keys:manage", "datasets:read"}:
            continue
        assert narrow.ask(method, path_of(rule, {})).status_code == 403, (method, rule.rule)
    body = {"name": "x", "role": "admin"}
    assert narrow.ask("POST", f"{BASE}/keys", json=body).status_code == 403
    assert narrow.ask("POST", f"{BASE}/keys", json={**body, "scopes": ["audit:read"]}).status_code == 403
    made = narrow.ask("POST", f"{BASE}/keys", json={**body, "scopes": ["datasets:read"]})
    assert (made.status_code, made.json["scopes"]) == (201, ["datasets:read"])  # type: ignore[index]
    [shown, *_] = narrow.ask("GET", f"{BASE}/keys").json["items"]  # type: ignore[index]
    assert shown["scopes"] == ["datasets:read"]
    beyond = {"name": "x", "role": "teacher", "scopes": ["keys:manage"]}
    assert askers.by_key("admin").ask("POST", f"{BASE}/keys", json=beyond).status_code == 422


def test_an_admin_of_one_school_makes_keys_for_no_other(askers: Askers) -> None:
    admin = askers.by_key("admin", "north")
    body = {"name": "x", "role": "admin"}
    for other in ({}, {"school_id": "south"}, {"school_id": None}):
        assert admin.ask("POST", f"{BASE}/keys", json={**body, **other}).status_code == 403
    assert admin.ask("POST", f"{BASE}/keys", json={**body, "school_id": "north"}).status_code == 201


def test_a_session_that_has_ended_lets_nobody_in(askers: Askers) -> None:
    person = askers.by_session("admin")
    assert person.ask("GET", f"{BASE}/keys").status_code == 200
    assert person.ask("DELETE", f"{BASE}/session").status_code == 204
    assert person.ask("GET", f"{BASE}/keys").status_code == 401


def test_the_keys_of_an_account_let_nobody_in_while_it_is_disabled(askers: Askers) -> None:
    person, other = askers.by_session("admin"), askers.by_key("admin")
    askers.by_session("admin")  # so that the person is not the last one
    made = person.ask("POST", f"{BASE}/keys", json={"name": "x", "role": "admin"}).json
    assert made is not None
    own = Asker(askers.app, {"Authorization": f"Bearer {made['key']}"}, f"key:{made['id']}")
    assert own.ask("GET", f"{BASE}/keys").status_code == 200

    def shown() -> tuple[str, str]:
        items = other.ask("GET", f"{BASE}/keys").json["items"]  # type: ignore[index]
        return next((item["state"], item["owner"]) for item in items if item["id"] == made["id"])

    account = f"{BASE}/users/{person.principal.removeprefix('user:')}"
    assert other.ask("DELETE", account).status_code == 200
    assert own.ask("GET", f"{BASE}/keys").status_code == 401
    assert shown() == ("suspended", person.principal)
    assert other.ask("PATCH", account, json={"disabled": False}).status_code == 200
    assert own.ask("GET", f"{BASE}/keys").status_code == 200
    assert shown() == ("active", person.principal)


def test_where_a_key_is_sent_the_cookie_does_not_count(askers: Askers, api: Flask) -> None:
    client: FlaskClient = api.test_client(use_cookies=False)
    cookie = askers.by_session("admin").headers
    for authorization in ("Bearer wrong", "Basic YTpi", askers.by_key("teacher").headers["Authorization"]):
        headers = {**cookie, "Authorization": authorization}
        assert client.get(f"{BASE}/keys", headers=headers).status_code in (401, 403)
