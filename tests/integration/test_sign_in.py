"""Signing in and out over HTTP: by JSON and by the pages."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import argon2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from structlog.testing import CapturingLogger

from backend import limits, services
from backend.app import create_app
from elt.people import sign_in as signing
from elt.people.user_passwords import make_password
from elt.people.users import change_user, create_user
from elt.settings import Settings
from elt.warehouse import Connection

EMAIL = "ada@school.example"
PASSWORD = "violin tractor ninety"
ORIGIN = {"Origin": "http://localhost"}
SESSION = "/api/v1/session"


@pytest.fixture
def ada(connection: Connection) -> UUID:
    """An admin who has chosen a password."""
    return create_user(connection, EMAIL, "Ada", "admin", "test", password=PASSWORD)


@pytest.fixture
def browser(api: Flask) -> FlaskClient:
    """A client without a key that keeps its cookies."""
    return api.test_client()


def enter(client: FlaskClient, password: str = PASSWORD, email: str = EMAIL, **more: Any) -> Any:
    return client.post(SESSION, json={"email": email, "password": password, **more})


def audited(connection: Connection) -> list[tuple[str, str, str]]:
    """Who did what to whom, of sessions and accounts."""
    rows = connection.execute(
        "select actor, action, subject from ops.audit where action ~ '^(session|users)' order by audit_id"
    )
    return [tuple(row.values()) for row in rows]  # type: ignore[misc]


def test_who_has_signed_in_may_call_the_api_until_signing_out(ada: UUID, browser: FlaskClient) -> None:
    assert browser.get("/api/v1/keys").status_code == 401
    answer = enter(browser)
    assert answer.status_code == 201
    said = answer.get_json()
    assert (said["id"], said["kind"], said["role"], said["email"]) == (f"user:{ada}", "user", "admin", EMAIL)
    assert browser.get("/api/v1/keys").status_code == 200
    assert browser.get(SESSION).get_json() == said
    headers = {**ORIGIN, "X-CSRF-Token": said["csrf_token"]}
    assert browser.delete(SESSION, headers=headers).status_code == 204
    assert browser.get(SESSION).status_code == 401


def test_signing_out_makes_a_copied_cookie_worthless(ada: UUID, api: Flask, browser: FlaskClient) -> None:
    said = enter(browser).get_json()
    thief = api.test_client()
    thief.set_cookie("laurel_session", browser.get_cookie("laurel_session").value)  # type: ignore[union-attr]
    assert thief.get(SESSION).status_code == 200
    browser.delete(SESSION, headers={**ORIGIN, "X-CSRF-Token": said["csrf_token"]})
    assert thief.get(SESSION).status_code == 401


def test_the_cookie_is_for_the_browser_alone(ada: UUID, browser: FlaskClient) -> None:
    cookie = enter(browser).headers["Set-Cookie"]
    assert cookie.startswith("laurel_session=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


def test_behind_tls_the_cookie_is_bound_to_it(ada: UUID, browser: FlaskClient) -> None:
    answer = browser.post(
        SESSION, json={"email": EMAIL, "password": PASSWORD}, base_url="https://laurel.example"
    )
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-laurel_session=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert browser.get(SESSION, base_url="https://laurel.example").status_code == 200


def test_signing_in_again_ends_the_session_before(
    ada: UUID, browser: FlaskClient, connection: Connection
) -> None:
    enter(browser)
    before = browser.get_cookie("laurel_session")
    enter(browser)
    assert browser.get_cookie("laurel_session") != before
    assert len(connection.execute("select from ops.sessions").fetchall()) == 1


@pytest.mark.parametrize(
    ("email", "password"),
    [(EMAIL, "wrong password"), ("nobody@school.example", PASSWORD), (EMAIL, PASSWORD.upper())],
)
def test_who_is_refused_is_not_told_why(
    ada: UUID, browser: FlaskClient, connection: Connection, email: str, password: str
) -> None:
    answer = enter(browser, password, email)
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert answer.get_json()["detail"] == "E-mail and password do not belong to an active account."


def test_a_disabled_account_is_refused_in_the_same_words(
    ada: UUID, browser: FlaskClient, connection: Connection
) -> None:
    other = create_user(connection, "b@school.example", "B", "analyst", "test", password=PASSWORD)
    change_user(connection, other, "test", disabled=True)
    answers = [enter(browser, email="b@school.example"), enter(browser, "wrong password")]
    assert [answer.status_code for answer in answers] == [401, 401]
    first, second = (
        {name: value for name, value in answer.get_json().items() if name != "instance"} for answer in answers
    )
    assert first == second


def test_an_unknown_account_costs_the_same_work(
    ada: UUID, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Any] = []
    really = argon2.PasswordHasher.verify

    def verify(self: Any, kept: Any, password: Any) -> Any:
        checked.append(argon2.extract_parameters(kept))
        return really(self, kept, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    enter(browser, "wrong password")
    enter(browser, "wrong password", "nobody@school.example")
    assert len(checked) == 2
    assert checked[0] == checked[1]


def test_the_e_mail_may_be_in_capitals(ada: UUID, browser: FlaskClient) -> None:
    assert enter(browser, email=EMAIL.upper()).status_code == 201


def test_an_outdated_hash_is_made_anew(ada: UUID, browser: FlaskClient, connection: Connection) -> None:
    weaker = argon2.PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD)
    connection.execute("update ops.users set password_hash = %s", (weaker,))
    assert enter(browser).status_code == 201
    row = connection.execute("select password_hash from ops.users").fetchone()
    assert row is not None
    assert argon2.extract_parameters(row["password_hash"]) == argon2.profiles.RFC_9106_LOW_MEMORY
    assert enter(browser).status_code == 201


def test_a_made_password_is_good_for_choosing_another_only(
    ada: UUID, browser: FlaskClient, connection: Connection
) -> None:
    made, _ = make_password(connection, ada, "test")
    needed = enter(browser, made)
    assert needed.status_code == 403
    assert needed.get_json()["type"] == "urn:laurel:problem:password-change-needed"
    assert enter(browser, made, new_password=made).status_code == 403
    weak = enter(browser, made, new_password="password2026")
    assert weak.status_code == 422
    assert "password2026" not in weak.text
    assert enter(browser, made, new_password=PASSWORD).status_code == 201
    assert browser.get(SESSION).status_code == 200
    assert enter(browser, made).status_code == 401
    assert enter(browser).status_code == 201


def test_a_made_password_expires(ada: UUID, browser: FlaskClient, connection: Connection) -> None:
    made, _ = make_password(connection, ada, "test")
    connection.execute("update ops.users set password_expires_at = now() - interval '1 second'")
    assert enter(browser, made, new_password=PASSWORD).status_code == 401


def test_one_account_is_tried_ten_times_from_one_address(
    ada: UUID, browser: FlaskClient, connection: Connection
) -> None:
    statuses = [enter(browser, "wrong password").status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    answer = enter(browser)
    assert answer.status_code == 429  # also with the right password
    assert 0 < int(answer.headers["Retry-After"]) <= signing.WINDOW_SECONDS
    assert enter(browser, "wrong password", "nobody@school.example").status_code == 401
    assert ("anonymous", "session:throttled", "") in audited(connection)
    connection.execute("update ops.rates set expires_at = now()")
    assert enter(browser).status_code == 201


def test_many_tries_at_once_gain_nothing(ada: UUID, api: Flask) -> None:
    with ThreadPoolExecutor(12) as threads:
        statuses = list(
            threads.map(lambda _: enter(api.test_client(), "wrong password").status_code, range(14))
        )
    # On a busy machine a try may also wait too long for its turn, which is a 429, too.
    assert statuses.count(401) <= 10
    assert set(statuses) == {401, 429}


def test_an_unknown_account_is_throttled_alike(ada: UUID, browser: FlaskClient) -> None:
    statuses = [enter(browser, "wrong password", "nobody@school.example").status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]


@pytest.mark.parametrize("limit", ["address", "account"])
def test_many_accounts_from_one_address_and_one_account_from_many_are_throttled(
    ada: UUID, api: Flask, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setitem(signing.LIMITS, limit, 3)
    for number in range(4):
        client = api.test_client()
        email = f"{number}@school.example" if limit == "address" else EMAIL
        if limit == "account":
            client.environ_base["REMOTE_ADDR"] = f"203.0.113.{number}"
        statuses = enter(client, "wrong password", email).status_code
        assert statuses == (401 if number < 3 else 429)


@pytest.mark.parametrize("spelling", ["a\0da@school.example", "ADA@school.example", " ada@school.example\0"])
def test_another_spelling_of_an_e_mail_gives_no_more_tries(
    ada: UUID, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.setitem(signing.LIMITS, "account", 1)
    assert browser.post("/sign-in", data={"email": EMAIL, "password": "wrong"}).status_code == 401
    assert browser.post("/sign-in", data={"email": spelling, "password": PASSWORD}).status_code == 429


def test_many_who_sign_in_leave_connections_to_others(
    ada: UUID, browser: FlaskClient, client_of: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_PATIENCE_SECONDS", 0.01)
    taken = 0
    while limits._SIGN_INS.acquire(blocking=False):
        taken += 1
    try:
        assert taken < services._POOL_SIZE
        for answer in (enter(browser), browser.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})):
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
        assert client_of("admin").get("/api/v1/keys").status_code == 200
    finally:
        for _ in range(taken):
            limits._SIGN_INS.release()
    for _ in range(taken):
        assert enter(browser).status_code == 201


def test_a_success_forgets_the_failures_before(ada: UUID, browser: FlaskClient) -> None:
    for _ in range(2):
        assert [enter(browser, "wrong password").status_code for _ in range(9)] == [401] * 9
        assert enter(browser).status_code == 201


def test_one_ipv6_customer_is_one_address() -> None:
    keys = {signing._keys(EMAIL, address)["address"] for address in ("2001:db8::1", "2001:db8:0:0:ffff::2")}
    assert len(keys) == 1
    assert EMAIL not in str(signing._keys(EMAIL, "203.0.113.1"))


@pytest.mark.parametrize(
    ("headers", "with_token", "status"),
    [
        (ORIGIN, True, 204),
        ({"Sec-Fetch-Site": "same-origin"}, True, 204),
        (ORIGIN, False, 403),
        ({}, True, 403),
        ({"Origin": "https://evil.example"}, True, 403),
        ({"Origin": "null"}, True, 403),
        ({"Sec-Fetch-Site": "cross-site", **ORIGIN}, True, 403),
        ({"Sec-Fetch-Site": "same-site", **ORIGIN}, True, 403),
    ],
)
def test_what_changes_something_must_come_from_our_own_pages(
    ada: UUID, browser: FlaskClient, headers: dict[str, str], with_token: bool, status: int
) -> None:
    token = enter(browser).get_json()["csrf_token"]
    answer = browser.delete(SESSION, headers={**headers, **({"X-CSRF-Token": token} if with_token else {})})
    assert answer.status_code == status
    assert browser.get(SESSION).status_code == (401 if status == 204 else 200)


def test_behind_a_server_with_tls_its_address_is_ours(ada: UUID, settings: Settings) -> None:
    behind = create_app(settings.model_copy(update={"public_url": "https://laurel.example"}))
    client = behind.test_client()
    answer = enter(client)  # as the server in front asks: without TLS, by another name
    assert answer.headers["Set-Cookie"].startswith("__Host-laurel_session=")
    headers = {"X-CSRF-Token": answer.get_json()["csrf_token"], "Cookie": answer.headers["Set-Cookie"]}
    for origin, status in (("https://evil.example", 403), ("https://laurel.example", 204)):
        assert client.delete(SESSION, headers={**headers, "Origin": origin}).status_code == status
    behind.extensions["laurel"].close()


def test_the_token_of_another_session_does_not_fit(ada: UUID, api: Flask, browser: FlaskClient) -> None:
    other = enter(api.test_client()).get_json()["csrf_token"]
    assert other != enter(browser).get_json()["csrf_token"]
    assert browser.delete(SESSION, headers={**ORIGIN, "X-CSRF-Token": other}).status_code == 403
    assert browser.delete(SESSION, headers={**ORIGIN, "X-CSRF-Token": "ü"}).status_code == 403


def test_a_key_needs_no_token(researcher: FlaskClient) -> None:
    answer = researcher.post("/api/v1/uploads", headers={"Origin": "https://evil.example"})
    assert answer.status_code != 403


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_site_cannot_sign_somebody_in(
    ada: UUID, browser: FlaskClient, headers: dict[str, str]
) -> None:
    sent = {"email": EMAIL, "password": PASSWORD}
    assert browser.post("/sign-in", data=sent, headers=headers).status_code == 403
    assert browser.post(SESSION, json=sent, headers=headers).status_code == 403


def test_a_key_tells_who_it_is_and_cannot_sign_out(client_of: Callable[..., FlaskClient]) -> None:
    client = client_of("teacher", "main")
    said = client.get(SESSION).get_json()
    assert (said["kind"], said["role"], said["school_id"], said["csrf_token"]) == (
        "key",
        "teacher",
        "main",
        None,
    )
    assert client.delete(SESSION).status_code == 409


def test_signing_in_and_out_is_in_the_audit_trail(
    ada: UUID, browser: FlaskClient, connection: Connection
) -> None:
    enter(browser, "wrong password")
    enter(browser, PASSWORD, "secret-typed-in-the-wrong-field@x.example")
    token = enter(browser).get_json()["csrf_token"]
    browser.delete(SESSION, headers={**ORIGIN, "X-CSRF-Token": token})
    person = f"user:{ada}"
    assert audited(connection)[1:] == [
        ("anonymous", "session:create", person),
        ("anonymous", "session:create", ""),
        (person, "session:start", person),
        (person, "session:end", person),
    ]
    trail = json.dumps(connection.execute("select detail from ops.audit").fetchall())
    assert "secret-typed" not in trail
    assert PASSWORD not in trail


def test_the_page_signs_in_and_leads_on(ada: UUID, browser: FlaskClient) -> None:
    page = browser.get("/sign-in?next=/apidocs/")
    assert page.status_code == 200
    assert 'name="next" value="/apidocs/"' in page.text
    assert "script-src" not in page.headers["Content-Security-Policy"]
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    form = {"email": EMAIL, "password": PASSWORD, "next": "/apidocs/"}
    answer = browser.post("/sign-in", data=form, headers=ORIGIN)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/apidocs/")
    assert browser.get(SESSION).status_code == 200


@pytest.mark.parametrize("evil", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_the_page_leads_to_no_other_site(ada: UUID, browser: FlaskClient, evil: str) -> None:
    assert "evil" not in browser.get("/sign-in", query_string={"next": evil}).text
    form = {"email": EMAIL, "password": PASSWORD, "next": evil}
    assert browser.post("/sign-in", data=form, headers=ORIGIN).headers["Location"] == "/"


def test_the_page_says_what_is_wrong_and_repeats_no_password(ada: UUID, browser: FlaskClient) -> None:
    email = '"><script>alert(1)</script>'
    answer = browser.post("/sign-in", data={"email": email, "password": "wrong password"}, headers=ORIGIN)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "<script>" not in answer.text
    assert "wrong password" not in answer.text


def test_the_page_for_a_made_password_asks_for_another_one(
    ada: UUID, browser: FlaskClient, connection: Connection
) -> None:
    made, _ = make_password(connection, ada, "test")
    asked = browser.post("/sign-in", data={"email": EMAIL, "password": made}, headers=ORIGIN)
    assert asked.status_code == 403
    assert 'name="new_password"' in asked.text
    form = {"email": EMAIL, "password": made, "new_password": "too short"}
    assert browser.post("/password", data=form, headers=ORIGIN).status_code == 422
    form["new_password"] = PASSWORD
    assert browser.post("/password", data=form, headers=ORIGIN).status_code == 303
    assert EMAIL in browser.get("/password").text
    assert enter(browser).status_code == 201


def test_too_many_tries_are_told_on_the_page(ada: UUID, browser: FlaskClient) -> None:
    for _ in range(11):
        answer = browser.post("/sign-in", data={"email": EMAIL, "password": "wrong"}, headers=ORIGIN)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert "Too many tries" in answer.text


def test_the_page_signs_out_by_a_button_only(ada: UUID, browser: FlaskClient) -> None:
    enter(browser)
    page = browser.get("/sign-out")
    assert browser.get(SESSION).status_code == 200
    assert browser.post("/sign-out", headers=ORIGIN).status_code == 403
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    answer = browser.post("/sign-out", data={"csrf_token": found[1]}, headers=ORIGIN)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert browser.get(SESSION).status_code == 401


def test_signing_out_without_a_session_harms_nothing(browser: FlaskClient) -> None:
    page = browser.get("/sign-out").text
    assert "You are not signed in." in page
    assert "<form" not in page
    assert browser.post("/sign-out", headers=ORIGIN).status_code == 303


def test_a_page_of_a_session_before_says_so_in_words(ada: UUID, browser: FlaskClient) -> None:
    """Somebody had the page open in another tab while they signed in again."""
    enter(browser)
    found = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/sign-out").text)
    assert found is not None
    enter(browser)
    asked = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", **ORIGIN}
    answer = browser.post("/sign-out", data={"csrf_token": found[1]}, headers=asked)
    assert (answer.status_code, answer.content_type) == (403, "text/html; charset=utf-8")
    assert "signed in or out since this page was opened" in answer.text
    assert "X-CSRF-Token" not in answer.text


def test_what_is_wrong_is_a_page_for_browsers_and_a_document_for_programs(browser: FlaskClient) -> None:
    page = browser.get("/<script>x</script>", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (page.status_code, page.content_type) == (404, "text/html; charset=utf-8")
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for path, accepted in (("/nothing", "*/*"), ("/nothing", ""), ("/api/v1/uploads", "text/html")):
        document = browser.get(path, headers={"Accept": accepted})
        assert document.content_type == "application/problem+json", path


def test_nothing_of_a_sign_in_is_logged(
    ada: UUID, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not what reaches a stream: whichever test came before may have set up logging.
    log = CapturingLogger()
    for name, module in list(sys.modules.items()):
        if name.startswith(("backend.", "elt.")) and hasattr(module, "_log"):
            monkeypatch.setattr(module, "_log", log)
    token = enter(browser, new_password="harbour lantern quilt").get_json()["csrf_token"]
    cookie = browser.get_cookie("laurel_session")
    assert cookie is not None
    logged = str(log.calls)
    assert "session" in logged
    for secret in (PASSWORD, "harbour", EMAIL, token, cookie.value):
        assert secret not in logged
