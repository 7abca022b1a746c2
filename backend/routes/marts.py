"""The marts: described, streamed, and traced to the lines they come from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, request

from backend.access import allow, principal
from backend.auditing import note_for_audit, subject_of
from backend.errors import InvalidRequest
from backend.operations import Answer, operation
from backend.schemas.marts import Mart, MartList, MartQuery, Provenance, ProvenanceQuery
from backend.services import services
from backend.streams import stream_from_database
from elt.errors import NotFound, UploadRejected
from elt.serving.marts import MEDIA_TYPES, describe_mart, list_marts, provenance, stream_mart
from elt.serving.marts import Mart as MartFound
from elt.serving.marts import Provenance as ProvenanceFound
from elt.serving.provenance import read_row
from elt.warehouse import Connection

marts = Blueprint("marts", __name__)

_OWN_PARAMETERS = set(MartQuery.model_fields)


@marts.get("/marts")
@allow("marts:list")
@operation("List marts", {200: Answer("Each with its columns.", MartList)})
def show_marts() -> MartList:
    """With the descriptions that dbt writes."""
    with services().connection() as connection:
        found = list_marts(connection, counted=False)
    # How many rows there are is a total of groups that may be hidden, and of all schools.
    if principal().role != "admin" or principal().school_id is not None:
        found = [replace(mart, rows=None) for mart in found]
    return MartList(items=[Mart.model_validate(mart) for mart in found])


@marts.get("/marts/<name>")
@allow("marts:read")
@operation(
    "Read a mart",
    {
        200: Answer(
            "The rows, streamed.", media=tuple(kind.partition(";")[0] for kind in MEDIA_TYPES.values())
        )
    },
    query=MartQuery,
)
def read_mart(name: str, query: MartQuery) -> Response:
    """Rows in the order asked for, then of the grain."""
    after = parse_key(query.after) if query.after else None
    filters = filters_asked()
    note_for_audit(
        subject_of(filters), mart=name, format=query.format, columns=query.columns, where=sorted(filters)
    )

    def open_stream(connection: Connection) -> Iterator[bytes]:
        with as_request_errors():
            return stream_mart(
                connection,
                name,
                query.columns.split(",") if query.columns else None,
                filters,
                query.format,
                order=query.order.split(",") if query.order else None,
                limit=query.limit,
                after=after,
                schema="served",
            )

    filename = None if query.format == "json" else f"{name}.{query.format}"
    session = services().reader(principal())
    return stream_from_database(open_stream, MEDIA_TYPES[query.format], filename, session=session)


def filters_asked() -> dict[str, str | list[str]]:
    """The conditions on columns that stand in the address."""
    return {
        column: values[0] if len(values) == 1 else values
        for column, values in request.args.to_dict(flat=False).items()
        if column not in _OWN_PARAMETERS
    }


@marts.get("/provenance")
@allow("provenance:read")
@operation(
    "Trace a figure to its source lines",
    {200: Answer("The lines of the files that the figure is made of.", Provenance)},
    query=ProvenanceQuery,
    problems=(404,),
)
def trace_figure(query: ProvenanceQuery) -> Provenance:
    """From a cell of a mart that the caller sees to upload and line; for teachers, of single students."""
    with as_request_errors():
        _mart, key, _row = read_figure_row(query)
        return Provenance.model_validate(read_lines(query, key))


def read_figure_row(query: ProvenanceQuery) -> tuple[MartFound, dict[str, Any], dict[str, Any]]:
    """The mart, the key and the row of a figure as the caller sees them; who is looked at is noted."""
    with services().reader(principal()) as session:
        mart = describe_mart(session, query.mart, "served")
        key = parse_key(query.key)
        note_for_audit(subject_of(key), mart=query.mart, column=query.column)
        row = read_row(session, mart, key)
        # Whom the row is about, whatever it was asked for by.
        note_for_audit(subject_of(row))
        return mart, key, row


def read_lines(query: ProvenanceQuery, key: dict[str, Any]) -> ProvenanceFound:
    """The lines behind a figure that the caller sees.

    Raises:
        NotFound: no lines are known of such figures, or they are of more students than the caller may see.
    """
    with services().lineage() as connection:
        return provenance(
            connection,
            query.mart,
            key,
            query.column,
            limit=query.limit,
            after=query.after,
            of_one_student=principal().role == "teacher",
        )


@contextmanager
def as_request_errors() -> Iterator[None]:
    """What is wrong with a question about a mart is no matter of a file."""
    try:
        yield
    except UploadRejected as error:
        if any(issue.rule == "unknown_column" for issue in error.issues):
            raise NotFound(error.detail) from None
        raise InvalidRequest(error.detail, error.issues) from None


def parse_key(text: str) -> dict[str, Any]:
    """`a=1,b=2` or a JSON object, for values that hold commas."""
    if not text.startswith("{"):
        return dict(pair.split("=", 1) for pair in text.split(","))
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # also a number too long, half a character, nesting too deep
        raise InvalidRequest("The key is not valid JSON.") from None
    if not all(isinstance(value, str | int | float | bool | None) for value in found.values()):
        raise InvalidRequest("The key's values must be plain: text, numbers, true, false or null.")
    return dict(found)
