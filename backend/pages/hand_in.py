"""Handing in files and what became of them: the researcher's pages. `static/hand_in.js` sends and follows."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, redirect, render_template, request, url_for

from backend.access import allow, principal
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.permissions import scope_of
from backend.routes import uploads as api
from backend.schemas.uploads import UploadListQuery
from elt.contracts import load_contracts

hand_in_pages = Blueprint("hand_in_pages", __name__)


@hand_in_pages.get("/hand-in")
@allow("uploads:create")
def show_hand_in() -> str:
    """Choose what the files hold, drop them, see what was understood, send.

    `dataset` chooses beforehand; `fixes` names the upload whose rejected rows the file corrects.
    """
    contracts = load_contracts()
    chosen = request.args.get("dataset")
    return render_template(
        "hand_in.html",
        contracts=sorted(contracts.values(), key=lambda contract: contract.title),
        chosen=chosen if chosen in contracts else None,
        fixes=request.args.get("fixes", ""),
        recent=api.show_uploads_for(UploadListQuery(limit=5)).items,
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
    """Where it stands, how it was read, what is wrong with it, and what can be done."""
    upload = api.describe_upload(upload_id)
    may_approve = scope_of(principal().role, "uploads:approve") is not None
    return render_template("upload.html", upload=upload, may_approve=may_approve)


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
