"""Compares how well groups of students are served: found, wrongly named, and claimed as likely as it came.

Nothing here is a verdict on a group. A gap says that the model, or the list, treats groups differently; how
large it surely is decides whether it stops the gate (`docs/model.md`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.metrics import Floats, Ints
from ml.splits import Size, count_students
from ml.target import Fairness

Measure = Literal["recall", "calibration"]

JOINED = " (with small groups)"
"""What the name of a group ends with that the few students of small groups were joined to."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of one group, the ends of its interval, and its standard error, over draws of students."""

    value: float
    low: float
    high: float
    error: float

    def to_dict(self) -> dict[str, float]:
        """The estimate as plain JSON values, to 4 places."""
        return {name: round(number, 4) for name, number in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class GroupResult:
    """How one group of students fared.

    `students` counts all of them, `positives` those to whom the risk came; it is null where the group is
    small, and `figures` are then empty: what came of a handful is nobody's business. Else they are, as far as
    they are defined:

    - selection_rate: the share that is on the list;
    - precision: of those on the list, the share to whom the risk came;
    - recall: of those to whom the risk came, the share on the list;
    - false_positive_rate: of those to whom it did not come, the share on the list;
    - calibration: the mean claimed probability less the share to whom the risk came.

    `level` is the confidence of the intervals.
    """

    column: str
    group: str
    students: int
    positives: int | None
    is_small: bool
    level: float
    figures: Mapping[str, Estimate] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        figures = {name: figure.to_dict() for name, figure in self.figures.items()}
        return {
            "column": self.column, "group": self.group, "students": self.students,
            "positives": self.positives, "is_small": self.is_small, "level": self.level, "figures": figures,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gap:
    """How much larger a measure is in group `higher` than in group `lower`, with the ends of its interval.

    The interval allows for the pair having been picked among all pairs of groups.
    """

    column: str
    measure: Measure
    higher: str
    lower: str
    value: float
    low: float
    high: float
    bound: float
    text: str

    @property
    def is_over(self) -> bool:
        """Whether the gap is surely larger than the bound."""
        return self.low > self.bound

    def to_dict(self) -> dict[str, Any]:
        """The gap as plain JSON values, to 4 places."""
        facts = {**asdict(self), "is_over": self.is_over}
        return {name: round(fact, 4) if isinstance(fact, float) else fact for name, fact in facts.items()}


def audit_groups(
    y: Ints,
    probability: Floats,
    flagged: NDArray[np.bool_],
    groups: Mapping[str, NDArray[np.str_]],
    student: Ints,
    settings: Fairness,
    *,
    draws: int,
    level: float,
    seed: int,
) -> list[GroupResult]:
    """Measure every group of every column; all arrays have one entry per row.

    Args:
        groups: by column, the group that each row belongs to. Small groups that together are few are counted
            and joined to the largest group of their column (`JOINED`).
        student: whom each row is about, numbered from 0.
        draws: how often the students are drawn anew, with replacement, for the intervals.
        level: two-sided confidence of the intervals, such as 0.95.
    """
    if not groups:
        return []
    parts = {column: _set_apart_small(members, y, student, settings) for column, members in groups.items()}
    cells = _Cells(y, probability, flagged, {column: part.members for column, part in parts.items()})
    figures = _figures(cells.add_up(np.ones(len(y))))
    rng, count = np.random.default_rng(seed), int(student.max()) + 1
    drawn = np.array(
        [
            _figures(cells.add_up(np.bincount(rng.integers(0, count, count), minlength=count)[student]))
            for _ in range(draws)
        ]
    )
    results = []
    for column, part in parts.items():
        for group, size in part.large.items():
            place = cells.names.index((column, group))
            estimates = _estimate(figures[:, place], drawn[:, :, place], size, level)
            results.append(GroupResult(column, group, size.all, size.positives, False, level, estimates))
        results += [GroupResult(column, group, n, None, True, level) for group, n in part.small.items()]
    return results


def find_gaps(results: Sequence[GroupResult], settings: Fairness) -> list[Gap]:
    """For each column and measure the pair of groups that surely lies furthest apart, small groups left out.

    Surely: among many groups some pair lies far apart by luck, so each pair's interval is widened until all
    of them together hold at the level of the results (Bonferroni).
    """
    bounds: dict[Measure, float] = {"recall": settings.recall_gap, "calibration": settings.calibration_gap}
    gaps = []
    for column in dict.fromkeys(result.column for result in results):
        for measure, bound in bounds.items():
            found = [each for each in results if each.column == column and measure in each.figures]
            pairs = list(combinations(found, 2))
            if pairs:
                level = 1 - (1 - found[0].level) / len(pairs)
                candidates = [_compare(one, other, measure, bound, level) for one, other in pairs]
                gaps.append(max(candidates, key=lambda gap: gap.low))
    return gaps


@dataclass(frozen=True, slots=True)
class _Parts:
    """The groups of a column: which one each row counts to, those large enough, how many the others are."""

    members: NDArray[np.str_]
    large: dict[str, Size]
    small: dict[str, int]


def _set_apart_small(members: NDArray[np.str_], y: Ints, student: Ints, settings: Fairness) -> _Parts:
    """Small groups are left out; where all of them together are few, the largest group holds them too.

    Else what came of these few could be had by taking the other groups from the whole.
    """
    sizes = {str(name): count_students(student, y, members == name) for name in np.unique(members)}
    large = {
        name: size
        for name, size in sizes.items()
        if size.all >= settings.minimum_group and size.fewest >= settings.minimum_positives
    }
    small = {name: size.all for name, size in sizes.items() if name not in large}
    if not small or not large or sum(small.values()) >= settings.minimum_group:
        return _Parts(members, large, small)
    largest = max(large, key=lambda name: large[name].all)
    inside = np.isin(members, [*small, largest])
    name = f"{largest}{JOINED}"
    del large[largest]
    return _Parts(np.where(inside, name, members), {**large, name: count_students(student, y, inside)}, small)


_FIGURES = ("selection_rate", "precision", "recall", "false_positive_rate", "calibration")
"""The order of the figures in arrays."""


class _Cells:
    """The rows sorted into group × outcome × list, for all columns at once, so that adding up is one pass."""

    def __init__(
        self,
        y: Ints,
        probability: Floats,
        flagged: NDArray[np.bool_],
        groups: Mapping[str, NDArray[np.str_]],
    ) -> None:
        self.names: list[tuple[str, str]] = []
        places = []
        for column, members in groups.items():
            names, place = np.unique(members, return_inverse=True)
            places.append(place + len(self.names))
            self.names += [(column, str(name)) for name in names]
        self._group = np.concatenate(places)
        self._cell = 4 * self._group + np.tile(2 * y + flagged, len(groups))
        self._probability, self._columns = probability, len(groups)

    def add_up(self, weight: NDArray[Any]) -> tuple[Floats, Floats]:
        """Rows by group, outcome and list (groups × 2 × 2), and claimed probability by group, weighted."""
        count = len(self.names)
        rows = np.bincount(self._cell, weights=np.tile(weight, self._columns), minlength=4 * count)
        claims = np.tile(weight * self._probability, self._columns)
        claimed = np.bincount(self._group, weights=claims, minlength=count)
        return rows.reshape(count, 2, 2).astype(float), claimed.astype(float)


def _figures(sums: tuple[Floats, Floats]) -> Floats:
    """The figures (figures × groups) from weighted sums; NaN where there is nothing to divide by."""
    rows, claimed = sums
    all_, came, listed = rows.sum(axis=(1, 2)), rows[:, 1].sum(axis=1), rows[:, :, 1].sum(axis=1)
    hits, false_alarms = rows[:, 1, 1], rows[:, 0, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.array(
            [listed / all_, hits / listed, hits / came, false_alarms / (all_ - came), (claimed - came) / all_]
        )


def _estimate(values: Floats, drawn: Floats, size: Size, level: float) -> dict[str, Estimate]:
    """Each figure (values: figures; drawn: draws × figures) of one group with its interval."""
    tail, answers = (1 - level) / 2, {}
    # Of how many students each share is one; the difference of claimed and observed is no share.
    listed = round(float(values[0]) * size.all)
    counts = {"selection_rate": size.all, "precision": listed, "recall": size.positives}
    counts["false_positive_rate"] = size.negatives
    for place, name in enumerate(_FIGURES):
        value, known = float(values[place]), drawn[np.isfinite(drawn[:, place]), place]
        if not np.isfinite(value) or not len(known):
            continue
        low, high = (float(end) for end in np.quantile(known, [tail, 1 - tail]))
        error = float(np.std(known))
        if name in counts:
            low, high, error = _allow_for_few(value, counts[name], level, low, high, error)
        answers[name] = Estimate(value, low, high, error)
    return answers


def _allow_for_few(
    value: float, count: int, level: float, low: float, high: float, error: float
) -> tuple[float, float, float]:
    """Widen what draws say of a share (low, high, error) to what a share of so few can be known to.

    Where all ten of ten were found, every draw finds all; that is no certainty. The least width is that of
    Wilson's interval, and its centre's standard error.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    total = count + z**2
    centre = (value * count + z**2 / 2) / total
    reach = z * np.sqrt(value * (1 - value) * count + z**2 / 4) / total
    least = float(np.sqrt(centre * (1 - centre) / total))
    return min(low, float(centre - reach)), max(high, float(centre + reach)), max(error, least)


def _compare(one: GroupResult, other: GroupResult, measure: Measure, bound: float, level: float) -> Gap:
    """The gap between two groups; the interval of the difference is a normal one."""
    ordered = sorted((one, other), key=lambda result: -result.figures[measure].value)
    higher, lower = (result.figures[measure] for result in ordered)
    value = higher.value - lower.value
    reach = NormalDist().inv_cdf((1 + level) / 2) * float(np.hypot(higher.error, lower.error))
    names = (ordered[0].group, ordered[1].group)
    ends = (value - reach, value + reach)
    text = _word_gap(one.column, measure, names, (higher.value, lower.value), ends, bound)
    return Gap(one.column, measure, *names, value, *ends, bound, text)


def _word_gap(
    column: str,
    measure: Measure,
    names: tuple[str, str],
    values: tuple[float, float],
    ends: tuple[float, float],
    bound: float,
) -> str:
    if measure == "recall":
        found = (
            f"of those to whom the risk came, the list held {values[0]:.1%} ({names[0]}) "
            f"and {values[1]:.1%} ({names[1]})"
        )
    else:
        found = (
            "the claimed share less the one that came is "
            f"{100 * values[0]:+.1f} points ({names[0]}) and {100 * values[1]:+.1f} points ({names[1]})"
        )
    what = column.removesuffix("_id").replace("_", " ")
    apart, low, high = (100 * share for share in (values[0] - values[1], *ends))
    return (
        f"By {what}, {found}: {apart:.1f} points apart, {low:.1f} to {high:.1f} once luck is allowed for; "
        f"surely more than {100 * bound:.0f} are too many"
    )
