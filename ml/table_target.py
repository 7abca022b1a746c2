"""The declaration that a table is learnt by: a school's, with the table's columns and plain rule. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.columns import Column, settings
from ml.metrics import Ints, auc
from ml.table_label import TableLabel
from ml.target import Target, load_target

# Words that are rarer in a column than so many others serve no plain rule.
_MOST_WORDS = 10


@dataclass(frozen=True, slots=True)
class OneNumber:
    """The plain rule of a table: one feature, the side that is the risk, its scale, the mark that warns."""

    feature: str
    side: Literal["below", "above"]
    lowest: float
    highest: float
    mark: float


def find_rule(features: dict[str, Column], y: Ints, taught: NDArray[np.bool_]) -> OneNumber:
    """The number that ranks the rows to learn from best by itself; its mark warns of as many as there came.

    Where a table has no number, the word that parts the rows best becomes one, and is added to the features.
    """
    if all(column.kind == "category" for column in features.values()):
        name, column = _best_word(features, y, taught)
        features[name] = column
    ranks = {name: _rank(column, y, taught) for name, column in features.items() if column.kind != "category"}
    name = max(ranks, key=lambda each: abs(ranks[each]))
    values = features[name].values.to_numpy(dtype=float)[taught]
    values = values[np.isfinite(values)]
    lowest, highest = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    share = float(y[taught].mean())
    is_low = ranks[name] < 0
    mark = float(np.quantile(values, share if is_low else 1 - share)) if len(values) else 0.0
    if features[name].kind == "boolean":
        mark = 0.5
    # A number that is the same in all rows to learn from has a scale as well, though it ranks nobody.
    highest = highest if highest > lowest else lowest + 1
    return OneNumber(name, "below" if is_low else "above", lowest, highest, mark)


def make_target(
    name: str,
    positive: Sequence[str],
    label: TableLabel,
    features: Mapping[str, Column],
    rule: OneNumber,
    *,
    periods: int,
    groups: Sequence[str],
    capacity: float | None,
) -> Target:
    """Declare what is to be foretold; whatever a table does not say itself is as for the schools.

    Args:
        name: the column that is to be foretold.
        periods: one without time; else the latest is judged by.
        groups: columns of the rows by which groups are compared.
        capacity: the share of the rows that can be followed up; as for the schools where it is not given.
    """
    base = load_target("at_risk").model_dump(by_alias=True)
    is_number = label.mark is not None
    asked = f"{name} {' or '.join(positive)}"
    candidates = [each for each in settings()["candidates"] if periods > 1 or not each.get("recalibrate")]
    value = {"column": name, "minimum": label.lowest, "maximum": label.highest}
    own: dict[str, Any] = {
        "name": "table",
        "title": asked,
        "description": "A table on which the method was tried; nothing of it is kept.",
        "relation": "files.table",
        "cohort": {"by": "as_of", "wave_days": 0, "horizon_days": 366},
        "label": {
            **base["label"],
            "any_of": [{"column": name, **({"below": "mark"} if is_number else {"is": True})}],
            "value": {**value, "interval": settings()["interval"]} if is_number else None,
            "came": f"had {asked}",
            "stayed_away": "did not",
        },
        "thresholds": {
            mark: {"relation": "files.table", "column": name}
            for mark in ("rule_mark", *(["mark"] if is_number else []))
        },
        "features": [
            {"name": feature, "type": column.kind, "reason": False} for feature, column in features.items()
        ],
        "candidates": [*candidates, *(settings()["score_candidates"] if is_number else [])],
        "validation": {
            **base["validation"],
            "scheme": "time" if periods > 1 else "folds",
            # Exactly the latest period, so that whoever asks knows what was judged by.
            "held_out_cohorts_most": 1,
            "train_cohorts_least": max(1, min(base["validation"]["train_cohorts_least"], periods - 1)),
        },
        "fairness": {**base["fairness"], "columns": list(groups)},
        "flag": {**base["flag"], **({"capacity": capacity} if capacity else {})},
        "rule": {"warnings": [_warning(rule)]},
        "recommendations": [],
        "digest": "",
    }
    return Target.model_validate({**base, **own})


def _rank(column: Column, y: Ints, taught: NDArray[np.bool_]) -> float:
    """How well a number ranks the rows to learn from: -0.5 to 0.5, below 0 where a low number is the risk."""
    values = column.values.to_numpy(dtype=float)[taught]
    known = np.isfinite(values)
    # What ranks a few rows only serves no rule.
    return (auc(y[taught][known], values[known]) - 0.5) * float(known.mean()) if known.any() else 0.0


def _best_word(features: Mapping[str, Column], y: Ints, taught: NDArray[np.bool_]) -> tuple[str, Column]:
    words = {
        f"{name} is {word}": Column("boolean", (column.values == word).astype("float64"))
        for name, column in features.items()
        for word in column.values[taught].value_counts().index[:_MOST_WORDS]
    }
    best = max(words, key=lambda name: abs(_rank(words[name], y, taught)))
    return best, words[best]


def _warning(rule: OneNumber) -> dict[str, Any]:
    return {
        "feature": rule.feature,
        rule.side: "rule_mark",
        "lowest": rule.lowest,
        "highest": rule.highest,
        "always": False,
        "say": f"{rule.feature}: {{value}}, {rule.side} {{threshold}}",
    }
