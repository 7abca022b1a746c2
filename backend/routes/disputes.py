"""Values that somebody says are wrong, and how an administrator settled it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from flask import Blueprint

from backend.access import allow, may, principal
from backend.auditing import note_for_audit
from backend.operations import Answer, operation
from backend.routes.marts import as_request_errors
from backend.routes.students import find_seen, seen_school
from backend.schemas.notes import (
    DisputeList,
    DisputeModel,
    DisputePage,
    DisputesQuery,
    NewDispute,
    Settlement,
)
from backend.schemas.students import SchoolQuery, StudentQuery
from backend.services import services
from elt.serving.disputes import (
    Dispute,
    list_disputes,
    list_disputes_of_schools,
    raise_dispute,
    read_figure,
    settle_dispute,
)

disputes = Blueprint("disputes", __name__)


@disputes.get("/disputes")
@allow("disputes:list")
@operation(
    "List disputed values",
    {200: Answer("A page of those of the caller's schools.", DisputePage)},
    query=DisputesQuery,
)
def show_all(query: DisputesQuery) -> DisputePage:
    """Newest first."""
    found = read_disputes(query)
    page = [DisputeModel.model_validate(dispute) for dispute in found[: query.limit]]
    return DisputePage(items=page, next=str(page[-1].id) if len(found) > query.limit else None)


@disputes.get("/students/<path:student_id>/disputes")
@allow("disputes:read")
@operation(
    "List disputed values of a student",
    {200: Answer("All of them, newest first.", DisputeList)},
    query=StudentQuery,
    problems=(409,),
)
def show_disputes(student_id: str, query: StudentQuery) -> DisputeList:
    """Settled ones, too."""
    school_id = seen_school(student_id, query.school, query.reason)
    with services().connection() as connection:
        found = list_disputes(connection, school_id, student_id)
    return DisputeList(items=[DisputeModel.model_validate(dispute) for dispute in found])


@disputes.post("/students/<path:student_id>/disputes")
@allow("disputes:write")
@operation(
    "Dispute a value of a student",
    {201: Answer("It waits for an administrator.", DisputeModel)},
    description="A value of any mart with rows of single students, which the caller sees.",
    query=SchoolQuery,
    body=NewDispute,
    problems=(409,),
)
def dispute_value(student_id: str, query: SchoolQuery, body: NewDispute) -> tuple[DisputeModel, int]:
    """The value as it is now is kept beside it."""
    raised = write_dispute(student_id, query.school, body)
    if not (may("students:read") or may("disputes:read")):
        # A key that may only write is told nothing that it did not say.
        said = {name: value for name, value in raised.row_key.items() if name in body.key}
        raised = replace(raised, shown=None, row_key=said)
    return DisputeModel.model_validate(raised), 201


@disputes.patch("/disputes/<uuid:dispute_id>")
@allow("disputes:settle")
@operation(
    "Settle a dispute",
    {200: Answer("It is settled.", DisputeModel)},
    body=Settlement,
    problems=(404, 409),
)
def settle(dispute_id: UUID, body: Settlement) -> DisputeModel:
    """By whom, when and why is kept."""
    return DisputeModel.model_validate(write_settlement(dispute_id, body))


def read_disputes(query: DisputesQuery) -> list[Dispute]:
    """Disputes of the caller's schools, one more than was asked for if there are more."""
    note_for_audit(is_open=query.is_open)
    with services().connection() as connection:
        return list_disputes_of_schools(
            connection,
            principal().school_id,
            is_open=query.is_open,
            after=UUID(query.after) if query.after else None,
            limit=query.limit + 1,
        )


def write_dispute(student_id: str, school: str | None, body: NewDispute) -> Dispute:
    """Dispute a value that the caller sees."""
    with as_request_errors(), services().reader(principal()) as session:
        school_id = find_seen(session, student_id, school, None)
        figure = read_figure(session, school_id, student_id, body.mart, body.column, body.key)
    with services().connection() as connection:
        return raise_dispute(
            connection, services().settings, principal(), figure,
            should_be=body.should_be, reason=body.reason,
        )  # fmt: skip


def write_settlement(dispute_id: UUID, body: Settlement) -> Dispute:
    """Settle a dispute in the caller's schools."""
    with services().connection() as connection:
        return settle_dispute(
            connection, services().settings, principal(), dispute_id, outcome=body.outcome, why=body.why
        )
