"""The worklist: students who may need help, the most urgent first."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from flask import Blueprint

from backend.access import allow, principal
from backend.auditing import note_for_audit
from backend.operations import Answer, operation
from backend.schemas.risk import RiskPage, RiskQuery, StudentAtRisk
from backend.services import services
from elt.people.principals import user_id_of
from elt.serving.assignments import filter_by, present_assignments
from elt.serving.worklist import Place, RiskFilter, read_worklist
from elt.warehouse import Connection

risk = Blueprint("risk", __name__)


@risk.get("/risk")
@allow("risk:read")
@operation(
    "List students at risk",
    {200: Answer("A page of the worklist, the most urgent first.", RiskPage)},
    description="By the published model, or by the plain rule where no model has passed its gate (`method`).",
    query=RiskQuery,
    problems=(404,),
)
def show_worklist(query: RiskQuery) -> RiskPage:
    """With probability, reasons and recommended steps."""
    note_for_audit(school_id=query.school_id, grade_level=query.grade_level)
    after = place_of(query.after) if query.after else None
    with services().reader(principal()) as session, services().connection() as connection:
        wanted = filter_of(query, connection, session)
        found = read_worklist(session, wanted, after=after, limit=query.limit + 1)
        shown = found[: query.limit]
        keys = [(row["school_id"], row["student_id"]) for row in shown]
        looking = present_assignments(connection, session, keys)
    items = [
        StudentAtRisk.model_validate(
            {**row, "assigned_to": looking.get((row["school_id"], row["student_id"]))}
        )
        for row in shown
    ]
    return RiskPage(items=items, next=next_place(found, query.limit))


def filter_of(query: RiskQuery, connection: Connection, session: Connection) -> RiskFilter:
    """Which students the query asks for; the session is the one that they are read with."""
    only, but = filter_by(connection, session, query.assigned, user_id_of(principal().id))
    return RiskFilter(query.school_id, query.grade_level, query.only_at_risk, only, but)


def next_place(found: list[dict[str, Any]], limit: int) -> str | None:
    """Where the page behind this one begins, if one more row than the limit was found."""
    if len(found) <= limit:
        return None
    last = found[limit - 1]
    keys = ",".join(quote(last[name], safe="") for name in ("school_id", "student_id"))
    return f"{int(last['is_at_risk'])},{last['score']!r},{keys}"


def place_of(name: str) -> Place:
    """What `next_place` has named."""
    at_risk, score, school, student = name.split(",")
    return Place(at_risk == "1", float(score), unquote(school), unquote(student))
