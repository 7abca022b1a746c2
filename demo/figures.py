"""What the marts must show, from the rows in force, in plain pandas and without any SQL of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from demo.files import Table
from demo.signal import PASS_MARK

_TERM = ["School ID", "Student ID", "Academic Year", "Term"]


def compute_figures(tables: Sequence[Table]) -> dict[str, Any]:
    """The figures of the answer key by mart. Rejected, repeated and overridden rows do not count."""
    by_dataset = {table.dataset: rows_in_force(table) for table in tables}
    history = by_dataset["academic_history"]
    for column in ("Test Score", "Exam Score", "Total Score", "Attendance"):
        history[column] = history[column].astype(int)
    return {"mart_student_terms": _student_terms(history)}


def rows_in_force(table: Table) -> pd.DataFrame:
    """The accepted rows that no later row of the same key overrides, as text."""
    rows = [row.cells for row in table.rows if row.fate == "accepted" and not row.is_overridden]
    return pd.DataFrame(rows, columns=list(table.header))


def _student_terms(history: pd.DataFrame) -> list[dict[str, Any]]:
    passed = history["Total Score"] >= PASS_MARK
    terms = (
        history.assign(passed=passed)
        .groupby(_TERM)
        .agg(
            subject_count=("Subject", "size"),
            points=("Total Score", "sum"),
            attendance_points=("Attendance", "sum"),
            passed_count=("passed", "sum"),
        )
        .reset_index()
    )
    terms.columns = ["school_id", "student_id", "school_year", "term", *terms.columns[4:]]
    records: list[dict[str, Any]] = terms.to_dict("records")
    return records
