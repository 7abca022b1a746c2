"""The planted signal is as strong as `docs/demo-school.md` says, and the plain rule sees less of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from demo.school import write_demo_school

FEATURES = ["average", "so_far", "change", "attendance", "attendance_change"]


@pytest.fixture(scope="module")
def terms(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """One row per student and term but the last: what was known then, and whether the next one failed."""
    key = write_demo_school(tmp_path_factory.mktemp("school"))
    (figure,) = [figure for figure in key.figures if figure.mart == "mart_student_terms"]
    rows = figure.rows.assign(
        average=figure.rows["average_score"].astype(float),
        attendance=figure.rows["attendance_pct"].astype(float),
        order=figure.rows["term"].map(["First Term", "Second Term", "Third Term"].index),
    ).sort_values(["school_id", "student_id", "term_number"])
    student = rows.groupby(["school_id", "student_id"])
    rows["cohort"] = rows["school_year"].str[:4].astype(int) * 3 + rows["order"]
    rows["so_far"] = student["average"].transform(lambda scores: scores.expanding().mean())
    rows["change"] = student["average"].diff().fillna(0)
    rows["attendance_change"] = student["attendance"].diff().fillna(0)
    rows["next_average"] = student["average"].shift(-1)
    return rows.dropna(subset="next_average").assign(fails=lambda known: known["next_average"] < 50)


def test_failing_the_next_term_is_neither_rare_nor_common(terms: pd.DataFrame) -> None:
    by_cohort = terms.groupby("cohort")["fails"].mean()
    assert 0.12 < terms["fails"].mean() < 0.20
    assert by_cohort.min() > 0.08


def test_attendance_and_history_foretell_what_last_terms_average_alone_does_not(terms: pd.DataFrame) -> None:
    last_two = terms["cohort"] >= terms["cohort"].max() - 1
    known, later = terms[~last_two], terms[last_two]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(known[FEATURES], known["fails"])
    probability = model.predict_proba(later[FEATURES])[:, 1]
    by_model = roc_auc_score(later["fails"], probability)
    by_rule = roc_auc_score(later["fails"], -later["average"])
    assert 0.86 < by_model < 0.94
    assert 0.80 < by_rule < by_model - 0.03
    capacity = len(later) // 10
    fails = later["fails"].to_numpy()
    right_by_model = fails[np.argsort(-probability)[:capacity]].mean()
    right_by_rule = fails[np.argsort(later["average"].to_numpy())[:capacity]].mean()
    assert right_by_model > right_by_rule + 0.1


def test_attendance_falls_a_term_before_the_marks_do(terms: pd.DataFrame) -> None:
    absent = terms["attendance"] < 82
    drop_next = (terms["next_average"] - terms["average"])[absent].mean()
    others = (terms["next_average"] - terms["average"])[~absent].mean()
    assert drop_next < others - 2
