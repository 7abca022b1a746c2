"""The charts of the summary: of the students of a choice, and of the classes they were in, term by term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import url_for
from flask_babel import gettext as _

from backend.pages.addresses import this_view
from backend.pages.charts import Chart, Series
from backend.schemas.pages import SummaryAddress
from elt.serving.summary import BIN_COUNT, Summary

_BIN_WIDTH = 100 // BIN_COUNT

Row = tuple[str, Sequence[float | None]]


def charts_of_students(summary: Summary, asked: SummaryAddress) -> list[Chart]:
    """Of the students of the choice, each counted once; without students, none."""
    if not summary.whole["students"]:
        return []
    charts = [
        _genders(summary),
        _activities(summary),
        _offences(summary),
        _results_by_activity(summary),
        _scores(summary),
        _class_sizes(summary, asked),
        _class_results(summary),
    ]
    return charts + ([_school_results(summary)] if len(summary.schools) > 1 else [])


def charts_of_classes(summary: Summary) -> list[Chart]:
    """Of classes as they were, whoever of them is still there."""
    return [_terms(summary), _subjects(summary)]


def students_of(asked: SummaryAddress, grade_level: str | None) -> str:
    """Where the students who are counted are listed, of a class (None: of all)."""
    return url_for(
        "student_pages.show_students",
        school_id=asked.school_id,
        grade_level=grade_level,
        status=None if asked.status == "all" else asked.status,
    )


def share(part: int, whole: int) -> float | None:
    """Percent to one decimal, 0 to 100; None of nothing."""
    return round(100 * part / whole, 1) if whole else None


def _genders(summary: Summary) -> Chart:
    return Chart(
        "genders",
        "donut",
        _("Gender"),
        _("Students by gender, as the school recorded it."),
        _("Gender"),
        [Series(_("Students"))],
        [(row["name"] or _("Not known"), (row["students"],)) for row in summary.groups["gender"]],
    )


def _activities(summary: Summary) -> Chart:
    return Chart(
        "activities",
        "donut",
        _("Activities"),
        _("Students who take part in an activity outside lessons, and who do not, by the school's record."),
        _("Activities"),
        [Series(_("Students"))],
        [(_activity(row["name"]), (row["students"],)) for row in summary.groups["activity"]],
    )


def _offences(summary: Summary) -> Chart:
    kinds = sorted((kind for kind in summary.offences if kind is not None), key=str.casefold)
    none: list[Row] = [(_("None on record"), (summary.offences.get(None, 0),))]
    return Chart(
        "offences",
        "bars",
        _("Offences"),
        _(
            "Students with an offence of the kind on record, however many. Who has offences of several kinds "
            "is counted in each."
        ),
        _("Offence"),
        [Series(_("Students"))],
        none + [(kind, (summary.offences[kind],)) for kind in kinds],
    )


def _results_by_activity(summary: Summary) -> Chart:
    return Chart(
        "results-by-activity",
        "columns",
        _("Results by activity"),
        _("Students whose average reaches the pass mark, and does not. It says nothing about causes."),
        _("Activities"),
        [Series(_("Pass")), Series(_("Fail"))],
        [
            (_activity(row["name"]), (row["passed"], row["with_results"] - row["passed"]))
            for row in summary.groups["activity"]
        ],
    )


def _scores(summary: Summary) -> Chart:
    def label(number: int) -> str:
        start = (number - 1) * _BIN_WIDTH
        return f"{start}–{start + _BIN_WIDTH}"

    return Chart(
        "averages",
        "columns",
        _("Averages"),
        _("Students by their average, of 100. Each column holds its lower end and not its upper one."),
        _("Average"),
        [Series(_("Students"))],
        [(label(number), (summary.bins.get(number, 0),)) for number in range(1, BIN_COUNT + 1)],
    )


def _class_sizes(summary: Summary, asked: SummaryAddress) -> Chart:
    rows = summary.groups["class"]
    return Chart(
        "classes",
        "columns",
        _("Students by class"),
        _("Students of the choice, and those of them who are at risk now."),
        _("Class"),
        [Series(_("Students")), Series(_("At risk"))],
        [(_class(row), (row["students"], row["at_risk"])) for row in rows],
        # The list of students is that of now.
        links=[] if asked.term else [students_of(asked, row["name"]) if row["name"] else "" for row in rows],
    )


def _class_results(summary: Summary) -> Chart:
    rows = summary.groups["class"]
    return Chart(
        "class-results",
        "columns",
        _("Results by class"),
        _("As the figures above, class by class. A class leads to its own summary."),
        _("Class"),
        _results_series(),
        [(_class(row), _results(row)) for row in rows],
        links=[this_view(grade_level=row["name"]) if row["name"] else "" for row in rows],
    )


def _school_results(summary: Summary) -> Chart:
    rows = summary.groups["school"]
    return Chart(
        "school-results",
        "columns",
        _("Results by school"),
        _("As the figures above, school by school. A school leads to its own summary."),
        _("School"),
        _results_series(),
        [(row["name"], _results(row)) for row in rows],
        links=[this_view(school_id=row["name"]) for row in rows],
    )


def _terms(summary: Summary) -> Chart:
    return Chart(
        "terms",
        "line",
        _("Term by term"),
        _("Pass rate, average attendance and average of all students who were in the classes in that term."),
        _("Term"),
        _results_series(),
        [
            (
                _term(row),
                _rounded(share(row["passed"], row["students"]), row["attendance_pct"], row["average_score"]),
            )
            for row in summary.terms
            if row["students"]
        ],
    )


def _subjects(summary: Summary) -> Chart:
    return Chart(
        "subjects",
        "bars",
        _("Subject by subject"),
        _("Of all who took the subject in the term: how many reached its pass mark, and their average."),
        _("Subject"),
        [Series(_("Pass rate"), " %", 1), Series(_("Average"), decimals=1)],
        [
            (row["subject"], _rounded(share(row["passed"], row["students"]), row["average_score"]))
            for row in summary.subjects
        ],
    )


def _results_series() -> list[Series]:
    return [
        Series(_("Pass rate"), " %", 1),
        Series(_("Attendance"), " %", 1),
        Series(_("Average"), decimals=1),
    ]


def _results(row: Mapping[str, Any]) -> Sequence[float | None]:
    return _rounded(share(row["passed"], row["with_results"]), row["attendance_pct"], row["average_score"])


def _rounded(*values: Any) -> tuple[float | None, ...]:
    return tuple(None if value is None else round(float(value), 1) for value in values)


def _activity(name: str | None) -> str:
    return str({"true": _("Active"), "false": _("Not active"), None: _("Not known")}[name])


def _class(row: Mapping[str, Any]) -> str:
    return str(row["name"] or _("No class known"))


def _term(row: Mapping[str, Any]) -> str:
    """2023/2024 and its second term: 23/24, 2."""
    first, _slash, second = row["school_year"].partition("/")
    return f"{first[-2:]}/{second[-2:]}, {row['term_order']}"
