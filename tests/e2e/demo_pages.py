"""The demo school behind a running API, for tests of its pages in a browser."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Browser, Locator, Page

from demo.answers import AnswerKey
from demo.school import write_demo_school
from elt import pipeline
from elt.people.principals import Assignment, Role
from elt.people.users import create_user
from elt.warehouse import connect
from ml.scoring import score_all
from tests.conftest import settings_of
from tests.e2e.test_demo_in_process import hand_in
from tests.served_api import ApiServer

PASSWORD = "correct horse battery staple 9"
PATIENCE = 60_000  # milliseconds; only against hanging
LOOKS = (("light", 1280), ("dark", 360))
"""Theme and width of a page that is looked at whole. A fault of a theme or a width shows in either pair."""
ROLES: tuple[Role, ...] = ("researcher", "teacher", "analyst", "admin")

_NO_PAGES = ("/api/", "/apidocs", "/assets/", "/openapi.json", "/sign-in", "/lineage/dbt/")
_DOWNLOAD = re.compile(r"[?&]csv=|\.(csv|pdf)\b")

SignIn = Callable[..., Page]
"""`sign_in(role, **context)`: the start page as somebody of a role, in a browser of their own."""


@dataclass(frozen=True)
class School:
    """The demo school behind a running API. Its files are in the folder `school` of its home."""

    server: ApiServer
    key: AnswerKey

    def run(self) -> None:
        """Load and build what waits, as the platform does; in a thread, since here Playwright's loop runs."""
        with ThreadPoolExecutor(1) as beside:
            beside.submit(pipeline.run, self.server.settings, trigger="cli", score=score_all).result()

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the database says."""
        with connect(self.server.settings.database_url.get_secret_value()) as connection:
            return connection.execute(query).fetchall()


def fill(url: str, home: Path) -> AnswerKey:
    """Write the demo school to `home`, hand it in, build the marts, score, and add somebody of each role.

    The teacher has class SS2 of the first school.
    """
    settings = settings_of(url, home)
    key = write_demo_school(home / "school")
    for name in key.files:
        hand_in(settings, home / "school" / name, key)
    pipeline.run(settings, trigger="cli", score=score_all)
    with connect(url) as connection:
        first = connection.execute("select min(school_id) as id from marts.mart_student_risk").fetchone()
        assert first is not None
        for role in ROLES:
            create_user(
                connection, f"{role}@school.example", f"A {role}", role, "test", password=PASSWORD,
                assignments=[Assignment(first["id"], "SS2")] if role == "teacher" else (),
            )  # fmt: skip
    return key


@contextmanager
def signing_in(browser: Browser, school: School, faults: list[str]) -> Iterator[SignIn]:
    """What the pages write on the console or fetch from elsewhere comes into `faults`."""
    contexts = []

    def enter(role: str, **how: Any) -> Page:
        context = browser.new_context(**how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        ours = (school.server.url, "data:", "blob:")
        page.on("request", lambda sent: None if sent.url.startswith(ours) else faults.append(sent.url))
        page.goto(school.server.url)
        page.get_by_label("E-mail").fill(f"{role}@school.example")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{school.server.url}/")
        return page

    yield enter
    for context in contexts:
        context.close()


def follow(link: Locator) -> None:
    """Click, and wait for the page that it leads to."""
    with link.page.expect_navigation():
        link.click()


def unreadable(page: Page) -> list[str]:
    """What keeps somebody from reading the page as it stands: rules of axe, being wider than the screen."""
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    found = [str(each["id"]) for each in Axe().run(page).response["violations"]]
    return found + ([f"wider than the screen by {wider} px"] if wider > 0 else [])


def pages(app: Flask, read: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Address and text of all pages that links lead to from the start, one of each kind.

    `read` fetches the page at an address, of somebody who is signed in, and answers with its text.
    """
    router = app.url_map.bind("localhost")
    waiting, seen = ["/"], {"home_pages.show_home"}
    while waiting:
        address = waiting.pop(0)
        text = read(address)
        yield address, text
        for link in re.findall(r'href="(/[^"#]*)', text):
            found = html.unescape(link)
            if found.startswith(_NO_PAGES) or _DOWNLOAD.search(found):
                continue
            assert router.test(found.partition("?")[0]), f"{address} leads to {found}, which is nowhere."
            endpoint = router.match(found.partition("?")[0])[0]
            if endpoint not in seen:
                seen.add(endpoint)
                waiting.append(found)
