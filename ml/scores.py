"""Foretells a number and, from it, how likely it is to lie below the mark. Everything stays within numpy.

The number comes from a regression. How far such forecasts are off is measured on students whom the regression
did not see: from these errors come the interval around the number and, by a logistic curve over the forecast,
the probability of the label. So the log-odds are a straight line of the forecast, and what explains the one
explains the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression, Ridge

from ml.metrics import Floats, Ints

_FOLDS = 5
# The quantiles of the errors, each in units of its spread, are kept in steps of half a percent, and apart for
# low, middling and high forecasts where each part has enough errors to tell its outer ones.
_LEVELS = np.linspace(0.005, 0.995, 199)
_MOST_PARTS = 5
_PART_ROWS = 200
# The spread of the errors follows the features in a straight line, held back (there are few errors to learn
# it from) and within so many times the mean error.
_SPREAD_ALPHA = 100.0
_SPREAD_RANGE = (0.25, 4.0)
# Fewer rows of the latest cohort say more about single students than about the cohort.
_RECENT_ROWS = 100


class ScoreClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A regression that answers like a classifier: is the number below the mark?

    With `recalibrate`, the regression learns from the cohorts before the latest one, and its errors on that
    one count; else, or where either part is small, all rows are learnt from, and the errors are those on
    students left out in turn.
    """

    def __init__(self, estimator: Any, seed: int = 0, recalibrate: bool = False) -> None:
        self.estimator = estimator
        self.seed = seed
        self.recalibrate = recalibrate

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        values: Any,
        students: Any = None,
        recent: Any = None,
    ) -> ScoreClassifier:
        """Fit the regression, then the curve and the interval on errors for students it did not see.

        Args:
            X: prepared features, one row per student.
            y: 1 where the label is true.
            values: the number to foretell; rows where it is missing are not learnt from.
            students: whom each row is about; each row is someone else's where it is not given.
            recent: which rows are of the latest cohort.

        Raises:
            ValueError: no row has a number.
        """
        values = np.asarray(values, dtype=float)
        known = np.isfinite(values)
        if not known.any():
            raise ValueError(
                f"a score model was given {len(values)} rows, none of them with a number to foretell"
            )
        X, y, values = np.asarray(X)[known], np.asarray(y)[known], values[known]  # noqa: N806
        students = np.arange(len(known)) if students is None else np.asarray(students)
        recent = np.zeros(len(known), dtype=bool) if recent is None else np.asarray(recent)
        unseen, forecasts = self._forecast_unseen(X, values, students[known], recent[known])
        self.classes_ = np.array([0, 1])
        self.shift_, self.slope_ = _fit_curve(forecasts, y[unseen])
        errors = values[unseen] - forecasts
        self.typical_ = float(np.abs(errors).mean())
        self.spread_ = Ridge(alpha=_SPREAD_ALPHA).fit(X[unseen], np.abs(errors))
        self.centres_, self.errors_ = _fit_errors(forecasts, errors / self._spread(X[unseen]))
        return self

    def decision_function(self, X: Any) -> Floats:  # noqa: N803
        """Log-odds of the number lying below the mark; they fall in a straight line with the forecast."""
        log_odds: Floats = self.shift_ + self.slope_ * self.predict_value(X)
        return log_odds

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Probabilities of not being and of being below the mark, one row per student."""
        below = 1 / (1 + np.exp(-self.decision_function(X)))
        return np.column_stack([1 - below, below])

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The likelier class."""
        classes: NDArray[Any] = self.classes_[(self.decision_function(X) > 0).astype(int)]
        return classes

    def predict_value(self, X: Any) -> Floats:  # noqa: N803
        """The forecast of the number."""
        forecast: Floats = self.estimator_.predict(np.asarray(X))
        return forecast

    def predict_interval(self, X: Any, level: float) -> Floats:  # noqa: N803
        """Both ends (rows × 2) of the interval that is to hold the share `level` of the numbers."""
        forecast, spread = self.predict_value(X), self._spread(np.asarray(X))
        ends = []
        for place in ((1 - level) / 2, (1 + level) / 2):
            errors = [np.interp(place, _LEVELS, part) for part in self.errors_]
            ends.append(forecast + spread * np.interp(forecast, self.centres_, errors))
        return np.column_stack(ends)

    def _spread(self, X: Floats) -> Floats:  # noqa: N803
        """How far off the forecast typically is, by the features: two years ahead, further than one."""
        low, high = (share * self.typical_ for share in _SPREAD_RANGE)
        spread: Floats = np.clip(self.spread_.predict(X), low, high)
        # Where every forecast was right there is nothing to scale by.
        return np.where(spread > 0, spread, 1.0)

    def _forecast_unseen(
        self,
        X: Floats,  # noqa: N803
        values: Floats,
        students: Ints,
        recent: NDArray[np.bool_],
    ) -> tuple[Ints, Floats]:
        """Fit `estimator_`; rows (positions) that a regression did not see, and its forecasts for them."""
        earlier = ~recent & ~np.isin(students, students[recent])
        if self.recalibrate and min(recent.sum(), earlier.sum()) >= _RECENT_ROWS:
            self.estimator_ = clone(self.estimator).fit(X[earlier], values[earlier])
            return np.flatnonzero(recent), self.estimator_.predict(X[recent])
        self.estimator_ = clone(self.estimator).fit(X, values)
        names, number = np.unique(students, return_inverse=True)
        dealt = np.random.default_rng(self.seed).permutation(len(names)) % _FOLDS
        fold = dealt[number]
        forecasts = np.full(len(values), values.mean())
        for each in np.unique(fold):
            rest = fold != each
            if rest.any():
                forecasts[~rest] = clone(self.estimator).fit(X[rest], values[rest]).predict(X[~rest])
        return np.arange(len(values)), forecasts


def _fit_curve(forecasts: Floats, y: Ints) -> tuple[float, float]:
    """Shift and slope of the log-odds over the forecast; flat where the forecasts say nothing."""
    share = (y.sum() + 0.5) / (len(y) + 1)
    flat = float(np.log(share / (1 - share))), 0.0
    spread = float(np.std(forecasts))
    if spread == 0 or len(np.unique(y)) < 2:
        return flat
    middle = float(forecasts.mean())
    curve = LogisticRegression(C=100.0).fit(((forecasts - middle) / spread)[:, None], y)
    slope = float(curve.coef_[0, 0]) / spread
    # A higher forecast can only make it less likely to be below the mark.
    return (float(curve.intercept_[0]) - slope * middle, slope) if slope < 0 else flat


def _fit_errors(forecasts: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Quantiles of the errors (parts × levels) around the middle forecast of each part, lowest first."""
    count = int(np.clip(len(errors) // _PART_ROWS, 1, _MOST_PARTS))
    parts = np.array_split(np.argsort(forecasts, kind="stable"), count)
    centres = np.array([float(np.median(forecasts[part])) for part in parts])
    # weibull: of n errors, one more is as likely to fall into any of the n + 1 gaps between them.
    levels = np.array([np.quantile(errors[part], _LEVELS, method="weibull") for part in parts])
    return centres, levels
