"""API keys of programs: which there are, a new one that is shown once, and the end of one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import Forbidden

from backend.access import allow, principal
from backend.errors import InvalidRequest
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.pages.posted import Refusal, again, checked, said
from backend.permissions import PERMISSIONS, ROLES
from backend.routes import keys as api
from backend.schemas.common import PageQuery
from backend.schemas.keys import NewKey
from backend.services import services
from elt.errors import UploadRejected
from elt.people.users import names_of_principals

key_pages = Blueprint("key_pages", __name__)

_MAY_BE_PUT_RIGHT = (InvalidRequest, UploadRejected, Forbidden)
_LIVES = (30, 90, 365)  # days to choose from


@key_pages.get("/admin/keys")
@allow("keys:manage")
def show_keys() -> str:
    """Of the caller's school, or of all; revoked ones too."""
    query = parse_query(PageQuery, is_form=True)
    page = api.show_keys_for(query)
    with services().connection() as connection:
        owners = names_of_principals(connection, [key.owner for key in page.items])
    return render_template(
        "keys.html", page=page, owners=owners, following=page.next and this_view(after=page.next)
    )


@key_pages.get("/admin/keys/new")
@allow("keys:manage")
def show_form() -> str:
    """An empty form."""
    return _form({})


@key_pages.post("/admin/keys/new")
@allow("keys:manage")
def make_key() -> Response:
    """Make the key and show it, this once; or the form again, with what is wrong."""
    sent = _sent()
    try:
        made = api.make_key_for(checked(NewKey, sent))
    except _MAY_BE_PUT_RIGHT as error:
        return again(_form(sent, error), error)
    return make_response(render_template("key_made.html", made=made, name=sent["name"]), 201)


@key_pages.post("/admin/keys/<uuid:key_id>/revoke")
@allow("keys:manage")
def revoke(key_id: UUID) -> Response:
    """Make it worthless, for good."""
    api.revoke_shown(key_id)
    return redirect(url_for("key_pages.show_keys"), code=303)  # type: ignore[return-value]


def _form(values: dict[str, Any], error: Refusal | None = None) -> str:
    roles_of = {
        action: [role for role in ROLES if role in PERMISSIONS[action]] for action in sorted(PERMISSIONS)
    }
    return render_template(
        "key_new.html", values=values, error=said(error), roles=ROLES, lives=_LIVES,
        bound=principal().school_id,
        actions={action: roles for action, roles in roles_of.items() if roles},
    )  # fmt: skip


def _sent() -> dict[str, Any]:
    """The form's fields as the API takes them; what was left empty is none."""
    form = request.form
    return {
        "name": form.get("name", "").strip(),
        "role": form.get("role", ""),
        "school_id": form.get("school_id", "").strip() or principal().school_id,
        "scopes": form.getlist("scopes") or None,
        "expires_in_days": form.get("expires_in_days") or None,
    }
