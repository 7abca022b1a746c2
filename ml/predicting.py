"""From the current students' rows to predictions with reasons and steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from ml.explain import explain
from ml.features import shape_features
from ml.metrics import Floats
from ml.pipeline import predict_probability
from ml.rule import apply_rule, flag_by_rule
from ml.target import Flag, Target
from ml.wording import Reason, Step, recommend, word_reasons, word_rule_reasons


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is said about one student: a line of `ml.predictions`."""

    school_id: str
    student_id: str
    as_of_date: date
    model_id: UUID | None
    probability: float | None
    score: float
    is_at_risk: bool
    reasons: list[Reason]
    recommendations: list[Step]
    data_version: str

    @property
    def method(self) -> str:
        """Who speaks: `model` or `rule`."""
        return "rule" if self.model_id is None else "model"

    @property
    def comparable(self) -> tuple[object, ...]:
        """What has to differ before the student gets a new line."""
        return (self.model_id, self.as_of_date, self.score, self.is_at_risk, self.data_version)


def predict_by_model(
    rows: pd.DataFrame,
    target: Target,
    thresholds: Mapping[str, float],
    pipeline: Pipeline,
    model_id: UUID,
    version_prefix: str,
) -> list[Prediction]:
    """Predictions for rows as `read_current` gives them; who is flagged is decided school by school."""
    features = shape_features(rows, target.features)
    # Six places: the same student must get the same figure whoever else is in the batch.
    probability = np.round(predict_probability(pipeline, features), 6)
    flagged = flag_students(probability, rows["school_id"].to_numpy(dtype=str), target.flag)
    reasons = word_reasons(features, explain(pipeline, features, target.features), flagged, target)
    steps = recommend(features, flagged, target, thresholds)
    return _assemble(rows, model_id, probability, probability, flagged, reasons, steps, version_prefix)


def predict_by_rule(
    rows: pd.DataFrame, target: Target, thresholds: Mapping[str, float], version_prefix: str
) -> list[Prediction]:
    """The plain rule's answer for rows as `read_current` gives them; it states no probability."""
    features = shape_features(rows, target.features)
    scores = apply_rule(features, target, thresholds)
    flagged = flag_by_rule(scores, rows["school_id"].to_numpy(dtype=str), target)
    reasons = word_rule_reasons(features, scores, target, thresholds)
    steps = recommend(features, flagged, target, thresholds)
    return _assemble(rows, None, None, np.round(scores.score, 6), flagged, reasons, steps, version_prefix)


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
    rows: pd.DataFrame,
    model_id: UUID | None,
    probability: Floats | None,
    score: Floats,
    flagged: NDArray[np.bool_],
    reasons: Sequence[list[Reason]],
    steps: Sequence[list[Step]],
    version_prefix: str,
) -> list[Prediction]:
    as_of_dates = rows["as_of_date"].dt.date
    claims: list[float | None] = [None] * len(rows) if probability is None else list(map(float, probability))
    return [
        Prediction(
            school, student, as_of, model_id, claim, float(order), bool(is_flagged), why, what,
            f"{version_prefix}:{version}",
        )
        for school, student, as_of, version, claim, order, is_flagged, why, what in zip(
            rows["school_id"], rows["student_id"], as_of_dates, rows["row_version"], claims, score, flagged,
            reasons, steps, strict=True,
        )
    ]  # fmt: skip
