"""The charts of a student's page: subjects beside the mark and the class, terms, grades of exams, risk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask_babel import gettext as _

from backend.pages.charts import Chart, Series, Verdict
from backend.texts import day

Row = dict[str, Any]

_MOST = 100  # points of a subject in a term


def term_name(row: Row) -> str:
    """As people say it, and as the page's address does: 2023/2024 Second Term."""
    return f"{row['school_year']} {row['term']}"


def charts_of(record: Row, flags: Sequence[Row], term: str | None, subject: str | None) -> list[Chart]:
    """All charts of the page, those without rows too."""
    of_term = [row for row in record["subjects"] if term_name(row) == term]
    of_subject = [row for row in record["subjects"] if row["subject"] == subject]
    return [
        _subject_scores(of_term, term),
        _subject_attendance(of_term, term),
        _subject_over_time(of_subject, subject),
        _scores(record["terms"]),
        _attendance(record["terms"]),
        _grades(latest_sitting(record["wassce"])),
        _risk_over_time(flags),
    ]


def latest_sitting(results: Sequence[Row]) -> list[Row]:
    """The grades of the last WASSCE that the student sat: of one year and one number, each subject once."""
    if not results:
        return []
    sat = max((row["waec_exam_year"], row["exam_number"]) for row in results)
    rows = {row["waec_course"]: row for row in results if (row["waec_exam_year"], row["exam_number"]) == sat}
    return list(rows.values())


def _label(term: Row) -> str:
    """2023/2024 and its second term: 23/24, 2."""
    first, _slash, second = term["school_year"].partition("/")
    return f"{first[-2:]}/{second[-2:]}, {term['term_order']}"


def _verdict(score: float | None, mark: float) -> Verdict:
    if score is None or score < mark:
        return "below"
    return "at" if score == mark else "above"


def _subject_scores(rows: Sequence[Row], term: str | None) -> Chart:
    return Chart(
        "subjects",
        "bars",
        _("Score by subject"),
        _(
            "Tests and examination together, of 100, in %(term)s; beside it the mean of the class, unless "
            "it is too small for one. ▲ above the pass mark, ● at it, ▼ below.",
            term=term or _("the last term"),
        ),
        _("Subject"),
        [Series(_("Score"), most=_MOST), Series(_("Class"), decimals=1, most=_MOST)],
        [(row["subject"], (row["total_score"], row["class_average_score"])) for row in rows],
        mark=rows[0]["pass_mark"] if rows else None,
        verdicts=[_verdict(row["total_score"], row["pass_mark"]) for row in rows],
    )


def _subject_attendance(rows: Sequence[Row], term: str | None) -> Chart:
    known = [row for row in rows if row["attendance_pct"] is not None]
    return Chart(
        "subject-attendance",
        "bars",
        _("Attendance by subject"),
        _("Lessons of the subject that were attended, in %(term)s.", term=term or _("the last term")),
        _("Subject"),
        [Series(_("Attendance"), unit=" %")],
        [(row["subject"], (row["attendance_pct"],)) for row in known],
    )


def _subject_over_time(rows: Sequence[Row], subject: str | None) -> Chart:
    return Chart(
        "subject",
        "line",
        _("%(subject)s over the terms", subject=subject or _("A subject")),
        _("The student's score in each term, of 100, and the mean of the class. The line is the pass mark."),
        _("Term"),
        [Series(_("Score"), most=_MOST), Series(_("Class"), decimals=1, most=_MOST)],
        [(_label(row), (row["total_score"], row["class_average_score"])) for row in rows],
        mark=rows[0]["pass_mark"] if rows else None,
    )


def _scores(terms: Sequence[Row]) -> Chart:
    return Chart(
        "scores",
        "line",
        _("Scores by term"),
        _("Average, highest and lowest total of the student's subjects in each term, of 100."),
        _("Term"),
        [Series(_("Average"), decimals=1), Series(_("Highest")), Series(_("Lowest"))],
        [
            (_label(term), (term["average_score"], term["highest_score"], term["lowest_score"]))
            for term in terms
        ],
    )


def _attendance(terms: Sequence[Row]) -> Chart:
    return Chart(
        "attendance",
        "line",
        _("Attendance by term"),
        _("Mean over the student's subjects of the lessons attended."),
        _("Term"),
        [Series(_("Attendance"), unit=" %", decimals=1)],
        [(_label(term), (term["attendance_pct"],)) for term in terms],
    )


def _grades(rows: Sequence[Row]) -> Chart:
    """Longest for A1, shortest for F9."""
    sitting = f"{rows[0]['waec_exam_year']}, {rows[0]['exam_number']}" if rows else ""
    return Chart(
        "wassce",
        "bars",
        _("Grades of the WASSCE"),
        _("From A1, the longest, to F9; ▲ passed, ▼ not. Year and number: %(sitting)s.", sitting=sitting),
        _("Subject"),
        [Series(_("Grade"), words={row["waec_grade_points"]: row["waec_grade"] for row in rows})],
        [(row["waec_course"], (row["waec_grade_points"],)) for row in rows],
        verdicts=["above" if row["waec_performance"] == "Pass" else "below" for row in rows],
    )


def _risk_over_time(flags: Sequence[Row]) -> Chart:
    foretold = [flag for flag in reversed(flags) if flag["probability"] is not None]
    return Chart(
        "risk",
        "line",
        _("Risk over time"),
        _("The chance of falling below the pass mark in the term that followed, as it was foretold then."),
        _("Known on"),
        [Series(_("Chance"), unit=" %")],
        [(day(flag["as_of_date"]), (round(100 * flag["probability"], 1),)) for flag in foretold],
    )
