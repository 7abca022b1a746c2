"""Erasures: who asked to be forgotten (never who it was), what was removed, and what still waits."""

from __future__ import annotations

from typing import Any, get_args

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.exceptions import Forbidden

from backend.access import allow, principal
from backend.errors import InvalidRequest
from backend.pages.posted import Refusal, again, checked, said
from backend.routes.erasures import erase_person, visible_erasures
from backend.schemas.erasures import NewErasure
from backend.services import services
from elt.errors import UploadRejected
from elt.people.users import names_of_principals
from elt.privacy.tombstones import Kind

erasure_pages = Blueprint("erasure_pages", __name__)

_MAY_BE_PUT_RIGHT = (InvalidRequest, UploadRejected, Forbidden)


@erasure_pages.get("/admin/erasures")
@allow("erasures:manage")
def show_erasures() -> str:
    """Newest first, and the form for another."""
    return _page({})


@erasure_pages.post("/admin/erasures")
@allow("erasures:manage")
def start_erasure() -> Response:
    """Take the person out of raw, or the form again with what is wrong. It is done only for who is sure."""
    sent = {name: request.form.get(name, "").strip() for name in ("kind", "school_id", "id", "reason")}
    sent["school_id"] = sent["school_id"] or principal().school_id or services().settings.default_school_id
    try:
        erase_person(_parse(sent))
    except _MAY_BE_PUT_RIGHT as error:
        return again(_page(sent, error), error)
    return redirect(url_for("erasure_pages.show_erasures"), code=303)  # type: ignore[return-value]


def _page(values: dict[str, Any], error: Refusal | None = None) -> str:
    erasures = visible_erasures()
    with services().connection() as connection:
        names = names_of_principals(connection, [each.requested_by for each in erasures])
    return render_template(
        "erasures.html", erasures=erasures, names=names, values=values, error=said(error),
        kinds=get_args(Kind),
        bound=principal().school_id, main_school=services().settings.default_school_id,
    )  # fmt: skip


def _parse(sent: dict[str, Any]) -> NewErasure:
    if "sure" not in request.form:
        raise InvalidRequest(_("Say that you are sure: nothing brings the records back."))
    return checked(NewErasure, sent)
