"""Where one lands: what there is to do now, and the pages that one may open, each with a sentence."""

from __future__ import annotations

from flask import Blueprint, render_template

from backend.access import allow, may, principal
from backend.pages.admin import attention
from backend.routes.uploads import show_uploads_for
from backend.schemas.uploads import UploadListQuery
from backend.services import services
from elt.serving.worklist import count_at_risk

home_pages = Blueprint("home_pages", __name__)

_FEW = 3  # files; the page of files has them all


@home_pages.get("/")
@allow("session:read")
def show_home() -> str:
    """Who needs help, files on their way, what waits for an administrator: as far as one may see it."""
    at_risk = None
    if may("risk:read"):
        with services().reader(principal()) as session:
            at_risk = count_at_risk(session)
    return render_template(
        "home.html",
        at_risk=at_risk,
        recent=show_uploads_for(UploadListQuery(limit=_FEW)).items if may("uploads:read") else [],
        attention=attention() if may("administration:read") else [],
    )
