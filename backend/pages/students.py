"""Students: a list to search in, and the page of each with all that is known, foretold and was done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, render_template
from flask_babel import gettext as _

from backend.access import allow, may, principal
from backend.auditing import note_also, note_for_audit, veiled
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.pages.charts import answer_csv
from backend.pages.posted import back, posted
from backend.pages.student_charts import charts_of, latest_sitting, term_name
from backend.routes.notes import take_back_seen
from backend.routes.students import filter_of, find_seen, next_place, place_of, seen_school
from backend.schemas.notes import NewNote
from backend.schemas.pages import StudentAddress
from backend.schemas.students import NewIntervention, StudentsQuery
from backend.services import services
from elt.people.users import names_of_principals
from elt.serving.disputes import Dispute, list_disputes, row_key_of
from elt.serving.interventions import Intervention, add_intervention, list_interventions, what_followed
from elt.serving.notes import add_note, list_notes
from elt.serving.students import list_students, read_record, read_risk
from elt.serving.worklist import read_choices

student_pages = Blueprint("student_pages", __name__)


@student_pages.get("/students")
@allow("students:list")
def show_students() -> str:
    """Those of the caller's classes or schools; searched by number or name."""
    query = parse_query(StudentsQuery, is_form=True)
    searched = veiled(query.q) if query.q else None
    note_for_audit(school_id=query.school_id, grade_level=query.grade_level, status=query.status, q=searched)
    after = place_of(query.after) if query.after else None
    with services().reader(principal()) as session:
        choices = read_choices(session)
        found = list_students(session, filter_of(query), after=after, limit=query.limit + 1)
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
    """The record, the present risk and the past ones, exams, and what people wrote."""
    asked = parse_query(StudentAddress, is_form=True)
    with services().reader(principal()) as session:
        school_id = find_seen(session, asked.id, asked.school, None)
        record, risk = read_record(session, school_id, asked.id), read_risk(session, school_id, asked.id)
    terms = [term_name(row) for row in record["terms"]][::-1]
    term = asked.term if asked.term in terms else next(iter(terms), None)
    subjects = sorted({row["subject"] for row in record["subjects"]})
    subject = asked.subject if asked.subject in subjects else _weakest(record["subjects"], term)
    charts = charts_of(record, risk["flags"], term, subject)
    if asked.csv is not None:
        return answer_csv(charts, asked.csv)
    return render_template(
        "student.html", school_id=school_id, student_id=asked.id, record=record, risk=risk,
        charts={chart.id: chart for chart in charts if chart.rows}, terms=terms, term=term,
        subjects=subjects, subject=subject, sitting=latest_sitting(record["wassce"]),
        of_term=[row for row in record["subjects"] if term_name(row) == term],
        **_written(school_id, asked.id, risk["flags"]),
    )  # fmt: skip


@student_pages.post("/student/interventions")
@allow("interventions:write")
def write_intervention() -> Response:
    """Write down what was done, correct it or take it back, and go back to where that was said."""
    asked = parse_query(StudentAddress)
    line = posted(NewIntervention, "In what was done")
    school_id = seen_school(asked.id, asked.school)
    with services().connection() as connection:
        add_intervention(
            connection, services().settings, principal(), school_id, asked.id,
            done_on=line.done_on, action=line.action, note=line.note,
            corrects=UUID(line.corrects) if line.corrects else None, takes_back=line.takes_back,
        )  # fmt: skip
    return back()


@student_pages.post("/student/notes")
@allow("notes:write")
def write_note() -> Response:
    """Keep a note."""
    asked = parse_query(StudentAddress)
    sent = posted(NewNote, "In the note")
    school_id = seen_school(asked.id, asked.school)
    with services().connection() as connection:
        add_note(connection, services().settings, principal(), school_id, asked.id, sent.note)
    return back()


@student_pages.post("/student/notes/<uuid:note_id>/take-back")
@allow("notes:write")
def take_back(note_id: UUID) -> Response:
    """Say that a note does not stand any more."""
    take_back_seen(note_id)
    return back()


def _weakest(rows: Sequence[Mapping[str, Any]], term: str | None) -> str | None:
    """The subject of the lowest score in a term."""
    of_term = [row for row in rows if term_name(dict(row)) == term]
    return min(of_term, key=lambda row: row["total_score"])["subject"] if of_term else None


def _written(school_id: str, student_id: str, flags: list[dict[str, Any]]) -> dict[str, Any]:
    """What people wrote about the student, with their names; None where the caller may not read it."""
    lines = notes = None
    disputes: list[Dispute] = []
    with services().connection() as connection:
        if may("interventions:read"):
            note_also("interventions:read")
            lines = list_interventions(connection, school_id, student_id)
        if may("notes:read"):
            note_also("notes:read")
            notes = list_notes(connection, school_id, student_id)
        if may("disputes:read"):
            note_also("disputes:read")
            disputes = list_disputes(connection, school_id, student_id)
        people = [line.done_by for line in lines or ()]
        people += [who for note in notes or () for who in (note.written_by, note.taken_back_by or "")]
        people += [who for dispute in disputes for who in (dispute.raised_by, dispute.settled_by or "")]
        names = names_of_principals(connection, people)
    return {
        "lines": None if lines is None else [_with_outcome(line, flags) for line in lines],
        "notes": notes,
        "disputes": disputes,
        "is_disputed": _open_ones(disputes),
        "name_of_principal": lambda who: names.get(who, _("a program")),
        "may_write": may("interventions:write"),
        "may_note": may("notes:write"),
        "may_settle": may("disputes:settle"),
        "mine": principal().id,
        "is_admin": principal().role == "admin",
    }


def _with_outcome(line: Intervention, flags: list[dict[str, Any]]) -> dict[str, Any]:
    return {**asdict(line), **what_followed(line.done_on, flags), "stands": line.stands}


def _open_ones(disputes: Sequence[Dispute]) -> Callable[[str, str, Mapping[str, Any]], bool]:
    """Tells whether a value is disputed, and not settled yet."""
    found = {
        (each.mart, each.column_name, frozenset(each.row_key.items()))
        for each in disputes
        if each.outcome is None
    }

    def is_disputed(mart: str, column: str, key: Mapping[str, Any]) -> bool:
        return (mart, column, frozenset(row_key_of(key).items())) in found

    return is_disputed
