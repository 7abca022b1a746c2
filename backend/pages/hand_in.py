"""Handing in files and what became of them: the researcher's pages. `static/hand_in.js` sends and follows."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, redirect, render_template, url_for

from backend.access import allow, may, principal
from backend.operations import parse_query
from backend.own import find_own, is_whole
from backend.pages.addresses import this_view
from backend.routes import uploads as api
from backend.schemas.pages import HandInAddress
from backend.schemas.uploads import UploadListQuery
from backend.services import services
from elt.contracts import load_contracts
from elt.uploads.ledger import UploadRecord, get_upload

hand_in_pages = Blueprint("hand_in_pages", __name__)


@hand_in_pages.get("/hand-in")
@allow("uploads:create")
def show_hand_in() -> str:
    """Choose what the files hold, drop them, see what was understood, send."""
    asked = parse_query(HandInAddress, is_form=True)
    fixes = asked.fixes and _own_upload(UUID(asked.fixes))
    replaces = asked.replaces and _own_upload(UUID(asked.replaces))
    about = fixes or replaces
    return render_template(
        "hand_in.html",
        contracts=sorted(load_contracts().values(), key=lambda contract: contract.title),
        chosen=about.dataset if about else asked.dataset,
        fixes=fixes,
        replaces=replaces,
        school=principal().school_id,
        main_school=services().settings.default_school_id,
        recent=api.show_uploads_for(UploadListQuery(limit=5)).items if may("uploads:read") else [],
    )


@hand_in_pages.get("/uploads")
@allow("uploads:read")
def show_uploads() -> str:
    """Own uploads; for administrators those of their school, or all."""
    query = parse_query(UploadListQuery, is_form=True)
    page = api.show_uploads_for(query)
    return render_template(
        "uploads.html",
        page=page,
        query=query,
        contracts=sorted(load_contracts()),
        following=page.next and this_view(after=page.next),
    )


@hand_in_pages.get("/uploads/<uuid:upload_id>")
@allow("uploads:read")
def show_upload(upload_id: UUID) -> str:
    """Where it stands, how it was read, what is wrong with it, and what can be done about it."""
    upload = api.describe_upload(upload_id)
    with services().connection() as connection:
        is_ours = is_whole(get_upload(connection, upload_id))
    can = {
        "correct": upload.status == "loaded" and bool(upload.remaining_rejects) and may("uploads:create"),
        "approve": upload.status == "held" and upload.uploader != principal().id and may("uploads:approve"),
        "retry": upload.status == "failed" and may("uploads:retry"),
        "replace": upload.withdrawn_at is None and may("uploads:replace"),
        "withdraw": upload.withdrawn_at is None and may("uploads:withdraw"),
        "download": may("uploads:content"),
    }
    return render_template("upload.html", upload=upload, can={name: is_ours and can[name] for name in can})


@hand_in_pages.get("/uploads/<uuid:upload_id>/withdraw")
@allow("uploads:withdraw")
def show_withdrawal(upload_id: UUID) -> str:
    """What would become of the figures, before anything is done."""
    return render_template(
        "withdrawal.html", upload=api.describe_upload(upload_id), preview=api.foresee_withdrawal(upload_id)
    )


@hand_in_pages.post("/uploads/<uuid:upload_id>/withdraw")
@allow("uploads:withdraw")
def withdraw(upload_id: UUID) -> Response:
    """Take its rows out; the file is kept."""
    api.withdraw_and_announce(upload_id)
    return _back_to(upload_id)


@hand_in_pages.post("/uploads/<uuid:upload_id>/approve")
@allow("uploads:approve")
def approve(upload_id: UUID) -> Response:
    """Release a held one."""
    api.approve_and_announce(upload_id)
    return _back_to(upload_id)


@hand_in_pages.post("/uploads/<uuid:upload_id>/retry")
@allow("uploads:retry")
def retry(upload_id: UUID) -> Response:
    """Try a failed one again."""
    api.retry_and_announce(upload_id)
    return _back_to(upload_id)


def _back_to(upload_id: UUID) -> Response:
    return redirect(url_for("hand_in_pages.show_upload", upload_id=upload_id), code=303)  # type: ignore[return-value]


def _own_upload(upload_id: UUID) -> UploadRecord:
    """An upload that the caller may correct.

    Raises:
        NotFound: there is none, or not for this caller.
    """
    with services().connection() as connection:
        return find_own(connection, upload_id)
