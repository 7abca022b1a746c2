"""Signing in by OpenID Connect, against a real provider on a port of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from backend.app import create_app
from elt.errors import ConfigurationError
from elt.people.users import change_user, create_user, get_user
from elt.settings import Settings
from elt.warehouse import Connection
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, Provider, run_provider

EMAIL = "ada@school.example"
PASSWORD = "violin tractor ninety"
SESSION = "/api/v1/session"
BEGIN = "/sign-in/oidc"
CALLBACK = f"{BEGIN}/callback"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with run_provider() as running:
        running.redirect_uri = f"http://localhost{CALLBACK}"
        running.claims = {"sub": "ada-at-the-provider", "email": EMAIL, "email_verified": True}
        yield running


@pytest.fixture
def app(settings: Settings, provider: Provider) -> Iterator[Flask]:
    made = create_app(
        settings.model_copy(
            update={
                "oidc_issuer": provider.issuer,
                "oidc_client_id": CLIENT_ID,
                "oidc_client_secret": SecretStr(CLIENT_SECRET),
                "oidc_name": "Northern Schools",
            }
        )
    )
    yield made
    made.extensions["laurel"].close()


@pytest.fixture
def ada(connection: Connection) -> UUID:
    return create_user(connection, EMAIL, "Ada", "teacher", "test", school_id="main")


def visit_provider(browser: FlaskClient, path: str = BEGIN) -> str:
    """Begin here, consent there; the address to which the provider leads back."""
    sent = browser.get(path)
    assert sent.status_code == 302, sent.text
    back = httpx.get(sent.headers["Location"], timeout=90, trust_env=False)
    assert back.status_code == 302, back.text
    parts = urlsplit(back.headers["Location"])
    return f"{parts.path}?{parts.query}"


def enter(app: Flask) -> tuple[FlaskClient, Any]:
    """Go all the way with a fresh browser."""
    browser = app.test_client()
    return browser, browser.get(visit_provider(browser))


def test_a_person_signs_in_and_is_led_on(app: Flask, ada: UUID, provider: Provider) -> None:
    browser = app.test_client()
    assert "Sign in with Northern Schools" in browser.get("/sign-in").text
    answer = browser.get(visit_provider(browser, f"{BEGIN}?next=/apidocs/"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/apidocs/")
    assert browser.get(SESSION).get_json()["id"] == f"user:{ada}"
    asked = provider.asked[0]
    assert asked["code_challenge_method"] == "S256"
    assert asked["response_type"] == "code"
    assert asked["state"]
    assert asked["nonce"]
    assert browser.get_cookie("laurel_oidc") is None


def test_after_the_first_time_the_subject_counts_and_not_the_e_mail(
    app: Flask, ada: UUID, provider: Provider, connection: Connection
) -> None:
    enter(app)
    assert get_user(connection, ada).has_oidc
    provider.claims |= {"email": "other@school.example", "email_verified": False}
    browser, answer = enter(app)
    assert answer.status_code == 303
    assert browser.get(SESSION).get_json()["id"] == f"user:{ada}"


def test_an_account_that_was_given_to_another_e_mail_is_not_its_first_owners_any_more(
    app: Flask, ada: UUID, connection: Connection
) -> None:
    assert enter(app)[1].status_code == 303
    change_user(connection, ada, "test", email="grace@school.example", name="Grace")
    assert enter(app)[1].status_code == 401
    assert not get_user(connection, ada).has_oidc


def test_another_subject_with_the_same_e_mail_is_refused(app: Flask, ada: UUID, provider: Provider) -> None:
    enter(app)
    provider.claims["sub"] = "somebody-else"
    browser, answer = enter(app)
    assert answer.status_code == 401
    assert browser.get(SESSION).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": False},
        {"email_verified": None},
        {"email": None},
        {"email": "unknown@school.example"},
    ],
)
def test_who_has_no_account_gets_none(
    app: Flask, ada: UUID, provider: Provider, connection: Connection, claims: dict[str, Any]
) -> None:
    provider.claims |= claims
    browser, answer = enter(app)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert browser.get(SESSION).status_code == 401
    assert len(connection.execute("select from ops.users").fetchall()) == 1


def test_a_disabled_account_stays_out(app: Flask, ada: UUID, connection: Connection) -> None:
    change_user(connection, ada, "test", disabled=True)
    assert enter(app)[1].status_code == 401
    change_user(connection, ada, "test", disabled=False)
    assert enter(app)[1].status_code == 303
    change_user(connection, ada, "test", disabled=True)
    assert enter(app)[1].status_code == 401


def test_an_admin_is_linked_only_after_signing_in_by_password(
    app: Flask, provider: Provider, connection: Connection
) -> None:
    admin = create_user(connection, EMAIL, "Ada", "admin", "test", password=PASSWORD)
    assert enter(app)[1].status_code == 401
    browser = app.test_client()
    assert browser.post(SESSION, json={"email": EMAIL, "password": PASSWORD}).status_code == 201
    assert browser.get(visit_provider(browser)).status_code == 303
    assert browser.get(SESSION).get_json()["id"] == f"user:{admin}"
    assert enter(app)[1].status_code == 303


def test_a_role_that_the_provider_claims_changes_nothing(app: Flask, ada: UUID, provider: Provider) -> None:
    provider.claims |= {"role": "admin", "groups": ["admin"]}
    browser, _ = enter(app)
    assert browser.get(SESSION).get_json()["role"] == "teacher"


def _other_key(provider: Provider) -> None:
    provider.signing_key = RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256"})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda provider: provider.lies.update(nonce="another"),
        lambda provider: provider.lies.update(aud=["another-client"], azp=CLIENT_ID),
        lambda provider: provider.lies.update(iss="https://evil.example"),
        lambda provider: provider.lies.update(exp=1),
        _other_key,
    ],
    ids=["nonce", "audience", "issuer", "expired", "signature"],
)
def test_a_token_that_does_not_fit_is_refused(
    app: Flask, ada: UUID, provider: Provider, spoil: Callable[[Provider], None]
) -> None:
    spoil(provider)
    browser, answer = enter(app)
    assert answer.status_code == 401
    assert browser.get(SESSION).status_code == 401


def test_the_answer_fits_only_the_browser_that_asked(app: Flask, ada: UUID) -> None:
    back = visit_provider(app.test_client())
    victim = app.test_client()
    assert victim.get(back).status_code == 401
    victim.get(BEGIN)  # with a state of its own
    assert victim.get(back).status_code == 401
    assert victim.get(SESSION).status_code == 401


def test_an_answer_is_good_once(app: Flask, ada: UUID) -> None:
    browser = app.test_client()
    back = visit_provider(browser)
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 401


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?code=x&state=x", "?error=access_denied"])
def test_an_answer_that_nobody_asked_for_is_refused(app: Flask, query: str) -> None:
    answer = app.test_client().get(f"{CALLBACK}{query}")
    assert answer.status_code == 401
    assert "access_denied" not in answer.text


def test_it_leads_to_no_other_site(app: Flask, ada: UUID) -> None:
    browser = app.test_client()
    answer = browser.get(visit_provider(browser, f"{BEGIN}?next=//evil.example"))
    assert answer.headers["Location"] == "/"


def test_behind_tls_what_is_remembered_until_then_is_bound_to_it(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"public_url": "https://laurel.example"}))
    assert app.config["SESSION_COOKIE_NAME"] == "__Host-laurel_oidc"
    assert app.config["SESSION_COOKIE_SECURE"]
    assert app.config["SESSION_COOKIE_PATH"] == "/"


def test_behind_tls_the_provider_leads_back_there(settings: Settings, provider: Provider) -> None:
    behind = settings.model_copy(
        update={
            "oidc_issuer": provider.issuer,
            "oidc_client_id": CLIENT_ID,
            "public_url": "https://laurel.example/",
        }
    )
    answer = create_app(behind).test_client().get(BEGIN)
    sent = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
    assert sent["redirect_uri"] == f"https://laurel.example{CALLBACK}"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-laurel_oidc=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))


def test_a_provider_that_is_away_is_said_to_be(settings: Settings) -> None:
    away = settings.model_copy(update={"oidc_issuer": "http://localhost:1", "oidc_client_id": "x"})
    answer = create_app(away).test_client().get(BEGIN)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_without_a_provider_there_is_no_such_way(api: Flask) -> None:
    browser = api.test_client()
    assert browser.get(BEGIN).status_code == 404
    assert browser.get(f"{CALLBACK}?code=x&state=x").status_code == 404
    assert "Sign in with" not in browser.get("/sign-in").text


def test_a_provider_without_tls_is_not_taken(settings: Settings) -> None:
    with pytest.raises(ConfigurationError):
        create_app(settings.model_copy(update={"oidc_issuer": "http://provider.example"}))


def test_linking_is_in_the_audit_trail(app: Flask, ada: UUID, connection: Connection) -> None:
    enter(app)
    rows = connection.execute(
        "select action from ops.audit where actor = %s order by audit_id", (f"user:{ada}",)
    ).fetchall()
    assert [row["action"] for row in rows] == ["users:link", "session:start"]
