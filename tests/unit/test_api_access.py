"""Every route says what it does, and the table of roles knows every action."""

from __future__ import annotations

import pytest
from flask import Flask
from pydantic import SecretStr

from backend.access import action_of, allow
from backend.app import create_app
from backend.operations import operation_of
from backend.permissions import PERMISSIONS, ROLES, actions_of, scope_of
from elt.people.principals import HELPERS, SENDERS
from elt.settings import Settings

DASHBOARD = {"/submissions", "/tmins", "/escs", "/eeb", "/sot"}
PUBLIC = (
    DASHBOARD
    | {"/healthz", "/readyz", "/openapi.json", "/apispec_1.json"}
    | {"/assets/<path:name>", "/static/<path:filename>"}
    | {
        "/api/v1/healthz",
        "/api/v1/readyz",
        "/api/v1/session",
        "/sign-in",
        "/sign-in/oidc",
        "/sign-in/oidc/callback",
        "/sign-out",
        "/password",
    }
)


@pytest.fixture(scope="module")
def app() -> Flask:
    return create_app(
        Settings(
            database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"),
            secret_key=SecretStr("x" * 32),
            pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
            store_url="file:///nonexistent",
        )
    )


def test_every_route_declares_an_action_that_some_role_may_do(app: Flask) -> None:
    undeclared = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if not PERMISSIONS.get(action_of(app, rule.endpoint) or "")
    }
    assert undeclared == set()


def test_only_health_documentation_sign_in_and_figures_of_countries_are_public(app: Flask) -> None:
    public = {
        rule.rule for rule in app.url_map.iter_rules() if scope_of("anonymous", action_of(app, rule.endpoint))
    }
    assert {path for path in public if not path.startswith("/apidocs/")} == PUBLIC


def test_admins_may_do_whatever_others_may() -> None:
    for role in ROLES:
        assert actions_of(role) <= actions_of("admin")


def test_mails_go_to_the_roles_that_may_see_on_pages_what_they_tell() -> None:
    for action in ("reports:read", "interventions:read", "assignments:write", "risk:read"):
        assert set(HELPERS) == set(PERMISSIONS[action])
    for action in ("uploads:create", "uploads:read"):
        assert set(SENDERS) == set(PERMISSIONS[action])


def test_a_route_without_an_action_answers_nobody(app: Flask) -> None:
    fresh = create_app(app.extensions["laurel"].settings)
    fresh.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    assert fresh.test_client().get("/forgotten").status_code == 401


def test_a_declared_action_is_kept_by_the_declaration_of_the_operation(app: Flask) -> None:
    documented = [rule for rule in app.url_map.iter_rules() if operation_of(app, rule.endpoint)]
    assert len(documented) > 20
    assert allow("uploads:read")(lambda: None).laurel_action == "uploads:read"  # type: ignore[attr-defined]


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic YTpi", "Bearer ", "nonsense"])
def test_without_a_valid_key_one_is_asked_for(app: Flask, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = app.test_client().get("/api/v1/uploads", headers=headers)
    assert answer.status_code == 401  # the database is away here: these are not even looked up
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.content_type == "application/problem+json"


def test_metrics_are_for_this_machine_and_not_through_a_proxy(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": "203.0.113.9"}).status_code == 401
