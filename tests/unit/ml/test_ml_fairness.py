"""Groups of students against counts by hand, and gaps that luck does not make."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ml.fairness import GroupResult, audit_groups, find_gaps
from ml.target import Fairness

SETTINGS = Fairness(
    columns=["gender"], minimum_group=30, minimum_positives=10, recall_gap=0.2, calibration_gap=0.1
)
ANY_GAP = SETTINGS.model_copy(update={"recall_gap": 0.001, "calibration_gap": 0.001})


def audit(y, probability, flagged, group, student=None, settings=SETTINGS, draws=200) -> list[GroupResult]:
    student = np.arange(len(y)) if student is None else student
    return audit_groups(
        np.asarray(y), np.asarray(probability, dtype=float), np.asarray(flagged, dtype=bool),
        {"gender": np.asarray(group)}, student, settings, draws=draws, level=0.95, seed=1,
    )  # fmt: skip


@pytest.fixture
def girls_and_boys() -> list[GroupResult]:
    """40 girls: of 20 to whom the risk came 15 were named, and 5 others; 40 boys: of 10 three, and nobody."""
    y = np.repeat([1, 0, 1, 0], [20, 20, 10, 30])
    flagged = np.concatenate([np.arange(20) < 15, np.arange(20) < 5, np.arange(10) < 3, np.zeros(30)])
    probability = np.repeat([0.6, 0.2], [40, 40])
    return audit(y, probability, flagged, np.repeat(["Female", "Male"], 40))


def test_figures_of_a_group_are_those_counted_by_hand(girls_and_boys):
    girls, boys = girls_and_boys
    assert (girls.group, girls.students, girls.positives) == ("Female", 40, 20)
    values = {name: figure.value for name, figure in girls.figures.items()}
    assert values == {
        "selection_rate": 0.5,
        "precision": 0.75,
        "recall": 0.75,
        "false_positive_rate": 0.25,
        "calibration": pytest.approx(0.1),
    }
    assert boys.figures["recall"].value == pytest.approx(0.3)
    assert boys.figures["calibration"].value == pytest.approx(-0.05)


def test_intervals_hold_the_figure_and_are_as_wide_as_the_binomial_says(girls_and_boys):
    recall = girls_and_boys[0].figures["recall"]
    assert recall.low < recall.value < recall.high
    assert recall.error == pytest.approx(np.sqrt(0.75 * 0.25 / 20), rel=0.2)


def test_a_small_group_is_counted_and_nothing_is_said_of_what_came():
    y = np.repeat([1, 0], [50, 50])
    group = np.where(np.arange(100) < 4, "Few", "Many")
    many, few = audit(y, y * 0.5, y, group)
    assert (few.students, few.is_small, many.is_small) == (4, True, False)
    assert few.positives is None
    assert few.figures == {}


def test_what_came_of_a_few_cannot_be_had_by_subtraction():
    y = np.tile([1, 0], 100)
    group = np.repeat(["A", "B", "not recorded"], [110, 85, 5])
    results = {result.group: result for result in audit(y, y * 0.5, y, group)}
    assert list(results) == ["B", "A (with small groups)", "not recorded"]
    assert results["not recorded"].students == 5
    large = [result for result in results.values() if not result.is_small]
    assert sum(result.students for result in large) == 200
    assert sum(result.positives for result in large) == 100
    (gap, _) = find_gaps(list(results.values()), SETTINGS)
    assert {gap.higher, gap.lower} == {"A (with small groups)", "B"}


def test_small_groups_that_are_many_together_are_joined_to_no_other():
    y = np.tile([1, 0], 100)
    group = np.repeat(["A", "B", "C", "D"], [80, 80, 20, 20])
    results = audit(y, y * 0.5, y, group)
    assert [(each.group, each.is_small) for each in results] == [
        ("A", False), ("B", False), ("C", True), ("D", True),
    ]  # fmt: skip


def test_a_large_group_with_hardly_any_positives_is_small():
    y = np.where(np.arange(200) % 100 < 9, 1, 0)
    results = audit(y, np.full(200, 0.1), y, np.repeat(["Female", "Male"], 100))
    assert all(result.is_small for result in results)
    assert find_gaps(results, SETTINGS) == []


def test_where_all_of_ten_were_found_that_is_no_certainty():
    y = np.repeat([1, 0], [10, 40])
    (only,) = audit(y, np.full(50, 0.2), y, np.full(50, "Female"))
    recall = only.figures["recall"]
    assert recall.value == recall.high == 1
    assert recall.low == pytest.approx(0.7225, abs=1e-3)  # Wilson's interval of 10 of 10
    assert recall.error > 0.05


def test_a_figure_that_is_not_defined_is_left_out():
    y = np.repeat([1, 0], [20, 20])
    (only,) = audit(y, np.full(40, 0.5), np.zeros(40), np.full(40, "Female"))
    assert "precision" not in only.figures
    assert only.figures["recall"].value == 0


def test_more_rows_of_the_same_students_do_not_narrow_the_intervals():
    y, group = np.tile([1, 0], 60), np.full(120, "Female")
    flagged = np.arange(120) % 4 < 2
    (once,) = audit(y, y * 0.5, flagged, group, draws=400)
    again = [np.tile(each, 4) for each in (y, y * 0.5, flagged, group)]
    (repeated,) = audit(*again, student=np.tile(np.arange(120), 4), draws=400)
    (others,) = audit(*again, draws=400)
    assert repeated.figures["recall"].error == pytest.approx(once.figures["recall"].error, rel=0.1)
    assert others.figures["recall"].error < 0.6 * once.figures["recall"].error


def test_a_gap_that_is_surely_over_the_bound_stops_and_says_what_was_found():
    y = np.tile([1, 0], 200)
    group = np.repeat(["Female", "Male"], 200)
    flagged = (y == 1) & ((group == "Female") | (np.arange(400) % 20 == 0))
    recall, calibration = find_gaps(audit(y, np.full(400, 0.5), flagged, group), SETTINGS)
    assert (recall.measure, recall.higher, recall.lower) == ("recall", "Female", "Male")
    assert recall.is_over
    assert recall.value == pytest.approx(0.9)
    assert recall.text.startswith(
        "By gender, of those to whom the risk came, the list held 100.0% (Female) and 10.0% (Male): "
        "90.0 points apart, "
    )
    assert "surely more than 20 are too many" in recall.text
    assert not calibration.is_over


def test_a_large_gap_that_luck_may_have_made_does_not_stop():
    y, group = np.tile([1, 1, 0, 0, 0], 20), np.repeat(["Female", "Male"], 50)
    flagged = (y == 1) & ((np.arange(100) % 5 == 0) | (np.arange(100) < 25))
    recall = find_gaps(audit(y, np.full(100, 0.4), flagged, group), SETTINGS)[0]
    assert recall.value == pytest.approx(0.25)
    assert recall.low < 0.2
    assert not recall.is_over


def test_a_group_claimed_too_high_is_a_gap_in_calibration():
    y, group = np.tile([1, 0, 0, 0], 200), np.repeat(["Female", "Male"], 400)
    gap = find_gaps(audit(y, np.where(group == "Male", 0.5, 0.25), y, group), SETTINGS)[1]
    assert (gap.higher, gap.lower, gap.is_over) == ("Male", "Female", True)
    assert "+25.0 points (Male) and +0.0 points (Female)" in gap.text


def test_among_many_groups_alike_luck_seldom_makes_a_sure_gap():
    rng = np.random.default_rng(4)
    sure = 0
    for _ in range(60):
        claimed = rng.uniform(0.2, 0.8, 800)
        y = (rng.random(800) < claimed).astype(np.int64)
        results = audit(y, claimed, claimed > 0.5, rng.integers(0, 12, 800).astype(str), draws=100)
        sure += any(gap.is_over for gap in find_gaps(results, ANY_GAP))
    assert sure <= 8  # two measures, each wrong about one time in forty


def test_columns_are_compared_apart_and_drawn_alike():
    y = np.tile([1, 0], 100)
    groups = {"gender": np.repeat(["Female", "Male"], 100), "school_id": np.tile(["S1", "S2"], 100)}
    facts = [y, np.full(200, 0.5), y.astype(bool)]
    settings = SETTINGS.model_copy(update={"minimum_positives": 1})
    drawn = {"draws": 50, "level": 0.95, "seed": 3}
    both = audit_groups(*facts, groups, np.arange(200), settings, **drawn)
    one = audit_groups(*facts, {"gender": groups["gender"]}, np.arange(200), settings, **drawn)
    assert both[:2] == one
    assert {gap.column for gap in find_gaps(both, settings)} == {"gender"}  # each school has one class only


def test_results_and_gaps_are_plain_json_values(girls_and_boys):
    written = [result.to_dict() for result in girls_and_boys]
    written += [gap.to_dict() for gap in find_gaps(girls_and_boys, SETTINGS)]
    assert json.loads(json.dumps(written, allow_nan=False)) == written
