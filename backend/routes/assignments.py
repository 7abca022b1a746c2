"""Who looks after which student: assigned, and ended. What was before is kept."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint

from backend.access import allow, principal
from backend.operations import Answer, operation
from backend.routes.students import find_seen, seen_school
from backend.schemas.assignments import AssignmentModel, NewAssignment
from backend.schemas.students import SchoolQuery
from backend.services import services
from elt.errors import Conflict, NotFound
from elt.people.principals import user_id_of
from elt.serving.assignments import Assignment, assign, end_assignment, present_assignments

assignments = Blueprint("assignments", __name__)


@assignments.get("/students/<path:student_id>/assignment")
@allow("risk:read")
@operation(
    "Show who looks after a student",
    {200: Answer("Who looks after the student now; 404 where nobody does.", AssignmentModel)},
    query=SchoolQuery,
    problems=(409,),
)
def show_assignment(student_id: str, query: SchoolQuery) -> AssignmentModel:
    """Whoever may not see the student any more does not count."""
    with services().reader(principal()) as session, services().connection() as connection:
        school_id = find_seen(session, student_id, query.school, None)
        found = present_assignments(connection, session, [(school_id, student_id)])
    if not found:
        raise NotFound("Nobody looks after this student.")
    return AssignmentModel.model_validate(found[school_id, student_id])


@assignments.put("/students/<path:student_id>/assignment")
@allow("assignments:write")
@operation(
    "Let a person look after a student",
    {200: Answer("Who looks after the student now.", AssignmentModel)},
    description="Ends the assignment before. `GET /risk` names the person in `assigned_to`.",
    query=SchoolQuery,
    body=NewAssignment,
    problems=(409,),
)
def put_assignment(student_id: str, query: SchoolQuery, body: NewAssignment) -> AssignmentModel:
    """The same person again changes nothing."""
    chosen = UUID(body.user_id) if body.user_id else user_id_of(principal().id)
    return AssignmentModel.model_validate(assign_to(chosen, student_id, query.school))


@assignments.delete("/students/<path:student_id>/assignment")
@allow("assignments:write")
@operation(
    "Let nobody look after a student any more",
    {204: Answer("Nobody looks after the student.")},
    query=SchoolQuery,
    problems=(409,),
)
def delete_assignment(student_id: str, query: SchoolQuery) -> tuple[None, int]:
    """Also where nobody did."""
    assign_to_nobody(student_id, query.school)
    return None, 204


def assign_to(chosen: UUID | None, student_id: str, school: str | None) -> Assignment:
    """Let a person look after a student whom the caller sees.

    Raises:
        Conflict: the person may not see the student; or nobody is named, and a program calls.
        NotFound: the caller sees no such student.
    """
    if chosen is None:
        raise Conflict("A key looks after nobody; name a person in `user_id`.")
    school_id = seen_school(student_id, school)
    with services().connection() as connection:
        return assign(connection, services().settings, principal(), school_id, student_id, chosen)


def assign_to_nobody(student_id: str, school: str | None) -> None:
    """End the assignment of a student whom the caller sees.

    Raises:
        NotFound: the caller sees no such student.
    """
    school_id = seen_school(student_id, school)
    with services().connection() as connection:
        end_assignment(connection, services().settings, principal(), school_id, student_id)
