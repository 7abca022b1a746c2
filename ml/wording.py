"""Puts contributions into words that a teacher understands, and reasons into steps a school can take.

The words stand in the target's file and in `recommendations.yaml`. A reason names something the school has
seen and can act upon; a feature marked `reason: false` is never named, however much it weighs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.explain import Contributions
from ml.rule import RuleScores
from ml.target import Feature, Recommendation, Target, Unit

Reason = dict[str, Any]
Step = dict[str, str]

MOST_REASONS = 3
# Effects below this many log-odds move a probability by about one point: not worth a teacher's time.
_LEAST_EFFECT = 0.05


class _Values(Mapping[str, str]):
    """One student's values in words, worded only when a text asks for them."""

    def __init__(self, row: Mapping[str, Any], target: Target, more: Mapping[str, str]) -> None:
        self._row, self._target, self._more = row, target, more

    def __getitem__(self, name: str) -> str:
        if name in self._more:
            return self._more[name]
        return word_value(self._row[name], self._target.feature(name).unit)

    def __iter__(self) -> Iterator[str]:
        return iter([*self._more, *self._row])

    def __len__(self) -> int:
        return len(self._more) + len(self._row)


def word_value(value: Any, unit: Unit) -> str:
    """A value as people write it: 52, 71 %, 4 years, High."""
    if _is_missing(value):
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if unit == "word":
        return str(value)
    if unit in ("rate", "pct"):
        return f"{float(value) * (100 if unit == 'rate' else 1):.0f} %"
    number = f"{float(value):.0f}" if abs(float(value)) >= 10 else f"{float(value):.1f}".removesuffix(".0")
    return f"{number} years" if unit == "years" else number


def word_reasons(
    rows: pd.DataFrame, contributions: Contributions, flagged: NDArray[np.bool_], target: Target
) -> list[list[Reason]]:
    """Up to three reasons per student, strongest first.

    A student on the list is given what raises the risk; any other what weighs most, either way.
    """
    effects = np.where(_worth_saying(rows, contributions, target), contributions.effects, 0.0)
    weight = np.where(flagged[:, None], np.maximum(effects, 0), np.abs(effects))
    weight[weight < _LEAST_EFFECT] = 0
    strongest = np.argsort(-weight, axis=1, kind="stable")[:, :MOST_REASONS]
    records = _records(rows, target)
    return [
        [
            _reason(target.features[place], record, float(contributions.effects[number, place]), target)
            for place in strongest[number]
            if weight[number, place] > 0
        ]
        for number, record in enumerate(records)
    ]


def word_rule_reasons(
    rows: pd.DataFrame, scores: RuleScores, target: Target, thresholds: Mapping[str, float]
) -> list[list[Reason]]:
    """The rule's warnings in words; the effect of each is what it adds to the rule's score."""
    effect = round(1 / (len(target.rule.warnings) + 1), 4)
    answers: list[list[Reason]] = []
    for number, record in enumerate(_records(rows, target)):
        reasons = []
        for place in np.flatnonzero(scores.broken[number]):
            warning = target.rule.warnings[place]
            unit = target.feature(warning.feature).unit
            value = word_value(record[warning.feature], unit)
            more = {"value": value, "below": word_value(thresholds[warning.below], unit)}
            text = warning.say.format_map(_Values(record, target, more))
            reasons.append({"feature": warning.feature, "value": value, "effect": effect, "text": text})
        answers.append(reasons)
    return answers


def recommend(
    rows: pd.DataFrame, flagged: NDArray[np.bool_], target: Target, thresholds: Mapping[str, float]
) -> list[list[Step]]:
    """The steps that the values of each student on the list call for; none for the others."""
    listed = iter([_steps(record, target, thresholds) for record in _records(rows[flagged], target)])
    return [next(listed) if on_list else [] for on_list in flagged]


def _worth_saying(rows: pd.DataFrame, contributions: Contributions, target: Target) -> NDArray[np.bool_]:
    """Where a contribution may be worded: the feature may be a reason, and the direction makes sense."""
    worth = np.zeros(contributions.effects.shape, dtype=bool)
    for place, feature in enumerate(target.features):
        if not feature.reason:
            continue
        known = rows[feature.name].notna().to_numpy()
        sense = np.ones(len(rows), dtype=bool)
        if feature.risk != "either":
            towards_risk = 1 if feature.risk == "high" else -1
            sense = contributions.side[:, place] * np.sign(contributions.effects[:, place]) == towards_risk
        worth[:, place] = np.where(known, sense, bool(feature.missing_words))
    return worth


def _reason(feature: Feature, record: Mapping[str, Any], effect: float, target: Target) -> Reason:
    raw = record[feature.name]
    value = word_value(raw, feature.unit)
    template = feature.missing_words if _is_missing(raw) else _saying(feature, raw)
    text = template.format_map(_Values(record, target, {"value": value, **_ends(feature, record, target)}))
    return {"feature": feature.name, "value": value, "effect": round(effect, 4), "text": text}


def _ends(feature: Feature, record: Mapping[str, Any], target: Target) -> dict[str, str]:
    """A number without its sign, and for a change the values before and now."""
    raw = record[feature.name]
    if feature.type != "number" or _is_missing(raw):
        return {}
    ends = {"amount": word_value(abs(raw), feature.unit)}
    if feature.change_of:
        now, unit = record[feature.change_of], target.feature(feature.change_of).unit
        ends |= {"before": word_value(now - raw, unit), "now": word_value(now, unit)}
    return ends


def _saying(feature: Feature, value: Any) -> str:
    """The first wording whose bounds hold the value; the last one is for all others."""
    for words in feature.words[:-1]:
        below = words.below is None or float(value) < words.below
        above = words.above is None or float(value) > words.above
        if below and above:
            return words.say
    return feature.words[-1].say


def _steps(record: Mapping[str, Any], target: Target, thresholds: Mapping[str, float]) -> list[Step]:
    called_for = [
        {"code": step.code, "text": step.text}
        for step in target.recommendations
        if step.feature and _calls(step, record[step.feature], thresholds)
    ]
    general = [{"code": s.code, "text": s.text} for s in target.recommendations if not s.feature]
    return called_for or general


def _calls(step: Recommendation, value: Any, thresholds: Mapping[str, float]) -> bool:
    if _is_missing(value):
        return False
    if step.equals is not None:
        return str(value) == step.equals
    below, above = (
        thresholds[bound] if isinstance(bound, str) else bound for bound in (step.below, step.above)
    )
    return (below is None or float(value) < below) and (above is None or float(value) > above)


def _records(rows: pd.DataFrame, target: Target) -> list[dict[str, Any]]:
    names = [feature.name for feature in target.features]
    records: list[dict[str, Any]] = rows[names].to_dict("records")
    for feature in target.features:
        if feature.type == "boolean":
            for record in records:
                if not _is_missing(record[feature.name]):
                    record[feature.name] = bool(record[feature.name])
    return records


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN differs from itself
