"""The one Pipeline that holds all that is fitted: filling gaps, encoding, scaling, model, recalibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from ml.metrics import Floats, Ints
from ml.scores import ScoreClassifier
from ml.target import SCORE_ALGORITHMS, Candidate, Feature, Value

MISSING_FLAG = "missingindicator_"
# A category of fewer students than this share says more about them than about the rest.
_RARE_CATEGORY = 0.01
# Recalibrating takes so many more fits; more of them would hardly change two numbers.
_FOLDS = 3
# No forest is surer than this of either class: in 200 trees, one more would have said otherwise.
_SUREST = 0.005

_ESTIMATORS: dict[str, Any] = {
    "logistic": LogisticRegression,
    "boosting": HistGradientBoostingClassifier,
    "forest": RandomForestClassifier,
    "ridge": Ridge,
    "boosted_score": HistGradientBoostingRegressor,
    "forest_score": RandomForestRegressor,
}
# Early stopping would set aside rows at random, of students on both sides.
_FIXED: dict[str, dict[str, Any]] = {
    "logistic": {"max_iter": 2000},
    "boosting": {"early_stopping": False},
    "boosted_score": {"early_stopping": False},
}


class RecalibratedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose log-odds are shifted and stretched to fit the latest cohort it was shown.

    Under drift, recalibrating on the rows that were learnt from barely helps, so those of `recent` are kept
    from the inner model and used for the two numbers alone. Most of their students have earlier rows as well:
    their log-odds come from models that saw none of the student's rows, as it will be with new students.
    Without `recent`, or where it holds one class only, the log-odds stay as they are.
    """

    def __init__(self, estimator: Any, recalibrate: bool = False) -> None:
        self.estimator = estimator
        self.recalibrate = recalibrate

    def fit(self, X: Any, y: Any, recent: Any = None, students: Any = None) -> RecalibratedClassifier:  # noqa: N803
        """Fit the inner model, then shift and slope on the rows that `recent` marks.

        Args:
            X: prepared features, one row per student and cohort.
            y: 1 where the label is true.
            recent: which rows are of the latest cohort.
            students: numbers whom each row is about; each row is someone else's where it is not given.
        """
        X, y = np.asarray(X), np.asarray(y)  # noqa: N806
        recent = np.zeros(len(y), dtype=bool) if recent is None else np.asarray(recent)
        held_back = self.recalibrate and all(_has_both(y[part]) for part in (recent, ~recent))
        learnt_from = ~recent if held_back else np.ones(len(y), dtype=bool)
        self.estimator_ = clone(self.estimator).fit(X[learnt_from], y[learnt_from])
        self.classes_ = self.estimator_.classes_
        self.shift_, self.slope_ = 0.0, 1.0
        if held_back:
            students = np.arange(len(y)) if students is None else np.asarray(students)
            self._recalibrate(self._judge_unseen(X, y, recent, students), y)
        return self

    def _judge_unseen(self, X: Any, y: Ints, recent: NDArray[np.bool_], students: Ints) -> Floats:  # noqa: N803
        """Log-odds of the recent rows by models that saw no row of their students; NaN for the others."""
        log_odds = np.full(len(y), np.nan)
        if not np.isin(students[~recent], students[recent]).any():
            log_odds[recent] = _log_odds(self.estimator_, X[recent])
            return log_odds
        fold = np.unique(students, return_inverse=True)[1] % _FOLDS
        for each in range(_FOLDS):
            mine, others = recent & (fold == each), ~recent & (fold != each)
            if mine.any() and _has_both(y[others]):
                log_odds[mine] = _log_odds(clone(self.estimator).fit(X[others], y[others]), X[mine])
        return log_odds

    def _recalibrate(self, log_odds: Floats, y: Ints) -> None:
        known = np.isfinite(log_odds)
        if not _has_both(y[known]):
            return
        fitted = LogisticRegression(C=100.0).fit(log_odds[known, None], y[known])
        # A slope that is not positive would turn the ranking round: then the cohort says nothing.
        if fitted.coef_[0, 0] > 0:
            self.shift_, self.slope_ = float(fitted.intercept_[0]), float(fitted.coef_[0, 0])

    def decision_function(self, X: Any) -> Floats:  # noqa: N803
        """Recalibrated log-odds."""
        log_odds: Floats = self.shift_ + self.slope_ * _log_odds(self.estimator_, np.asarray(X))
        return log_odds

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Probabilities of the two classes, one row per student."""
        positive = 1 / (1 + np.exp(-self.decision_function(X)))
        return np.column_stack([1 - positive, positive])

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The likelier class."""
        classes: NDArray[Any] = self.classes_[(self.decision_function(X) > 0).astype(int)]
        return classes


class RangeScaler(StandardScaler):  # type: ignore[misc]
    """Scales to mean 0 and deviation 1, and takes values outside the range learnt from for its ends.

    Beyond the range nothing was learnt, and a linear model would go on in a straight line: on courses shorter
    than all it had seen, one was worse than the base rate.
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> RangeScaler:  # noqa: N803
        """Learn mean, deviation and range of each column."""
        super().fit(X, y, sample_weight)
        scaled = super().transform(X)
        self.lowest_, self.highest_ = scaled.min(axis=0), scaled.max(axis=0)
        return self

    def transform(self, X: Any, copy: bool | None = None) -> Floats:  # noqa: N803
        """The columns, scaled and held within their range."""
        held: Floats = np.clip(super().transform(X, copy), self.lowest_, self.highest_)
        return held


def build_pipeline(features: Sequence[Feature], candidate: Candidate, seed: int) -> Pipeline:
    """An unfitted pipeline for the declared features.

    Every prepared column is scaled to mean 0 over the rows learnt from, missing flags and categories too, so
    that a coefficient times a value is the distance from the average student: the reasons rest on that.
    """
    return Pipeline(
        [
            ("prepare", _prepare(features)),
            ("scale", RangeScaler()),
            ("model", _model(candidate, seed)),
        ]
    )


@dataclass(frozen=True, slots=True)
class Lesson:
    """Rows to learn from; all arrays are of the same length.

    `rows` are features as `shape_features` gives them, `students` numbers whom each row is about, `values` is
    the number behind the label (NaN where there is none), `threshold` the bound below which the label is
    true.
    """

    rows: pd.DataFrame
    y: Ints
    cohorts: Ints
    students: Ints
    values: Floats
    threshold: float | None = None

    def part(self, chosen: NDArray[Any]) -> Lesson:
        """The rows that a mask or positions name."""
        return Lesson(
            self.rows.iloc[np.flatnonzero(chosen) if chosen.dtype == bool else chosen],
            self.y[chosen],
            self.cohorts[chosen],
            self.students[chosen],
            self.values[chosen],
            self.threshold,
        )


def fit_pipeline(features: Sequence[Feature], candidate: Candidate, seed: int, lesson: Lesson) -> Pipeline:
    """Fit on a lesson; its latest cohort serves recalibration where that is on."""
    pipeline = build_pipeline(features, candidate, seed)
    more = {
        "model__recent": lesson.cohorts == lesson.cohorts.max(),
        "model__students": lesson.students,
    }
    if candidate.algorithm in SCORE_ALGORITHMS:
        more["model__values"] = lesson.values
    return pipeline.fit(lesson.rows, lesson.y, **more)


def predict_probability(pipeline: Pipeline, rows: pd.DataFrame) -> Floats:
    """The probability of the label being true, one per row."""
    if not len(rows):
        return np.empty(0)
    probability: Floats = pipeline.predict_proba(rows)[:, 1]
    return probability


def foretells_value(pipeline: Pipeline) -> bool:
    """Whether the model foretells the number behind the label, too."""
    return hasattr(pipeline.named_steps["model"], "predict_value")


def predict_value(pipeline: Pipeline, rows: pd.DataFrame, value: Value) -> tuple[Floats, Floats]:
    """The number behind the label and both ends of its interval (rows × 2), within what is possible."""
    if not len(rows):
        return np.empty(0), np.empty((0, 2))
    prepared, model = pipeline[:-1].transform(rows), pipeline.named_steps["model"]
    foretold = model.predict_value(prepared), model.predict_interval(prepared, value.interval)
    return tuple(np.clip(each, value.minimum, value.maximum) for each in foretold)


def column_sources(pipeline: Pipeline, features: Sequence[Feature]) -> list[str]:
    """The feature each prepared column came from."""
    names = [feature.name for feature in features]
    categories = sorted((f.name for f in features if f.type == "category"), key=len, reverse=True)
    sources = []
    for column in pipeline.named_steps["prepare"].get_feature_names_out():
        plain = column.removeprefix(MISSING_FLAG)
        sources.append(plain if plain in names else next(n for n in categories if plain.startswith(f"{n}_")))
    return sources


def _prepare(features: Sequence[Feature]) -> ColumnTransformer:
    """Fill and flag what is missing; put words into numbers by their declared order or one column each."""
    parts: list[tuple[str, Any, list[str]]] = []
    for policy in ("typical", "zero"):
        for kinds in (("number", "boolean"), ("ordinal",)):
            chosen = [f for f in features if f.missing == policy and f.type in kinds]
            if chosen:
                steps = [_order(chosen)] if kinds == ("ordinal",) else []
                steps.append(_impute(policy))
                parts.append((f"{kinds[0]}_{policy}", make_pipeline(*steps), [f.name for f in chosen]))
    categories = [f.name for f in features if f.type == "category"]
    if categories:
        encoder = OneHotEncoder(
            handle_unknown="infrequent_if_exist", min_frequency=_RARE_CATEGORY, sparse_output=False
        )
        parts.append(("category", encoder, categories))
    return ColumnTransformer(parts, verbose_feature_names_out=False)


def _order(features: Sequence[Feature]) -> OrdinalEncoder:
    return OrdinalEncoder(
        categories=[list(f.order) for f in features],
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
    )


def _impute(policy: str) -> SimpleImputer:
    # A feature that is empty all through stays, as a constant: the mart may fill it next term.
    settings: dict[str, Any] = {"add_indicator": True, "keep_empty_features": True}
    if policy == "zero":
        return SimpleImputer(strategy="constant", fill_value=0.0, **settings)
    return SimpleImputer(strategy="median", **settings)


def _model(candidate: Candidate, seed: int) -> RecalibratedClassifier | ScoreClassifier:
    """The last step: what answers with log-odds, and for scores with the number as well."""
    drawn = {} if candidate.algorithm in ("logistic", "ridge") else {"random_state": seed}
    estimator = _ESTIMATORS[candidate.algorithm](**_FIXED.get(candidate.algorithm, {}), **drawn)
    estimator.set_params(**candidate.settings)
    if candidate.algorithm in SCORE_ALGORITHMS:
        return ScoreClassifier(estimator, seed, candidate.recalibrate)
    return RecalibratedClassifier(estimator, candidate.recalibrate)


def _log_odds(estimator: Any, X: Any) -> Floats:  # noqa: N803
    """Log-odds of any classifier; a forest counts leaves, whose share may be 0 or 1, and is held off both."""
    if hasattr(estimator, "decision_function"):
        given: Floats = estimator.decision_function(X)
        return given
    share = np.clip(estimator.predict_proba(X)[:, 1], _SUREST, 1 - _SUREST)
    log_odds: Floats = np.log(share / (1 - share))
    return log_odds


def _has_both(y: Ints) -> bool:
    return len(y) > 0 and 0 < int(y.sum()) < len(y)
