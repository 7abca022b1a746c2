"""Values that somebody says are wrong, for the administrators who settle it."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask_babel import gettext as _

from backend.access import allow, may, principal
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.routes.disputes import read_disputes
from backend.schemas.notes import DisputesQuery
from backend.services import services
from elt.people.users import names_of_principals
from elt.serving.students import names_of

dispute_pages = Blueprint("dispute_pages", __name__)


@dispute_pages.get("/disputes")
@allow("disputes:list")
def show_disputes() -> str:
    """Those that wait, or those that are settled; the newest first."""
    query = parse_query(DisputesQuery, is_form=True)
    found = read_disputes(query)
    shown = found[: query.limit]
    with services().reader(principal()) as session:
        students = names_of(
            session, [{"school_id": each.school_id, "student_id": each.student_id} for each in shown]
        )
    with services().connection() as connection:
        people = [who for each in shown for who in (each.raised_by, each.settled_by or "")]
        names = names_of_principals(connection, people)
    return render_template(
        "disputes.html",
        disputes=[(each, students.get((each.school_id, each.student_id))) for each in shown],
        query=query,
        name_of_principal=lambda who: names.get(who, _("a program")),
        may_settle=may("disputes:settle"),
        following=this_view(after=str(shown[-1].dispute_id)) if len(found) > query.limit else None,
        beginning=this_view(after=None) if query.after else None,
    )
