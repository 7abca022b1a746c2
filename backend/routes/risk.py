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
from elt.serving.worklist import Place, RiskFilter, read_worklist

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
    wanted = RiskFilter(query.school_id, query.grade_level, query.only_at_risk)
    after = place_of(query.after) if query.after else None
    with services().reader(principal()) as session:
        found = read_worklist(session, wanted, after=after, limit=query.limit + 1)
    items = [StudentAtRisk.model_validate(row) for row in found[: query.limit]]
    return RiskPage(items=items, next=next_place(found, query.limit))


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
