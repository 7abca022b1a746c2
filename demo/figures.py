"""What the marts must show, worked out from the rows in force with pandas, without any SQL of ours.

A figure is text as it would stand in a CSV file: `62.50`, `true`, `JSS1`; empty where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from demo.files import Table
from demo.register_figures import attendance_figures, resource_figures, timetable_loads
from demo.rounding import CHRONIC_ABSENCE_BELOW, round_half_up, show, show_flag
from demo.signal import PASS_MARK
from demo.vocabulary import TERMS

CATEGORIES = (("Excellent", 90), ("Very Good", 75), ("Good", 65), ("Pass", 50), ("Fail", 0))

_STUDENT = ["school_id", "student_id"]
_TERM = ["school_year", "term"]
_CLASS = ["school_id", "school_year", "grade_level", "term"]


@dataclass(frozen=True, slots=True)
class Figure:
    """Rows of one mart. `key` names the columns that tell them apart; the others are to be compared."""

    mart: str
    key: tuple[str, ...]
    rows: pd.DataFrame

    @property
    def filename(self) -> str:
        """Where it is written, below the demo school's folder."""
        return f"answers/{self.mart}.csv"


def compute_figures(tables: Sequence[Table]) -> list[Figure]:
    """All figures of the answer key. Rejected, repeated and overridden rows do not count."""
    rows = {table.dataset: rows_in_force(table) for table in tables}
    history = _read_history(rows["academic_history"])
    terms = _student_terms(history)
    known = set(_name(rows["students"], "student_id"))
    loads = _teacher_load(history, rows["teachers"], rows["timetables"])
    figures = {
        "mart_student_terms": (_STUDENT + _TERM, _show_student_terms(terms)),
        "mart_student_overview": (_STUDENT, _student_overview(terms, known, rows["guardians"])),
        "mart_class_summary": (_CLASS, _class_summary(terms)),
        "mart_subject_performance": ([*_CLASS, "subject"], _subject_performance(history)),
        "mart_teacher_load": (["school_id", "teacher_id", *_TERM], loads),
        "mart_student_attendance": (_STUDENT + _TERM, attendance_figures(rows["attendance"])),
        "mart_school_resources": (
            ["school_id", "school_year"],
            resource_figures(rows["school_resources"], history, loads),
        ),
        "mart_student_scores": (["line"], _student_scores(rows["student_performance"])),
        "mart_data_quality": (["dataset", "rule", "severity"], _data_quality(tables, rows, history)),
    }
    return [
        Figure(mart, tuple(key), frame.sort_values(key).reset_index(drop=True))
        for mart, (key, frame) in figures.items()
    ]


def rows_in_force(table: Table) -> pd.DataFrame:
    """The accepted rows that no later row of the same key overrides, as text, with their `line`."""
    rows = [[*row.cells, row.line] for row in table.rows if row.fate == "accepted" and not row.is_overridden]
    names = [title.lower().replace(" ", "_").replace("/", "_") for title in table.header]
    return pd.DataFrame(rows, columns=[*names, "line"])


def _read_history(rows: pd.DataFrame) -> pd.DataFrame:
    history = rows.rename(columns={"academic_year": "school_year"})
    for column in ("test_score", "exam_score", "total_score", "attendance"):
        history[column] = history[column].astype(int)
    history["failed"] = (history["total_score"] < PASS_MARK).astype(int)
    history["term_order"] = history["term"].map(TERMS.index)
    return history


def _student_terms(history: pd.DataFrame) -> pd.DataFrame:
    """One row per student and term; averages in hundredths."""
    terms = history.groupby([*_STUDENT, "school_year", "term_order"], as_index=False).agg(
        term=("term", "first"),
        grade_level=("grade_level", "first"),
        subject_count=("subject", "size"),
        points=("total_score", "sum"),
        presence=("attendance", "sum"),
        lowest_score=("total_score", "min"),
        highest_score=("total_score", "max"),
        failure_count=("failed", "sum"),
    )
    terms["average"] = round_half_up(terms["points"], terms["subject_count"], 2)
    terms["attended"] = round_half_up(terms["presence"], terms["subject_count"], 2)
    absent = terms["presence"] < CHRONIC_ABSENCE_BELOW * terms["subject_count"]
    terms["is_chronically_absent"] = absent
    ordered = terms.groupby(_STUDENT)
    terms["term_number"] = ordered.cumcount() + 1
    terms["change"] = terms["average"] - ordered["average"].shift(1)
    rank = terms.groupby([*_CLASS])["average"].rank(method="min", ascending=False)
    return terms.assign(class_rank=rank.astype(int))


def _show_student_terms(terms: pd.DataFrame) -> pd.DataFrame:
    same = ["grade_level", "term_number", "subject_count", "lowest_score", "highest_score", "class_rank"]
    return terms[[*_STUDENT, *_TERM, *same, "failure_count"]].assign(
        passed_count=terms["subject_count"] - terms["failure_count"],
        average_score=show(terms["average"], 2),
        attendance_pct=show(terms["attended"], 2),
        is_chronically_absent=show_flag(terms["is_chronically_absent"]),
        score_change=show(terms["change"], 2),
    )


def _student_overview(terms: pd.DataFrame, known: set[str], guardians: pd.DataFrame) -> pd.DataFrame:
    """Sums over all terms, the last term, and the guardians (who agree on their engagement)."""
    overview = terms.groupby(_STUDENT, as_index=False).agg(
        term_count=("term", "size"),
        subject_count=("subject_count", "sum"),
        failure_count=("failure_count", "sum"),
        points=("points", "sum"),
        presence=("presence", "sum"),
        latest_school_year=("school_year", "last"),
        latest_term=("term", "last"),
        latest_failure_count=("failure_count", "last"),
        latest_average=("average", "last"),
    )
    same = ["term_count", "subject_count", "failure_count"]
    latest = ["latest_school_year", "latest_term", "latest_failure_count"]
    adults = guardians.assign(name=_name(guardians, "student_id")).groupby("name")
    names = _name(overview, "student_id")
    return overview[[*_STUDENT, *same, *latest]].assign(
        is_known_student=show_flag(names.isin(known)),
        average_score=show(round_half_up(overview["points"], overview["subject_count"], 2), 2),
        attendance_pct=show(round_half_up(overview["presence"], overview["subject_count"], 2), 2),
        latest_average_score=show(overview["latest_average"], 2),
        guardian_count=names.map(adults.size()).fillna(0).astype(int),
        guardian_engagement=names.map(adults["engagement_in_school_activities"].first()).fillna(""),
    )


def _class_summary(terms: pd.DataFrame) -> pd.DataFrame:
    """Classes count students: the mean is that of the students' averages."""
    classes = terms.assign(failing=terms["failure_count"] > 0).groupby(_CLASS, as_index=False).agg(
        student_count=("average", "size"),
        average_sum=("average", "sum"),
        attended_sum=("attended", "sum"),
        lowest=("average", "min"),
        highest=("average", "max"),
        failing_student_count=("failing", "sum"),
        chronically_absent_count=("is_chronically_absent", "sum"),
        assessment_count=("subject_count", "sum"),
        failure_count=("failure_count", "sum"),
    )  # fmt: skip
    same = ["student_count", "failing_student_count", "chronically_absent_count"]
    passes = classes["assessment_count"] - classes["failure_count"]
    return classes[[*_CLASS, *same, "assessment_count", "failure_count"]].assign(
        average_score=show(round_half_up(classes["average_sum"], classes["student_count"], 0), 2),
        attendance_pct=show(round_half_up(classes["attended_sum"], classes["student_count"], 0), 2),
        lowest_average=show(classes["lowest"], 2),
        highest_average=show(classes["highest"], 2),
        pass_rate=show(round_half_up(passes, classes["assessment_count"], 4), 4),
    )


def _subject_performance(history: pd.DataFrame) -> pd.DataFrame:
    subjects = history.groupby([*_CLASS, "subject"], as_index=False).agg(
        student_count=("student_id", "size"),
        teacher_count=("teacher_id", "nunique"),
        failure_count=("failed", "sum"),
        **{name: (name, "sum") for name in ("total_score", "test_score", "exam_score", "attendance")},
    )
    students = subjects["student_count"]
    passes = students - subjects["failure_count"]
    same = ["student_count", "teacher_count", "failure_count"]
    return subjects[[*_CLASS, "subject", *same]].assign(
        passed_count=passes,
        pass_rate=show(round_half_up(passes, students, 4), 4),
        average_score=show(round_half_up(subjects["total_score"], students, 2), 2),
        average_test_score=show(round_half_up(subjects["test_score"], students, 2), 2),
        average_exam_score=show(round_half_up(subjects["exam_score"], students, 2), 2),
        attendance_pct=show(round_half_up(subjects["attendance"], students, 2), 2),
    )


def _teacher_load(history: pd.DataFrame, teachers: pd.DataFrame, timetables: pd.DataFrame) -> pd.DataFrame:
    """By results, and beside it by the timetable; some stand in one of them only."""
    known = set(_name(teachers, "teacher_id"))
    taught = history.assign(taught_class=history["grade_level"] + "\x1f" + history["subject"])
    load = taught.groupby(["school_id", "teacher_id", *_TERM], as_index=False).agg(
        class_count=("taught_class", "nunique"),
        subject_count=("subject", "nunique"),
        grade_count=("grade_level", "nunique"),
        student_count=("student_id", "nunique"),
        assessment_count=("student_id", "size"),
        points=("total_score", "sum"),
        failures=("failed", "sum"),
    )
    rows = load["assessment_count"]
    load["average_score"] = show(round_half_up(load["points"], rows, 2), 2)
    load["pass_rate"] = show(round_half_up(rows - load["failures"], rows, 4), 4)
    load = load.drop(columns=["points", "failures"])
    both = load.merge(timetable_loads(timetables), how="outer", on=["school_id", "teacher_id", *_TERM])
    for column in ("class_count", "subject_count", "grade_count", "student_count", "assessment_count"):
        both[column] = both[column].fillna(0).astype(int)
    return both.assign(is_known_teacher=show_flag(_name(both, "teacher_id").isin(known))).fillna("")


def _student_scores(performance: pd.DataFrame) -> pd.DataFrame:
    total = performance[["math_score", "reading_score", "writing_score"]].astype(int).sum(axis=1)
    return pd.DataFrame(
        {
            "line": performance["line"],
            "total_score": total,
            "average_score": show(round_half_up(total, pd.Series(3, index=total.index), 2), 2),
            "performance_category": total.map(_category),
        }
    )


def _category(total: int) -> str:
    return next(name for name, least in CATEGORIES if total >= 3 * least)


def _data_quality(
    tables: Sequence[Table], rows: dict[str, pd.DataFrame], history: pd.DataFrame
) -> pd.DataFrame:
    """Planted faults by rule, and rows that name a student or teacher whose own row was rejected."""
    found: dict[tuple[str, str, str], int] = {}
    for table in tables:
        for row in table.rows:
            if row.breakage:
                rule = (table.dataset, row.breakage.rule, row.breakage.severity)
                found[rule] = found.get(rule, 0) + 1
    for dataset, frame, target in (
        ("academic_history", history, "student"),
        ("academic_history", history, "teacher"),
        ("guardians", rows["guardians"], "student"),
        ("discipline", rows["discipline"], "student"),
        ("activities", rows["activities"], "student"),
    ):
        known = set(_name(rows[f"{target}s"], f"{target}_id"))
        unknown = ~_name(frame, f"{target}_id").isin(known)
        if unknown.any():
            found[dataset, f"unknown_{target}", "warning"] = int(unknown.sum())
    results = rows["exam_results"]
    claims = results.groupby(["school_id", "exam", "exam_year", "exam_number"])["student_id"].transform(
        "nunique"
    )
    if several := int((claims > 1).sum()):
        found["exam_results", "several_students", "warning"] = several
    columns = ["dataset", "rule", "severity", "row_count"]
    return pd.DataFrame([(*rule, count) for rule, count in found.items()], columns=columns)


def _name(rows: pd.DataFrame, column: str) -> pd.Series:
    """School and number as one text: what names a person."""
    names: pd.Series = rows["school_id"] + "\x1f" + rows[column]
    return names
