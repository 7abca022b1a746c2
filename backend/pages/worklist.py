"""Who needs help first, why, since when, who looks after them, and what was done."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, redirect, render_template, request

from backend.access import allow, may, principal
from backend.auditing import note_also, note_for_audit
from backend.errors import InvalidRequest
from backend.next_page import safe_next
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.routes.assignments import assign_to, assign_to_nobody
from backend.routes.risk import filter_of, next_place, place_of
from backend.schemas.pages import StudentAddress
from backend.schemas.risk import RiskQuery
from backend.services import services
from elt.people.principals import user_id_of
from elt.serving.assignments import list_helpers, may_look_after, present_assignments
from elt.serving.interventions import newest_interventions
from elt.serving.worklist import read_choices, read_worklist, with_names_and_days

worklist_pages = Blueprint("worklist_pages", __name__)


@worklist_pages.get("/worklist")
@allow("risk:read")
def show_worklist() -> str:
    """The filters stand in the address, so that a view can be shared."""
    query = parse_query(RiskQuery, is_form=True)
    note_for_audit(school_id=query.school_id, grade_level=query.grade_level)
    after = place_of(query.after) if query.after else None
    with services().reader(principal()) as session, services().connection() as connection:
        choices = read_choices(session)
        wanted = filter_of(query, connection, session)
        found = read_worklist(session, wanted, after=after, limit=query.limit + 1)
        students = with_names_and_days(session, found[: query.limit])
        keys = [(student["school_id"], student["student_id"]) for student in students]
        looking, helpers = present_assignments(connection, session, keys), list_helpers(connection)
        done = {}
        if may("interventions:read"):
            note_also("interventions:read", students=len(keys))
            done = newest_interventions(connection, keys)
    following = next_place(found, query.limit)
    return render_template(
        "worklist.html",
        students=[
            (
                student,
                looking.get(key),
                [each for each in helpers if may_look_after(each, key[0], student["grade_level"])],
                done.get(key),
            )
            for student, key in zip(students, keys, strict=True)
        ],
        my_id=user_id_of(principal().id),
        may_read_done=may("interventions:read"),
        may_write=may("interventions:write"),
        may_assign=may("assignments:write"),
        may_report=may("reports:read"),
        choices=choices,
        query=query,
        following=following and this_view(after=following),
        beginning=this_view(after=None) if after else None,
    )


@worklist_pages.post("/student/assignment")
@allow("assignments:write")
def assign_student() -> Response:
    """Let the chosen person look after a student, or nobody; and go back to where that was said."""
    asked = parse_query(StudentAddress)
    chosen = request.form.get("user_id", "")
    if chosen:
        assign_to(_uuid(chosen), asked.id, asked.school)
    else:
        assign_to_nobody(asked.id, asked.school)
    return redirect(safe_next(request.form.get("next")), code=303)  # type: ignore[return-value]


def _uuid(chosen: str) -> UUID:
    try:
        return UUID(chosen)
    except ValueError:
        raise InvalidRequest("`user_id` is no identifier of a person.") from None
