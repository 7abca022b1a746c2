"""A planted signal is published; noise, leaks and thin data are refused, with the reason in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.errors import NotEnoughHistory
from ml.learning import learn
from ml.target import Feature


def _failed(learnt) -> set[str]:
    return {condition.name for condition in learnt.verdict.conditions if not condition.passed}


def test_a_planted_signal_is_published_and_beats_rule_and_chance(make_rows, at_risk, thresholds):
    learnt = learn(make_rows(), at_risk, thresholds)
    assert learnt.verdict.is_published, learnt.verdict.refusals
    assert learnt.pipeline is not None
    held_out = learnt.metrics["held_out"]
    assert held_out["model"]["auc"] > held_out["rule"]["auc"] > held_out["chance"]["auc"]
    assert learnt.window["held_out_from"] == "2025-04-13"
    assert learnt.window["rows"] == 260 * 5
    assert learnt.verdict.schools == {"S0": None, "S1": None}


@pytest.mark.parametrize("seed", range(4))
def test_random_outcomes_are_refused_although_accuracy_is_over_the_floor(
    make_rows, at_risk, thresholds, seed
):
    learnt = learn(make_rows(seed=seed, signal=False), at_risk, thresholds)
    assert learnt.pipeline is None
    assert {"auc", "brier_skill"} <= _failed(learnt)
    assert "accuracy" not in _failed(learnt)
    assert not learnt.verdict.is_published


@pytest.mark.parametrize("seed", range(4))
def test_shuffled_labels_are_refused(make_rows, with_labels, at_risk, thresholds, seed):
    rows = make_rows()
    rows["label_value"] = np.random.default_rng(seed).permutation(rows["label_value"])
    learnt = learn(with_labels(rows), at_risk, thresholds)
    assert learnt.pipeline is None
    assert "auc" in _failed(learnt)


def test_too_small_a_cohort_is_refused_and_says_how_many_are_needed(make_rows, at_risk, thresholds):
    learnt = learn(make_rows(students=60), at_risk, thresholds)
    assert {"rows", "each_class"} <= _failed(learnt)
    assert learnt.pipeline is None
    assert any("at least 200 are needed" in reason for reason in learnt.verdict.refusals)


def test_one_class_only_is_refused(make_rows, with_labels, at_risk, thresholds):
    rows = make_rows()
    rows["label_value"] = rows["label_value"] + 100
    learnt = learn(with_labels(rows), at_risk, thresholds)
    assert learnt.pipeline is None
    assert learnt.verdict.refusals == [
        "Of the later cohort fewer than 10 fell below and 260 did not; at least 30 of each are needed",
        "All 1040 rows to learn from turned out the same: nothing can be learnt",
    ]


def test_too_few_terms_are_an_error_with_a_name(make_rows, at_risk, thresholds):
    with pytest.raises(NotEnoughHistory, match="found 2 past cohorts"):
        learn(make_rows(terms=2), at_risk, thresholds)


def test_a_school_on_which_the_model_was_not_checked_is_left_to_the_rule(
    make_rows, with_labels, at_risk, thresholds
):
    rows = make_rows()
    safe = make_rows(students=80, seed=9).assign(school_id="Safe")
    for column in ("term_average", "average_to_date", "lowest_score", "label_value"):
        safe[column] = safe[column] + 35
    learnt = learn(with_labels(pd.concat([rows, safe], ignore_index=True)), at_risk, thresholds)
    assert learnt.verdict.is_published
    assert learnt.verdict.schools["S0"] is None
    assert "fewer than 5 who fell below" in learnt.verdict.schools["Safe"]
    # Nor does it count: telling a school without failures from the others is no proof within a school.
    assert learnt.verdict.conditions[0].found == 260


def test_telling_schools_apart_is_no_proof(make_rows, with_labels, at_risk, thresholds):
    weak, strong = (make_rows(seed=seed, signal=False, schools=1) for seed in (5, 6))
    strong["school_id"] = "Strong"
    for column in ("term_average", "average_to_date", "lowest_score", "label_value"):
        weak[column], strong[column] = weak[column] - 6, strong[column] + 4
    learnt = learn(with_labels(pd.concat([weak, strong], ignore_index=True)), at_risk, thresholds)
    assert learnt.metrics["held_out"]["model"]["auc"] > 0.65
    assert all("no better than chance" in why for why in learnt.verdict.schools.values())
    assert not learnt.verdict.is_published


def test_the_same_rows_give_the_same_model(make_rows, at_risk, thresholds):
    first = learn(make_rows(), at_risk, thresholds)
    second = learn(make_rows(), at_risk, thresholds)
    assert first.metrics == second.metrics
    assert first.verdict == second.verdict


def test_the_simplest_candidate_within_a_standard_error_wins(make_rows, at_risk, thresholds):
    both = at_risk.candidates[0], at_risk.candidates[0].model_copy(update={"name": "same_again"})
    learnt = learn(make_rows(), at_risk.model_copy(update={"candidates": list(both)}), thresholds)
    assert learnt.algorithm == "logistic"
    assert [entry["as_good_as_best"] for entry in learnt.metrics["candidates"]] == [True, True]


def test_backtests_judge_earlier_terms_by_still_earlier_ones(make_rows, at_risk, thresholds):
    validation = at_risk.validation.model_copy(update={"backtest_cohorts": 2})
    learnt = learn(make_rows(), at_risk.model_copy(update={"validation": validation}), thresholds)
    assert [entry["as_of_date"] for entry in learnt.metrics["backtest"]] == ["2024-08-16", "2024-12-14"]


# ── leaks ───────────────────────────────────────────────────────────────────────────────────────────────────


def _with(at_risk, name: str, kind: str = "number"):
    extra = Feature(name=name, type=kind, reason=False)
    return at_risk.model_copy(update={"features": [*at_risk.features, extra]})


def _refusal(rows, target, thresholds) -> str:
    learnt = learn(rows, target, thresholds)
    assert _failed(learnt) == {"leakage"}
    assert learnt.pipeline is None
    return " / ".join(learnt.verdict.refusals)


def test_a_feature_that_knows_the_answer_is_refused_by_name(make_rows, at_risk, thresholds):
    rows = make_rows()
    rows["report_card"] = -(rows["label_value"] ** 3)
    text = _refusal(rows, _with(at_risk, "report_card"), thresholds)
    assert text.startswith("report_card determines the target")


def test_test_plus_exam_is_found_to_be_the_total(make_rows, at_risk, thresholds):
    rows = make_rows()
    rows["test_score"] = np.random.default_rng(1).uniform(0, 40, len(rows))
    rows["exam_score"] = rows["label_value"] - rows["test_score"]
    target = _with(_with(at_risk, "test_score"), "exam_score")
    text = _refusal(rows, target, thresholds)
    assert "it is a sum of them" in text
    assert {"exam_score", "test_score"} == set(text.split(" determines")[0].split(" + "))


def test_a_category_that_tells_the_outcome_is_refused(make_rows, at_risk, thresholds):
    rows = make_rows()
    rows["result"] = np.where(rows["label_value"] < 50, "held back", "promoted")
    assert _refusal(rows, _with(at_risk, "result", "category"), thresholds).startswith("result determines")


def test_a_column_that_looks_ahead_is_refused(make_rows, at_risk, thresholds):
    rows = make_rows()
    rows["next_term_failure_count"] = 1.0
    text = _refusal(rows, _with(at_risk, "next_term_failure_count"), thresholds)
    assert text == "next_term_failure_count looks ahead into the time that is to be foretold"


@pytest.mark.parametrize("name", ["email", "nickname"])
def test_whatever_names_a_person_is_refused(make_rows, at_risk, thresholds, name):
    rows = make_rows()
    rows[name] = rows["student_id"] + "@school.example"
    text = _refusal(rows, _with(at_risk, name, "category"), thresholds)
    assert text.startswith(f"{name} identifies a person")


def test_facts_from_after_the_outcome_are_refused(make_rows, at_risk, thresholds):
    rows = make_rows()
    rows.loc[:4, "known_at"] = rows.loc[:4, "label_known_at"]
    text = _refusal(rows, at_risk, thresholds)
    assert text.startswith("known_at is not before next_known_at in 5 of 1300 rows")


def test_constant_and_empty_features_are_no_leak_and_no_harm(make_rows, at_risk, thresholds):
    rows = make_rows()
    rows["subject_count"], rows["teacher_experience_mean"], rows["stream"] = 9.0, np.nan, None
    assert learn(rows, at_risk, thresholds).verdict.is_published
