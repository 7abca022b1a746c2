"""The planted signal is as strong as `docs/demo-school.md` says, and the plain rule sees less of it."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from demo.answers import AnswerKey
from demo.school import write_demo_school
from demo.yardstick import measure_reach

FEATURES = ["average", "so_far", "change", "attendance", "attendance_change"]
STUDENT = ["school_id", "student_id"]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> AnswerKey:
    """The key of the demo school of the usual size."""
    return write_demo_school(tmp_path_factory.mktemp("school"))


@pytest.fixture(scope="module")
def all_terms(key: AnswerKey) -> pd.DataFrame:
    """One row per student and term: what was known then, and the next average where the files have it."""
    (figure,) = [figure for figure in key.figures if figure.mart == "mart_student_terms"]
    rows = figure.rows.assign(
        average=figure.rows["average_score"].astype(float),
        attendance=figure.rows["attendance_pct"].astype(float),
        order=figure.rows["term"].map(["First Term", "Second Term", "Third Term"].index),
    ).sort_values([*STUDENT, "term_number"])
    student = rows.groupby(STUDENT)
    rows["cohort"] = rows["school_year"].str[:4].astype(int) * 3 + rows["order"]
    rows["so_far"] = student["average"].transform(lambda scores: scores.expanding().mean())
    rows["change"] = student["average"].diff().fillna(0)
    rows["attendance_change"] = student["attendance"].diff().fillna(0)
    rows["next_average"] = student["average"].shift(-1)
    return rows


@pytest.fixture(scope="module")
def terms(all_terms: pd.DataFrame) -> pd.DataFrame:
    """The rows whose next term is known, and whether it failed."""
    known = all_terms.dropna(subset="next_average")
    return known.assign(fails=known["next_average"] < 50)


def fit(rows: pd.DataFrame) -> Pipeline:
    """A plain model of what can be seen."""
    model: Pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    return model.fit(rows[FEATURES], rows["fails"])


def test_failing_the_next_term_is_neither_rare_nor_common(terms: pd.DataFrame) -> None:
    by_cohort = terms.groupby("cohort")["fails"].mean()
    assert 0.12 < terms["fails"].mean() < 0.20
    assert by_cohort.min() > 0.08


def test_attendance_and_history_foretell_what_last_terms_average_alone_does_not(terms: pd.DataFrame) -> None:
    last_two = terms["cohort"] >= terms["cohort"].max() - 1
    known, later = terms[~last_two], terms[last_two]
    probability = fit(known).predict_proba(later[FEATURES])[:, 1]
    by_model = roc_auc_score(later["fails"], probability)
    by_rule = roc_auc_score(later["fails"], -later["average"])
    assert 0.86 < by_model < 0.94
    assert 0.80 < by_rule < by_model - 0.03
    capacity = len(later) // 10
    fails = later["fails"].to_numpy()
    right_by_model = fails[np.argsort(-probability)[:capacity]].mean()
    right_by_rule = fails[np.argsort(later["average"].to_numpy())[:capacity]].mean()
    assert right_by_model > right_by_rule + 0.1


def test_what_can_be_seen_comes_near_the_best_possible_list_and_the_plain_rule_does_not(
    key: AnswerKey, all_terms: pd.DataFrame, terms: pd.DataFrame
) -> None:
    truth = pd.DataFrame([asdict(student) for student in key.next_term])
    last = all_terms[all_terms["cohort"] == all_terms["cohort"].max()]
    current = truth.merge(last, on=STUDENT, validate="one_to_one")
    assert len(current) == len(truth)
    chance = current["chance_below"].to_numpy()
    best, rule = key.yardstick.best_possible, key.yardstick.plain_rule
    by_model = measure_reach(chance, fit(terms).predict_proba(current[FEATURES])[:, 1])
    assert best.auc - 0.025 < by_model.auc < best.auc
    assert by_model.precision_at_top_tenth > 0.92 * best.precision_at_top_tenth
    assert rule.auc < best.auc - 0.06
    assert rule.precision_at_top_tenth < 0.85 * best.precision_at_top_tenth


def test_attendance_falls_a_term_before_the_marks_do(terms: pd.DataFrame) -> None:
    absent = terms["attendance"] < 82
    drop_next = (terms["next_average"] - terms["average"])[absent].mean()
    others = (terms["next_average"] - terms["average"])[~absent].mean()
    assert drop_next < others - 2
