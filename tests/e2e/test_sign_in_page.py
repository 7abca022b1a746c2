"""Signing in and out in a real browser, on the application served as in production."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from elt.people.user_passwords import make_password
from elt.people.users import create_user
from elt.warehouse import connect
from tests.conftest import PostgresServer
from tests.served_api import ApiServer, serve

pytestmark = pytest.mark.e2e

EMAIL = "ada@school.example"
PASSWORD = "violin tractor ninety"


@pytest.fixture(scope="module")
def api_server(
    chromium: str,
    postgres_server: PostgresServer,
    _template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ApiServer]:
    with serve(postgres_server, _template, tmp_path_factory.mktemp("sign_in")) as server:
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose content policy nothing may break."""
    faults: list[str] = []
    with browser.new_context() as context:
        opened = context.new_page()
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on(
            "console", lambda said: faults.append(said.text) if "Content Security" in said.text else None
        )
        yield opened
    assert faults == []


def test_a_new_admin_chooses_a_password_signs_in_and_out(page: Page, api_server: ApiServer) -> None:
    with connect(api_server.settings.database_url.get_secret_value()) as connection:
        user_id = create_user(connection, EMAIL, "Ada", "admin", "test")
        made, _ = make_password(connection, user_id, "test")
    page.goto(f"{api_server.url}/sign-in?next=/api/v1/session")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill("a wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not belong to an active account")
    expect(page.get_by_label("E-mail")).to_have_value(EMAIL)
    page.get_by_label("Password").fill(made)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
    if os.environ.get("LAUREL_SCREENSHOTS"):
        page.screenshot(path=f"{os.environ['LAUREL_SCREENSHOTS']}/password.png", full_page=True)
    page.get_by_label("Present password").fill(made)
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_role("button", name="Change and sign in").click()
    page.wait_for_url(f"{api_server.url}/api/v1/session")
    expect(page.locator("body")).to_contain_text(EMAIL)
    [cookie] = page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("laurel_session", True, "Lax")
    page.goto(f"{api_server.url}/sign-out")
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{api_server.url}/sign-in")
    assert page.context.cookies() == []
    assert page.goto(f"{api_server.url}/api/v1/session").status == 401  # type: ignore[union-attr]


def test_the_form_is_used_by_keyboard_alone(page: Page, api_server: ApiServer) -> None:
    with connect(api_server.settings.database_url.get_secret_value()) as connection:
        create_user(connection, "keys@school.example", "Keys", "teacher", "test", password=PASSWORD)
    page.goto(f"{api_server.url}/sign-in")
    for _ in range(4):  # past the link to the content, the name of the site, and the colours
        page.keyboard.press("Tab")
    expect(page.get_by_label("E-mail")).to_be_focused()
    page.keyboard.type("keys@school.example")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{api_server.url}/")


def test_a_form_of_another_site_cannot_act(page: Page, api_server: ApiServer) -> None:
    with connect(api_server.settings.database_url.get_secret_value()) as connection:
        create_user(connection, "b@school.example", "B", "teacher", "test", password=PASSWORD)
    page.goto(f"{api_server.url}/sign-in?next=/api/v1/session")
    page.get_by_label("E-mail").fill("b@school.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{api_server.url}/api/v1/session")
    page.goto("about:blank")
    page.set_content(f'<form method="post" action="{api_server.url}/sign-out"><button>Win</button></form>')
    with page.expect_navigation() as answered:
        page.get_by_role("button", name="Win").click()
    assert answered.value.url.endswith("/sign-out")
    assert answered.value.status == 403
    assert page.goto(f"{api_server.url}/api/v1/session").status == 200  # type: ignore[union-attr]


def test_what_is_wrong_is_told_in_words_on_a_narrow_screen(page: Page, api_server: ApiServer) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(f"{api_server.url}/{'nothing-of-this-name' * 10}")
    expect(page.get_by_role("heading", name="Not Found")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("link", name="To the start").click()
    page.wait_for_url(f"{api_server.url}/sign-in?next=/")  # a stranger's start
