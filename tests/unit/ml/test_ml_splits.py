"""Time never runs backwards in a split, and no student is on both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.errors import NotEnoughHistory
from ml.splits import choose_held_out, deal_students, find_earlier, forward_splits, number_cohorts

DATES = pd.Series(pd.to_datetime(["2024-12-20", "2024-12-23", "2025-04-10", "2025-07-31", "2025-12-20"]))


def test_term_ends_a_few_days_apart_are_one_cohort():
    assert number_cohorts(DATES, wave_days=45).tolist() == [0, 0, 1, 2, 3]


def test_a_student_falls_into_the_same_fold_whoever_else_is_there():
    students = [("A", f"S{number}") for number in range(200)]
    folds = deal_students(students, 5, seed=1)
    assert deal_students(students[::-1], 5, seed=1).tolist() == folds[::-1].tolist()
    assert deal_students([("A", "S7")], 5, seed=1)[0] == folds[7]
    assert set(folds) == {0, 1, 2, 3, 4}


def test_the_latest_term_is_held_out_and_a_second_one_joins_where_it_is_too_small():
    cohorts = np.repeat([0, 1, 2, 3], 50)
    y = np.tile([0, 1], 100)
    students = np.arange(200)
    wanted = {"schools": ["A"] * 200, "each_class": 20, "most": 2, "train_cohorts": 2}
    assert choose_held_out(cohorts, y, students, rows=50, **wanted) == [3]
    assert choose_held_out(cohorts, y, students, rows=80, **wanted) == [2, 3]
    assert choose_held_out(cohorts, y, students, rows=999, **wanted) == [3]
    # The same students twice are not more students.
    assert choose_held_out(cohorts, y, students % 50, rows=80, **wanted) == [3]


def test_a_term_that_a_school_has_not_handed_in_is_judged_together_with_the_one_before():
    """North has 30 students; of the last term 30 of South's are there, and so many of North's as told."""

    def choose(north: int, **changed: int) -> list[int]:
        sizes = [(cohort, "N", 30 if cohort < 4 else north) for cohort in range(5)]
        sizes += [(cohort, "S", 30) for cohort in range(5)]
        cohorts = np.concatenate([np.full(size, cohort) for cohort, _, size in sizes])
        schools = [school for _, school, size in sizes for _ in range(size)]
        people = np.concatenate([np.arange(size) + 100 * (school == "N") for _, school, size in sizes])
        wanted = {"rows": 20, "each_class": 5, "most": 2, "train_cohorts": 2, **changed}
        return choose_held_out(cohorts, np.arange(len(cohorts)) % 2, people, schools, **wanted)

    assert choose(north=0) == [3, 4]
    assert choose(north=14) == [3, 4]
    assert choose(north=15) == [4]
    assert choose(north=0, most=1) == [4]


def test_too_few_terms_are_named():
    with pytest.raises(NotEnoughHistory, match=r"found 2 past cohorts .* 3 are needed"):
        choose_held_out(
            np.array([0, 1]),
            np.array([0, 1]),
            np.array([0, 1]),
            ["A", "A"],
            rows=1,
            each_class=1,
            most=1,
            train_cohorts=2,
        )


def test_rows_whose_outcome_came_later_than_the_judging_teach_nothing():
    cohorts = np.array([0, 0, 1])
    known = pd.Series(pd.to_datetime(["2025-01-01", "2025-01-01", "2025-05-01"]))
    label_known = pd.Series(pd.to_datetime(["2025-05-01", "2025-05-02", "2025-09-01"]))
    assert find_earlier(cohorts, known, label_known, 1).tolist() == [True, False, False]


def test_splits_never_mix_times_or_students():
    rng = np.random.default_rng(1)
    cohorts = np.repeat(np.arange(5), 60)
    students = [("A", f"S{number}") for number in np.tile(np.arange(60), 5)]
    folds = deal_students(students, 4, seed=2)
    order = rng.permutation(300)
    cohorts, folds, students = cohorts[order], folds[order], [students[place] for place in order]
    judged = cohorts == 4
    seen: list[int] = []
    numbers = np.array([int(name[1:]) for _, name in students])
    for split in forward_splits(cohorts < 4, judged, numbers, folds):
        assert cohorts[split.train].max() < cohorts[split.test].min()
        assert not {students[i] for i in split.train} & {students[i] for i in split.test}
        seen += split.test.tolist()
    assert sorted(seen) == np.flatnonzero(judged).tolist()


def test_students_who_do_not_come_back_teach_in_one_split():
    cohorts, students = np.repeat([0, 1], 50), np.arange(100)
    folds = deal_students([("A", str(number)) for number in students], 4, seed=2)
    (split,) = forward_splits(cohorts < 1, cohorts == 1, students, folds)
    assert (split.train.tolist(), split.test.tolist()) == (list(range(50)), list(range(50, 100)))
