"""Refuses features that would let a model cheat: by name, and with the reason.

A first attempt at this model was right about every student, because test and exam score, whose sum is the
total it was to foretell, were among its inputs. Each check below answers one way of cheating.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.features import KNOWN_AT, LABEL_KNOWN_AT, LABEL_VALUE
from ml.metrics import Floats, Ints, auc, average_precision
from ml.target import Feature, Target

# A sum of more parts than this is a regression, not a definition.
_MOST_PARTS = 4
# On the way to it, features that merely go along with the label may be looked at first.
_MOST_STEPS = 8
_LEAST_ROWS = 30
_SURE_PRECISION = 0.9
# Fewer of a class in half of the rows are parted by some sum or other by luck alone.
_LEAST_OF_CLASS = 25
# A sum that determines the label does so in any rows; more of them make the search longer, not surer.
_MOST_ROWS = 5000


@dataclass(frozen=True, slots=True)
class Leak:
    """One feature (or several together) that must not be used, and why."""

    features: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{' + '.join(self.features)} {self.reason}"


def find_leaks(rows: pd.DataFrame, features: pd.DataFrame, y: Ints, target: Target) -> list[Leak]:
    """All leaks in the labelled rows.

    Args:
        rows: as `read_labelled` gives them.
        features: the same rows as `shape_features` gives them.
        y: 1 where the label is true.
    """
    leaks = [
        *_naming_the_target(target),
        *_identifying(rows, features, target),
        *_known_too_late(rows, target),
    ]
    named = {name for leak in leaks for name in leak.features}
    rest = [feature for feature in target.features if feature.name not in named]
    leaks += _determining_alone(features, y, rest, target)
    named |= {name for leak in leaks for name in leak.features}
    numbers = [feature.name for feature in rest if feature.type == "number" and feature.name not in named]
    return leaks + _determining_together(features[numbers], rows[LABEL_VALUE].to_numpy(float), y, target)


def _naming_the_target(target: Target) -> list[Leak]:
    leaks = []
    told = [*target.label.columns, *([target.label.value.column] if target.label.value else [])]
    for feature in target.features:
        if feature.name in told:
            leaks.append(Leak((feature.name,), "is what is to be foretold"))
        elif feature.name.startswith(target.label.future_prefix):
            leaks.append(Leak((feature.name,), "looks ahead into the time that is to be foretold"))
    return leaks


def _identifying(rows: pd.DataFrame, features: pd.DataFrame, target: Target) -> list[Leak]:
    """Names, numbers and addresses of people; and words that nearly every student has for themselves."""
    leaks = []
    students = rows["school_id"] + "\x1f" + rows["student_id"]
    count = students.nunique()
    for feature in target.features:
        if feature.name in target.leakage.identity_columns:
            leaks.append(Leak((feature.name,), "identifies a person"))
        elif feature.type == "category" and count >= _LEAST_ROWS:
            share = features[feature.name].nunique() / count
            if share >= target.leakage.distinct_share:
                reason = f"identifies a person: {share:.0%} of the students have a value of their own"
                leaks.append(Leak((feature.name,), reason))
    return leaks


def _known_too_late(rows: pd.DataFrame, target: Target) -> list[Leak]:
    late = int((rows[KNOWN_AT] >= rows[LABEL_KNOWN_AT]).sum())
    if not late:
        return []
    reason = f"is not before {target.label.known_at} in {late} of {len(rows)} rows: facts from the future"
    return [Leak((target.known_at,), reason)]


def _determining_alone(
    features: pd.DataFrame, y: Ints, declared: Sequence[Feature], target: Target
) -> list[Leak]:
    """Features that by themselves rank the students almost as they turned out.

    And that down the whole list: where an outcome is rare, a feature that only says where it is possible at
    all ranks nearly as well, but of those whom it puts first many turn out otherwise.
    """
    leaks = []
    for feature in declared:
        values = _as_numbers(features[feature.name], feature, y)
        known = np.isfinite(values)
        if known.sum() < _LEAST_ROWS or len(np.unique(y[known])) < 2:
            continue
        ranked = max((values[known], -values[known]), key=lambda score: auc(y[known], score))
        alone = auc(y[known], ranked)
        if alone >= target.leakage.auc and average_precision(y[known], ranked) >= _SURE_PRECISION:
            reason = f"determines the target: alone it ranks the students with AUC {alone:.3f}"
            leaks.append(Leak((feature.name,), reason))
    return leaks


def _determining_together(numbers: pd.DataFrame, value: Floats, y: Ints, target: Target) -> list[Leak]:
    """The fewest numbers (up to four) whose weighted sum is the value behind the label, on unseen rows.

    Where no such value is known, the sum is to part the two classes: a yes or no of total ≥ 50 is given away
    by test and exam as well as the total is.
    """
    rows = np.linspace(0, len(y) - 1, min(len(y), _MOST_ROWS)).astype(int)
    has_value = bool(np.isfinite(value).any())
    wanted = (value if has_value else y.astype(float))[rows]
    measure = _explained if has_value else _parted
    columns = numbers.to_numpy(dtype=float)[rows]
    bound = target.leakage.r_squared

    def fits(chosen: Sequence[int], by: Callable[[Floats, Floats], float]) -> float:
        values = columns[:, list(chosen)]
        known = np.isfinite(values).all(axis=1) & np.isfinite(wanted)
        return by(values[known], wanted[known]) if known.sum() >= _LEAST_ROWS else 0.0

    chosen: list[int] = []
    for _ in range(min(_MOST_STEPS, columns.shape[1])):
        rest = [column for column in range(columns.shape[1]) if column not in chosen]
        chosen.append(max(rest, key=lambda column: fits([*chosen, column], _explained)))
        if fits(chosen, measure) >= bound:
            break
    for column in list(chosen):
        fewer = [each for each in chosen if each != column]
        if fewer and fits(fewer, measure) >= bound:
            chosen = fewer
    found = fits(chosen, measure) if chosen else 0.0
    if found < bound or len(chosen) > _MOST_PARTS:
        return []
    how = (
        f"it is a sum of them (R² {found:.4f})" if has_value else f"a sum of them parts it (AUC {found:.4f})"
    )
    return [Leak(tuple(str(numbers.columns[column]) for column in chosen), f"determines the target: {how}")]


def _explained(values: Floats, wanted: Floats) -> float:
    """R² of a linear fit on every other row, measured on the rows between."""
    design = np.column_stack([np.ones(len(values)), values])
    weights, *_ = np.linalg.lstsq(design[::2], wanted[::2], rcond=None)
    unseen = wanted[1::2]
    spread = np.sum((unseen - unseen.mean()) ** 2)
    return float(1 - np.sum((unseen - design[1::2] @ weights) ** 2) / spread) if spread else 0.0


def _parted(values: Floats, wanted: Floats) -> float:
    """AUC of a weighted sum learnt on every other row, measured on the rows between; 0 for a handful."""
    smallest = min(np.bincount(half.astype(int), minlength=2).min() for half in (wanted[::2], wanted[1::2]))
    if smallest < _LEAST_OF_CLASS:
        return 0.0
    # Nearly unregularised: a straight border between the classes, where there is one, is found.
    border = make_pipeline(StandardScaler(), LogisticRegression(C=1e4, max_iter=1000))
    score = border.fit(values[::2], wanted[::2]).decision_function(values[1::2])
    return auc(wanted[1::2].astype(np.int64), score)


def _as_numbers(values: pd.Series, feature: Feature, y: Ints) -> Floats:
    """The feature as one number per row; a category by the share of true labels it holds elsewhere."""
    if feature.type in ("number", "boolean"):
        plain: Floats = values.to_numpy(dtype=float)
        return plain
    if feature.type == "ordinal":
        places = {word: float(place) for place, word in enumerate(feature.order)}
        placed: Floats = values.map(places).to_numpy(dtype=float)
        return placed
    # Shares come from every other row and are looked up for the rows between, else rare words look perfect.
    words = values.astype(object).to_numpy()
    halves = np.arange(len(words)) % 2
    numbers = np.full(len(words), np.nan)
    for half in (0, 1):
        shares = pd.Series(y[halves != half]).groupby(words[halves != half]).mean()
        numbers[halves == half] = pd.Series(words[halves == half]).map(shares).to_numpy(dtype=float)
    return numbers
