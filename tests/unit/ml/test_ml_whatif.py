"""What would help: only what the model itself says of similar students, within what it has seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.drift import make_reference
from ml.features import shape_features
from ml.pipeline import Lesson, fit_pipeline, predict_probability
from ml.target import Candidate, Target
from ml.whatif import LEAST_CHANGE, find_levers

LOGISTIC = Candidate(name="logistic", algorithm="logistic", settings={"C": 0.1})
BOOSTING = Candidate(name="boosting", algorithm="boosting", settings={"max_iter": 30})


@pytest.fixture(scope="module")
def rows(make_rows) -> pd.DataFrame:
    """Students whose risk falls with attendance, study habits, activities and the guardian's engagement."""
    made = make_rows(300, 4)
    risk = (
        (90 - made["term_attendance"]) / 8
        - 1.2 * made["study_habits"].map({"Rarely": 0, "Occasional": 1, "Daily": 2})
        - 0.8 * made["activities_count"]
        - 0.9 * made["guardian_engagement"].map({"Low": 0, "Medium": 1, "High": 2})
        + 2.4
    )
    drawn = np.random.default_rng(8).random(len(made))
    return made.assign(label=(drawn < 1 / (1 + np.exp(-risk))).astype(int))


def fit(rows: pd.DataFrame, target: Target, candidate: Candidate):
    features = shape_features(rows, target.features)
    students = pd.factorize(rows["student_id"])[0]
    cohorts = pd.factorize(rows["as_of_date"])[0]
    lesson = Lesson(
        features, rows["label"].to_numpy(), cohorts, students, rows["label_value"].to_numpy(dtype=float)
    )
    pipeline = fit_pipeline(target.features, candidate, 1, lesson)
    probability = predict_probability(pipeline, features)
    return pipeline, features, make_reference(features, target.features, probability, 10)


@pytest.fixture(scope="module", params=[LOGISTIC, BOOSTING], ids=["logistic", "boosting"])
def fitted(request, rows, at_risk):
    return fit(rows, at_risk, request.param)


def levers_of(helps: list[list[dict]], feature: str) -> dict[int, dict]:
    return {row: each for row, found in enumerate(helps) for each in found if each["feature"] == feature}


def test_the_probability_is_the_models_own_for_the_student_moved(fitted, at_risk, thresholds):
    pipeline, features, reference = fitted
    found = levers_of(find_levers(pipeline, features, at_risk, thresholds, reference), "term_attendance")
    assert len(found) > 50
    moved = features.iloc[list(found)].copy()
    step = thresholds["chronic_absence"] - moved["term_attendance"]
    moved["term_attendance"] += step
    moved["attendance_change"] += step  # stays missing where it is
    moved["is_chronically_absent"] = 0.0
    then = predict_probability(pipeline, moved)
    now = predict_probability(pipeline, features.iloc[list(found)])
    assert [each["probability"] for each in found.values()] == pytest.approx(then, abs=1e-4)
    assert [each["change"] for each in found.values()] == pytest.approx(then - now, abs=1e-4)


def test_a_word_is_moved_to_its_level(fitted, at_risk, thresholds):
    pipeline, features, reference = fitted
    found = levers_of(find_levers(pipeline, features, at_risk, thresholds, reference), "study_habits")
    assert len(found) > 50
    moved = features.iloc[list(found)].assign(study_habits="Daily")
    then = predict_probability(pipeline, moved)
    assert [each["probability"] for each in found.values()] == pytest.approx(then, abs=1e-4)


def test_only_those_on_the_worse_side_are_told_and_at_most_two_the_strongest_first(
    fitted, at_risk, thresholds
):
    pipeline, features, reference = fitted
    helps = find_levers(pipeline, features, at_risk, thresholds, reference)
    for row, found in enumerate(helps):
        changes = [each["change"] for each in found]
        assert len(found) <= 2
        assert changes == sorted(changes)
        assert all(change <= -LEAST_CHANGE + 1e-4 for change in changes)
        student = features.iloc[row]
        for each in found:
            if each["feature"] == "term_attendance":
                assert student["term_attendance"] < thresholds["chronic_absence"]
            if each["feature"] == "activities_count":
                assert student["activities_count"] < 1
            if each["feature"] == "study_habits":
                assert student["study_habits"] != "Daily"
            if each["feature"] == "guardian_engagement":
                assert student["guardian_engagement"] != "High"
    assert max(len(found) for found in helps) == 2
    assert min(len(found) for found in helps) == 0


def test_the_words_name_the_level_both_shares_and_that_it_is_an_association(rows, at_risk, thresholds):
    pipeline, features, reference = fit(rows, at_risk, LOGISTIC)
    helps = find_levers(pipeline, features, at_risk, thresholds, reference)
    row, lever = next(iter(levers_of(helps, "term_attendance").items()))
    now = predict_probability(pipeline, features.iloc[[row]])[0]
    assert lever["to"] == "90 %"
    assert lever["text"] == (
        f"With attendance of 90 %, similar students fell below in {round(100 * lever['probability'])} of 100 "
        f"cases instead of {round(100 * now)}; an association, not a promise"
    )


def test_a_level_that_hardly_anybody_has_reached_is_not_named(rows, at_risk, thresholds):
    few = rows.assign(study_habits=np.where(np.arange(len(rows)) % 50 == 0, "Daily", "Rarely"))
    pipeline, features, reference = fit(few, at_risk, LOGISTIC)
    far = {**thresholds, "chronic_absence": 99.9}
    helps = find_levers(pipeline, features, at_risk, far, reference)
    assert not levers_of(helps, "study_habits")
    assert not levers_of(helps, "term_attendance")
    assert levers_of(helps, "guardian_engagement")


def test_a_student_without_a_value_is_not_told_what_it_should_be(rows, at_risk, thresholds):
    pipeline, features, reference = fit(rows, at_risk, LOGISTIC)
    unknown = features.assign(term_attendance=np.nan, study_habits=None)
    helps = find_levers(pipeline, unknown, at_risk, thresholds, reference)
    assert not levers_of(helps, "term_attendance")
    assert not levers_of(helps, "study_habits")


def test_a_feature_that_points_the_wrong_way_is_not_named(rows, at_risk, thresholds):
    pipeline, features, reference = fit(rows.assign(label=1 - rows["label"]), at_risk, LOGISTIC)
    helps = find_levers(pipeline, features, at_risk, thresholds, reference)
    assert not levers_of(helps, "study_habits")
    assert not levers_of(helps, "term_attendance")


def test_without_a_reference_or_without_students_nothing_is_said(rows, at_risk, thresholds):
    pipeline, features, reference = fit(rows, at_risk, LOGISTIC)
    assert find_levers(pipeline, features[:3], at_risk, thresholds, {}) == [[], [], []]
    assert find_levers(pipeline, features[:0], at_risk, thresholds, reference) == []
