"""Makes a target of any table, so that the method can be tried on known data.

A table is what a CSV file holds: a frame of texts. What its columns are is inferred; floors, splits, leakage
limits and the list are those of the declared targets (`ml/method.yaml`, `ml/targets/at_risk.yaml`), so that a
table is judged as a school is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ml.columns import (
    Column,
    clear_missing,
    is_identity,
    look,
    read_dates,
    read_numbers,
    repeats_people,
    settings,
    words_of,
)
from ml.errors import TableError
from ml.features import AS_OF, KNOWN_AT, LABEL, LABEL_KNOWN_AT, LABEL_VALUE
from ml.metrics import Ints
from ml.table_label import TableLabel, find_label
from ml.table_target import find_rule, make_target
from ml.target import Target, load_target

# Names that the rows have for themselves; a column of the same name is given a mark.
_OWN = {"school_id", "student_id", "row_version", AS_OF, KNOWN_AT, LABEL_KNOWN_AT, LABEL, LABEL_VALUE}
_SLASHED = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{4}.*")
# Periods are laid out one year after another: what matters is their order.
_FIRST_PERIOD, _PERIOD_DAYS = pd.Timestamp("2000-01-01"), 365


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a table; all but `capacity` (a share) are names of columns or texts.

    `positive` lists the target's values that are the risk, or one comparison such as "<10".
    """

    target: str
    positive: Sequence[str]
    time: str | None = None
    entity: str | None = None
    drop: Sequence[str] = ()
    groups: Sequence[str] = ()
    capacity: float | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A table as `ml.learning.learn` takes it: its arguments, and what is to be said about them.

    `left_out` names the columns that are no features, and why. `periods` are the names of the periods, oldest
    first; empty without time.
    """

    target: Target
    thresholds: dict[str, float]
    rows: pd.DataFrame
    test: pd.DataFrame | None
    left_out: dict[str, str]
    notes: list[str]
    periods: list[str] = field(default_factory=list)


def prepare(table: pd.DataFrame, question: Question, test: pd.DataFrame | None = None) -> Prepared:
    """Infer types, label, periods and the plain rule.

    Args:
        table: texts or None, one column per column of the file.
        test: a table with the same columns to judge by.

    Raises:
        TableError: a column is not there, the risk never or always comes, or there is no period to judge by.
    """
    both = table if test is None else pd.concat([table, _same_columns(test, table)], ignore_index=True)
    both = both.apply(clear_missing)
    _require_columns(both, question)
    notes: list[str] = []
    both, is_test = _labelled(both, np.arange(len(both)) >= len(table), question, notes)
    label = find_label(both[question.target], question.positive)
    _require_both_classes(label.y[~is_test], question)
    entity = question.entity or _find_entity(both, question, notes)
    numbers, periods = _periods(both, question) if test is None else (is_test.astype(np.int64), [])
    left_out, features = _sort_columns(both, question, entity)
    latest = int(numbers.max())
    rule = find_rule(features, label.y, numbers < latest if latest else numbers == 0)
    target = make_target(
        question.target,
        question.positive,
        label,
        features,
        rule,
        periods=latest + 1,
        groups=[_own_name(name) for name in question.groups],
        capacity=question.capacity,
    )
    rows = _rows(both, label, entity, numbers, features, question)
    return Prepared(
        target,
        {"rule_mark": rule.mark, **({} if label.mark is None else {"mark": label.mark})},
        rows[~is_test],
        None if test is None else rows[is_test],
        left_out,
        notes,
        periods,
    )


def _same_columns(test: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in table if name not in test]
    if missing:
        raise TableError(f"The test file lacks the columns {_listed(missing)} of the file to learn from.")
    return test[list(table)]


def _require_columns(table: pd.DataFrame, question: Question) -> None:
    if not len(table):
        raise TableError("The table has a header but no rows.")
    asked: dict[str, list[str | None]] = {
        "--target": [question.target],
        "--time": [question.time],
        "--entity": [question.entity],
    }
    asked |= {"--drop": list(question.drop), "--groups": list(question.groups)}
    for option, names in asked.items():
        for name in names:
            if name is not None and name not in table:
                raise TableError(f"{option}: there is no column {name!r}. There are {_listed(list(table))}.")


def _labelled(
    table: pd.DataFrame, is_test: Any, question: Question, notes: list[str]
) -> tuple[pd.DataFrame, Any]:
    """The rows whose outcome (and period) is known."""
    known = table[question.target].notna()
    if question.time:
        known &= table[question.time].notna()
    if not known.any():
        raise TableError(f"{question.target} is empty in all {len(table)} rows.")
    if not known.all():
        where = " or ".join(name for name in (question.target, question.time) if name)
        notes.append(f"{int((~known).sum())} of {len(table)} rows have no {where} and are left out.")
    return table[known].reset_index(drop=True), is_test[known.to_numpy()]


def _require_both_classes(y: Ints, question: Question) -> None:
    if not 0 < y.sum() < len(y):
        always = "always" if y.sum() else "never"
        raise TableError(
            f"In all {len(y)} rows to learn from, {question.target} is {always} "
            f"{' or '.join(question.positive)}: there is nothing to tell apart. Correct --positive."
        )


def _find_entity(table: pd.DataFrame, question: Question, notes: list[str]) -> str | None:
    """The one column whose values tell people apart and come back, so that a person's rows stay together."""
    named = load_target("at_risk").leakage.identity_columns
    used = {question.target, question.time, *question.drop}
    found = [
        str(name)
        for name in table
        if name not in used and is_identity(str(name), named) and repeats_people(table[name])
    ]
    people = [name for name in found if set(words_of(name)) & set(settings()["people"])]
    chosen = people if len(people) == 1 else found
    if len(chosen) == 1:
        notes.append(
            f"Values of {chosen[0]} come back: rows of the same {chosen[0]} are kept on one side of each "
            "split. Name another column with --entity if that is wrong."
        )
        return chosen[0]
    if chosen:
        notes.append(
            f"{_listed(chosen)} could say whom a row is about; each row is taken for another person's. "
            "Name the column with --entity if that is wrong."
        )
    return None


def _periods(table: pd.DataFrame, question: Question) -> tuple[Ints, list[str]]:
    """The number of each row's period, and the periods' names; without time, all rows are of one."""
    if question.time is None:
        return np.zeros(len(table), dtype=np.int64), []
    texts = table[question.time]
    dates = read_dates(texts)
    if dates is None and texts.map(lambda text: bool(_SLASHED.fullmatch(text))).all():
        raise TableError(f"--time {question.time}: its dates can be read in two ways; write them YYYY-MM-DD.")
    most = settings()["most_periods"]
    if dates is not None and dates.nunique() > most:
        by_year = dates.dt.year.nunique() > 2
        texts = dates.dt.strftime("%Y" if by_year else "%Y-%m")
    elif dates is not None:
        texts = dates.dt.strftime("%Y-%m-%d")
    numbers = read_numbers(texts)
    places = texts if numbers is None else numbers
    names = texts.groupby(places).first().sort_index()
    if not 2 <= len(names) <= most:
        raise TableError(
            f"--time {question.time} has {len(names)} different values; 2 to {most} periods are needed, "
            "to learn from the earlier ones and judge by the latest."
        )
    place = {value: number for number, value in enumerate(names.index)}
    return places.map(place).to_numpy(dtype=np.int64), names.tolist()


def _sort_columns(
    table: pd.DataFrame, question: Question, entity: str | None
) -> tuple[dict[str, str], dict[str, Column]]:
    """Why columns are no features, and what the others hold."""
    named = load_target("at_risk").leakage.identity_columns
    left_out = dict.fromkeys(question.drop, "dropped as asked")
    left_out[question.target] = "is what is to be foretold"
    if question.time:
        left_out[question.time] = "says when"
    if entity:
        left_out[entity] = "says who"
    features = {}
    for name in table:
        if name in left_out:
            continue
        column = look(table[name], is_group=name in question.groups)
        if is_identity(str(name), named):
            left_out[name] = "identifies a person or a thing"
        elif column.left_out:
            left_out[name] = column.left_out
        else:
            features[_own_name(name)] = column
    if not features:
        reasons = "; ".join(f"{name} {why}" for name, why in left_out.items())
        raise TableError(f"No column is left to learn from: {reasons}.")
    return left_out, features


def _rows(
    table: pd.DataFrame,
    label: TableLabel,
    entity: str | None,
    numbers: Ints,
    features: dict[str, Column],
    question: Question,
) -> pd.DataFrame:
    """Labelled rows as `read_labelled` gives them; a period is a year, and its outcomes come at its end."""
    people = table[entity] if entity else pd.Series(range(len(table)), index=table.index).astype(str)
    # Who has no entity is nobody else.
    people = people.where(people.notna(), "row " + pd.Series(table.index, index=table.index).astype(str))
    starts = pd.Series(_FIRST_PERIOD + pd.to_timedelta(_PERIOD_DAYS * numbers, unit="D"), index=table.index)
    own = {
        "school_id": "table",
        "student_id": people.astype(str),
        AS_OF: starts,
        KNOWN_AT: starts,
        LABEL_KNOWN_AT: starts + pd.Timedelta(days=_PERIOD_DAYS - 1),
        LABEL: label.y,
        LABEL_VALUE: label.value,
    }
    groups = {_own_name(name): table[name] for name in question.groups}
    columns = {name: column.values for name, column in features.items()}
    return pd.DataFrame({**own, **groups, **columns}, index=table.index)


def _own_name(name: str) -> str:
    """A column's name in the rows."""
    return f"{name} (column)" if name in _OWN else name


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(str(name) for name in names)
