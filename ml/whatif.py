"""What would help: the probability of similar students who stand better in one changeable feature.

An association that the model learnt, worded as one. Nothing here says that moving a student would move the
outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from ml.drift import is_supported
from ml.metrics import Floats, Ints
from ml.pipeline import predict_probability
from ml.target import Feature, Lever, Target
from ml.wording import word_value

Help = dict[str, Any]
"""feature, to (the level in words), probability (then), change (below zero), text."""

MOST_HELPS = 2
# A point of probability is the least that a teacher can make something of.
LEAST_CHANGE = 0.01


@dataclass(frozen=True, slots=True)
class _Level:
    """A lever whose level is known and supported: the level as a number, and how it is said."""

    feature: Feature
    lever: Lever
    number: float
    words: str

    def is_worse(self, values: Floats) -> NDArray[np.bool_]:
        """Where a known value lies on the side of the level that raises the risk."""
        return values < self.number if self.feature.risk == "low" else values > self.number


def find_levers(
    pipeline: Pipeline,
    rows: pd.DataFrame,
    target: Target,
    thresholds: Mapping[str, float],
    reference: Mapping[str, Any],
) -> list[list[Help]]:
    """Up to two levers per student, the strongest first.

    A lever is named only where the student is on its worse side, the model knows enough students at its level
    (the support of the reference), and the probability there is lower by at least a point. The changes whose
    level the feature is (`change_of`) move with it.

    Args:
        rows: features as `shape_features` gives them.
        reference: how the rows learnt from spread (`ml.drift.make_reference`); without one, nothing is said.
    """
    levels = _supported_levels(target, thresholds, reference)
    if not levels or not len(rows):
        return [[] for _ in range(len(rows))]
    before = predict_probability(pipeline, rows)
    after = np.column_stack([before] * len(levels))
    for number, level in enumerate(levels):
        worse = np.flatnonzero(level.is_worse(_as_numbers(rows[level.feature.name], level.feature)))
        if len(worse):
            after[worse, number] = predict_probability(pipeline, _move(rows.iloc[worse], level, target))
    return _choose(levels, before, after, target)


def _move(rows: pd.DataFrame, level: _Level, target: Target) -> pd.DataFrame:
    """The rows with the feature at the level, the changes that follow, and what the lever takes along."""
    feature, moved = level.feature, rows.copy()
    moved[feature.name] = str(level.lever.to) if feature.order else level.number
    for other in target.features:
        if other.change_of == feature.name:
            moved[other.name] = rows[other.name] + (level.number - rows[feature.name])
        elif other.name in level.lever.along:
            moved[other.name] = rows[other.name].where(rows[other.name].isna(), level.lever.along[other.name])
    return moved


def _supported_levels(
    target: Target, thresholds: Mapping[str, float], reference: Mapping[str, Any]
) -> list[_Level]:
    spreads, levels = reference.get("features", {}), []
    for feature in target.features:
        lever = feature.lever
        if lever is None or feature.name not in spreads:
            continue
        to = thresholds[lever.to] if isinstance(lever.to, str) and not feature.order else lever.to
        if is_supported(spreads[feature.name], to, feature.order):
            number = float(feature.order.index(str(to))) if feature.order else float(to)
            levels.append(_Level(feature, lever, number, word_value(to, feature.unit)))
    return levels


def _as_numbers(values: pd.Series, feature: Feature) -> Floats:
    """A feature's values; of an ordinal the places of its words, as the pipeline has them."""
    if feature.type == "ordinal":
        values = values.map({word: float(place) for place, word in enumerate(feature.order)})
    numbers: Floats = values.to_numpy(dtype=float)
    return numbers


def _choose(levels: Sequence[_Level], before: Floats, after: Floats, target: Target) -> list[list[Help]]:
    changes = after - before[:, None]
    strongest = np.argsort(changes, axis=1, kind="stable")[:, :MOST_HELPS]
    helps: list[list[Help]] = [[] for _ in range(len(before))]
    said: dict[tuple[int, str, str], str] = {}
    for rank in range(strongest.shape[1]):
        chosen: Ints = strongest[:, rank]
        every = np.arange(len(before))
        then, change = after[every, chosen], changes[every, chosen]
        for row in np.flatnonzero(change <= -LEAST_CHANGE):
            level = levels[chosen[row]]
            key = (int(chosen[row]), _cases(float(then[row])), _cases(float(before[row])))
            text = said.setdefault(key, _say(level, key[1], key[2], target))
            helps[row].append(
                {
                    "feature": level.feature.name,
                    "to": level.words,
                    "probability": round(float(then[row]), 4),
                    "change": round(float(change[row]), 4),
                    "text": text,
                }
            )
    return helps


def _cases(probability: float) -> str:
    """How many of a hundred, never none and never all: the model claims neither."""
    count = int(100 * probability + 0.5)
    if count == 0:
        return "fewer than 1"
    return "more than 99" if count == 100 else str(count)


def _say(level: _Level, then: str, now: str, target: Target) -> str:
    return (
        f"With {level.lever.say.format(to=level.words)}, similar students {target.label.came} in {then} of "
        f"100 cases instead of {now}; an association, not a promise"
    )
