"""The spoilt rows: what is wrong with each, and which rule of the contract says so."""

from __future__ import annotations

import numpy as np

from demo.files import Breakage, Row, Table

# No file comes near the 5 % of rejected rows at which it would be refused as a whole.
_MOST_SPOILT_SHARE = 0.03

_SIMPLE: dict[str, tuple[Breakage, ...]] = {
    "students": (
        Breakage("missing id", "student_id", "required", {"Student ID": ""}),
        Breakage("no such day", "date_of_birth", "type", {"Date of Birth": "2011-02-30"}),
        Breakage("unknown class", "grade_level", "enum", {"Grade Level": "JSS7"}),
        Breakage("bad address", "email", "pattern", {"Email": "not given"}),
        Breakage(
            "graduates before admission", None, "graduation_after_admission",
            {"Graduation Date": "2009-07-31"}, "warning",
        ),
        Breakage(
            "graduates before admission", None, "graduation_after_admission",
            {"Graduation Date": "2008-07-31"}, "warning",
        ),
    ),
    "guardians": (
        Breakage("missing student", "student_id", "required", {"Student ID": ""}),
        Breakage("20 digits", "lasrra_id", "pattern", {"LASRRA ID": "12345678901234567890"}),
        Breakage("unknown word", "engagement_in_school_activities", "enum",
                 {"Engagement in School Activities": "Very high"}),
        Breakage("other date order", "date_of_birth", "type", {"Date of Birth": "31/12/1980"}),
    ),
    "teachers": (
        Breakage("more years of work than of life", None, "experience_below_age",
                 {"Years of Experience": "18", "Age": "17"}, "warning"),
        Breakage("salary in words", "salary", "type", {"Salary ₦": "on request"}),
    ),
    "survey_responses": (
        Breakage("out of range", "attendance_rate", "maximum", {"Attendance Rate": "11"}),
        Breakage("missing birth date", "date_of_birth", "required", {"Date of Birth": ""}),
        Breakage("hours in words", "weekly_hours_spent_reading", "pattern",
                 {"Weekly Hours Spent Reading": "many"}),
    ),
    "student_performance": (
        Breakage("out of range", "math_score", "maximum", {"math score": "101"}),
        Breakage("not a number", "reading_score", "type", {"reading score": "sixty"}),
        Breakage("unknown group", "race_ethnicity", "enum", {"race/ethnicity": "group F"}),
    ),
    "attendance": (
        Breakage("longer there than expected", None, "present_within_expected", {"Minutes Present": "400"}),
        Breakage("unknown word", "attendance_status", "enum", {"Attendance Status": "Sick"}),
        Breakage("absent with minutes", None, "absent_has_no_minutes",
                 {"Attendance Status": "Absent", "Minutes Present": "40"}, "warning"),
    ),
    "discipline": (
        Breakage("missing offence", "offence", "required", {"Offence": ""}),
    ),
    "activities": (
        Breakage("unknown word", "activity_status", "enum", {"Activity Status": "Maybe"}),
        Breakage("runs two years", None, "academic_year_ends_a_year_later", {"Academic Year": "2024/2026"}),
    ),
    "school_resources": (
        Breakage("less than none", "quantity", "minimum", {"Quantity": "-1"}),
    ),
    "timetables": (
        Breakage("no such day", "weekday", "enum", {"Weekday": "Funday"}),
        Breakage("lesson of no length", "minutes", "minimum", {"Minutes": "0"}),
    ),
    "exam_results": (
        Breakage("year in words", "exam_year", "type", {"Exam Year": "last year"}),
        Breakage("missing number", "exam_number", "required", {"Exam Number": ""}),
    ),
}  # fmt: skip

_HISTORY: tuple[Breakage, ...] = (
    Breakage("out of range", "attendance", "maximum", {"Attendance": "130"}),
    Breakage("late text in a number", "test_score", "type", {"Test Score": "absent"}),
    Breakage("total is not test + exam", None, "total_is_test_plus_exam", {"Total Score": "4"}),
    Breakage("missing id", "student_id", "required", {"Student ID": ""}),
    Breakage("unknown term", "term", "enum", {"Term": "Fourth Term"}),
    Breakage("unknown class", "grade_level", "enum", {"Grade Level": "JSS4"}),
    Breakage("short year", "academic_year", "pattern", {"Academic Year": "2025/26"}),
    Breakage("half points", "exam_score", "type", {"Exam Score": "31.5"}),
    Breakage("missing subject", "subject", "required", {"Subject": ""}),
)
_HISTORY_ROUNDS = 3


def spoil_table(rng: np.random.Generator, table: Table) -> None:
    """Break some rows of a table, each by one rule, well below the limit of rejects."""
    rows = [table.rows[position] for position in rng.permutation(len(table.rows))]
    most = int(len(rows) * _MOST_SPOILT_SHARE)
    ways = _HISTORY * _HISTORY_ROUNDS if table.dataset == "academic_history" else _SIMPLE[table.dataset]
    for row, breakage in zip(rows, ways[:most], strict=False):
        table.spoil(row, breakage)


def repeat_rows(rng: np.random.Generator, table: Table, count: int) -> None:
    """Let some sound rows stand twice, as after copying and pasting."""
    for row in _choose_sound(rng, table, count):
        table.repeat(row, after=int(rng.integers(1, 40)))


def correct_scores(rng: np.random.Generator, history: Table, count: int) -> None:
    """Let some scores be corrected by a later line of the same key: two points more in the test."""
    for row in _choose_sound(rng, history, count):
        test, exam = (int(row.cells[history.position(name)]) for name in ("Test Score", "Exam Score"))
        test = test + 2 if test <= 38 else test - 2
        history.correct(row, {"Test Score": str(test), "Total Score": str(test + exam)})


def _choose_sound(rng: np.random.Generator, table: Table, count: int) -> list[Row]:
    sound = [row for row in table.rows if row.fate == "accepted" and row.breakage is None]
    return [sound[position] for position in rng.permutation(len(sound))[:count]]
