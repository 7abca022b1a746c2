"""From the current students' rows to predictions with reasons and steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from ml.explain import explain
from ml.features import shape_features
from ml.metrics import Floats
from ml.pipeline import foretells_value, predict_probability, predict_value
from ml.rule import apply_rule, flag_by_rule
from ml.target import Flag, Target
from ml.whatif import find_levers
from ml.wording import Reason, Step, recommend, word_reasons, word_rule_reasons

Identity = tuple[str, str, str]
"""School, student and subject; the subject is empty where the target has none."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is said about one student (and subject, where the target has one): a line of `ml.predictions`.

    `value` and its bounds are the number behind the label, where the model foretells it.
    """

    school_id: str
    student_id: str
    subject: str
    as_of_date: date
    model_id: UUID | None
    probability: float | None
    score: float
    is_at_risk: bool
    value: float | None
    value_low: float | None
    value_high: float | None
    reasons: list[Reason]
    recommendations: list[Step]
    helps: list[dict[str, Any]]
    features: dict[str, Any]
    data_version: str

    @property
    def method(self) -> str:
        """Who speaks: `model` or `rule`."""
        return "rule" if self.model_id is None else "model"


@dataclass(frozen=True, slots=True)
class Scores:
    """What was made of rows as `read_current` gives them, before anything is worded; arrays of that length.

    `values` has three columns, the number behind the label and both ends of its interval; null where none is
    foretold. `probability` is null where the rule speaks, which states none.
    """

    rows: pd.DataFrame
    features: pd.DataFrame
    score: Floats
    probability: Floats | None
    is_at_risk: NDArray[np.bool_]
    values: Floats | None
    pipeline: Pipeline | None
    model_id: UUID | None
    data_version: list[str]

    def identify(self, entity: Sequence[str]) -> list[Identity]:
        """Whom each row is about."""
        subject = self.rows[entity[0]] if entity else [""] * len(self.rows)
        return list(zip(self.rows["school_id"], self.rows["student_id"], subject, strict=True))

    def compare(self) -> list[tuple[object, ...]]:
        """What has to differ in each row before there is a new line."""
        dates = self.rows["as_of_date"].dt.date
        columns = (dates, self.score.tolist(), self.is_at_risk.tolist(), self.data_version)
        return [(self.model_id, *each) for each in zip(*columns, strict=True)]

    def part(self, chosen: NDArray[np.int64]) -> Scores:
        """The rows at these positions."""
        return Scores(
            self.rows.iloc[chosen],
            self.features.iloc[chosen],
            self.score[chosen],
            None if self.probability is None else self.probability[chosen],
            self.is_at_risk[chosen],
            None if self.values is None else self.values[chosen],
            self.pipeline,
            self.model_id,
            [self.data_version[place] for place in chosen],
        )


def score_by_model(
    rows: pd.DataFrame, target: Target, pipeline: Pipeline, model_id: UUID, version_prefix: str
) -> Scores:
    """Score rows as `read_current` gives them; who is flagged is decided school by school."""
    features = shape_features(rows, target.features)
    # Six places: the same student must get the same figure whoever else is in the batch.
    probability = np.round(predict_probability(pipeline, features), 6)
    flagged = flag_students(probability, rows["school_id"].to_numpy(dtype=str), target.flag)
    values = None
    if target.label.value and foretells_value(pipeline):
        middle, ends = predict_value(pipeline, features, target.label.value)
        values = np.round(np.column_stack([middle, ends]), 2).astype(float)
    versions = [f"{version_prefix}:{version}" for version in rows["row_version"]]
    return Scores(rows, features, probability, probability, flagged, values, pipeline, model_id, versions)


def score_by_rule(
    rows: pd.DataFrame, target: Target, thresholds: Mapping[str, float], version_prefix: str
) -> Scores:
    """The plain rule's answer for rows as `read_current` gives them; it states no probability."""
    features = shape_features(rows, target.features)
    scores = apply_rule(features, target, thresholds)
    flagged = flag_by_rule(scores, rows["school_id"].to_numpy(dtype=str), target)
    versions = [f"{version_prefix}:{version}" for version in rows["row_version"]]
    return Scores(rows, features, np.round(scores.score, 6), None, flagged, None, None, None, versions)


def put_into_words(
    scores: Scores, target: Target, thresholds: Mapping[str, float], reference: Mapping[str, Any] | None
) -> list[Prediction]:
    """Scores with reasons, steps and what would help.

    Args:
        reference: the spread of the features that the model learnt from; null for the rule.
    """
    if not len(scores.rows):
        return []
    features, flagged = scores.features, scores.is_at_risk
    helps: Sequence[list[dict[str, Any]]] = [[]] * len(features)
    if scores.pipeline is None:
        reasons = word_rule_reasons(features, apply_rule(features, target, thresholds), target, thresholds)
    else:
        contributions = explain(scores.pipeline, features, target.features)
        reasons = word_reasons(features, contributions, flagged, target)
        helps = find_levers(scores.pipeline, features, target, thresholds, reference or {})
    steps = recommend(features, flagged, target, thresholds)
    return _assemble(scores, target, reasons, steps, helps)


def flag_students(probability: Floats, school: NDArray[np.str_], flag: Flag) -> NDArray[np.bool_]:
    """Who goes on the list: the likeliest of each school up to its capacity, and all above a certainty.

    Nobody below `minimum` is named merely to fill the list; ties at its edge are all named.
    """
    flagged = probability >= flag.always_from
    for name in np.unique(school):
        mine = np.flatnonzero(school == name)
        k = int(np.ceil(flag.capacity * len(mine)))
        edge = np.sort(probability[mine])[-k]
        flagged[mine] |= probability[mine] >= max(edge, flag.minimum)
    return flagged


def _assemble(
    scores: Scores,
    target: Target,
    reasons: Sequence[list[Reason]],
    steps: Sequence[list[Step]],
    helps: Sequence[list[dict[str, Any]]],
) -> list[Prediction]:
    nothing: list[None] = [None] * len(scores.rows)
    claims = nothing if scores.probability is None else scores.probability.tolist()
    values = [(None, None, None)] * len(nothing) if scores.values is None else scores.values.tolist()
    return [
        Prediction(
            school, student, subject, as_of, scores.model_id, claim, order, is_flagged, value, low, high, why,
            what, help, used, version,
        )
        for (
            (school, student, subject), as_of, claim, order, is_flagged, (value, low, high), why, what, help,
            used, version,
        ) in zip(
            scores.identify(target.entity), scores.rows["as_of_date"].dt.date, claims, scores.score.tolist(),
            scores.is_at_risk.tolist(), values, reasons, steps, helps, _used(scores.features),
            scores.data_version, strict=True,
        )
    ]  # fmt: skip


def _used(features: pd.DataFrame) -> list[dict[str, Any]]:
    """What the model looked at, as plain JSON values; what is missing is null."""
    names = list(features.columns)
    columns = [features[name].astype(object).where(features[name].notna(), None).tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
