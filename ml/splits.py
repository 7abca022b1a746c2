"""Splits by time, with every student on one side only. Pure.

A cohort is one wave of as-of dates: the schools' ends of one term, which lie a few days apart. Whoever is
judged in a cohort is judged by what earlier cohorts taught, and of those only by rows whose outcome was known
by then. And because the same students come back term after term, they are dealt into folds: each is judged by
a model that never saw any row of that student.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.cohorts import have_come, number_days
from ml.errors import NotEnoughHistory
from ml.metrics import Ints


@dataclass(frozen=True, slots=True)
class Split:
    """Row positions to learn from and to judge by."""

    train: Ints
    test: Ints


@dataclass(frozen=True, slots=True)
class Size:
    """Different students: all, with a true label, with a false one."""

    all: int
    positives: int
    negatives: int

    @property
    def fewest(self) -> int:
        """The smaller class."""
        return min(self.positives, self.negatives)


def number_cohorts(as_of: pd.Series, wave_days: int) -> Ints:
    """Number the rows' cohorts from 0, oldest first; `wave_days` as `number_days` takes it."""
    answer: Ints = as_of.map(number_days(as_of.unique(), wave_days)).to_numpy(dtype=np.int64)
    return answer


def deal_students(students: Sequence[tuple[str, str]], folds: int, seed: int) -> Ints:
    """Deal students (school, id) into folds by a hash of who they are.

    The same student falls into the same fold whatever other rows there are, in any order.
    """
    cache: dict[tuple[str, str], int] = {}
    for student in students:
        if student not in cache:
            text = "\x1f".join((str(seed), *student))
            cache[student] = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % folds
    return np.array([cache[student] for student in students], dtype=np.int64)


def choose_held_out(
    cohorts: Ints,
    y: Ints,
    students: Ints,
    schools: Sequence[str],
    *,
    rows: int,
    each_class: int,
    most: int,
    train_cohorts: int,
) -> list[int]:
    """The latest cohorts to judge by: one, or more until they hold enough students of both classes.

    And most of each school's: of one that is missing, it would be said that no model was checked on it.

    Args:
        students: whom each row is about.
        schools: of which school each row is.
        rows: how many students are enough.
        each_class: how many of each class are enough.
        most: never more cohorts than this.
        train_cohorts: at least this many cohorts stay to learn from.

    Raises:
        NotEnoughHistory: fewer cohorts than one to judge by and `train_cohorts` to learn from.
    """
    present = sorted(set(cohorts.tolist()))
    if len(present) <= train_cohorts:
        raise NotEnoughHistory(
            f"found {len(present)} past cohorts whose outcome is known; "
            f"{train_cohorts + 1} are needed: {train_cohorts} to learn from and 1 to judge by"
        )
    most = min(most, len(present) - train_cohorts)
    by_school = Counter(zip(schools, cohorts.tolist(), strict=True))
    for count in range(1, most + 1):
        chosen = present[-count:]
        size = count_students(students, y, np.isin(cohorts, chosen))
        is_enough = size.all >= rows and size.fewest >= each_class
        if is_enough and (count == most or have_come(by_school, chosen)):
            return chosen
    return present[-1:]


def count_students(students: Ints, y: Ints, inside: NDArray[np.bool_]) -> Size:
    """How many different students there are, and how many of them are in each class at least once."""
    positives = len(np.unique(students[inside & (y == 1)]))
    return Size(len(np.unique(students[inside])), positives, len(np.unique(students[inside & (y == 0)])))


def find_earlier(cohorts: Ints, starts: pd.Series, label_known: pd.Series, first: int) -> NDArray[np.bool_]:
    """The rows that may teach a model which is to judge cohort `first` and later ones.

    Args:
        starts: from when on each row is judged: when its features were known, or for cohorts of outcomes
            when its outcome was.
        label_known: when each row's label was known.
    """
    begins = starts.to_numpy()[cohorts >= first].min()
    earlier: NDArray[np.bool_] = (cohorts < first) & (label_known.to_numpy() <= begins)
    return earlier


def forward_splits(
    earlier: NDArray[np.bool_], judged: NDArray[np.bool_], students: Ints, folds: Ints
) -> Iterator[Split]:
    """Learn from earlier rows, judge later ones, with no student on both sides.

    Where nobody who is judged has earlier rows, that is one split. Else for each fold of students: learn from
    all earlier rows but those of the students who are judged. Together the test parts are every row of
    `judged`, once.
    """
    returning = np.isin(students, np.unique(students[judged]))
    if not (earlier & returning).any():
        yield Split(np.flatnonzero(earlier), np.flatnonzero(judged))
        return
    for fold in np.unique(folds[judged]):
        mine = folds == fold
        yield Split(np.flatnonzero(earlier & ~(mine & returning)), np.flatnonzero(judged & mine))
