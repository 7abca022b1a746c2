"""The live page in a real browser: real country databases, a real follower, the API as in production."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Literal
from uuid import UUID

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect
from pydantic import SecretStr

from elt.live.opening import find_live_source
from elt.live.prepare import prepare, reader_of
from elt.people.sessions import end_sessions, start_session
from elt.people.users import create_user
from elt.warehouse import Connection, connect
from tests.conftest import PostgresServer
from tests.countries import Country, configure, following, make_countries
from tests.e2e.demo_pages import LOOKS, PATIENCE
from tests.live_figures import Given, add_responses, add_source, clear, present_hour
from tests.served_api import ApiServer, serve

pytestmark = pytest.mark.e2e

PASSWORD = "violin tractor ninety"


@pytest.fixture(scope="module")
def api_server(
    chromium: str,
    postgres_server: PostgresServer,
    _template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ApiServer]:
    with serve(postgres_server, _template, tmp_path_factory.mktemp("live_page")) as server:
        yield server


@pytest.fixture
def connection(api_server: ApiServer) -> Iterator[Connection]:
    with connect(api_server.settings.database_url.get_secret_value()) as opened:
        clear(opened)
        yield opened


@pytest.fixture
def page(browser: Browser, api_server: ApiServer, faults: list[str]) -> Iterator[Page]:
    with browser.new_context() as context:
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE)
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        opened.on(
            "request",
            lambda sent: None if sent.url.startswith((api_server.url, "data:")) else faults.append(sent.url),
        )
        yield opened


def test_a_row_that_a_country_commits_is_seen_without_loading_again(
    page: Page,
    api_server: ApiServer,
    connection: Connection,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    countries = make_countries(postgres_server, ["ALB", "ARG"])
    configure(api_server.settings, countries, monkeypatch.setenv)
    source, address = find_live_source(api_server.settings, countries[0].name), SecretStr(countries[0].url)
    with ThreadPoolExecutor(1) as beside:  # in this thread Playwright's loop runs
        beside.submit(asyncio.run, prepare(address, source, reader_of(source, address))).result()
    countries[0].fill(1, 1200)
    create_user(connection, "ada@school.example", "Ada", "analyst", "test", password=PASSWORD)
    with following(api_server.settings):
        page.goto(f"{api_server.url}/live")
        page.get_by_label("E-mail").fill("ada@school.example")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{api_server.url}/live")
        expect(page.get_by_role("status")).to_contain_text("Connected")
        expect(cell(page, "ALB", "responses")).to_have_text("1,200")
        page.evaluate("window.isTheSamePage = true")
        commit(countries[0], 1201)
        commit(countries[1], 1)
        expect(cell(page, "ALB", "responses")).to_have_text("1,201")
        expect(cell(page, "ARG", "responses")).to_have_text("1")
        expect(page.locator("#responses")).to_have_text("1,202")
        expect(page.locator("#rate")).not_to_have_text("–")
        expect(page.get_by_role("row", name="pisa-alb")).to_contain_text(" ms")  # a canary has come through
        assert page.evaluate("window.isTheSamePage") is True
        take_pictures(page)
        page.get_by_role("navigation", name="Countries").get_by_role("link", name="ARG").click()
        page.wait_for_url(f"{api_server.url}/live?countries=ARG")
        commit(countries[0], 1202)
        commit(countries[1], 2)
        expect(page.locator("#responses")).to_have_text("2")
        expect(page.locator("#countries tbody tr")).to_have_count(1)


def test_ages_turn_stale_by_themselves_and_empty_is_said(
    page: Page, api_server: ApiServer, connection: Connection
) -> None:
    sign_in(page, api_server, connection, "b@school.example")
    page.goto(f"{api_server.url}/live")
    expect(page.get_by_text("There are no responses yet.")).to_be_visible()
    add_source(connection, "alb", "ALB")
    add_responses(connection, "alb", "ALB", [Given()])
    expect(cell(page, "ALB", "age")).to_contain_text("s ago")
    expect(page.get_by_text("There are no responses yet.")).to_be_hidden()
    connection.execute("update live.sources set read_at = now() - interval '28 seconds'")
    expect(cell(page, "ALB", "age")).to_contain_text("stale")
    connection.execute("update live.sources set problem = 'It does not answer.'")
    expect(page.get_by_role("row", name="alb").last).to_contain_text("It does not answer.")


def test_the_charts_are_drawn_anew_from_what_is_pushed(
    page: Page, api_server: ApiServer, connection: Connection
) -> None:
    sign_in(page, api_server, connection, "e@school.example")
    for code in ("ALB", "ARG", "AUS", "AUT", "BRN"):
        add_source(connection, code.lower(), code)
    hour = present_hour()
    early = [Given(1.25, 60, -0.5, 2, hour - timedelta(hours=1))] * 30
    add_responses(connection, "alb", "ALB", early)
    page.goto(f"{api_server.url}/live")
    expect(page.get_by_role("status")).to_contain_text("Connected")
    for chart in ("bubbles", "over_time", "lesson_hours", "status"):
        expect(page.locator(f"#{chart} canvas")).to_be_visible()
        page.locator(f"#{chart} canvas").hover()  # what the browser says of tooltips is noted
    page.evaluate(
        "document.addEventListener('figureschange', event => (event.target.dataset.heard = 'yes'), true)"
    )
    add_responses(connection, "arg", "ARG", [Given(-0.75, 1800, 0.5, 3, hour)] * 60)
    add_responses(connection, "aus", "AUS", [Given(3.0, 6000, 0.5, 3, hour)] * 29)  # too few for a mean
    expect(page.locator("#over_time tbody tr").last).to_contain_text("89")
    assert page.locator("figure[data-heard]").count() == 4
    assert figures(page, "lesson_hours") == [["Argentina", "30"], ["Albania", "1"], ["Australia", ""]]
    assert figures(page, "status") == [["Albania", "1.25"], ["Argentina", "-0.75"], ["Australia", ""]]
    assert figures(page, "bubbles") == [
        ["Argentina", "3", "0.5", "60"],
        ["Albania", "2", "-0.5", "30"],
        ["Australia", "", "", "29"],
    ]
    over_time = figures(page, "over_time")
    assert [value for _, value in over_time] == ["0"] * 22 + ["30", "89"]
    begun = f"{hour.day} {hour:%b} {hour:%H:%M}"
    assert over_time[-1][0] == begun.replace("Sep ", "Sept ") or over_time[-1][0] == begun
    page.reload()  # what the server writes is what the script wrote
    assert figures(page, "over_time") == over_time
    for chart in ("bubbles", "lesson_hours", "status", "over_time"):
        address = page.locator(f"#{chart}").get_by_role("link", name="CSV").get_attribute("href")
        _header, *lines = csv.reader(io.StringIO(page.request.get(f"{api_server.url}{address}").text()))
        assert [[line[0], *map(number, line[1:])] for line in lines] == [
            [row[0], *map(number, row[1:])] for row in figures(page, chart)
        ]


def test_chips_narrow_all_charts_and_keep_them_so(
    page: Page, api_server: ApiServer, connection: Connection
) -> None:
    sign_in(page, api_server, connection, "f@school.example")
    present_hour()  # all that comes in is of the same
    for code in ("ALB", "ARG", "AUS", "AUT", "BRN"):
        add_source(connection, code.lower(), code)
        add_responses(connection, code.lower(), code, [Given(0.5, 90, 0.5, 1)] * 30)
    page.goto(f"{api_server.url}/live")
    chips = page.get_by_role("navigation", name="Countries")
    shown = chips.get_by_role("link")  # those that are folded away are none
    assert shown.all_text_contents() == ["All", "ALB Albania", "ARG Argentina", "AUS Australia"]
    chips.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(chips.locator("summary")).to_have_text("+2 more countries")
    chips.get_by_role("link", name="BRN").click()
    page.wait_for_url(f"{api_server.url}/live?countries=BRN")
    expect(chips.get_by_role("link", name="BRN")).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("status")).to_contain_text("Connected")
    add_responses(connection, "alb", "ALB", [Given()] * 7)
    add_responses(connection, "brn", "BRN", [Given(0.5, 90, 0.5, 1)] * 5)
    expect(page.locator("#over_time tbody tr").last).to_contain_text("35")
    for chart in ("bubbles", "lesson_hours", "status"):
        assert [row[0] for row in figures(page, chart)] == ["Brunei Darussalam"]
    address = page.locator("#bubbles").get_by_role("link", name="CSV").get_attribute("href")
    assert page.request.get(f"{api_server.url}{address}").text().splitlines()[1:] == [
        "Brunei Darussalam,1,0.5,35"
    ]


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_the_live_page_can_be_read_by_everybody(
    page: Page, api_server: ApiServer, connection: Connection, theme: Literal["light", "dark"], width: int
) -> None:
    sign_in(page, api_server, connection, f"{theme}{width}@school.example")
    add_source(connection, "alb", "ALB")
    add_responses(connection, "alb", "ALB", [Given(0.5, 90, 0.5, 1)] * 30)
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{api_server.url}/live?countries=ALB,XYZ")
    expect(page.locator("#status canvas")).to_be_visible()
    assert [each["id"] for each in Axe().run(page).response["violations"]] == []
    assert page.locator("html").evaluate("element => element.scrollWidth") == width


def test_who_is_signed_out_elsewhere_is_told(
    page: Page, api_server: ApiServer, connection: Connection, faults: list[str]
) -> None:
    user_id = sign_in(page, api_server, connection, "c@school.example")
    page.goto(f"{api_server.url}/live")
    expect(page.get_by_role("status")).to_contain_text("Connected")
    end_sessions(connection, user_id)
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    faults[:] = [said for said in faults if "401" not in said]  # the browser tells what was refused


def test_the_page_fits_a_narrow_screen_and_needs_no_script(
    browser: Browser, api_server: ApiServer, connection: Connection
) -> None:
    add_source(connection, "a-source-with-quite-a-long-name", "ALB")
    add_responses(connection, "a-source-with-quite-a-long-name", "ALB", [Given(tmins=90, escs=-0.5)] * 30)
    with browser.new_context(viewport={"width": 360, "height": 640}, java_script_enabled=False) as context:
        page = context.new_page()
        sign_in(page, api_server, connection, "d@school.example")
        page.goto(f"{api_server.url}/live?countries=ALB,XYZ")
        expect(page.get_by_role("alert")).to_have_text("There is no country XYZ here.")
        expect(cell(page, "ALB", "lesson_hours")).to_have_text("1.50")
        expect(cell(page, "ALB", "age")).to_have_text(re.compile(r"^\d+ \w+ \d{4}, \d\d:\d\d$"))
        assert figures(page, "lesson_hours") == [["Albania", "1.5"]]
        width = page.locator("html").evaluate("element => element.scrollWidth")
        assert width == 360


def commit(country: Country, number: int) -> None:
    """Commit one response."""
    with country.connect() as source:
        source.execute(
            "insert into responses (id, cnt, escs, tmins, time_submitted) values (%s, %s, 0.5, '90', now())",
            (number, country.code),
        )


def sign_in(page: Page, server: ApiServer, connection: Connection, email: str) -> UUID:
    """Give the browser a session of a new person; returns who."""
    user_id = create_user(connection, email, "Somebody", "analyst", "test")
    cookie = start_session(connection, user_id)
    page.context.add_cookies([{"name": "laurel_session", "value": cookie, "url": server.url}])
    return user_id


def cell(page: Page, country: str, field: str) -> Locator:
    """One figure of a country."""
    return page.locator(f'#countries tr[data-key="{country}"] [data-field="{field}"]')


def figures(page: Page, chart: str) -> list[list[str]]:
    """What the table of a chart says: each row's label and its figures as data."""
    rows: list[list[str]] = page.locator(f"#{chart} tbody tr").evaluate_all(
        "rows => rows.map(row => [row.cells[0].textContent.trim(), "
        "...[...row.cells].slice(1).map(cell => cell.dataset.value)])"
    )
    return rows


def number(cell: str) -> float | None:
    """A figure of a chart; None where there is none."""
    return float(cell) if cell else None


def take_pictures(page: Page) -> None:
    """For people to look at, where a folder is named."""
    folder = os.environ.get("LAUREL_SCREENSHOTS")
    for width in (1280, 360) if folder else ():
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=f"{folder}/live-{width}-{scheme}.png", full_page=True)
