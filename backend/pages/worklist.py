"""Who needs help first, why, since when, and what was done."""

from __future__ import annotations

from flask import Blueprint, render_template

from backend.access import allow, may, principal
from backend.auditing import note_also, note_for_audit
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.routes.risk import next_place, place_of
from backend.schemas.risk import RiskQuery
from backend.services import services
from elt.serving.interventions import newest_interventions
from elt.serving.worklist import RiskFilter, read_choices, read_worklist, with_names_and_days

worklist_pages = Blueprint("worklist_pages", __name__)


@worklist_pages.get("/worklist")
@allow("risk:read")
def show_worklist() -> str:
    """The filters stand in the address, so that a view can be shared."""
    query = parse_query(RiskQuery, is_form=True)
    note_for_audit(school_id=query.school_id, grade_level=query.grade_level)
    wanted = RiskFilter(query.school_id, query.grade_level, query.only_at_risk)
    after = place_of(query.after) if query.after else None
    with services().reader(principal()) as session:
        choices = read_choices(session)
        found = read_worklist(session, wanted, after=after, limit=query.limit + 1)
        students = with_names_and_days(session, found[: query.limit])
    keys = [(student["school_id"], student["student_id"]) for student in students]
    done = {}
    if may("interventions:read"):
        note_also("interventions:read", students=len(keys))
        with services().connection() as connection:
            done = newest_interventions(connection, keys)
    following = next_place(found, query.limit)
    return render_template(
        "worklist.html",
        students=[(student, done.get(key)) for student, key in zip(students, keys, strict=True)],
        may_read_done=may("interventions:read"),
        may_write=may("interventions:write"),
        choices=choices,
        query=query,
        following=following and this_view(after=following),
        beginning=this_view(after=None) if after else None,
    )
