"""How much each feature moved a student's log-odds away from the average student's. Pure numpy.

For the linear models (logistic, ridge) the contributions are exact: they and the baseline add up to the
log-odds. For boosting they are what changes when one feature is put back to its average, all others kept;
these need not add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from ml.metrics import Floats
from ml.pipeline import column_sources
from ml.target import Feature


@dataclass(frozen=True, slots=True)
class Contributions:
    """Effects in log-odds: one row per student, one column per declared feature, in the target's order.

    `side` is -1, 0 or 1 where the student's value lies below, at or above the average of the rows learnt from
    (0 for categories and missing values).
    """

    effects: Floats
    side: NDArray[np.int8]
    baseline: float
    is_exact: bool


def explain(pipeline: Pipeline, rows: pd.DataFrame, features: Sequence[Feature]) -> Contributions:
    """Split the log-odds of each row into the features' contributions."""
    prepared: Floats = pipeline[:-1].transform(rows)
    model = pipeline.named_steps["model"]
    sources = np.array(column_sources(pipeline, features))
    linear = hasattr(model.estimator_, "coef_")
    split = _split_linear if linear else _occlude
    effects, baseline = split(model, prepared, sources, [feature.name for feature in features])
    return Contributions(effects, _sides(rows, prepared, sources, features), baseline, linear)


def _split_linear(
    model: Any, prepared: Floats, sources: NDArray[np.str_], names: Sequence[str]
) -> tuple[Floats, float]:
    # A classifier's coefficients are a table of one row, a regression's are a list.
    weights = model.slope_ * np.ravel(model.estimator_.coef_)
    # One product instead of one per feature: each column adds to the feature it came from.
    by_feature = weights[:, None] * (sources[:, None] == np.array(names))
    effects: Floats = prepared @ by_feature
    return effects, float(model.shift_ + model.slope_ * np.ravel(model.estimator_.intercept_)[0])


def _occlude(
    model: Any, prepared: Floats, sources: NDArray[np.str_], names: Sequence[str]
) -> tuple[Floats, float]:
    """Every prepared column has mean 0 over the rows learnt from, so 0 is the average student."""
    log_odds = model.decision_function(prepared)
    effects = np.empty((len(prepared), len(names)))
    for place, name in enumerate(names):
        without = prepared.copy()
        without[:, sources == name] = 0.0
        effects[:, place] = log_odds - model.decision_function(without)
    return effects, float(model.decision_function(np.zeros((1, prepared.shape[1])))[0])


def _sides(
    rows: pd.DataFrame, prepared: Floats, sources: NDArray[np.str_], features: Sequence[Feature]
) -> NDArray[np.int8]:
    sides = np.zeros((len(rows), len(features)), dtype=np.int8)
    for place, feature in enumerate(features):
        if feature.type != "category":
            # The first column of a feature holds its value, a second one the missing flag.
            value = prepared[:, np.flatnonzero(sources == feature.name)[0]]
            sides[:, place] = np.sign(value) * rows[feature.name].notna().to_numpy()
    return sides
