"""Reasons add up, point the right way and are said in words; the list holds whom the target says."""

from __future__ import annotations

import json
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from ml.explain import explain
from ml.features import shape_features
from ml.learning import learn
from ml.pipeline import Lesson, fit_pipeline, predict_probability
from ml.predicting import flag_students, put_into_words, score_by_model, score_by_rule
from ml.rule import apply_rule, flag_by_rule
from ml.target import Candidate, Flag
from ml.wording import recommend, word_value

MODEL_ID = UUID("0193a3f0-0000-7000-8000-000000000001")


@pytest.fixture(scope="module")
def fitted(make_rows, at_risk, thresholds):
    rows = make_rows()
    learnt = learn(rows, at_risk, thresholds)
    last = rows[rows["as_of_date"] == rows["as_of_date"].max()].reset_index(drop=True)
    return learnt.pipeline, last


def _by_model(rows, target, thresholds, pipeline):
    return put_into_words(score_by_model(rows, target, pipeline, MODEL_ID, "abc"), target, thresholds, None)


@pytest.fixture(scope="module")
def predictions(fitted, at_risk, thresholds):
    return _by_model(fitted[1], at_risk, thresholds, fitted[0])


def test_contributions_and_baseline_add_up_to_the_log_odds(fitted, at_risk):
    pipeline, rows = fitted
    features = shape_features(rows, at_risk.features)
    parts = explain(pipeline, features, at_risk.features)
    log_odds = pipeline.decision_function(features)
    assert parts.is_exact
    assert np.abs(parts.baseline + parts.effects.sum(axis=1) - log_odds).max() < 1e-9


def test_recalibrated_contributions_add_up_too(make_rows, at_risk):
    rows = make_rows()
    features = shape_features(rows, at_risk.features)
    y = (rows["label_value"] < 50).to_numpy(dtype=int)
    cohorts = rows["as_of_date"].rank(method="dense").to_numpy(dtype=int)
    candidate = Candidate(name="r", algorithm="logistic", settings={"C": 0.1}, recalibrate=True)
    lesson = Lesson(features, y, cohorts, np.arange(len(y)), rows["label_value"].to_numpy(), 50.0)
    pipeline = fit_pipeline(at_risk.features, candidate, 1, lesson)
    assert pipeline.named_steps["model"].slope_ != 1
    parts = explain(pipeline, features, at_risk.features)
    added = parts.baseline + parts.effects.sum(axis=1)
    assert np.abs(added - pipeline.decision_function(features)).max() < 1e-9


def test_boosting_is_explained_by_putting_one_feature_back_to_its_average(make_rows, at_risk):
    rows = make_rows()
    features = shape_features(rows, at_risk.features)
    y = (rows["label_value"] < 50).to_numpy(dtype=int)
    cohorts = np.zeros(len(y), dtype=int)
    candidate = Candidate(name="b", algorithm="boosting", settings={"max_iter": 10})
    lesson = Lesson(features, y, cohorts, np.arange(len(y)), rows["label_value"].to_numpy(), 50.0)
    pipeline = fit_pipeline(at_risk.features, candidate, 1, lesson)
    parts = explain(pipeline, features, at_risk.features)
    assert not parts.is_exact
    strongest = np.abs(parts.effects).mean(axis=0).argmax()
    assert at_risk.features[strongest].name in {"term_attendance", "is_chronically_absent", "term_average"}
    constant = [feature.name for feature in at_risk.features].index("subject_count")
    assert not parts.effects[:, constant].any()


def test_every_flagged_student_has_reasons_in_words_and_steps(predictions):
    flagged = [one for one in predictions if one.is_at_risk]
    assert flagged
    for one in flagged:
        assert 1 <= len(one.reasons) <= 3
        assert all(reason["effect"] > 0 and reason["text"] for reason in one.reasons)
        assert [r["effect"] for r in one.reasons] == sorted((r["effect"] for r in one.reasons), reverse=True)
        assert one.recommendations
    texts = " ".join(reason["text"] for one in flagged for reason in one.reasons)
    assert "Attendance of" in texts
    assert "{" not in texts
    assert "nan" not in texts


def test_reasons_never_name_what_a_school_must_not_hold_against_anyone(predictions, at_risk):
    hidden = {feature.name for feature in at_risk.features if not feature.reason}
    assert {"health_status", "has_disorder", "guardian_financial_status", "guardian_education"} <= hidden
    named = {reason["feature"] for one in predictions for reason in one.reasons}
    assert not named & hidden


def test_a_raising_reason_lies_on_the_side_that_raises_the_risk(fitted, predictions, at_risk):
    _, rows = fitted
    for number, one in enumerate(predictions):
        for reason in one.reasons:
            feature = at_risk.feature(reason["feature"])
            if feature.type != "number" or feature.risk == "either" or pd.isna(rows[feature.name][number]):
                continue
            below = rows[feature.name][number] < rows[feature.name].mean() + rows[feature.name].std() / 2
            raises = reason["effect"] > 0
            if feature.risk == "low" and raises:
                assert below, reason


def test_predictions_are_plain_json_and_carry_model_and_data_version(predictions):
    one = predictions[0]
    json.dumps([one.reasons, one.recommendations])
    assert (one.method, one.model_id, one.data_version) == ("model", MODEL_ID, "abc:v")
    assert one.score == one.probability


def test_the_rule_names_its_thresholds_and_no_probability(fitted, at_risk, thresholds):
    _, rows = fitted
    rows = rows.head(3).copy()
    rows["term_average"], rows["term_attendance"] = [47.0, 80.0, 60.0], [95.0, 71.3, np.nan]
    scores = score_by_rule(rows, at_risk, thresholds, "abc")
    low, absent, fine = put_into_words(scores, at_risk, thresholds, None)
    assert (low.method, low.probability, low.model_id) == ("rule", None, None)
    assert [reason["text"] for reason in low.reasons] == [
        "Average of 47 in the last term, below the pass mark of 50"
    ]
    assert [reason["text"] for reason in absent.reasons] == [
        "Attendance of 71 % in the last term, below 90 %"
    ]
    assert (low.is_at_risk, fine.is_at_risk) == (True, False)
    assert fine.reasons == []
    assert low.score > absent.score > fine.score


def test_more_warnings_come_first_whatever_the_average(at_risk, thresholds):
    rows = pd.DataFrame({"term_average": [49.0, 20.0], "term_attendance": [80.0, 99.0]})
    scores = apply_rule(rows, at_risk, thresholds)
    assert scores.score[0] > scores.score[1]
    assert scores.order[0] < scores.order[1]


def test_exactly_the_threshold_is_not_below_it(at_risk, thresholds):
    rows = pd.DataFrame({"term_average": [50.0], "term_attendance": [90.0]})
    assert not apply_rule(rows, at_risk, thresholds).broken.any()


def test_the_rule_names_all_below_the_pass_mark_but_absentees_up_to_capacity_only(at_risk, thresholds):
    rows = pd.DataFrame(
        {"term_average": [49.0] * 3 + [60.0] * 17, "term_attendance": [95.0] * 3 + [80.0] * 17}
    )
    flagged = flag_by_rule(apply_rule(rows, at_risk, thresholds), np.array(["a"] * 20), at_risk)
    assert flagged.tolist() == [True] * 3 + [False] * 17
    rows["term_average"] = np.linspace(60, 79, 20)
    flagged = flag_by_rule(apply_rule(rows, at_risk, thresholds), np.array(["a"] * 20), at_risk)
    assert np.flatnonzero(flagged).tolist() == [3, 4]


FLAG = Flag(capacity=0.2, minimum=0.25, always_from=0.5)


def test_the_list_is_filled_up_to_capacity_but_never_with_unlikely_students():
    probability = np.array([0.4, 0.35, 0.3, 0.1, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1])
    school = np.array(["a"] * 10)
    assert flag_students(probability, school, FLAG).sum() == 2
    assert flag_students(probability / 2, school, FLAG).sum() == 0


def test_whoever_is_more_likely_than_not_to_fall_is_named_beyond_capacity():
    assert flag_students(np.full(10, 0.6), np.array(["a"] * 10), FLAG).all()


def test_each_school_has_its_own_list_and_ties_at_the_edge_are_all_named():
    probability = np.array([0.45] * 5 + [0.3] * 5)
    flagged = flag_students(probability, np.array(["a"] * 5 + ["b"] * 5), FLAG)
    assert flagged.all()


@pytest.mark.parametrize(
    ("values", "code", "advised"),
    [
        ({"activities_count": 0.0}, "join_activity", True),
        ({"activities_count": 2.0}, "join_activity", False),
        ({"term_attendance": 71.0}, "follow_up_absence", True),
        ({"term_attendance": 97.0}, "follow_up_absence", False),
        ({"term_average": 41.0}, "extra_lessons", True),
        ({"term_average": 70.0}, "extra_lessons", False),
        ({"failure_count": 2.0}, "subject_support", True),
        ({"failure_count": 0.0}, "subject_support", False),
        ({"guardian_engagement": "Low"}, "invite_guardian", True),
        ({"guardian_engagement": "High"}, "invite_guardian", False),
        ({"score_change": -9.0}, "find_cause_of_fall", True),
        ({"score_change": 9.0}, "find_cause_of_fall", False),
        ({"attendance_change": -9.0}, "watch_attendance", True),
        ({"attendance_change": 9.0}, "watch_attendance", False),
    ],
)
def test_each_step_is_advised_in_its_direction_only(at_risk, thresholds, values, code, advised):
    nothing = {feature.name: None for feature in at_risk.features}
    row = shape_features(pd.DataFrame([{**nothing, **values}]), at_risk.features)
    (steps,) = recommend(row, np.array([True]), at_risk, thresholds)
    assert (code in {step["code"] for step in steps}) is advised


def test_a_student_without_any_call_gets_the_general_step_and_one_off_the_list_none(at_risk, thresholds):
    nothing = {feature.name: None for feature in at_risk.features}
    rows = shape_features(pd.DataFrame([nothing, nothing]), at_risk.features)
    on_list, off_list = recommend(rows, np.array([True, False]), at_risk, thresholds)
    assert [step["code"] for step in on_list] == ["talk"]
    assert off_list == []


def test_a_change_is_worded_with_both_ends(fitted, at_risk, thresholds):
    pipeline, rows = fitted
    rows = rows.head(1).copy()
    rows["term_average"], rows["score_change"], rows["term_attendance"] = 44.0, -17.2, 60.0
    rows["attendance_change"] = -32.0
    (one,) = _by_model(rows, at_risk, thresholds, pipeline)
    texts = {reason["text"] for reason in one.reasons}
    assert texts & {
        "Average fell from 61 to 44 within a term",
        "Attendance fell from 92 % to 60 % within a term",
    }


def test_an_unknown_category_and_missing_values_are_no_error(fitted, at_risk):
    pipeline, rows = fitted
    rows = rows.head(2).copy()
    rows["stream"], rows["guardian_engagement"], rows["term_average"] = "Astronomy", "Fervent", np.nan
    probability = predict_probability(pipeline, shape_features(rows, at_risk.features))
    assert ((probability > 0) & (probability < 1)).all()


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(52.4, "points", "52"), (4.25, "points", "4.2"), (71.4, "pct", "71 %"), (0.714, "rate", "71 %"),
     (3.0, "count", "3"), (12.0, "years", "12 years"), ("High", "word", "High"), (True, "word", "yes"),
     (None, "pct", "not recorded"), (float("nan"), "points", "not recorded")],
)  # fmt: skip
def test_values_are_written_as_people_write_them(value, unit, words):
    assert word_value(value, unit) == words
