"""Tells whether the students of now are still those that a model learnt from. Pure numpy.

A reference, kept with the model, says how the rows learnt from spread over the bins of each feature and of
the scores. The population stability index compares other rows with it:

    PSI = sum over bins of (share now - share then) * ln(share now / share then)

Two things keep small samples from raising alarms. A share below half a student of the smaller sample counts
as that much, since a finer share cannot be told. And what luck alone gives on average, (bins - 1) * (1 / rows
then + 1 / rows now), is taken off: fifty students always differ from a thousand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtri

from ml.metrics import Floats, Ints
from ml.target import Feature

SUPPORT = (0.05, 0.95)
"""The part of a feature's values that the reference calls its support: without the outermost twentieths."""

SCORES = ""
"""The name that the drift of the scores goes by, which are no feature."""

# Some forty features are looked at each term: luck may raise an alarm about one of them in a thousand.
_BY_LUCK = 0.001
# Words that fewer than this share of the rows have are counted together, as all that come new are.
_RARE_WORD = 0.01


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one feature, or the scores (`feature` is empty), moved away from the reference.

    `stability` is the index less what luck gives on average; below 0.1 is usually called stable.
    """

    feature: str
    stability: float
    is_over: bool

    def to_dict(self) -> dict[str, Any]:
        """The drift as plain JSON values."""
        return {"feature": self.feature, "stability": round(self.stability, 4), "is_over": self.is_over}


def make_reference(
    rows: pd.DataFrame, features: Sequence[Feature], probability: Floats, bins: int
) -> dict[str, Any]:
    """How the rows learnt from spread, as plain JSON values; no single row can be told from it.

    Args:
        rows: features as `shape_features` gives them.
        bins: numbers are cut into so many bins of about equal size.

    Returns:
        `rows` (their number), `features` by name and `scores`. A spread has `shares`, whose last one is that
        of missing values; numbers have `edges` (each bin ends at its edge, the last one is open) and
        `support`, words have `words` (the last but one share is that of all others).
    """
    spreads = {
        feature.name: _spread_numbers(rows[feature.name].to_numpy(dtype=float), bins)
        if feature.type in ("number", "boolean")
        else _spread_words(rows[feature.name], feature.order)
        for feature in features
    }
    return {"rows": len(rows), "features": spreads, "scores": _spread_numbers(probability, bins)}


def measure_drift(
    reference: Mapping[str, Any], rows: pd.DataFrame, probability: Floats, bound: float
) -> list[Drift]:
    """Compare rows of now with the reference; the scores come first, then its features in their order.

    A feature is over where its stability index is larger than `bound` and luck does not explain it.

    Args:
        rows: features as `shape_features` gives them, at least one row.
    """
    compared = [(SCORES, reference["scores"], pd.Series(probability))]
    compared += [(name, spread, rows[name]) for name, spread in reference["features"].items()]
    return [
        _compare(name, spread, values, int(reference["rows"]), bound) for name, spread, values in compared
    ]


def is_supported(spread: Mapping[str, Any], level: float | str, order: Sequence[str] = ()) -> bool:
    """Whether the rows learnt from have enough values on both sides of a level, or at it.

    Args:
        spread: a feature's entry in the reference.
        level: a number; of an ordinal one of the words in `order`.
    """
    if "words" not in spread:
        low, high = spread["support"] or (np.inf, -np.inf)
        return bool(low <= float(level) <= high)
    shares = dict(zip(spread["words"], spread["shares"], strict=False))
    placed = np.array([shares.get(word, 0.0) for word in order])
    known, place = placed.sum(), list(order).index(str(level))
    enough = SUPPORT[0] * known
    return bool(known > 0 and placed[: place + 1].sum() >= enough and placed[place:].sum() >= enough)


def _spread_numbers(values: Floats, bins: int) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {"edges": [], "shares": [0.0, 1.0], "support": None}
    inner = np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
    # Below the smallest value, so that smaller ones are told apart from many students at the smallest.
    edges = np.unique(np.append(np.nextafter(known.min(), -np.inf), inner))
    spread = {"edges": edges.tolist()}
    support = np.quantile(known, SUPPORT, method="inverted_cdf").tolist()
    return {**spread, "shares": _shares(_count(spread, pd.Series(values))), "support": support}


def _spread_words(values: pd.Series, order: Sequence[str]) -> dict[str, Any]:
    counts = values.dropna().astype(str).value_counts()
    common = set(counts.index[counts >= _RARE_WORD * len(values)])
    spread = {"words": [*order, *sorted(common - set(order))]}
    return {**spread, "shares": _shares(_count(spread, values))}


def _count(spread: Mapping[str, Any], values: pd.Series) -> Ints:
    """How many of the values fall into each bin of a spread; the missing ones come last."""
    missing = values.isna().to_numpy()
    known = values[~missing]
    if "words" in spread:
        places = {word: place for place, word in enumerate(spread["words"])}
        others = len(places)
        place = known.astype(str).map(places).fillna(others).to_numpy(dtype=np.int64)
    else:
        others = len(spread["edges"])
        place = np.searchsorted(spread["edges"], known.to_numpy(dtype=float), side="left")
    return np.append(np.bincount(place, minlength=others + 1), missing.sum())


def _shares(counts: Ints) -> list[float]:
    shares: list[float] = (counts / counts.sum()).tolist()
    return shares


def _compare(name: str, spread: Mapping[str, Any], values: pd.Series, then: int, bound: float) -> Drift:
    now = len(values)
    was = np.array(spread["shares"])
    is_now = _count(spread, values) / now
    least = 0.5 / min(then, now)
    before, after = np.maximum(was, least), np.maximum(is_now, least)
    index = float(np.sum((after - before) * np.log(after / before)))
    by_chance, at_most = _luck((was > 0) | (is_now > 0), then, now)
    stability = max(0.0, index - by_chance)
    return Drift(name, stability, stability > bound and index > at_most)


def _luck(used: NDArray[np.bool_], then: int, now: int) -> tuple[float, float]:
    """What the index is where nothing moved: its mean, and what it exceeds once in a thousand samples.

    It then follows a chi-square distribution with one degree of freedom less than bins, over the rows.
    """
    freedom, scale = int(used.sum()) - 1, 1 / then + 1 / now
    return freedom * scale, float(chdtri(freedom, _BY_LUCK)) * scale if freedom else 0.0
