"""A school whose every free text is a script: pages show it as text, and nothing of it runs."""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend.app import create_app
from elt import pipeline
from elt.contracts import get_contract
from ml.scoring import score_all
from tests.e2e.demo_pages import School, SignIn, pages
from tests.e2e.test_demo_in_process import hand_in

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PLANTED = "<script>window.planted=1</script><img src=x onerror=window.planted=1>"


def plant(path: Path, dataset: str) -> None:
    """Put a script behind each text of a file that may be any text and names nothing."""
    contract = get_contract(dataset)
    names = {name for key in contract.foreign_keys for name in key.fields} | set(contract.primary_key)
    free = {
        field.title
        for field in contract.fields
        if field.type == "string"
        and field.name not in names
        and not field.constraints.enum
        and not field.constraints.pattern
    }
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"), newline="")))
    for row in rows:
        row.update({name: f"{value}{PLANTED}" for name, value in row.items() if name in free and value})
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def planted(school: School) -> School:
    """The school handed in once more, with scripts in it."""
    settings = school.server.settings.model_copy(update={"hold_share": 1.0})  # no second person has to look
    for name, answer in school.key.files.items():
        plant(settings.home / "school" / name, answer.dataset)
        hand_in(settings, settings.home / "school" / name, school.key)
    with ThreadPoolExecutor(1) as beside:
        beside.submit(pipeline.run, settings, trigger="cli", score=score_all).result()
    return school


@pytest.mark.parametrize("role", ["admin", "teacher", "researcher", "analyst"])
def test_nothing_that_is_planted_runs(planted: School, sign_in: SignIn, role: str, faults: list[str]) -> None:
    page = sign_in(role)

    def read(address: str) -> str:
        answer = page.goto(f"{planted.server.url}{address}")
        assert answer is not None
        assert answer.status == 200, address
        assert page.evaluate("window.planted") is None, address
        assert page.locator("img[src=x]").count() == 0, address
        return page.content()

    shown = [
        address for address, text in pages(create_app(planted.server.settings), read) if "planted" in text
    ]
    assert shown or role == "analyst", "No page showed what was planted: it came to none."
    assert faults == []
