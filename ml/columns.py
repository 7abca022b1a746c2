"""Finds out what columns of texts hold: numbers, yes or no, words, or nothing to learn from. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml

Kind = Literal["number", "boolean", "category"]

_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")
_DATE_FORMATS = (
    "%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """What a column holds, in the form that the pipeline takes; or why it is left out.

    `values` are floats for numbers and booleans (1 is yes), else texts with None where nothing is known.
    """

    kind: Kind
    values: pd.Series
    left_out: str | None = None


@lru_cache
def settings() -> Mapping[str, Any]:
    """What `ml/table.yaml` says."""
    content: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "table.yaml").read_bytes())
    return content


def words_of(name: str) -> list[str]:
    """The words of a column's name in lower case: "Student ID", "studentId" and "student_id" are the same."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^0-9a-z]+", apart.casefold()) if word]


def clear_missing(cells: pd.Series) -> pd.Series:
    """The texts without blanks around them; None where a cell says that nothing is known."""
    texts = cells.astype(object).where(cells.notna(), "").astype(str).str.strip()
    return texts.astype(object).where(~texts.str.casefold().isin(settings()["missing"]), None)


def read_numbers(texts: pd.Series) -> pd.Series | None:
    """The texts as floats, with a decimal point or comma; null if any of them is no number."""
    known = texts[texts.notna()]
    if not len(known) or not known.map(lambda text: _NUMBER.fullmatch(text) is not None).all():
        return None
    return pd.to_numeric(texts.astype(object).str.replace(",", ".", regex=False)).astype("float64")


def read_dates(texts: pd.Series) -> pd.Series | None:
    """The texts as times; null if they are not all dates in one form that can be read in one way only."""
    known = texts[texts.notna()]
    readings = [pd.to_datetime(known, format=form, errors="coerce") for form in _DATE_FORMATS]
    fitting = [dates for dates in readings if len(known) and dates.notna().all()]
    return fitting[0].reindex(texts.index) if len(fitting) == 1 else None


def is_identity(name: str, named: list[str]) -> bool:
    """Whether a column tells who, or which thing, a row is about.

    Args:
        named: names that always do, in snake case.
    """
    words = words_of(name)
    return "_".join(words) in named or bool(set(words) & set(settings()["identity"]["words"]))


def repeats_people(texts: pd.Series) -> bool:
    """Whether values come back, but none of the column's people has more than a few rows on average."""
    known, different = int(texts.notna().sum()), texts.nunique()
    return bool(different < known <= different * settings()["identity"]["most_rows"])


def look(texts: pd.Series, *, is_group: bool = False) -> Column:
    """Infer what a column holds from its cells (as `clear_missing` gives them).

    Args:
        is_group: groups are compared by this column; a few values then stay the words that they are.
    """
    known = texts[texts.notna()]
    different = known.unique()
    if len(different) < 2:
        return Column("category", texts, "has the same value in all rows" if len(different) else "is empty")
    if is_group and len(different) <= settings()["most_groups"]:
        return Column("category", texts)
    numbers = read_numbers(texts)
    if numbers is not None:
        is_count = len(different) == len(texts) and (np.diff(numbers) == 1).all()
        return Column("number", numbers, "numbers the rows" if is_count else None)
    folded = texts.str.casefold()
    for yes, no in settings()["booleans"]:
        if folded.dropna().isin([yes, no]).all():
            return Column("boolean", folded.map({yes: 1.0, no: 0.0}).astype("float64"))
    if read_dates(texts) is not None:
        return Column("category", texts, "holds dates: give it as --time, or turn it into a number")
    limits = settings()["free_text"]
    is_free = len(different) > limits["words"] and len(different) > limits["share"] * len(known)
    if is_free or known.str.len().mean() > limits["longest"]:
        return Column("category", texts, f"is free text or names: {len(different)} different values")
    return Column("category", texts)
