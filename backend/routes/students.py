"""Students, as the caller may see them; what was done to help them. Every look at a record leaves a line."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from flask import Blueprint, Response

from backend.access import allow, principal
from backend.auditing import note_for_audit, student_subject, veiled
from backend.operations import Answer, operation
from backend.schemas.students import (
    InterventionList,
    InterventionModel,
    InterventionWithOutcome,
    NewIntervention,
    SchoolQuery,
    StudentPage,
    StudentQuery,
    StudentRecord,
    StudentRisk,
    StudentsQuery,
    StudentSummary,
)
from backend.services import services
from backend.streams import attach
from elt.errors import NotFound
from elt.serving.interventions import add_intervention, list_interventions, what_followed
from elt.serving.students import StudentFilter, find_school, list_students, read_record, read_risk
from elt.warehouse import Connection

students = Blueprint("students", __name__)


@students.get("/students")
@allow("students:list")
@operation("List students", {200: Answer("A page.", StudentPage)}, query=StudentsQuery, problems=(404,))
def show_students(query: StudentsQuery) -> StudentPage:
    """Those of the caller's classes or schools, by school and number."""
    searched = veiled(query.q) if query.q else None
    note_for_audit(school_id=query.school_id, grade_level=query.grade_level, status=query.status, q=searched)
    after = place_of(query.after) if query.after else None
    with services().reader(principal()) as session:
        found = list_students(session, filter_of(query), after=after, limit=query.limit + 1)
    page = [StudentSummary.model_validate(row) for row in found[: query.limit]]
    return StudentPage(items=page, next=next_place(found, query.limit))


@students.get("/students/<path:student_id>")
@allow("students:read")
@operation(
    "Show a student's record",
    {200: Answer("The record.", StudentRecord)},
    query=StudentQuery,
    problems=(409,),
)
def show_student(student_id: str, query: StudentQuery) -> StudentRecord:
    """Who they are, the figures, each term, and whom to call."""
    with services().reader(principal()) as session:
        school_id = find_seen(session, student_id, query.school, query.reason)
        return StudentRecord.model_validate(read_record(session, school_id, student_id))


@students.get("/students/<path:student_id>/risk")
@allow("students:read")
@operation(
    "Show what is predicted of a student",
    {200: Answer("The present prediction with its reasons, and all before it.", StudentRisk)},
    query=StudentQuery,
    problems=(409,),
)
def show_student_risk(student_id: str, query: StudentQuery) -> StudentRisk:
    """With reasons, recommendations and past flags."""
    with services().reader(principal()) as session:
        school_id = find_seen(session, student_id, query.school, query.reason)
        return StudentRisk.model_validate(read_risk(session, school_id, student_id))


@students.get("/students/<path:student_id>/export")
@allow("students:export")
@operation(
    "Export all that is held about a student",
    {
        200: Answer(
            "A zip with JSON, CSV and a README.",
            media=("application/zip",),
            headers={"Content-Disposition": "The name to save it under."},
        )
    },
    description=(
        "For a subject access request: rows of files with their source, what was worked out from them, "
        "predictions, interventions, and who looked at the record. The number is taken in every spelling."
    ),
    query=StudentQuery,
    problems=(409,),
)
def export(student_id: str, query: StudentQuery) -> Response:
    """The record, whole."""
    from elt.privacy.subject_access import (
        export_student,  # reads files, which the API should not wait for to start
    )

    zipped = io.BytesIO()
    with services().reader(principal()) as session, services().connection() as connection:
        school_id = _find_to_export(session, student_id, query)
        export_student(
            services().settings, connection, session, services().store, school_id, student_id
        ).write(zipped)
    response = Response(zipped.getvalue(), content_type="application/zip")
    attach(response, f"{school_id} {student_id}.zip")
    return response


@students.get("/students/<path:student_id>/interventions")
@allow("interventions:read")
@operation(
    "List what was done for a student",
    {200: Answer("All of it, newest first, and what followed.", InterventionList)},
    query=StudentQuery,
    problems=(409,),
)
def show_interventions(student_id: str, query: StudentQuery) -> InterventionList:
    """Corrected lines too."""
    with services().reader(principal()) as session:
        school_id = find_seen(session, student_id, query.school, query.reason)
        flags = read_risk(session, school_id, student_id)["flags"]
    with services().connection() as connection:
        found = list_interventions(connection, school_id, student_id)
    return InterventionList(
        items=[
            InterventionWithOutcome.model_validate({**asdict(line), **what_followed(line.done_on, flags)})
            for line in found
        ]
    )


@students.post("/students/<path:student_id>/interventions")
@allow("interventions:write")
@operation(
    "Write down what was done for a student",
    {201: Answer("It is written down.", InterventionModel)},
    description=(
        "Nothing is changed later. To correct a line, add one that names it in `corrects`; to take it back, "
        "with `takes_back` and why."
    ),
    query=SchoolQuery,
    body=NewIntervention,
    problems=(409,),
)
def write_intervention(
    student_id: str, query: SchoolQuery, body: NewIntervention
) -> tuple[InterventionModel, int]:
    """By whom and when is kept."""
    school_id = seen_school(student_id, query.school)
    with services().connection() as connection:
        added = add_intervention(
            connection,
            services().settings,
            principal(),
            school_id,
            student_id,
            done_on=body.done_on,
            action=body.action,
            note=body.note,
            corrects=UUID(body.corrects) if body.corrects else None,
            takes_back=body.takes_back,
        )
    return InterventionModel.model_validate(added), 201


def filter_of(query: StudentsQuery) -> StudentFilter:
    """Which students a query means."""
    status = query.status and query.status.capitalize()
    return StudentFilter(query.school_id, query.grade_level, query.q, status)


def find_seen(session: Connection, student_id: str, school: str | None, reason: str | None) -> str:
    """The student's school; says in this request's line who is looked at, and why, also if in vain."""
    known_school = school or principal().school_id or services().settings.default_school_id
    note_for_audit(student_subject(known_school, student_id))
    if reason:
        note_for_audit(reason=reason)
    school_id = find_school(session, student_id, school)
    note_for_audit(student_subject(school_id, student_id), school_id=school_id)
    return school_id


def seen_school(student_id: str, school: str | None, reason: str | None = None) -> str:
    """`find_seen`, where nothing else of the student is read.

    Raises:
        NotFound: the caller sees no such student.
        Conflict: several schools have one, and none was named.
    """
    with services().reader(principal()) as session:
        return find_seen(session, student_id, school, reason)


def _find_to_export(session: Connection, student_id: str, query: StudentQuery) -> str:
    """The school of a student who may be in no mart, or there in another spelling."""
    try:
        return find_seen(session, student_id, query.school, query.reason)
    except NotFound:
        bound = principal().school_id
        school_id = query.school or bound or services().settings.default_school_id
        if bound not in (None, school_id):
            raise
        return school_id


def next_place(found: list[dict[str, Any]], limit: int) -> str | None:
    """Where the page behind this one begins, if one more student than the limit was found."""
    if len(found) <= limit:
        return None
    return ",".join(quote(found[limit - 1][name], safe="") for name in ("school_id", "student_id"))


def place_of(name: str) -> tuple[str, str]:
    """What `next_place` has named: school and number."""
    school, _, student = name.partition(",")
    return unquote(school), unquote(student)
