"""The worklist: students who may need help, the most urgent first."""

from __future__ import annotations

import psycopg
from flask import Blueprint

from backend.access import allow
from backend.operations import Answer, operation
from backend.schemas.risk import RiskPage, RiskQuery, StudentAtRisk
from backend.services import services
from elt.errors import NotFound

risk = Blueprint("risk", __name__)

_WORKLIST = """
select * from marts.mart_student_risk
where (%(school_id)s::text is null or school_id = %(school_id)s)
  and (%(grade_level)s::text is null or grade_level = %(grade_level)s)
  and (is_at_risk or not %(only_at_risk)s)
order by is_at_risk desc, score desc, school_id, student_id
offset %(after)s limit %(limit)s
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
    start = query.after or 0
    sent = {**query.model_dump(), "after": start, "limit": query.limit + 1}
    try:
        with services().connection() as connection:
            found = connection.execute(_WORKLIST, sent).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise NotFound(
            "No run has built mart_student_risk yet. Hand in files, then wait for a run."
        ) from None
    items = [StudentAtRisk.model_validate(row) for row in found[: query.limit]]
    return RiskPage(items=items, next=start + query.limit if len(found) > query.limit else None)
