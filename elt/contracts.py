"""What a dataset must look like: one YAML file per dataset in `elt/contracts/`, in Table Schema words.

Everything that depends on a dataset's columns derives from here: what an upload is checked against, the raw
table, the template CSV, dbt's sources, the data dictionary, what is masked.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pydantic
import yaml
from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from elt.errors import ContractError, Issue, Severity, UnknownDataset

CONTRACTS_DIR = Path(__file__).with_name("contracts")

FieldType = Literal["string", "integer", "number", "date", "datetime", "year", "boolean"]
Personal = Literal["none", "identifier", "direct", "sensitive"]
Identity = Literal["student", "guardian", "teacher", "student_course", "candidate"]
"""Whom or what a key names: people, what a student takes or took, the number under which one sits an exam."""

DEFAULT_MAX_LENGTH = 1000
"""No text of a school record is longer; a cell that is has swallowed its neighbours."""

_MOST_CHOICES_IN_A_HINT = 40

REJECTS_COLUMNS = ("line", "column", "rule", "hint")
"""What `rejects.csv` adds behind the uploader's own columns."""

# The one written in C reads our contracts in a tenth of the time.
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COMPARABLE: tuple[FieldType, ...] = ("integer", "number", "date", "year")


class _Part(pydantic.BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, strict=True
    )


class Constraints(_Part):
    """What each cell of a field must keep. Ranges include both ends.

    `minutes_ahead`: how far a time may lie after it was handed in, for clocks that are not quite right.
    """

    required: bool = False
    minimum: int | float | date | None = None
    maximum: int | float | date | None = None
    enum: tuple[str, ...] | None = pydantic.Field(default=None, strict=False)
    pattern: str | None = None
    max_length: int = pydantic.Field(default=DEFAULT_MAX_LENGTH, gt=0)
    minutes_ahead: int | None = pydantic.Field(default=None, ge=0)


class Field(_Part):
    """One column. `title` is the header people use; `name` is the column of the raw table.

    A file may lack an `optional` column; lacking another one that is not required is a warning. A
    `from_upload` field is no column of files at all: the upload says its value. Only school_id can be one,
    where files of the dataset use that header for something else. Rows of the dataset say who or what those
    are whom a field `identifies`; fields marked alike name them together. Who is erased is found by that.
    """

    name: str
    title: str
    type: FieldType = "string"
    description: str
    aliases: tuple[str, ...] = pydantic.Field(default=(), strict=False)
    unit: str | None = None
    example: str | None = None
    personal: Personal
    identifies: Identity | None = None
    optional: bool = False
    from_upload: bool = False
    constraints: Constraints = Constraints()
    missing_values: tuple[str, ...] | None = pydantic.Field(default=None, strict=False)

    @property
    def is_personal(self) -> bool:
        """Whether its values must stay out of messages, logs and reports."""
        return self.personal != "none"

    @model_validator(mode="after")
    def _is_consistent(self) -> Field:
        if not _NAME.fullmatch(self.name) or self.name.startswith("_"):
            raise ValueError(f"{self.name!r} is no snake_case name")
        limits = self.constraints
        if (limits.minimum is not None or limits.maximum is not None) and self.type not in _COMPARABLE:
            raise ValueError(f"{self.name}: a {self.type} has no minimum or maximum")
        if (limits.enum or limits.pattern) and self.type != "string":
            raise ValueError(f"{self.name}: enum and pattern are for type string")
        if limits.minutes_ahead is not None and self.type != "datetime":
            raise ValueError(f"{self.name}: minutesAhead is for type datetime")
        if self.from_upload and self.name != "school_id":
            raise ValueError(f"{self.name}: only school_id can come from the upload")
        if limits.pattern:
            try:
                re.compile(limits.pattern)
            except re.error as error:
                raise ValueError(f"{self.name}: pattern: {error}") from error
        return self


class RowRule(_Part):
    """A rule across the columns of one row. It holds where `check` is true or null."""

    name: str
    severity: Severity
    columns: tuple[str, ...] = pydantic.Field(strict=False)
    check: str
    hint: str


class Reference(_Part):
    """The dataset and its columns that a foreign key points to."""

    resource: str
    fields: tuple[str, ...] = pydantic.Field(strict=False)


class ForeignKey(_Part):
    """Columns that name a row of another dataset. Documented and tested by dbt, not enforced at load."""

    fields: tuple[str, ...] = pydantic.Field(strict=False)
    reference: Reference


class Contract(_Part):
    """A dataset: its columns, key, rules and the files it is known by.

    `named_only`: a file is of this dataset only where its name or folder says so. For tables of other
    systems, whose few required columns stand in many files.
    """

    name: str
    title: str
    description: str
    grain: str
    files: tuple[str, ...] = pydantic.Field(default=(), strict=False)
    named_only: bool = False
    primary_key: list[str] = []
    foreign_keys: tuple[ForeignKey, ...] = pydantic.Field(default=(), strict=False)
    missing_values: tuple[str, ...] = pydantic.Field(default=("",), strict=False)
    reject_limit: float = pydantic.Field(default=0.05, ge=0, le=1)
    fields: tuple[Field, ...] = pydantic.Field(strict=False, min_length=1)
    rules: tuple[RowRule, ...] = pydantic.Field(default=(), strict=False)

    @cached_property
    def columns(self) -> list[str]:
        """Names of all fields, in the order of the raw table."""
        return [field.name for field in self.fields]

    @property
    def file_fields(self) -> list[Field]:
        """The fields that a file has columns of."""
        return [field for field in self.fields if not field.from_upload]

    @cached_property
    def required_columns(self) -> list[str]:
        """Columns without which a file is rejected as a whole."""
        return [field.name for field in self.fields if field.constraints.required]

    @property
    def is_keyed(self) -> bool:
        """Whether rows have a key; without one every row counts."""
        return bool(self.primary_key)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the whole contract."""
        text = json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def identities(self) -> dict[Identity, tuple[str, ...]]:
        """Whom or what rows of this dataset describe, and the columns that name them together."""
        found: dict[Identity, tuple[str, ...]] = {}
        for field in self.fields:
            if field.identifies:
                found[field.identifies] = (*found.get(field.identifies, ()), field.name)
        return found

    def field(self, name: str) -> Field:
        """The field of this name.

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name]

    def missing_values_of(self, field: Field) -> tuple[str, ...]:
        """The texts that mean "no value" in this field."""
        return self.missing_values if field.missing_values is None else field.missing_values

    @cached_property
    def _by_name(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    @model_validator(mode="after")
    def _is_consistent(self) -> Contract:
        names = [field.name for field in self.fields]
        if names[0] != "school_id":
            raise ValueError("the first field must be school_id")
        if doubled := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"fields named twice: {', '.join(doubled)}")
        used = [*self.primary_key, *(name for rule in self.rules for name in rule.columns)]
        used += [name for key in self.foreign_keys for name in key.fields]
        if unknown := sorted(set(used) - set(names)):
            raise ValueError(f"no such field: {', '.join(unknown)}")
        headers = Counter(label for field in self.file_fields for label in _labels(field))
        if doubled := [label for label, count in headers.items() if count > 1]:
            raise ValueError(f"headers that mean two fields: {', '.join(doubled)}")
        return self


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """How a file's header maps to a contract.

    `columns` has one entry per cell of the header: the contract's column, or None where it is not loaded.
    `line_position` is the cell of the `line` column where the file is a corrected `rejects.csv`.
    """

    columns: list[str | None]
    issues: list[Issue]
    line_position: int | None = None

    @property
    def is_rejected(self) -> bool:
        """Whether the file cannot be loaded at all."""
        return any(issue.severity == "error" for issue in self.issues)


def fold(label: str) -> str:
    """A header without regard to case, spaces, punctuation, symbols and BOM."""
    return "".join(char for char in unicodedata.normalize("NFKC", label).casefold() if char.isalnum())


def column_name(header: str) -> str:
    """The mechanical snake_case name of a header: `race/ethnicity` becomes `race_ethnicity`."""
    return re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")


def _labels(field: Field) -> set[str]:
    return {fold(label) for label in (field.name, field.title, *field.aliases)}


@cache
def load_contracts() -> dict[str, Contract]:
    """All contracts by name.

    Raises:
        ContractError: a file is wrong; names the file and the key.
    """
    contracts = [read_contract(path) for path in sorted(CONTRACTS_DIR.glob("*.yaml"))]
    known = {contract.name: contract for contract in contracts}
    for contract in contracts:
        for key in contract.foreign_keys:
            target = known.get(key.reference.resource)
            if target is None or set(key.reference.fields) - set(target.columns):
                raise ContractError(f"{contract.name}.yaml: foreignKeys: no such columns in {key.reference}")
    return known


def read_contract(path: Path) -> Contract:
    """Read one contract file, whose name must be the dataset's.

    Raises:
        ContractError: names the file and the key that is wrong.
    """
    try:
        contract = parse_contract(yaml.load(path.read_text("utf-8"), _LOADER))  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        raise ContractError(f"{path.name}: {error}") from error
    except ContractError as error:
        raise ContractError(f"{path.name}: {error.detail}") from error
    if contract.name != path.stem:
        raise ContractError(f"{path.name}: name is {contract.name!r}; it must be that of the file")
    return contract


def parse_contract(content: Any) -> Contract:
    """Make a contract of plain values, such as a proposed one that was edited.

    Raises:
        ContractError: names each key that is wrong.
    """
    try:
        return Contract.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'contract'}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise ContractError(faults) from error


def get_contract(name: str) -> Contract:
    """The contract of a dataset.

    Raises:
        UnknownDataset: lists the names there are.
    """
    known = load_contracts()
    if name not in known:
        hint = f"one of: {', '.join(sorted(known))}"
        raise UnknownDataset(
            f"There is no dataset {name[:80]!r}; expected {hint}.",
            [Issue(rule="unknown_dataset", hint=hint, found=name[:80])],
        )
    return known[name]


def match_header(contract: Contract, header: Sequence[str]) -> HeaderMatch:
    """Map a file's header to the contract's columns, without regard to case, spaces and punctuation.

    A required column that is missing, or any of the contract's columns that stands twice, is an error and
    rejects the file; other columns that are missing or unknown are warnings.
    """
    by_label = {label: field.name for field in contract.file_fields for label in _labels(field)}
    columns: list[str | None] = [by_label.get(fold(cell)) for cell in header]
    added = _rejects_columns(header)
    for position in added.values():
        columns[position] = None
    issues = _header_issues(contract, header, columns, set(added.values()))
    return HeaderMatch(columns, issues, added.get("line"))


def _rejects_columns(header: Sequence[str]) -> dict[str, int]:
    """Positions of the four columns that `rejects.csv` adds, when the header ends with them."""
    count = len(REJECTS_COLUMNS)
    if tuple(fold(cell) for cell in header[-count:]) != REJECTS_COLUMNS:
        return {}
    return {name: len(header) - count + index for index, name in enumerate(REJECTS_COLUMNS)}


def _header_issues(
    contract: Contract, header: Sequence[str], columns: list[str | None], ignored: set[int]
) -> list[Issue]:
    issues = []
    for doubled, count in Counter(name for name in columns if name).items():
        if count > 1:
            hint = f"{contract.field(doubled).title!r} stands {count} times in the header; keep one"
            issues.append(Issue(rule="duplicate_column", hint=hint, line=1, column=doubled))
    for field in contract.file_fields:
        if field.name in columns or field.optional:
            continue
        required = field.constraints.required
        hint = f"add a column {field.title!r}" if required else f"no column {field.title!r}: loaded as empty"
        severity: Severity = "error" if required else "warning"
        issues.append(Issue(rule="missing_column", hint=hint, line=1, column=field.name, severity=severity))
    for position, (cell, name) in enumerate(zip(header, columns, strict=True), start=1):
        if name is None and position - 1 not in ignored:
            hint = f"column {position} is unknown to {contract.name} and is not loaded"
            issues.append(Issue(rule="extra_column", hint=hint, line=1, found=cell[:80], severity="warning"))
    return issues


def guess_dataset(header: Sequence[str], filename: str) -> str | None:
    """The one dataset that fits a header, by its file or folder name where the header fits several."""
    fits = {
        name: sum(column is not None for column in match.columns)
        for name, contract in load_contracts().items()
        if not (match := match_header(contract, header)).is_rejected
    }
    if not fits:
        return None
    named = [name for name in fits if _is_named(load_contracts()[name], filename)]
    if len(named) == 1:
        return named[0]
    by_header = {name: count for name, count in fits.items() if not load_contracts()[name].named_only}
    best = [name for name, count in by_header.items() if count == max(by_header.values())]
    return best[0] if len(best) == 1 else None


def _is_named(contract: Contract, filename: str) -> bool:
    path = PurePosixPath(filename.replace("\\", "/"))
    names = {fold(contract.name), *(fold(PurePosixPath(name).stem) for name in contract.files)}
    return any(fold(part) in names for part in (path.stem, *path.parent.parts))


def rule_hint(contract: Contract, rule: str, column: str | None) -> str:
    """What to do about a broken rule, in words. Never contains a value of the file."""
    for row_rule in contract.rules:
        if row_rule.name == rule:
            return row_rule.hint
    field = contract.field(column) if column in contract.columns else None
    return _field_hint(field, rule) if field and rule in _FIELD_RULES else _STRUCTURE_HINTS.get(rule, rule)


_TYPE_HINTS: dict[FieldType, str] = {
    "string": "text",
    "integer": "a whole number in digits, such as 42",
    "number": "a number with a decimal point and no thousands separator, such as 64.5",
    "date": "a date as YYYY-MM-DD, such as 2024-09-01 (another order must be stated as date_format)",
    "datetime": (
        "a time with its offset from UTC, such as 2024-09-01T08:30:00+01:00 or 2024-09-01T07:30:00Z; "
        "without the offset nobody knows which hour is meant"
    ),
    "year": "a year in four digits, such as 2024",
    "boolean": "true or false",
}

_STRUCTURE_HINTS = {
    "extra_cells": "the row has more cells than the header; quote cells that contain the delimiter",
    "missing_cells": "the row has fewer cells than the header; keep the delimiters of empty cells",
    "nul_byte": "the row contains a NUL byte, which no text may hold; export the file again",
    "malformed_quote": 'a quoted cell goes on after its closing quote; write quotes inside a cell as ""',
    "other_school": "the row is of another school than the one for which you hand in; leave it out",
    "erased": "the person was erased on request; their rows are no longer taken, leave them out",
    "line": "the column `line` names no rejected row that still waits for a correction",
    "duplicate_column": "the header names this column twice; keep one",
    "missing_column": "the file has no such column",
    "extra_column": "the column is unknown and is not loaded",
    "other_country": "the row is of another country than its database; correct it there",
    "ahead": "the time lies ahead of ours; set the clock of the source, or correct the row there",
    "repeated": "the number stands in several rows, of which one counts; correct the others at the source",
}

_FIELD_RULES = ("required", "type", "minimum", "maximum", "enum", "pattern", "max_length")


def _choices_in_words(choices: Sequence[str]) -> str:
    if len(choices) <= _MOST_CHOICES_IN_A_HINT:
        return f"one of: {', '.join(choices)}"
    return f"one of {len(choices)} values such as {choices[0]}; the data dictionary lists them"


def _field_hint(field: Field, rule: str) -> str:
    limits, unit = field.constraints, f" {field.unit}" if field.unit else ""
    expected = {
        "required": "a value; the cell is empty",
        "type": _TYPE_HINTS[field.type],
        "minimum": f"at least {limits.minimum}{unit}",
        "maximum": f"at most {limits.maximum}{unit}",
        "enum": _choices_in_words(limits.enum or ()),
        "pattern": f"the form {limits.pattern}" + (f", such as {field.example}" if field.example else ""),
        "max_length": f"at most {limits.max_length} characters; is a quote missing before it?",
    }[rule]
    return f"{field.title}: expected {expected}"
