"""Infer a contract from a sample file. It is a proposal: a person edits and confirms it, or it is nothing.

What is not plainly harmless is proposed as sensitive, so that forgetting to look at a column hides it rather
than shows it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from elt.contracts import DEFAULT_MAX_LENGTH, FieldType, Personal, column_name, fold
from elt.reading.dialect import ReadOptions, Stream
from elt.reading.reader import Block, read_blocks

SAMPLE_ROWS = 50_000
MOST_CHOICES = 20

_KEY_WORDS = {"id", "number", "no", "code", "date", "year", "term", "session", "subject", "grade", "class"}
_WORDS: dict[Personal, set[str]] = {
    "direct": {"name", "surname", "email", "mail", "phone", "telephone", "mobile", "address", "birth", "dob"},
    "identifier": {"id", "number", "nin", "lasrra", "matric", "registration"},
    "none": {"score", "scores", "mark", "marks", "points", "grade", "subject", "term", "year", "attendance"},
}

# Digits that are no quantity (leading zeros, a plus sign, more than a bigint) stay text.
_FORMS: dict[FieldType, str] = {
    "integer": r"^(?:0|-?[1-9][0-9]{0,14})$",
    "number": r"^-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]+)?$",
    "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
}


@dataclass(frozen=True, slots=True)
class _Column:
    """What was seen of one column. `choices` are its different texts, where they are few."""

    header: str
    name: str
    position: str
    filled: int
    longest: int
    types: set[FieldType]
    choices: list[str] | None

    @property
    def title(self) -> str:
        """The header without blanks around it."""
        return self.header.strip() or self.name

    @property
    def words(self) -> set[str]:
        """The words of its name."""
        return set(self.name.split("_"))

    @property
    def personal(self) -> Personal:
        """A guess by the words of the header."""
        return _guess_personal(self.header)

    @property
    def type(self) -> FieldType:
        """The narrowest type that all filled cells have. Numbers of people and telephones are texts."""
        fitting = [type_ for type_ in _FORMS if type_ in self.types and self.filled]
        if self.personal in ("identifier", "direct"):
            fitting = [type_ for type_ in fitting if type_ == "date"]
        return fitting[0] if fitting else "string"


def propose_contract(stream: Stream, name: str, options: ReadOptions | None = None) -> dict[str, Any]:
    """A contract, in the words of the contract files, for a sample of a dataset that none describes yet.

    Looks at the first rows (up to SAMPLE_ROWS) only. Types are those that all filled cells have; a column of
    few different texts gets them as its choices; the key is the fewest columns, among those that are always
    filled and look like one, in which no two rows agree.

    Raises:
        UploadRejected: the file cannot be read.
    """
    detected, blocks = read_blocks(stream, options)
    sample = pl.concat(list(_take(blocks, SAMPLE_ROWS)))
    columns = [
        _look(header, name, sample[f"c{position}"])
        for position, (header, name) in enumerate(
            zip(detected.header, _unique_names(detected.header), strict=True)
        )
        if fold(header) != "schoolid"  # every contract has it by itself
    ]
    key = _find_key(columns, sample)
    return {
        "name": column_name(name) or "dataset",
        "title": (name.replace("_", " ").strip() or "Dataset").capitalize(),
        "description": "Proposed from a sample; say what the dataset is about.",
        "grain": " × ".join(column.title for column in key) or "row",
        "primaryKey": ["school_id", *(column.name for column in key)] if key else [],
        "missingValues": [""],
        "rejectLimit": 0.05,
        "fields": [_school_field(), *_fields(columns, key)],
        "rules": [],
    }


def _take(blocks: Iterable[Block], wanted: int) -> Iterator[pl.DataFrame]:
    for block in blocks:
        yield block.frame.head(wanted)
        wanted -= block.frame.height
        if wanted <= 0:
            return


def _unique_names(header: list[str]) -> list[str]:
    names: list[str] = []
    for position, cell in enumerate(header, start=1):
        base = column_name(cell)[:55] or f"column_{position}"
        base = base if base[0].isalpha() else f"column_{base}"
        name, count = base, 1
        while name in names or name == "school_id":
            count += 1
            name = f"{base}_{count}"
        names.append(name)
    return names


def _look(header: str, name: str, cells: pl.Series) -> _Column:
    filled = cells.drop_nulls()
    types = {type_ for type_, form in _FORMS.items() if filled.str.contains(form).all()}
    if "date" in types and filled.str.to_date("%Y-%m-%d", strict=False).null_count():
        types.discard("date")
    different = filled.unique()
    choices = sorted(different) if different.len() <= MOST_CHOICES else None
    longest = max(filled.str.len_chars().to_list(), default=0)
    return _Column(header, name, cells.name, filled.len(), longest, types, choices)


def _find_key(columns: list[_Column], sample: pl.DataFrame) -> list[_Column]:
    """The fewest columns that tell all rows apart; none where no such columns were found."""
    key = [
        column
        for column in columns
        if column.filled == sample.height and column.type != "number" and _KEY_WORDS & column.words
    ]
    for column in sorted(key, key=lambda column: column.personal != "identifier"):
        if _is_unique(sample, [column]):
            return [column]
    if not key or not _is_unique(sample, key):
        return []
    for column in reversed(key):
        rest = [each for each in key if each is not column]
        if rest and _is_unique(sample, rest):
            key = rest
    return key


def _is_unique(sample: pl.DataFrame, columns: list[_Column]) -> bool:
    return not sample.select(column.position for column in columns).is_duplicated().any()


def _fields(columns: list[_Column], key: list[_Column]) -> Iterator[dict[str, Any]]:
    titles = Counter(fold(column.title) for column in columns)
    for column in columns:
        constraints = _constraints(column)
        if column in key:
            constraints = {"required": True} | constraints
        proposed: dict[str, Any] = {
            "name": column.name,
            "title": column.title if titles[fold(column.title)] == 1 else column.name,
            "type": column.type,
            "description": "Say what the column means.",
            "personal": column.personal,
        }
        yield proposed | ({"constraints": constraints} if constraints else {})


def _constraints(column: _Column) -> dict[str, Any]:
    if column.type != "string":
        return {}
    is_choice = column.choices and column.filled >= max(MOST_CHOICES, 5 * len(column.choices))
    if is_choice and column.personal in ("none", "sensitive"):
        return {"enum": column.choices}
    return {"maxLength": column.longest * 2} if column.longest > DEFAULT_MAX_LENGTH else {}


def _guess_personal(header: str) -> Personal:
    words = set(column_name(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header)).split("_"))
    return next((personal for personal, known in _WORDS.items() if words & known), "sensitive")


def _school_field() -> dict[str, Any]:
    return {
        "name": "school_id",
        "title": "School ID",
        "optional": True,
        "description": "The school. Where a file has no such column, the school of the upload.",
        "personal": "none",
        "constraints": {"maxLength": 100},
    }
