"""How good a score is: ranking, calibration and the top of the list, with intervals. Pure numpy.

Throughout `y` is 1 for those to whom the risk came (they fell below), `score` is higher for those
thought more at risk, and `probability` is a score that claims to be a probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CALIBRATION_BINS = 10
LIST_STEPS = 20


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the bounds of its bootstrap interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """The interval as plain JSON values, to 4 places."""
        return {name: round(number, 4) for name, number in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class TopK:
    """Precision among the `k` students with the highest score.

    Where several students tie at the edge of the list, `worst` and `best` are the two extremes of breaking
    the tie and `expected` is what a random order gives.
    """

    k: int
    worst: float
    expected: float
    best: float

    def to_dict(self) -> dict[str, float]:
        """The figures as plain JSON values, to 4 places."""
        return {name: round(number, 4) for name, number in asdict(self).items()}


def auc(y: Ints, score: Floats) -> float:
    """Chance that a student at risk is scored above one who is not; ties count half.

    Returns 0.5 where one class is absent: nothing can be ranked.
    """
    return _auc(*_by_score(y, score))


def average_precision(y: Ints, score: Floats) -> float:
    """Mean precision over the list from the top down; tied students enter the list together."""
    positive, negative = _by_score(y, score)
    return _average_precision(positive, positive + negative)


def precision_at(y: Ints, score: Floats, k: int) -> TopK:
    """Share of true cases among the `k` highest scores, with ties at the edge handled openly."""
    k = min(k, len(y))
    if k == 0:
        return TopK(0, 0.0, 0.0, 0.0)
    edge = np.partition(score, len(score) - k)[len(score) - k]
    sure, tied = score > edge, score == edge
    hits, room = int(y[sure].sum()), k - int(sure.sum())
    tied_count, tied_hits = int(tied.sum()), int(y[tied].sum())
    worst = hits + max(0, room - (tied_count - tied_hits))
    best = hits + min(room, tied_hits)
    return TopK(k, worst / k, (hits + room * tied_hits / tied_count) / k, best / k)


def recall_at(y: Ints, score: Floats, k: int) -> float:
    """Share of all true cases that a list of `k` students holds, ties at the edge in random order."""
    top = precision_at(y, score, k)
    return float(top.expected * top.k / y.sum()) if y.sum() else 0.0


def brier(y: Ints, probability: Floats) -> float:
    """Mean squared distance between what was claimed and what came; 0 is perfect."""
    return float(np.mean((probability - y) ** 2))


def brier_skill(y: Ints, probability: Floats) -> float:
    """Share of the base rate's Brier score that the model removes; 0 is no better than the base rate."""
    base = float(np.mean(y))
    return 1 - brier(y, probability) / (base * (1 - base)) if 0 < base < 1 else 0.0


def calibration_curve(y: Ints, probability: Floats) -> list[dict[str, float]]:
    """Mean claimed probability and share that came true, in up to ten groups of equal size."""
    bins = _calibration_bins(probability)
    counts = np.bincount(bins)
    claimed = np.bincount(bins, weights=probability) / counts
    came = np.bincount(bins, weights=y) / counts
    return [
        {"claimed": round(float(a), 4), "came": round(float(b), 4), "students": int(n)}
        for a, b, n in zip(claimed, came, counts, strict=True)
    ]


def calibration_error(y: Ints, probability: Floats) -> float:
    """Mean distance between claimed and observed share over the groups of the calibration curve (ECE)."""
    return float(_calibration_errors((y - probability)[None, :], probability)[0])


def calibration_noise(
    y: Ints, probability: Floats, student: Ints, *, draws: int, level: float, seed: int
) -> float:
    """How large the calibration error grows by luck alone.

    Where each student has one row, outcomes are drawn as if every claimed probability were right. Where
    students have several (days before one exam, or subjects), their luck is shared: then each student's
    distances between claim and outcome are kept together and their signs drawn (wild cluster bootstrap).

    Args:
        student: the number (from 0) of the student each row belongs to.
        level: the share of draws that stay at or below the answer.
    """
    rng = np.random.default_rng(seed)
    students = int(student.max()) + 1
    # In blocks, so that a hundred thousand students do not need a gigabyte.
    block = max(1, 2_000_000 // max(1, len(probability)))
    errors: list[Floats] = []
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        if students == len(y):
            gaps = (rng.random((rows, len(y))) < probability) - probability
        else:
            gaps = (y - probability) * (2 * rng.integers(0, 2, (rows, students)) - 1)[:, student]
        errors.append(_calibration_errors(gaps, probability))
    return float(np.quantile(np.concatenate(errors), level))


def permutation_p(y: Ints, score: Floats, *, draws: int, seed: int) -> float:
    """Share of shuffled labellings that these scores rank as well as the true one (p value, never 0)."""
    positives = int(y.sum())
    if positives in (0, len(y)):
        return 1.0
    ranks = _average_ranks(score)
    observed = ranks[y == 1].sum()
    rng = np.random.default_rng(seed)
    sums = [float(ranks[rng.choice(len(y), positives, replace=False)].sum()) for _ in range(draws)]
    reached = sum(total >= observed - 1e-9 for total in sums)
    return float((1 + reached) / (1 + draws))


def bootstrap(
    y: Ints, probability: Floats, student: Ints, *, k: int, draws: int, level: float, seed: int
) -> Mapping[str, Interval]:
    """Intervals of the figures by drawing students, not rows, with replacement.

    Args:
        student: the number (from 0) of the student each row belongs to.
        k: length of the list.
        level: two-sided confidence, such as 0.95.
    """
    rng = np.random.default_rng(seed)
    count = int(student.max()) + 1
    order = np.argsort(probability, kind="stable")
    figures = _Weighted(y[order], probability[order], k / len(y))
    drawn = [
        figures.measure(np.bincount(rng.integers(0, count, count), minlength=count)[student][order])
        for _ in range(draws)
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(np.array(drawn), [tail, 1 - tail], axis=0)
    values = figures.measure(np.ones(len(y)))
    return {
        name: Interval(value, float(bottom), float(top))
        for name, value, bottom, top in zip(_Weighted.NAMES, values, low, high, strict=True)
    }


def summarise(y: Ints, score: Floats, k: int) -> dict[str, Any]:
    """The ranking figures that model, rule and chance are compared by, as plain JSON values."""
    return {
        "auc": round(auc(y, score), 4),
        "average_precision": round(average_precision(y, score), 4),
        "precision_at_k": precision_at(y, score, k).to_dict(),
        "recall_at_k": round(recall_at(y, score, k), 4),
    }


def follow_list(y: Ints, score: Floats) -> list[dict[str, float]]:
    """Precision and recall along the list from its top, in twentieths of the students; ties share."""
    lengths = np.ceil(np.linspace(0, 1, LIST_STEPS + 1)[1:] * len(y)).astype(int)
    return [
        {
            "listed": round(k / len(y), 4),
            "precision": round(precision_at(y, score, k).expected, 4),
            "recall": round(recall_at(y, score, k), 4),
        }
        for k in lengths.tolist()
    ]


class _Weighted:
    """The figures of one list where each row counts `weight` times; rows sorted by score, upwards."""

    NAMES = ("auc", "brier_skill", "brier", "average_precision", "precision_at_k", "recall_at_k")

    def __init__(self, y: Ints, probability: Floats, capacity: float) -> None:
        self._y, self._probability, self._capacity = y, probability, capacity
        self._group = np.cumsum(np.append(0, np.diff(probability) != 0))
        self._errors = (probability - y) ** 2

    def measure(self, weight: NDArray[Any]) -> tuple[float, ...]:
        """The figures in the order of NAMES."""
        weight = weight.astype(float)
        hits: Floats = np.bincount(self._group, weights=weight * self._y).astype(float)
        all_: Floats = np.bincount(self._group, weights=weight).astype(float)
        total, positives = all_.sum(), hits.sum()
        brier = float((weight * self._errors).sum() / total)
        base = positives / total
        skill = float(1 - brier / (base * (1 - base))) if 0 < base < 1 else 0.0
        found = self._found(hits, all_, self._capacity * total)
        return (
            _auc(hits, all_ - hits),
            skill,
            brier,
            _average_precision(hits, all_),
            float(found / (self._capacity * total)),
            float(found / positives) if positives else 0.0,
        )

    @staticmethod
    def _found(hits: Floats, all_: Floats, room: float) -> float:
        """True cases in a list with so much room, filled from the top; ties share what room is left."""
        downwards, sizes = hits[::-1], all_[::-1]
        before = np.cumsum(sizes) - sizes
        share = np.clip((room - before) / np.where(sizes == 0, 1, sizes), 0, 1)
        return float((downwards * share).sum())


def _auc(positive: Floats, negative: Floats) -> float:
    """AUC from the weights of both classes by distinct score, upwards."""
    pairs = positive.sum() * negative.sum()
    if pairs == 0:
        return 0.5
    below = np.cumsum(negative) - negative
    return float(np.sum(positive * (below + negative / 2)) / pairs)


def _average_precision(positive: Floats, all_: Floats) -> float:
    """Mean precision from the weights by distinct score, upwards; ties enter together."""
    if positive.sum() == 0:
        return 0.0
    hits, listed = np.cumsum(positive[::-1]), np.cumsum(all_[::-1])
    precision = hits / np.where(listed == 0, 1, listed)
    return float(np.sum(positive[::-1] * precision) / positive.sum())


def _by_score(y: Ints, score: Floats) -> tuple[Floats, Floats]:
    """How many of either class, true first, each distinct score has, upwards."""
    _, group = np.unique(score, return_inverse=True)
    return np.bincount(group, weights=y).astype(float), np.bincount(group, weights=1 - y).astype(float)


def _average_ranks(score: Floats) -> Floats:
    _, group, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[group]
    return ranks


def _calibration_bins(probability: Floats) -> Ints:
    """Up to ten groups of about equal size; students with the same probability share a group."""
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, probability, side="left")
    _, numbers = np.unique(bins, return_inverse=True)
    return numbers


def _calibration_errors(gaps: Floats, probability: Floats) -> Floats:
    """The calibration error of each row of `gaps` (labellings × students), outcome less claim."""
    bins = _calibration_bins(probability)
    order = np.argsort(bins, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(bins[order]) != 0))
    sums = np.add.reduceat(gaps[:, order], starts, axis=1)
    errors: Floats = np.abs(sums).sum(axis=1) / len(probability)
    return errors
