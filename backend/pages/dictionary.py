"""The data dictionary: what each column of files and marts means, from the contracts and dbt's descriptions.

Each entry and column has an anchor (`#students`, `#mart_student_risk.score`), to be linked from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from flask import Blueprint, render_template, url_for
from flask_babel import gettext as _
from markupsafe import Markup, escape

from backend.access import allow, may
from backend.operations import parse_query
from backend.pages.mart_words import type_in_words
from backend.schemas.pages import DictionaryQuery
from backend.services import services
from elt.contracts import Contract, Field, load_contracts
from elt.generate import (
    PERSONAL_IN_WORDS,
    headers_of,
    key_in_words,
    limits_in_words,
    rule_outcome,
)
from elt.privacy.column_classes import MartClasses, mart_classes
from elt.serving.marts import Mart, MartColumn, list_marts

dictionary_pages = Blueprint("dictionary_pages", __name__)


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: str
    description: str
    personal: str
    headers: str = ""
    limits: str = ""
    example: str = ""

    def holds(self, words: str) -> bool:
        return any(words in text.lower() for text in (self.name, self.headers, self.description))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A dataset or a mart. `facts` are said above its columns, `rules` are across columns."""

    name: str
    title: str
    description: str
    facts: list[tuple[str, str]]
    columns: list[_Column]
    href: str
    rules: list[tuple[str, str, str]]

    def matching(self, words: str) -> _Entry | None:
        """The entry with the columns that hold the words; all of them if it is called so."""
        if words in self.name or words in self.title.lower():
            return self
        found = [column for column in self.columns if column.holds(words)]
        return replace(self, columns=found, rules=[]) if found or words in self.description.lower() else None


@dictionary_pages.get("/dictionary")
@allow("datasets:read")
def show_dictionary() -> str:
    """All of it, or what holds some words."""
    query = parse_query(DictionaryQuery, is_form=True)
    datasets = [_of_contract(contract) for contract in load_contracts().values()]
    marts = []
    if may("marts:list"):
        with services().connection() as connection:
            found = list_marts(connection, counted=False)
        marts = [_of_mart(mart, mart_classes().get(mart.name, MartClasses())) for mart in found]
    return render_template(
        "dictionary.html",
        datasets=_chosen(datasets, query.q),
        marts=_chosen(marts, query.q),
        query=query,
        coded=_coded,
    )


def _chosen(entries: Iterable[_Entry], words: str | None) -> list[_Entry]:
    if not words:
        return list(entries)
    return [entry for each in entries if (entry := each.matching(words.lower()))]


def _of_contract(contract: Contract) -> _Entry:
    facts = [(_("One line per"), contract.grain), (_("Key"), key_in_words(contract))]
    facts += [
        (
            ", ".join(f"`{name}`" for name in each.fields),
            _("name a line of `%(of)s`.", of=each.reference.resource),
        )
        for each in contract.foreign_keys
    ]
    if contract.files:
        facts.append((_("Known file names"), ", ".join(f"`{name}`" for name in contract.files)))
    facts.append(
        (
            _("Not loaded"),
            _("if more than %(share)s of the lines break a rule", share=f"{contract.reject_limit:.0%}"),
        )
    )
    return _Entry(
        contract.name,
        contract.title,
        contract.description.strip(),
        facts,
        [_of_field(contract, field) for field in contract.fields],
        url_for("datasets.download_template", name=contract.name),
        [(rule.name, rule_outcome(rule), rule.hint) for rule in contract.rules],
    )


def _of_field(contract: Contract, field: Field) -> _Column:
    return _Column(
        field.name,
        f"{field.type}, {field.unit}" if field.unit else field.type,
        field.description.strip(),
        PERSONAL_IN_WORDS[field.personal],
        _(" or ").join(headers_of(field)) or _("no column"),
        "; ".join(limits_in_words(contract, field)),
        field.example or "",
    )


def _of_mart(mart: Mart, classes: MartClasses) -> _Entry:
    facts = [(_("One row per"), ", ".join(mart.grain))] if mart.grain else []
    return _Entry(
        mart.name,
        mart.name,
        mart.about,
        facts,
        [_of_column(column, classes) for column in mart.columns],
        url_for("mart_pages.show_mart", name=mart.name),
        [],
    )


def _of_column(column: MartColumn, classes: MartClasses) -> _Column:
    personal = classes.of(column.name)
    return _Column(
        column.name,
        type_in_words(column),
        column.description or "",
        PERSONAL_IN_WORDS[personal] if personal else PERSONAL_IN_WORDS["direct"],
    )


def _coded(text: str) -> Markup:
    """Text in which what stands between backticks is code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )
