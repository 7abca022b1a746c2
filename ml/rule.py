"""The plain rule: last term's average below its mark, attendance below its threshold.

It is what a school would do without a model, the bar a model has to clear, and what is shown, labelled as the
rule, where no model is published. Its thresholds come from the same seeds as every other figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.metrics import Floats
from ml.target import Feature, Target


@dataclass(frozen=True, slots=True)
class RuleScores:
    """What the rule says about each row.

    `broken` has one column per warning. `score` (0 to 1) puts more warnings first and, among equals, the
    weaker student: each warning counts as much as the whole range of the first feature. `order` is the first
    feature alone, which is the rule's other reading.
    """

    broken: NDArray[np.bool_]
    score: Floats
    order: Floats


def apply_rule(rows: pd.DataFrame, target: Target, thresholds: Mapping[str, float]) -> RuleScores:
    """Judge rows by the rule. A value that is missing gives no warning and counts as neither high nor low."""
    warnings = target.rule.warnings
    values = [_as_numbers(rows, target.feature(warning.feature)) for warning in warnings]
    broken = np.column_stack(
        [
            value < thresholds[warning.below] if warning.below else value > thresholds[warning.threshold]
            for value, warning in zip(values, warnings, strict=True)
        ]
    )
    first = warnings[0]
    place = (values[0] - first.lowest) / (first.highest - first.lowest)
    towards_risk = 1 - place if first.below else place
    order = np.clip(np.nan_to_num(towards_risk, nan=0.5), 0, 1)
    return RuleScores(broken, (broken.sum(axis=1) + order) / (len(warnings) + 1), order)


def _as_numbers(rows: pd.DataFrame, feature: Feature) -> Floats:
    """A feature's values; of an ordinal the places of its words."""
    if feature.type == "ordinal":
        places = {word: float(place) for place, word in enumerate(feature.order)}
        placed: Floats = rows[feature.name].map(places).to_numpy(dtype=float)
        return placed
    values: Floats = rows[feature.name].to_numpy(dtype=float)
    return values


def flag_by_rule(scores: RuleScores, school: NDArray[np.str_], target: Target) -> NDArray[np.bool_]:
    """Who goes on the list: warnings that always count, and others up to each school's capacity.

    Students who tie at the edge of a school's capacity are all named.
    """
    always = [warning.always for warning in target.rule.warnings]
    flagged = np.asarray(scores.broken[:, always].any(axis=1))
    warned = np.asarray(scores.broken.any(axis=1))
    for name in np.unique(school):
        mine = np.flatnonzero(school == name)
        edge = np.sort(scores.score[mine])[-int(np.ceil(target.flag.capacity * len(mine)))]
        flagged[mine] |= warned[mine] & (scores.score[mine] >= edge)
    return flagged
