"""Drift: found where students really differ, and not made by small numbers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ml.drift import SCORES, Drift, is_supported, make_reference, measure_drift
from ml.target import Feature

FEATURES = [
    Feature(name="average", type="number", reason=False),
    Feature(name="is_boarding", type="boolean", reason=False),
    Feature(name="habits", type="ordinal", order=["Rarely", "Occasional", "Daily"], reason=False),
    Feature(name="stream", type="category", reason=False),
    Feature(name="subjects", type="number", reason=False),
]
BOUND = 0.25


def make_students(count: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    habits = rng.choice(["Rarely", "Occasional", "Daily"], count, p=[0.6, 0.37, 0.03]).astype(object)
    return pd.DataFrame(
        {
            "average": np.where(rng.random(count) < 0.1, np.nan, rng.normal(58, 6, count)),
            "is_boarding": (rng.random(count) < 0.5) * 1.0,
            "habits": habits,
            "stream": rng.choice(["Art", "General"], count).astype(object),
            "subjects": 9.0,
        }
    )


def make_scores(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).beta(1, 4, count)


@pytest.fixture(scope="module")
def reference() -> dict:
    """Of 2 000 students, as it comes back from the database."""
    made = make_reference(make_students(2000), FEATURES, make_scores(2000), 10)
    return json.loads(json.dumps(made, allow_nan=False))


def measure(reference: dict, rows: pd.DataFrame, scores: np.ndarray | None = None) -> dict[str, Drift]:
    scores = make_scores(len(rows), 2) if scores is None else scores
    return {drift.feature: drift for drift in measure_drift(reference, rows, scores, BOUND)}


def test_the_same_rows_have_not_moved(reference):
    found = measure(reference, make_students(2000), make_scores(2000))
    assert list(found) == [SCORES, *(feature.name for feature in FEATURES)]
    assert all(drift.stability == 0 and not drift.is_over for drift in found.values())


def test_the_index_of_a_yes_or_no_is_the_one_by_hand(reference):
    rows = make_students(4000, seed=2)
    rows["is_boarding"] = np.where(np.arange(4000) < 3200, 1.0, 0.0)
    was = make_students(2000)["is_boarding"].mean()
    by_hand = (0.8 - was) * np.log(0.8 / was) + (0.2 - (1 - was)) * np.log(0.2 / (1 - was))
    luck = 1 / 2000 + 1 / 4000  # one degree of freedom
    assert measure(reference, rows)["is_boarding"].stability == pytest.approx(by_hand - luck, abs=1e-9)


def test_fifty_students_of_the_same_kind_raise_no_alarm(reference):
    alarms = sum(
        drift.is_over
        for seed in range(200)
        for drift in measure(reference, make_students(50, seed), make_scores(50, seed)).values()
    )
    assert alarms <= 5  # of 1 200 comparisons; without the allowance for luck 131 alarms were counted


def test_fifty_students_of_another_kind_raise_one(reference):
    rows = make_students(50, seed=3).assign(average=lambda known: known["average"] - 9)
    found = measure(reference, rows, make_scores(50, 3) + 0.4)
    assert [name for name, drift in found.items() if drift.is_over] == [SCORES, "average"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("stream", "Science"),  # a word that the reference does not know
        ("habits", "Weekly"),
        ("subjects", 7.0),  # all had nine
        ("subjects", 11.0),
        ("average", np.nan),
        ("stream", None),
    ],
)
def test_what_half_of_the_students_never_had_before_is_over(reference, column, value):
    rows = make_students(400, seed=4)
    rows[column] = rows[column].where(np.arange(400) % 2 == 0, value)
    found = measure(reference, rows)
    assert [name for name, drift in found.items() if drift.is_over] == [column]


def test_one_new_value_among_many_students_is_not_over(reference):
    rows = make_students(400, seed=5)
    rows.loc[0, ["subjects", "stream"]] = [3.0, "Science"]
    assert not any(drift.is_over for drift in measure(reference, rows).values())


def test_a_feature_that_was_empty_and_is_filled_now_is_over():
    rows = make_students(500).assign(average=np.nan)
    reference = make_reference(rows, FEATURES, make_scores(500), 10)
    assert measure(reference, make_students(500, seed=2))["average"].is_over
    assert not is_supported(reference["features"]["average"], 50.0)


def test_a_rare_word_is_not_kept(reference):
    rows = make_students(2000)
    rows.loc[0, "stream"] = "Named by one student"
    made = make_reference(rows, FEATURES, make_scores(2000), 10)
    assert made["features"]["stream"]["words"] == ["Art", "General"]
    assert sum(made["features"]["stream"]["shares"]) == pytest.approx(1)


def test_a_level_is_supported_between_the_outer_twentieths(reference):
    average, habits = reference["features"]["average"], reference["features"]["habits"]
    low, high = np.nanquantile(make_students(2000)["average"], [0.05, 0.95])
    assert average["support"] == pytest.approx([low, high], abs=0.05)
    assert is_supported(average, 58)
    assert not is_supported(average, low - 1)
    assert not is_supported(average, high + 1)
    assert is_supported(habits, "Occasional", FEATURES[2].order)
    assert not is_supported(habits, "Daily", FEATURES[2].order)  # 3 in 100 study daily
