"""When a cohort counts: half of it has come."""

from __future__ import annotations

from datetime import date

import pytest
import yaml

from elt.settings import PROJECT_DIR
from ml.cohorts import BEFORE, MOST, find_latest_come, have_come, number_days


def test_days_close_together_are_one_cohort():
    days = [date(2025, 4, 10), date(2024, 12, 20), date(2024, 12, 23), date(2024, 12, 20)]
    assert number_days(days, 45) == {date(2024, 12, 20): 0, date(2024, 12, 23): 0, date(2025, 4, 10): 1}
    assert number_days([], 45) == {}


@pytest.mark.parametrize(
    ("rows", "latest"),
    [
        ([300], 0),
        ([300, 149], 0),
        ([300, 150], 1),
        ([300, 40, 40], 0),  # the same school, twice first
        ([300, 120, 140], 0),
        ([300, 200, 250, 130], 2),
        ([400, 300, 250, 200, 150], 4),  # fewer every time, and yet whole
    ],
)
def test_a_cohort_has_come_with_half_of_the_largest_before_it(rows: list[int], latest: int):
    assert find_latest_come(dict(enumerate(rows))) == latest


def test_every_school_has_to_come_and_may_do_so_in_several_cohorts():
    rows = {("N", 0): 40, ("S", 0): 40, ("N", 1): 40, ("S", 1): 12, ("S", 2): 8, ("N", 2): 30}
    assert have_come(rows, [0])
    assert not have_come(rows, [1])
    assert have_come(rows, [1, 2])
    assert not have_come(rows, [2])


def test_the_marts_call_the_same_terms_whole() -> None:
    project = yaml.safe_load((PROJECT_DIR / "dbt" / "dbt_project.yml").read_text())
    assert project["vars"]["whole_term"] == {"minimum_share": MOST, "terms_before": BEFORE}
