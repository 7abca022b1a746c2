"""Erasing people, for admins."""

from __future__ import annotations

from flask import Blueprint
from werkzeug.exceptions import Forbidden

from backend.access import allow, principal
from backend.operations import Answer, operation
from backend.schemas.erasures import Erasure, ErasureList, NewErasure
from backend.services import services
from elt.privacy.erasure_requests import get_erasure, list_erasures, request_erasure

erasures = Blueprint("erasures", __name__)


@erasures.get("/erasures")
@allow("erasures:manage")
@operation("List erasures", {200: Answer("All, newest first.", ErasureList)})
def show_erasures() -> ErasureList:
    """Those of the caller's school, if bound to one."""
    return ErasureList(items=visible_erasures())


def visible_erasures() -> list[Erasure]:
    """Those of the caller's school, or all; newest first."""
    with services().connection() as connection:
        found = list_erasures(connection, school_id=principal().school_id)
    return [Erasure.model_validate(row) for row in found]


@erasures.post("/erasures")
@allow("erasures:manage")
@operation(
    "Erase a person",
    {202: Answer("No load takes the person any more; raw is rid of them.", Erasure)},
    description=(
        "The marts follow with the next run. Files, predictions and exports follow with the daily "
        "maintenance, or at once with `laurel erase --all-pending`, which also searches everything; then "
        "`finished_at` is set. Nothing brings the records back."
    ),
    body=NewErasure,
)
def erase(body: NewErasure) -> tuple[Erasure, int]:
    """Asked for again, an erasure is opened again."""
    return erase_person(body), 202


def erase_person(body: NewErasure) -> Erasure:
    """Take the person out of raw at once; the rest follows.

    Raises:
        Forbidden: the person is of another school than the caller's.
        UploadRejected: the reason is empty or names the person.
    """
    if principal().school_id not in (None, body.school_id):
        raise Forbidden(f"You act for the school {principal().school_id} only.")
    with services().connection() as connection:
        erasure_id = request_erasure(
            services().settings, connection, services().store, kind=body.kind, school_id=body.school_id,
            identifier=body.id, reason=body.reason, principal=principal(),
        )  # fmt: skip
        return Erasure.model_validate(get_erasure(connection, erasure_id))
