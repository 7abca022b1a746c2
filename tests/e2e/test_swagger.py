"""Swagger UI in a real browser: authorize, hand a file in by “Try it out”, and see it listed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from elt.serving.sessions import serve as serve_marts
from elt.warehouse import connect
from tests.conftest import PostgresServer
from tests.served_api import ApiServer, serve

pytestmark = pytest.mark.e2e

CSV = "Student ID,First Name\nSTU001,Ada\n"


@pytest.fixture(scope="module")
def api_server(
    chromium: str,
    postgres_server: PostgresServer,
    _template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ApiServer]:
    with serve(postgres_server, _template, tmp_path_factory.mktemp("swagger")) as server:
        yield server


@pytest.fixture
def page(api_server: ApiServer, browser: Browser) -> Iterator[Page]:
    """/apidocs/, authorized as an admin; nothing may be fetched from elsewhere, and no script may fail."""
    faults: list[str] = []
    opened = browser.new_page(viewport={"width": 1400, "height": 1400})
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    opened.on(
        "request",
        lambda sent: (
            None if sent.url.startswith((api_server.url, "data:", "blob:")) else faults.append(sent.url)
        ),
    )
    opened.goto(f"{api_server.url}/apidocs/")
    opened.get_by_role("button", name="Authorize").click()
    opened.get_by_label("auth-bearer-value").fill(api_server.make_key("admin"))
    opened.locator(".auth-btn-wrapper .authorize").first.click()
    opened.get_by_role("button", name="Close").first.click()
    yield opened
    opened.close()
    assert faults == []


def try_out(page: Page, method: str, path: str) -> Page:
    """Open an operation for trying; returns its block."""
    block = page.locator(f".opblock-{method}").filter(
        has=page.locator(f'.opblock-summary-path[data-path="{path}"]')
    )
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    return block  # type: ignore[return-value]


def execute(block: Page) -> str:
    """Execute the opened operation; the status that the server answered."""
    block.get_by_role("button", name="Execute").click()
    answered = block.locator(".live-responses-table .response-col_status").last
    expect(answered).to_have_text(re.compile(r"^\d{3}"), timeout=30_000)
    return answered.inner_text()[:3]


def test_a_file_is_handed_in_by_try_it_out(page: Page, tmp_path: Path, api_server: ApiServer) -> None:
    file = tmp_path / "students.csv"
    file.write_text(CSV)
    block = try_out(page, "post", "/api/v1/uploads")
    block.locator('tr[data-param-name="dataset"] select').select_option("students")
    block.locator('input[type="file"]').set_input_files(file)
    assert execute(block) == "201"
    listed = try_out(page, "get", "/api/v1/uploads")
    assert execute(listed) == "200"
    expect(listed.locator(".live-responses-table")).to_contain_text("students.csv")
    if os.environ.get("LAUREL_SCREENSHOTS"):
        page.screenshot(path=f"{os.environ['LAUREL_SCREENSHOTS']}/swagger.png", full_page=True)


def test_a_file_is_handed_in_as_the_whole_body(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "teachers.csv"
    file.write_text("Teacher ID,First Name\nTCH001,Bisi\n")
    block = try_out(page, "post", "/api/v1/uploads")
    block.locator('tr[data-param-name="dataset"] select').select_option("teachers")
    block.locator(
        ".body-param-content-type select, .opblock-section-request-body select"
    ).first.select_option("text/csv")
    block.locator('input[type="file"]').set_input_files(file)
    assert execute(block) == "201"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/datasets", "200"),
        ("/api/v1/marts", "200"),
        ("/api/v1/models", "200"),
        ("/api/v1/runs", "200"),
        ("/api/v1/keys", "200"),
        ("/healthz", "200"),
        ("/readyz", "200"),
        ("/metrics", "200"),
    ],
)
def test_an_operation_without_required_parameters_succeeds_as_it_stands(
    page: Page, path: str, status: str
) -> None:
    assert execute(try_out(page, "get", path)) == status


def test_a_document_named_in_the_address_is_not_shown(page: Page, api_server: ApiServer) -> None:
    page.goto(f"{api_server.url}/apidocs/?url={api_server.url}/nowhere.json&configUrl=/nowhere.json")
    expect(page.locator(".info .title")).to_contain_text("Laurel")


def test_a_mart_is_read_without_any_filter(page: Page, api_server: ApiServer) -> None:
    with connect(api_server.settings.database_url.get_secret_value()) as connection:
        connection.execute(
            "create schema if not exists marts; create table marts.mart_tiny as select 7 as days"
        )
        serve_marts(connection)
    block = try_out(page, "get", "/api/v1/marts/{name}")
    block.locator('tr[data-param-name="name"] input').fill("mart_tiny")
    assert execute(block) == "200"
    expect(block.locator(".live-responses-table")).to_contain_text('"days": 7')
