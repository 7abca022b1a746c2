"""Students: a list to search in, and the page of each with all that is known, foretold and was done."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request
from pydantic import ValidationError

from backend.access import allow, principal
from backend.auditing import note_for_audit, student_subject, veiled
from backend.errors import InvalidRequest
from backend.next_page import safe_next
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.pages.charts import Chart, Series, answer_csv
from backend.permissions import scope_of
from backend.routes.students import next_place, place_of
from backend.schemas.students import NewIntervention, StudentsQuery
from backend.services import services
from elt.serving.interventions import add_intervention, list_interventions, what_followed
from elt.serving.students import StudentFilter, find_school, list_students, read_record, read_risk
from elt.serving.worklist import read_choices
from elt.warehouse import Connection

student_pages = Blueprint("student_pages", __name__)

_ADDRESS = "/students/<school_id>/<path:student_id>"


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


@student_pages.get(_ADDRESS)
@allow("students:read")
def show_student(school_id: str, student_id: str) -> Response | str:
    """The record, the present risk and the past ones, the exams to come, and what was done."""
    note_for_audit(student_subject(school_id, student_id), school_id=school_id)
    may_help = scope_of(principal().role, "interventions:read") is not None
    with services().reader(principal()) as session:
        find_school(session, student_id, school_id)
        record, risk = read_record(session, school_id, student_id), read_risk(session, school_id, student_id)
    charts = [_scores(record["terms"]), _attendance(record["terms"]), _risk_over_time(risk["flags"])]
    if (csv := answer_csv(charts)) is not None:
        return csv
    with services().connection() as connection:
        lines = _interventions(connection, school_id, student_id, risk["flags"]) if may_help else []
    return render_template(
        "student.html", school_id=school_id, student_id=student_id, record=record, risk=risk, lines=lines,
        charts=[chart for chart in charts if chart.rows], may_help=may_help,
    )  # fmt: skip


@student_pages.post(f"{_ADDRESS}/interventions")
@allow("interventions:write")
def write_intervention(school_id: str, student_id: str) -> Response:
    """Write down what was done, and go back to where that was said."""
    sent = {
        name: value for name, value in request.form.items() if name in NewIntervention.model_fields and value
    }
    try:
        line = NewIntervention.model_validate_strings(sent)
    except ValidationError as error:
        raise InvalidRequest.of(error, "In what was done") from None
    note_for_audit(student_subject(school_id, student_id), school_id=school_id)
    with services().reader(principal()) as session:
        find_school(session, student_id, school_id)
    with services().connection() as connection:
        add_intervention(
            connection, services().settings, principal(), school_id, student_id,
            done_on=line.done_on, action=line.action, note=line.note,
        )  # fmt: skip
    return redirect(safe_next(request.form.get("next")), code=303)  # type: ignore[return-value]


def _interventions(
    connection: Connection, school_id: str, student_id: str, flags: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    found = list_interventions(connection, school_id, student_id)
    return [{**asdict(line), **what_followed(line.done_on, flags)} for line in found]


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
