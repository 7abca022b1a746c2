"""What is written from the contracts: dbt's sources, the data dictionary, templates.

The first two are committed files; `laurel generate --check` fails where they differ from the contracts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from elt.contracts import Contract, Field, Personal, RowRule, load_contracts
from elt.loading.raw_tables import LOAD_COLUMNS, sql_type
from elt.reading.spreadsheets import guard

SOURCES_PATH = Path("dbt/models/staging/_sources.yml")
DICTIONARY_PATH = Path("docs/data-dictionary.md")

_NOTICE = "Written by `laurel generate` from elt/contracts/. Do not edit."

PERSONAL_IN_WORDS: dict[Personal, str] = {
    "none": "not personal",
    "identifier": "identifies a person by number",
    "direct": "identifies a person directly",
    "sensitive": "sensitive",
}


def template_csv(contract: Contract) -> bytes:
    """An empty file with the dataset's header, as a spreadsheet program opens it: UTF-8 with BOM, CR LF."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow(guard(field.title) for field in contract.file_fields)
    return buffer.getvalue().encode("utf-8-sig")


def generated_files() -> dict[Path, str]:
    """The text of each generated file, by its path in the project."""
    contracts = load_contracts()
    return {SOURCES_PATH: dbt_sources(contracts), DICTIONARY_PATH: data_dictionary(contracts)}


def differing_files(project: Path) -> list[Path]:
    """Generated files that are missing or are not as the contracts say."""
    return [path for path, text in generated_files().items() if not _has_text(project / path, text)]


def write_files(project: Path) -> list[Path]:
    """Write the files that differ, and name them."""
    paths = differing_files(project)
    for path in paths:
        target = project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(generated_files()[path], "utf-8")
    return paths


def dbt_sources(contracts: Mapping[str, Contract]) -> str:
    """The raw tables as dbt's source `raw`."""
    sources = [
        {
            "name": "raw",
            "schema": "raw",
            "description": "Lines of live uploads, as the files have them. Only the loader writes here.",
            "tables": [_source_table(contract) for contract in contracts.values()],
        }
    ]
    text = yaml.safe_dump({"version": 2, "sources": sources}, sort_keys=False, allow_unicode=True, width=110)
    return f"# {_NOTICE}\n{text}"


def data_dictionary(contracts: Mapping[str, Contract]) -> str:
    """The page that tells people what each dataset and column means."""
    head = [
        "# Data dictionary",
        "",
        f"<!-- {_NOTICE} -->",
        "",
        "What a file of each dataset holds. Headers are matched without regard to case, spaces and",
        "punctuation; the order of columns is free; a column that is not listed is not loaded.",
        "",
    ]
    head += [f"- [{contract.title}](#{_anchor(contract.title)})" for contract in contracts.values()]
    pages = ["\n".join(_dictionary_section(contract)) for contract in contracts.values()]
    return "\n".join(head) + "\n\n" + "\n\n".join(pages) + "\n"


def headers_of(field: Field) -> list[str]:
    """The headers under which files may have the column; none: the upload says its value."""
    return [] if field.from_upload else [field.title, *field.aliases]


def key_in_words(contract: Contract) -> str:
    """What tells the lines of the dataset apart, and which of those that are alike counts."""
    if not contract.is_keyed:
        return "none. Every line counts."
    key = ", ".join(f"`{name}`" for name in contract.primary_key)
    return f"{key}. Of lines with the same key the newest one counts."


def rule_outcome(rule: RowRule) -> str:
    """What becomes of a line that breaks the rule."""
    return "the line is rejected" if rule.severity == "error" else "the line is loaded, with a warning"


def limits_in_words(contract: Contract, field: Field) -> list[str]:
    """What a cell of the column must keep."""
    limits, words = field.constraints, []
    if limits.required:
        words.append("required")
    if field.optional:
        words.append("the column may be left out")
    if limits.minimum is not None:
        words.append(f"at least {limits.minimum}")
    if limits.maximum is not None:
        words.append(f"at most {limits.maximum}")
    if limits.minutes_ahead is not None:
        words.append(f"at most {limits.minutes_ahead} minutes after it is handed in")
    if limits.enum:
        words.append(f"one of {', '.join(limits.enum)}")
    if limits.pattern:
        words.append(f"form `{limits.pattern}`")
    missing = [value for value in contract.missing_values_of(field) if value]
    if missing:
        words.append(f"{', '.join(f'`{value}`' for value in missing)} means no value")
    return words


def _source_table(contract: Contract) -> dict[str, Any]:
    columns = [
        {
            "name": field.name,
            "description": field.description.strip(),
            "data_type": sql_type(field),
            "config": {"meta": _meta(field)},
        }
        for field in contract.fields
    ]
    columns += [
        {"name": name, "description": text, "data_type": type_}
        for name, (type_, text) in LOAD_COLUMNS.items()
    ]
    return {
        "name": contract.name,
        "description": f"{contract.description.strip()} Grain: a line of a live upload.",
        "config": {"meta": {"grain": contract.grain, "primary_key": contract.primary_key}},
        "columns": columns,
    }


def _meta(field: Field) -> dict[str, Any]:
    meta: dict[str, Any] = {"header": field.title, "personal": field.personal}
    return meta | ({"unit": field.unit} if field.unit else {})


def _dictionary_section(contract: Contract) -> list[str]:
    lines = [f"## {contract.title}", "", contract.description.strip(), "", f"- Dataset: `{contract.name}`"]
    lines.append(f"- One line per: {contract.grain}")
    lines.append(f"- Key: {key_in_words(contract)}")
    for reference in contract.foreign_keys:
        columns = ", ".join(f"`{name}`" for name in reference.fields)
        lines.append(f"- {columns} name a line of `{reference.reference.resource}`.")
    if contract.files:
        lines.append(f"- Known file names: {', '.join(f'`{name}`' for name in contract.files)}")
    lines.append(
        f"- A file is not loaded if more than {contract.reject_limit:.0%} of its lines break a rule."
    )
    lines += ["", "| Header | Column | Type | Must keep | Meaning | Example | Privacy |"]
    lines.append("|---|---|---|---|---|---|---|")
    lines += [_dictionary_row(contract, field) for field in contract.fields]
    if contract.rules:
        lines += ["", "| Rule across columns | Where it is broken | What to do |", "|---|---|---|"]
    for rule in contract.rules:
        lines.append(f"| `{rule.name}` | {rule_outcome(rule)} | {_cell(rule.hint)} |")
    return lines


def _dictionary_row(contract: Contract, field: Field) -> str:
    type_ = f"{field.type}, {field.unit}" if field.unit else field.type
    cells = [
        " or ".join(headers_of(field)) or "no column",
        f"`{field.name}`",
        type_,
        "; ".join(limits_in_words(contract, field)),
        field.description.strip(),
        f"`{field.example}`" if field.example else "",
        PERSONAL_IN_WORDS[field.personal],
    ]
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _has_text(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text
