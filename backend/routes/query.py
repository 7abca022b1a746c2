"""SQL typed by admins and analysts."""

from __future__ import annotations

from threading import BoundedSemaphore

from flask import Blueprint, Response

from backend.access import allow, principal
from backend.auditing import note_sql
from backend.errors import InvalidRequest
from backend.operations import JSON_TYPE, Answer, operation
from backend.schemas.query import Query, QueryAnswer
from backend.services import services
from backend.streams import attach
from elt.errors import TooManyRequests, UploadRejected
from elt.serving.typed_query import MAX_ROWS, MAX_SECONDS, run_typed
from elt.serving.typed_query import Answer as Found

query = Blueprint("query", __name__)

_slots = BoundedSemaphore(4)  # of each process, so that slow statements leave threads to everybody else


@query.post("/query")
@allow("query:run")
@operation(
    "Ask the marts in SQL",
    {
        200: Answer(
            "The rows; as CSV with the header `Laurel-Is-Cut`.",
            QueryAnswer,
            media=("text/csv",),
            headers={"Laurel-Is-Cut": "true: there are more rows than these."},
        )
    },
    description=(
        "One statement that reads. It sees of the marts what its author may see, for at most "
        f"{MAX_SECONDS} seconds and {MAX_ROWS} rows."
    ),
    body=Query,
)
def ask(body: Query) -> Response:
    """In a session that has the caller's rights and no others."""
    answer = run_for_caller(body.sql)
    if body.format == "json":
        response = Response(answer.to_json(), content_type=JSON_TYPE)
    else:
        response = Response(answer.to_csv(), content_type="text/csv; charset=utf-8")
        attach(response, "query.csv")
    response.headers["Laurel-Is-Cut"] = str(answer.is_cut).lower()
    return response


def run_for_caller(statement: str, max_rows: int = MAX_ROWS) -> Found:
    """Run what the caller has typed.

    Raises:
        InvalidRequest: the statement is refused; its issue says in which line.
        TooManyRequests: others are running.
    """
    note_sql(statement)
    if not _slots.acquire(blocking=False):
        raise TooManyRequests("Other statements are running; try again when they are done.", MAX_SECONDS)
    try:
        with services().reader(principal()) as session:
            return run_typed(session, statement, max_rows=max_rows)
    except UploadRejected as error:
        raise InvalidRequest(error.detail, error.issues) from None
    finally:
        _slots.release()
