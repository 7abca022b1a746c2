"""Which rows belong together in time, and whether enough of them have come. Plain Python: asking is cheap.

Schools hand in their results one after the other, some of them grade by grade. The first results of a term
say little about the others, and nothing about the other schools.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import TypeVar

Day = TypeVar("Day", bound=date)
Part = TypeVar("Part", bound=Hashable)

MOST = 0.5
"""A term in which many left is still a whole one; half of one is not."""
BEFORE = 3
"""Beside so many cohorts before it a cohort is looked at: the terms of a school year."""


def number_days(days: Iterable[Day], wave_days: int) -> dict[Day, int]:
    """Number the cohorts of days from 0, oldest first.

    Args:
        days: in any order; repeats count once.
        wave_days: days at most this many after the first of a wave belong to it.
    """
    numbers: dict[Day, int] = {}
    start, current = None, -1
    for day in sorted(set(days)):
        if start is None or day - start > timedelta(days=wave_days):
            start, current = day, current + 1
        numbers[day] = current
    return numbers


def have_come(rows: Mapping[tuple[Part, int], int], cohorts: Sequence[int]) -> bool:
    """Whether each part has, in these cohorts together, half of the rows of its largest one shortly before.

    Args:
        rows: how many there are of each part (of each school, say) in each cohort.
        cohorts: numbers that follow one another.
    """
    before = range(cohorts[0] - BEFORE, cohorts[0])
    return all(
        sum(rows.get((part, cohort), 0) for cohort in cohorts)
        >= MOST * max(rows.get((part, cohort), 0) for cohort in before)
        for part in {part for part, _ in rows}
    )


def find_latest_come(rows: Mapping[int, int]) -> int:
    """The latest cohort that has come as a whole; the first counts as come.

    Args:
        rows: how many there are in each cohort; at least one.
    """
    whole = {("", cohort): count for cohort, count in rows.items()}
    return next(cohort for cohort in sorted(rows, reverse=True) if have_come(whole, [cohort]))
