"""The benchmark's rows know only what was known on their day."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.known_data import read_oulad

COURSE = {"code_module": "AAA", "code_presentation": "2014B"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three enrolments; on day 28 one assessment was due, student 3 had unregistered."""
    tables = {
        "assessments": pd.DataFrame(
            [
                {**COURSE, "id_assessment": 1, "assessment_type": "TMA", "date": 20, "weight": 10},
                {**COURSE, "id_assessment": 2, "assessment_type": "TMA", "date": 40, "weight": 20},
                {**COURSE, "id_assessment": 3, "assessment_type": "Exam", "date": 25, "weight": 100},
            ]
        ),
        "studentAssessment": pd.DataFrame(
            [
                {"id_assessment": 1, "id_student": 1, "date_submitted": 18, "is_banked": 0, "score": 70},
                {"id_assessment": 2, "id_student": 1, "date_submitted": 39, "is_banked": 0, "score": 5},
                {"id_assessment": 1, "id_student": 2, "date_submitted": 30, "is_banked": 0, "score": 90},
            ]
        ),
        "studentInfo": pd.DataFrame(
            [{**COURSE, "id_student": number, "final_result": "Pass"} for number in (1, 2, 3)]
        ),
        "studentRegistration": pd.DataFrame(
            [
                {**COURSE, "id_student": 1, "date_registration": -5, "date_unregistration": "?"},
                {**COURSE, "id_student": 2, "date_registration": -5, "date_unregistration": 50},
                {**COURSE, "id_student": 3, "date_registration": -5, "date_unregistration": 28},
            ]
        ),
    }
    for name, table in tables.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def test_facts_of_later_days_and_those_who_had_left_are_not_there(folder):
    rows = read_oulad(folder, 28).set_index("id_student")
    assert rows.index.tolist() == [1, 2]
    assert rows["due"].tolist() == [1, 1]
    assert rows["missed"].tolist() == [0, 1], "what student 2 handed in on day 30 was missed on day 28"
    assert rows["mean_score"].tolist()[0] == 70
    assert rows["mean_score"].isna().tolist() == [False, True]
    assert rows["days_early"][1] == 2
    assert "date_unregistration" not in rows


def test_later_they_are(folder):
    rows = read_oulad(folder, 45).set_index("id_student")
    assert rows["due"].tolist() == [2, 2]
    assert rows["late"].tolist() == [0, 1]
    assert rows["trend"][1] == -65
