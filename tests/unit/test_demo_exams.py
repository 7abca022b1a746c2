"""Exams of the demo school: the same result wherever it stands, and foretold by what came before."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from demo.exams import Candidate
from demo.files import Table
from demo.school import DemoSchool, draw_demo_school

STUDENT = ["School ID", "Student ID"]


@pytest.fixture(scope="module")
def drawn() -> DemoSchool:
    """The demo school of the usual size."""
    return draw_demo_school()


@pytest.fixture(scope="module")
def results(drawn: DemoSchool) -> pd.DataFrame:
    """One row per candidate: results, and the averages of the terms in SS3 by number."""
    history = read(drawn.table("academic_history"))
    last = history[history["Grade Level"] == "SS3"].assign(total=lambda rows: rows["Total Score"].astype(int))
    averages = last.pivot_table(index=STUDENT, columns="Term", values="total", aggfunc="mean")
    rows = pd.DataFrame(
        [
            {
                **dict(zip(STUDENT, names(drawn, each), strict=True)),
                "year": each.year,
                "jamb": each.jamb_score,
                "sat": each.sat_score,
                "has_core_credits": each.has_core_credits,
                "mathematics": each.grades["Mathematics"],
            }
            for each in drawn.candidates
        ]
    )
    return rows.join(averages, on=STUDENT)


def read(table: Table) -> pd.DataFrame:
    """A table's true rows."""
    return pd.DataFrame([row.cells for row in table.rows], columns=list(table.header))


def names(drawn: DemoSchool, candidate: Candidate) -> tuple[str, str]:
    """School and number of a candidate."""
    students = drawn.table("students")
    cells = students.rows[candidate.student].cells
    return cells[students.position("School ID")], cells[students.position("Student ID")]


def test_everybody_who_finished_ss3_has_results(results: pd.DataFrame) -> None:
    assert not results.duplicated(STUDENT).any()
    assert results["Third Term"].notna().all()
    assert results["sat"].notna().mean() == pytest.approx(0.9, abs=0.05)


def test_the_last_two_years_have_enough_candidates_to_judge_a_model_by(results: pd.DataFrame) -> None:
    years = sorted(results["year"].unique())
    assert len(years) == 4
    judged = results[results["year"].isin(years[-2:])]
    taught = results[results["year"].isin(years[:-2])]
    for part, least in ((judged, 200), (taught, 150)):
        for passed in (part["jamb"] >= 200, part["sat"].dropna() >= 900, part["has_core_credits"]):
            assert len(passed) >= least
            assert 0.25 < 1 - passed.mean() < 0.5


def test_results_follow_the_terms_before_the_exams(results: pd.DataFrame) -> None:
    before = (results["First Term"] + results["Second Term"]) / 2
    sat = results["sat"].notna()
    assert 0.85 < roc_auc_score(results["jamb"] < 200, -before) < 0.97
    assert 0.85 < roc_auc_score(results["sat"][sat] < 900, -before[sat]) < 0.97
    assert 0.80 < roc_auc_score(~results["has_core_credits"], -before) < 0.97
    slope, _ = np.polyfit(before, results["jamb"], 1)
    assert slope == pytest.approx(3.5, abs=0.35)
    slope, _ = np.polyfit(before[sat], results["sat"][sat].astype(float), 1)
    assert slope == pytest.approx(14, abs=1.5)


def test_a_subjects_grade_follows_that_subject_beyond_the_average(
    drawn: DemoSchool, results: pd.DataFrame
) -> None:
    history = read(drawn.table("academic_history"))
    mathematics = history[
        (history["Subject"] == "Mathematics")
        & (history["Grade Level"] == "SS3")
        & (history["Term"] != "Third Term")
    ]
    marks = mathematics["Total Score"].astype(int).groupby([mathematics[name] for name in STUDENT]).mean()
    fails = results["mathematics"].isin(["D7", "E8", "F9"])
    by_subject = roc_auc_score(fails, -results.join(marks, on=STUDENT)["Total Score"])
    assert by_subject > roc_auc_score(fails, -results["First Term"] - results["Second Term"]) + 0.02


def test_jamb_scores_are_the_same_in_history_results_and_survey(
    drawn: DemoSchool, results: pd.DataFrame
) -> None:
    true = results.set_index(STUDENT)["jamb"]
    history = read(drawn.table("academic_history"))
    told = history[history["JAMB Score"] != ""].groupby(STUDENT)["JAMB Score"].agg(["min", "max"])
    assert told["min"].astype(float).eq(true.sort_index()).all()
    assert told["max"].equals(told["min"])
    sat = read(drawn.table("exam_results")).query("Exam == 'JAMB'").set_index(STUDENT)["Score"]
    assert sat.astype(int).sort_index().eq(true.sort_index()).all()
    survey = read(drawn.table("survey_responses")).merge(
        read(drawn.table("students")), on=["School ID", "Last Name", "First Name", "Date of Birth"]
    )
    answered = survey.merge(results, on=STUDENT)
    assert len(answered) > 200
    assert answered["Past Jamb Score"].astype(int).eq(answered["jamb"]).all()
    credit = answered["Credit pass in core five subjects"] == "Yes"
    assert credit.eq(answered["has_core_credits"]).all()


def test_core_credits_are_five_with_english_and_mathematics() -> None:
    def has(*grades: str) -> bool:
        subjects = ("English", "Mathematics", "Physics", "Chemistry", "Biology", "Economics")
        return Candidate(
            0, 2026, "1", dict(zip(subjects, grades, strict=True)), 200, None, None
        ).has_core_credits

    assert has("C6", "C6", "C6", "C6", "C6", "F9")
    assert not has("D7", "A1", "A1", "A1", "A1", "A1")
    assert not has("A1", "E8", "A1", "A1", "A1", "A1")
    assert not has("A1", "A1", "A1", "A1", "D7", "D7")
