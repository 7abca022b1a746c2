"""Uploads: hand in a file, follow it, replace it, withdraw it."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, url_for
from uuid6 import uuid7
from werkzeug.exceptions import Forbidden

from backend.access import allow, principal, scope
from backend.operations import Answer, operation
from backend.own import find_own, find_visible, is_whole
from backend.receiving import Arrival, survived
from backend.schemas.uploads import (
    ReplaceQuery,
    Upload,
    UploadChange,
    UploadDetail,
    UploadHeaders,
    UploadListQuery,
    UploadPage,
    UploadQuery,
    WithdrawalPreview,
)
from backend.services import services
from elt.errors import Conflict, DatabaseUnavailable, Issue
from elt.notify import announce_upload
from elt.uploads.accept import NewUpload, accept_upload, check_request
from elt.uploads.events import Event
from elt.uploads.ledger import get_upload, list_uploads
from elt.uploads.lifecycle import amend_upload, approve_upload, replace_upload, retry_upload, withdraw_upload
from elt.uploads.rejects import row_issues
from elt.uploads.withdrawal import preview_withdrawal

uploads = Blueprint("uploads", __name__)

_SHOWN_ISSUES = 50
_LOCATION = {"Location": "The upload's address."}


@uploads.post("/uploads")
@allow("uploads:create")
@operation(
    "Hand in a file",
    {
        201: Answer("The file is stored and will be loaded. It is safe now.", Upload, headers=_LOCATION),
        200: Answer("These bytes were handed in before; this is that upload.", Upload, headers=_LOCATION),
    },
    description=(
        "As a form with a part named `file`, or with the file as the whole body. What is said about it "
        "stands in the address (`?dataset=students`) or, with a form, in fields of the same names, before or "
        "behind the file. `Content-Digest: sha-256=:…:` (RFC 9530) or `X-Content-SHA256` in "
        "hexadecimal are checked where they are sent. Send `Idempotency-Key` to repeat a request safely."
    ),
    headers=UploadHeaders,
    form=UploadQuery,
    problems=(404, 409),
)
def create_upload(headers: UploadHeaders) -> tuple[Upload, int, dict[str, str]]:
    """Store the bytes, then record them; from then on the upload exists, whatever goes away."""
    arrival = Arrival(UploadQuery)
    if arrival.said is not None:  # refuse early what can be refused without the bytes
        with services().connection() as connection:
            check_request(connection, _request(arrival, arrival.said), principal())
    upload_id = UUID(int=uuid7().int)
    stored, said = arrival.store(upload_id, 1, check=lambda said: _request(arrival, said))
    try:
        with services().connection() as connection:
            accepted = accept_upload(
                connection,
                services().store,
                upload_id,
                _request(arrival, said),
                stored,
                principal(),
                idempotency_key=headers.idempotency_key,
            )
            answer = Upload.of(get_upload(connection, accepted.upload_id))
        status = 201 if accepted.created else 200
    except DatabaseUnavailable as error:
        answer, status = _from_event(survived(error, upload_id, stored)), 201
    if status == 201:
        announce_upload(services().settings, answer.id)
    return answer, status, {"Location": url_for("uploads.show_upload", upload_id=answer.id)}


@uploads.get("/uploads")
@allow("uploads:read")
@operation("List uploads", {200: Answer("A page, newest first.", UploadPage)}, query=UploadListQuery)
def show_uploads(query: UploadListQuery) -> UploadPage:
    """Own ones; for admins those of their school, or all."""
    return show_uploads_for(query)


def show_uploads_for(query: UploadListQuery) -> UploadPage:
    """A page of the uploads that the caller may see; also for pages whose action is another one."""
    is_own = scope("uploads:read") == "own"
    with services().connection() as connection:
        found = list_uploads(
            connection,
            uploader=principal().id if is_own else None,
            school_id=None if is_own else principal().school_id,
            dataset=query.dataset,
            status=query.status,
            after=UUID(query.after) if query.after else None,
            limit=query.limit + 1,
        )
    page = found[: query.limit]
    following = str(page[-1].upload_id) if len(found) > query.limit else None
    return UploadPage(items=[Upload.of(record) for record in page], next=following)


@uploads.get("/uploads/<uuid:upload_id>")
@allow("uploads:read")
@operation("Show an upload", {200: Answer("The upload with the first of its issues.", UploadDetail)})
def show_upload(upload_id: UUID) -> UploadDetail:
    """Status, counts, versions, and what is wrong with it."""
    return describe_upload(upload_id)


def describe_upload(upload_id: UUID) -> UploadDetail:
    """An upload that the caller may see.

    Raises:
        NotFound: there is none, or not for this caller.
    """
    with services().connection() as connection:
        record = find_visible(connection, upload_id)
        rows: list[Issue] = []
        if is_whole(record):
            rows = row_issues(connection, services().store, upload_id, limit=_SHOWN_ISSUES + 1)
    others = f"{url_for('upload_files.show_issues', upload_id=upload_id)}?after={_SHOWN_ISSUES}"
    return UploadDetail.with_issues(
        record, rows[:_SHOWN_ISSUES], others if len(rows) > _SHOWN_ISSUES else None
    )


@uploads.put("/uploads/<uuid:upload_id>")
@allow("uploads:replace")
@operation(
    "Replace an upload's file",
    {200: Answer("The new version is stored; the old one stays live until it has loaded.", Upload)},
    description="Takes the file as a form or as the whole body, like a new upload.",
    form=ReplaceQuery,
    problems=(409,),
)
def replace(upload_id: UUID) -> Upload:
    """Make the bytes the upload's new version."""
    with services().connection() as connection:
        before = find_own(connection, upload_id)
    if before.withdrawn_at is not None:
        raise Conflict(f"Upload {upload_id} is withdrawn.")
    arrival = Arrival(ReplaceQuery)
    stored, said = arrival.store(upload_id, before.version + 1)
    try:
        with services().connection() as connection:
            replace_upload(
                connection,
                services().store,
                upload_id,
                stored,
                arrival.filename,
                arrival.media_type,
                said.read_options(),
                principal(),
            )
            answer = Upload.of(get_upload(connection, upload_id))
    except DatabaseUnavailable as error:
        survived(error, upload_id, stored)
        answer = Upload.of(before).model_copy(
            update={"status": "stored", "version": before.version + 1, "sha256": stored.sha256}
        )
    announce_upload(services().settings, upload_id)
    return answer


@uploads.patch("/uploads/<uuid:upload_id>")
@allow("uploads:amend")
@operation("Change title and note", {200: Answer("The upload.", Upload)}, body=UploadChange)
def amend(upload_id: UUID, body: UploadChange) -> Upload:
    """What is left out stays as it is."""
    with services().connection() as connection:
        record = find_own(connection, upload_id)
        title = body.title if "title" in body.model_fields_set else record.title
        note = body.note if "note" in body.model_fields_set else record.note
        amend_upload(connection, services().store, upload_id, principal(), title, note)
        return Upload.of(get_upload(connection, upload_id))


@uploads.get("/uploads/<uuid:upload_id>/withdrawal")
@allow("uploads:withdraw")
@operation(
    "Foresee a withdrawal",
    {200: Answer("What would become of the figures. Nothing is done.", WithdrawalPreview)},
)
def show_withdrawal(upload_id: UUID) -> WithdrawalPreview:
    """How many rows would leave, and how many older ones come back."""
    return foresee_withdrawal(upload_id)


def foresee_withdrawal(upload_id: UUID) -> WithdrawalPreview:
    """Of an upload that the caller may withdraw.

    Raises:
        NotFound: there is no such upload, or not for this caller.
    """
    with services().connection() as connection:
        find_own(connection, upload_id)
        return WithdrawalPreview.model_validate(preview_withdrawal(connection, upload_id))


@uploads.delete("/uploads/<uuid:upload_id>")
@allow("uploads:withdraw")
@operation(
    "Withdraw an upload",
    {200: Answer("It is withdrawn; rows it had overridden show again after the next run.", Upload)},
    description="Its rows and those of its fixes leave the warehouse. The file itself is kept.",
    problems=(409,),
)
def withdraw(upload_id: UUID) -> Upload:
    """Take the upload's rows out."""
    return withdraw_and_announce(upload_id)


def withdraw_and_announce(upload_id: UUID) -> Upload:
    """Do it, and let the pipeline know at once.

    Raises:
        NotFound: there is no such upload, or not for this caller.
        Conflict: it is not in a state for that.
    """
    with services().connection() as connection:
        find_own(connection, upload_id)
        withdraw_upload(connection, services().store, upload_id, principal())
        answer = Upload.of(get_upload(connection, upload_id))
    announce_upload(services().settings, upload_id)
    return answer


@uploads.post("/uploads/<uuid:upload_id>/approve")
@allow("uploads:approve")
@operation(
    "Release a held upload",
    {200: Answer("It will be loaded.", Upload)},
    description=(
        "An upload that would change much of a cohort waits for a second person. All keys and sessions of an "
        "account are one person, so are a key that was made on the command line and the keys made by it."
    ),
    problems=(409,),
)
def approve(upload_id: UUID) -> Upload:
    """By someone else than who handed it in."""
    return approve_and_announce(upload_id)


def approve_and_announce(upload_id: UUID) -> Upload:
    """Do it, and let the pipeline know at once.

    Raises:
        NotFound: there is no such upload, or not for this caller.
        Conflict: it is not in a state for that.
    """
    with services().connection() as connection:
        find_own(connection, upload_id)
        approve_upload(connection, services().store, upload_id, principal())
        answer = Upload.of(get_upload(connection, upload_id))
    announce_upload(services().settings, upload_id)
    return answer


@uploads.post("/uploads/<uuid:upload_id>/retry")
@allow("uploads:retry")
@operation(
    "Try a failed upload again",
    {200: Answer("It waits to be loaded.", Upload)},
    description="For one that is `failed`: the fault was Laurel's, and its file is in the store.",
    problems=(409,),
)
def retry(upload_id: UUID) -> Upload:
    """The same bytes again, without sending them."""
    return retry_and_announce(upload_id)


def retry_and_announce(upload_id: UUID) -> Upload:
    """Do it, and let the pipeline know at once.

    Raises:
        NotFound: there is no such upload, or not for this caller.
        Conflict: it is not in a state for that.
    """
    with services().connection() as connection:
        find_own(connection, upload_id)
        retry_upload(connection, upload_id, principal())
        answer = Upload.of(get_upload(connection, upload_id))
    announce_upload(services().settings, upload_id)
    return answer


def _request(arrival: Arrival[UploadQuery], said: UploadQuery) -> NewUpload:
    bound_to = principal().school_id
    if bound_to is not None and said.school_id not in (None, bound_to):
        raise Forbidden(f"Your key hands in for the school {bound_to} only.")
    return NewUpload(
        dataset=said.dataset,
        filename=arrival.filename,
        media_type=arrival.media_type,
        school_id=said.school_id or bound_to or services().settings.default_school_id,
        title=said.title,
        note=said.note,
        fixes=UUID(said.fixes) if said.fixes else None,
        options=said.read_options(),
    )


def _from_event(event: Event) -> Upload:
    """The upload as its event tells it, while the database cannot."""
    body = event.body
    described = body["object"]
    return Upload(
        id=event.upload_id,
        dataset=body["dataset"],
        status="stored",
        title=body.get("title"),
        note=body.get("note"),
        filename=described["filename"],
        media_type=described["media_type"],
        size_bytes=described["size_bytes"],
        sha256=described["sha256"],
        school_id=body["school_id"],
        uploader=event.principal,
        parent_id=body.get("parent_id"),
        created_at=described["received_at"],
        received_at=described["received_at"],
    )
