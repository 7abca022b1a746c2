"""The worklist: students who may need help, the most urgent first."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import psycopg
from flask import Blueprint

from backend.access import allow, principal
from backend.auditing import note_for_audit
from backend.operations import Answer, operation
from backend.schemas.risk import RiskPage, RiskQuery, StudentAtRisk
from backend.services import services
from elt.errors import NotFound

risk = Blueprint("risk", __name__)

_WORKLIST = """
select * from served.mart_student_risk
where (%(school_id)s::text is null or school_id = %(school_id)s)
  and (%(grade_level)s::text is null or grade_level = %(grade_level)s)
  and (is_at_risk or not %(only_at_risk)s)
  and (%(is_start)s
       or (not is_at_risk, -score, school_id, student_id)
        > (not %(at_risk)s::boolean, -%(score)s::float8, %(last_school)s::text, %(last_student)s::text))
order by not is_at_risk, -score, school_id, student_id
limit %(limit)s
"""


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
    sent = {**query.model_dump(), **_place(query.after), "limit": query.limit + 1}
    try:
        with services().reader(principal()) as session:
            found = session.execute(_WORKLIST, sent).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise NotFound(
            "No run has built mart_student_risk yet. Hand in files, then wait for a run."
        ) from None
    page = found[: query.limit]
    items = [StudentAtRisk.model_validate(row) for row in page]
    return RiskPage(items=items, next=_name_place(page[-1]) if len(found) > query.limit else None)


def _name_place(row: dict[str, Any]) -> str:
    """A row's place in the order, which stays one when others come and go between two pages."""
    keys = ",".join(quote(row[name], safe="") for name in ("school_id", "student_id"))
    return f"{int(row['is_at_risk'])},{row['score']!r},{keys}"


def _place(name: str | None) -> dict[str, Any]:
    """What `_name_place` has named."""
    at_risk, score, school, student = name.split(",") if name else ("0", "0", "", "")
    return {
        "is_start": name is None,
        "at_risk": at_risk == "1",
        "score": float(score),
        "last_school": unquote(school),
        "last_student": unquote(student),
    }
