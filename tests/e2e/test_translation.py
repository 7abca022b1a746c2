"""Pages in another language: one in which every text stands in brackets, made of what translators get."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.frontend import CommandLineInterface
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask.testing import FlaskClient

from backend.app import create_app
from demo.answers import AnswerKey
from elt.people.sessions import start_session
from elt.settings import PROJECT_DIR
from elt.warehouse import connect
from tests.conftest import PostgresServer, settings_of
from tests.e2e.demo_pages import pages

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CATALOGUE, LANGUAGE = "pt_BR", "pt-BR"
DATA = re.compile(r"badagry|epe|ikeja|ESCS|Airflow|\d{4}/\d{4}.*")
"""What heads a column all the same: the demo's schools, names, terms."""
SAID_BY_LAUREL = frozenset({"label", "button", "h2", "dt", "caption", "summary", "legend", "noscript"})
"""Elements whose words are our own, or nothing but data."""


class Words(HTMLParser):
    """Collects the words that should stand in brackets and do not: labels, heads of tables and the like."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []  # elements, and whether they stand for data
        self.untranslated: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        is_data = ("translate", "no") in attrs or bool(self.open and self.open[-1][1])
        if tag not in ("input", "br", "img", "link", "meta", "option", "hr", "wbr"):
            self.open.append((tag, is_data))
        for name, value in attrs:
            if name in ("aria-label", "placeholder", "title") and value and not is_data:
                self.note(value)

    def handle_endtag(self, tag: str) -> None:
        if any(each == tag for each, _ in self.open):
            while self.open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        inmost, is_data = self.open[-1] if self.open else ("", True)
        is_head = inmost == "th" and any(each == "thead" for each, _ in self.open)
        if not is_data and (inmost in SAID_BY_LAUREL or is_head):
            self.note(data)

    def note(self, text: str) -> None:
        if any(letter.isalpha() for letter in text) and "⟦" not in text and "⟧" not in text:
            self.untranslated.append(text.strip())


@pytest.fixture(scope="module")
def bracketed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a translation into brackets, made by the commands of docs/developing.md."""
    folder = tmp_path_factory.mktemp("translations")
    template = folder / "messages.pot"
    CommandLineInterface().run(
        ["pybabel", "-q", "extract", "-F", str(PROJECT_DIR / "pyproject.toml"), "-k", "lazy_gettext",
         "-o", str(template), str(PROJECT_DIR / "backend"), str(PROJECT_DIR / "elt" / "serving")]
    )  # fmt: skip
    found = read_po(io.BytesIO(template.read_bytes()))
    said = Catalog(locale=CATALOGUE)
    for message in found:
        if message.id:
            forms = message.id if isinstance(message.id, tuple) else (message.id,)
            texts = tuple(f"⟦{form}⟧" for form in forms)
            said.add(message.id, texts if len(texts) > 1 else texts[0], context=message.context)
    compiled = folder / CATALOGUE / "LC_MESSAGES" / "messages.mo"
    compiled.parent.mkdir(parents=True)
    with compiled.open("wb") as file:
        write_mo(file, said)
    return folder


@pytest.fixture(scope="module")
def reader(
    postgres_server: PostgresServer,
    _demo_school: tuple[str, Path, AnswerKey],
    bracketed: Path,
) -> Iterator[FlaskClient]:
    """An administrator's browser that asks for the language, on a copy of the demo school."""
    template, home, _key = _demo_school
    url = postgres_server.create_database("translated", template)
    app = create_app(settings_of(url, home).model_copy(update={"translations_dir": str(bracketed)}))
    with connect(url) as connection:
        (user,) = connection.execute("select user_id from ops.users where role = 'admin'").fetchall()
        token = start_session(connection, user["user_id"])
    client = app.test_client()
    client.set_cookie("laurel_session", token)
    yield client
    app.extensions["laurel"].close()
    postgres_server.drop_database("translated")


def test_every_text_of_every_page_can_be_translated(reader: FlaskClient) -> None:
    """All pages that links lead to, one of each kind; what is left in English must be data."""

    def read(address: str) -> str:
        answer = reader.get(
            address, headers={"Accept": "text/html", "Accept-Language": f"{LANGUAGE}, en;q=0.5"}
        )
        assert answer.status_code == 200, f"{address}: {answer.status_code}"
        return answer.text

    found: list[tuple[str, str]] = []
    for address, text in pages(reader.application, read):
        assert f'lang="{LANGUAGE}"' in text, address
        words = Words()
        words.feed(text)
        found += [(address, word) for word in words.untranslated if not DATA.fullmatch(word)]
    assert not found, "\n".join(f"{address}: {word}" for address, word in found)


def test_a_report_is_a_pdf_in_a_language_of_a_region(reader: FlaskClient) -> None:
    address = "/report.pdf?school=badagry&grade_level=SS2"
    answer = reader.get(address, headers={"Accept-Language": LANGUAGE})
    assert (answer.status_code, answer.data[:4]) == (200, b"%PDF")


def test_a_language_that_is_not_there_is_english(reader: FlaskClient) -> None:
    answer = reader.get("/", headers={"Accept": "text/html", "Accept-Language": "yo"})
    assert 'lang="en"' in answer.text
    assert "⟦" not in answer.text
