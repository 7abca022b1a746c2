"""Puts contributions into words that a teacher understands, and reasons into steps a school can take.

The words stand in the catalogue. A reason names something the school has seen and can act upon; a feature
marked `reason: false` is never named, however much it weighs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Formatter
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


class _Student(Mapping[str, str]):
    """One student's values, as they are (`raw`) and in words, worded only when a text asks for them."""

    def __init__(self, columns: Mapping[str, list[Any]], number: int, target: Target) -> None:
        self._columns, self._number, self._target = columns, number, target
        self.more: dict[str, str] = {}

    def raw(self, name: str) -> Any:
        """The value of a feature."""
        return self._columns[name][self._number]

    def __getitem__(self, name: str) -> str:
        if name in self.more:
            return self.more[name]
        return word_value(self.raw(name), self._target.feature(name).unit)

    def __iter__(self) -> Iterator[str]:
        return iter([*self.more, *self._columns])

    def __len__(self) -> int:
        return len(self.more) + len(self._columns)


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
    weighty = np.take_along_axis(weight, strongest, axis=1) > 0
    moved = np.take_along_axis(contributions.effects, strongest, axis=1).round(4).tolist()
    columns = _Columns(rows, target)
    speakers = [_Speaker(feature, columns, target) for feature in target.features]
    return [
        [
            speakers[place].speak(number, effect)
            for place, effect, is_weighty in zip(*ranked, strict=True)
            if is_weighty
        ]
        for number, ranked in enumerate(zip(strongest.tolist(), moved, weighty.tolist(), strict=True))
    ]


def word_rule_reasons(
    rows: pd.DataFrame, scores: RuleScores, target: Target, thresholds: Mapping[str, float]
) -> list[list[Reason]]:
    """The rule's warnings in words; the effect of each is what it adds to the rule's score."""
    effect = round(1 / (len(target.rule.warnings) + 1), 4)
    columns = _Columns(rows, target)
    answers: list[list[Reason]] = []
    for number, broken in enumerate(scores.broken):
        reasons = []
        for place in np.flatnonzero(broken):
            warning = target.rule.warnings[place]
            unit = target.feature(warning.feature).unit
            student = _Student(columns, number, target)
            value = student[warning.feature]
            threshold = word_value(thresholds[warning.threshold], unit)
            if value == threshold:  # 49.6 is below 50, but not "50 below 50"
                value = f"just {'below' if warning.below else 'above'} {threshold}"
            student.more = {"value": value, "threshold": threshold}
            text = warning.say.format_map(student)
            reasons.append({"feature": warning.feature, "value": value, "effect": effect, "text": text})
        answers.append(reasons)
    return answers


def recommend(
    rows: pd.DataFrame, flagged: NDArray[np.bool_], target: Target, thresholds: Mapping[str, float]
) -> list[list[Step]]:
    """The steps that the values of each student on the list call for; none for the others."""
    columns = _Columns(rows, target)
    return [
        _steps(_Student(columns, number, target), target, thresholds) if on_list else []
        for number, on_list in enumerate(flagged)
    ]


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


class _Speaker:
    """Words one feature. Students with the same values are told the same, so that is worded once."""

    def __init__(self, feature: Feature, columns: Mapping[str, list[Any]], target: Target) -> None:
        self._feature, self._columns, self._target = feature, columns, target
        texts = [*(words.say for words in feature.words), feature.missing_words]
        named = {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}
        others = {feature.change_of, *named} & set(columns) - {feature.name, None}
        self._names = [feature.name, *sorted(str(name) for name in others)]
        self._looked_at: list[list[Any]] = []
        self._said: dict[tuple[Any, ...], tuple[str, str]] = {}

    def speak(self, number: int, effect: float) -> Reason:
        """The feature as a reason for the student at this place."""
        if not self._looked_at:
            self._looked_at = [self._columns[name] for name in self._names]
        values = tuple([column[number] for column in self._looked_at])
        said = self._said.get(values)
        if said is None:
            said = self._said[values] = self._word(_Student(self._columns, number, self._target))
        return {"feature": self._feature.name, "value": said[0], "effect": effect, "text": said[1]}

    def _word(self, student: _Student) -> tuple[str, str]:
        feature = self._feature
        raw = student.raw(feature.name)
        value = word_value(raw, feature.unit)
        template = feature.missing_words if _is_missing(raw) else _saying(feature, raw)
        student.more = {"value": value, **_ends(feature, student, self._target)}
        return value, template.format_map(student)


def _ends(feature: Feature, student: _Student, target: Target) -> dict[str, str]:
    """A number without its sign, and for a change the values before and now."""
    raw = student.raw(feature.name)
    if feature.type != "number" or _is_missing(raw):
        return {}
    ends = {"amount": word_value(abs(raw), feature.unit)}
    if feature.change_of:
        now, unit = student.raw(feature.change_of), target.feature(feature.change_of).unit
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


def _steps(student: _Student, target: Target, thresholds: Mapping[str, float]) -> list[Step]:
    called_for = [
        {"code": step.code, "text": step.text}
        for step in target.recommendations
        if step.feature and _calls(step, student.raw(step.feature), thresholds)
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


class _Columns(Mapping[str, list[Any]]):
    """The features as lists, yes and no as such, made when asked for: a row of a frame costs more."""

    def __init__(self, rows: pd.DataFrame, target: Target) -> None:
        self._rows, self._target = rows, target
        self._lists: dict[str, list[Any]] = {}

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self._lists:
            values = self._rows[name].tolist()
            if self._target.feature(name).type == "boolean":
                values = [value if _is_missing(value) else bool(value) for value in values]
            self._lists[name] = values
        return self._lists[name]

    def __contains__(self, name: object) -> bool:
        return name in self._rows.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows.columns)

    def __len__(self) -> int:
        return len(self._rows.columns)


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN differs from itself
