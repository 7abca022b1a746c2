"""Texts, figures and days in the reader's language, also where it is that of a region."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from flask import render_template_string
from pydantic import SecretStr

from backend.app import create_app
from backend.pages.charts import Series
from backend.texts import day, language, language_without_region
from elt.serving.report_pdf import write_pdf
from elt.serving.report_sheet import Sheet
from elt.settings import Settings

Asking = Callable[[str], Any]
SETTINGS = Settings(
    database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"),
    secret_key=SecretStr("x" * 32),
    pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
    store_url="file:///nonexistent",
)


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Asking:
    """A request of a browser that asks for a language, where there is one beside English: `pt_BR`."""
    folder = tmp_path_factory.mktemp("translations")
    compiled = folder / "pt_BR" / "LC_MESSAGES" / "messages.mo"
    compiled.parent.mkdir(parents=True)
    with Path(compiled).open("wb") as file:
        write_mo(file, Catalog(locale="pt_BR"))
    app = create_app(SETTINGS.model_copy(update={"translations_dir": str(folder)}))

    @contextmanager
    def ask(wanted: str) -> Iterator[None]:
        with app.test_request_context(headers={"Accept-Language": wanted}):
            yield

    return ask


@pytest.mark.parametrize("wanted", ["pt-BR", "pt_BR", "pt-BR, en;q=0.5", "pt"])
def test_a_language_of_a_region_is_named_as_browsers_name_it(asking: Asking, wanted: str) -> None:
    with asking(wanted):
        assert (language(), language_without_region()) == ("pt-BR", "pt")
        assert day("2026-11-29") == "29 novembro 2026"
        assert Series("Average", " %", 1).text(1234.5) == "1.234,5 %"


@pytest.mark.parametrize("wanted", ["", "yo", "en-GB"])
def test_without_a_translation_it_is_english(asking: Asking, wanted: str) -> None:
    with asking(wanted):
        assert (language(), language_without_region()) == ("en", "en")
        assert [Series("Average", decimals=2).text(value) for value in (1234.5, -0.125, 0, None)] == [
            "1,234.50", "-0.12", "0.00", "–",
        ]  # fmt: skip


def test_a_pdf_takes_the_language_of_a_region(asking: Asking) -> None:
    with asking("pt-BR"):
        pdf = write_pdf(Sheet("Title", "", [], []), language=language_without_region())
    assert pdf.startswith(b"%PDF")


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_today_is_the_schools(zone: str) -> None:
    """Of the two, which lie 26 hours apart, at least one has another day than the machine."""
    app = create_app(SETTINGS.model_copy(update={"time_zone": zone}))
    before = datetime.now(ZoneInfo(zone)).date()
    with app.test_request_context():
        shown = date.fromisoformat(render_template_string("{{ today }}"))
    assert before <= shown <= datetime.now(ZoneInfo(zone)).date()
