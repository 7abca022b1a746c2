"""Students: a list to search in, and the page of each with all that is known, foretold and was done."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request
from pydantic import ValidationError

from backend.access import allow, may, principal
from backend.auditing import note_also, note_for_audit, veiled
from backend.errors import InvalidRequest
from backend.next_page import safe_next
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.pages.charts import Chart, Series, answer_csv
from backend.routes.students import find_seen, next_place, place_of
from backend.schemas.pages import StudentAddress
from backend.schemas.students import NewIntervention, StudentsQuery
from backend.services import services
from elt.people.users import names_of_principals
from elt.serving.interventions import add_intervention, list_interventions, what_followed
from elt.serving.students import StudentFilter, list_students, read_record, read_risk
from elt.serving.worklist import read_choices

student_pages = Blueprint("student_pages", __name__)

_WRITTEN = ("action", "done_on", "note")


@student_pages.get("/students")
@allow("students:list")
def show_students() -> str:
    """Those of the caller's classes or schools; searched by number or name."""
    query = parse_query(StudentsQuery, is_form=True)
    searched = veiled(query.q) if query.q else None
    note_for_audit(school_id=query.school_id, grade_level=query.grade_level, q=searched)
    wanted = StudentFilter(query.school_id, query.grade_level, query.q)
    after = place_of(query.after) if query.after else None
    with services().reader(principal()) as session:
        choices = read_choices(session)
        found = list_students(session, wanted, after=after, limit=query.limit + 1)
    following = next_place(found, query.limit)
    return render_template(
        "students_list.html",
        students=found[: query.limit],
        choices=choices,
        query=query,
        following=following and this_view(after=following),
    )


@student_pages.get("/student")
@allow("students:read")
def show_student() -> Response | str:
    """The record, the present risk and the past ones, the exams to come, and what was done."""
    asked = parse_query(StudentAddress, is_form=True)
    with services().reader(principal()) as session:
        school_id = find_seen(session, asked.id, asked.school, None)
        record, risk = read_record(session, school_id, asked.id), read_risk(session, school_id, asked.id)
    charts = [_scores(record["terms"]), _attendance(record["terms"]), _risk_over_time(risk["flags"])]
    if asked.csv is not None:
        return answer_csv(charts, asked.csv)
    lines = None
    if may("interventions:read"):
        note_also("interventions:read")
        lines = _interventions(school_id, asked.id, risk["flags"])
    return render_template(
        "student.html", school_id=school_id, student_id=asked.id, record=record, risk=risk, lines=lines,
        charts=[chart for chart in charts if chart.rows], may_write=may("interventions:write"),
    )  # fmt: skip


@student_pages.post("/student/interventions")
@allow("interventions:write")
def write_intervention() -> Response:
    """Write down what was done, and go back to where that was said."""
    asked = parse_query(StudentAddress)
    sent = {name: request.form[name] for name in _WRITTEN if request.form.get(name)}
    try:
        line = NewIntervention.model_validate_strings(sent)
    except ValidationError as error:
        raise InvalidRequest.of(error, "In what was done") from None
    with services().reader(principal()) as session:
        school_id = find_seen(session, asked.id, asked.school, None)
    with services().connection() as connection:
        add_intervention(
            connection, services().settings, principal(), school_id, asked.id,
            done_on=line.done_on, action=line.action, note=line.note,
        )  # fmt: skip
    return redirect(safe_next(request.form.get("next")), code=303)  # type: ignore[return-value]


def _interventions(school_id: str, student_id: str, flags: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What stands, and is not replaced by a correction; with the names of who wrote it down."""
    with services().connection() as connection:
        found = [
            line
            for line in list_interventions(connection, school_id, student_id)
            if line.corrected_by is None
        ]
        names = names_of_principals(connection, [line.done_by for line in found])
    return [
        {**asdict(line), **what_followed(line.done_on, flags), "name": names.get(line.done_by, "a program")}
        for line in found
    ]


def _label(term: dict[str, Any]) -> str:
    """2023/2024 and its second term: 23/24, 2."""
    first, _, second = term["school_year"].partition("/")
    return f"{first[-2:]}/{second[-2:]}, {term['term_order']}"


def _scores(terms: list[dict[str, Any]]) -> Chart:
    return Chart(
        "scores",
        "line",
        "Scores by term",
        "Average, highest and lowest total of the student's subjects in each term, of 100.",
        "Term",
        [Series("Average", decimals=1), Series("Highest"), Series("Lowest")],
        [
            (_label(term), (term["average_score"], term["highest_score"], term["lowest_score"]))
            for term in terms
        ],
    )


def _attendance(terms: list[dict[str, Any]]) -> Chart:
    return Chart(
        "attendance",
        "line",
        "Attendance by term",
        "Mean over the student's subjects of the lessons attended.",
        "Term",
        [Series("Attendance", unit=" %", decimals=1)],
        [(_label(term), (term["attendance_pct"],)) for term in terms],
    )


def _risk_over_time(flags: list[dict[str, Any]]) -> Chart:
    foretold = [flag for flag in reversed(flags) if flag["probability"] is not None]
    return Chart(
        "risk",
        "line",
        "Risk over time",
        "The chance of falling below the pass mark in the term that followed, as it was foretold then.",
        "Known on",
        [Series("Chance", unit=" %")],
        [(flag["as_of_date"], (round(100 * flag["probability"], 1),)) for flag in foretold],
    )
