"""What is inside an upload: its bytes, what is wrong with its rows, the rejected rows themselves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO
from uuid import UUID

from flask import Blueprint, Response, request

from backend.access import allow
from backend.auditing import note_for_audit
from backend.bodies import BLOCK_BYTES
from backend.operations import Answer, operation
from backend.own import find_own
from backend.schemas.common import IssueModel
from backend.schemas.uploads import ContentQuery, IssuePage, IssuesQuery
from backend.services import services
from backend.streams import attach, stream_from_database
from elt.errors import NotFound
from elt.uploads.ledger import get_version
from elt.uploads.rejects import rejects_csv, row_issues
from elt.warehouse import Connection

upload_files = Blueprint("upload_files", __name__)

_ATTACHED = {"Content-Disposition": "The name to save it under."}


@upload_files.get("/uploads/<uuid:upload_id>/issues")
@allow("uploads:read")
@operation("List what is wrong with an upload's rows", {200: Answer("A page.", IssuePage)}, query=IssuesQuery)
def show_issues(upload_id: UUID, query: IssuesQuery) -> IssuePage:
    """In the order of lines; rejected rows and findings about loaded ones."""
    start = query.after or 0
    with services().connection() as connection:
        find_own(connection, upload_id)
        found = row_issues(connection, services().store, upload_id, after=start, limit=query.limit + 1)
    page = [IssueModel.model_validate(issue) for issue in found[: query.limit]]
    return IssuePage(items=page, next=start + query.limit if len(found) > query.limit else None)


@upload_files.get("/uploads/<uuid:upload_id>/content")
@allow("uploads:content")
@operation(
    "Download an upload's file",
    {
        200: Answer(
            "The bytes as they were sent.", media=("text/csv",), headers={**_ATTACHED, "ETag": "SHA-256."}
        ),
        304: Answer("The caller has these bytes already (`If-None-Match`)."),
    },
    query=ContentQuery,
)
def download_content(upload_id: UUID, query: ContentQuery) -> Response:
    """Streamed, always as a file to save."""
    note_for_audit(f"upload:{upload_id}", version=query.version)
    with services().connection() as connection:
        find_own(connection, upload_id)
        version = get_version(connection, upload_id, query.version)
    if request.if_none_match.contains(version.sha256):
        response = Response(status=304)
    else:
        stream = _open(version.object_key)
        response = Response(iter(lambda: stream.read(BLOCK_BYTES), b""), content_type="text/csv")
        response.call_on_close(stream.close)
        response.content_length = version.size_bytes
    response.set_etag(version.sha256)
    attach(response, version.filename)
    return response


@upload_files.get("/uploads/<uuid:upload_id>/rejects.csv")
@allow("uploads:content")
@operation(
    "Download the rejected rows",
    {200: Answer("Your columns, then line, column, rule and hint.", media=("text/csv",), headers=_ATTACHED)},
    description="Correct the rows and hand the file in with `fixes=<upload id>`; the added columns may stay.",
    problems=(409,),
)
def download_rejects(upload_id: UUID) -> Response:
    """Read again from the file that was sent."""
    note_for_audit(f"upload:{upload_id}", rows="rejected")
    with services().connection() as connection:
        record = find_own(connection, upload_id)
    name = f"{PurePosixPath(record.current.filename).stem}-rejects.csv"
    return stream_from_database(partial(_rejects, upload_id=upload_id), "text/csv; charset=utf-8", name)


def _rejects(connection: Connection, upload_id: UUID) -> Iterator[bytes]:
    return rejects_csv(connection, services().store, upload_id)


def _open(key: str) -> BinaryIO:
    try:
        return services().store.open(key)
    except NotFound:
        raise NotFound("The file is not in the store any more.") from None
