"""Administration: what needs somebody now, and the pages on which it is settled."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from flask import Blueprint, render_template, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from backend.access import allow, may, principal
from backend.pages.layout import entries
from backend.routes.sources import visible_sources
from backend.services import services
from elt.errors import ConfigurationError
from elt.serving.attention import Attention, Kind, list_attention
from elt.sources.listing import ListedSource

admin_pages = Blueprint("admin_pages", __name__)


class _Settled(NamedTuple):
    """Where something is settled, and the action of that page."""

    action: str
    endpoint: str
    query: dict[str, Any]


_SETTLED: dict[Kind, _Settled] = {
    "held": _Settled("uploads:read", "hand_in_pages.show_uploads", {"status": "held"}),
    "failed": _Settled("uploads:read", "hand_in_pages.show_uploads", {"status": "failed"}),
    "waiting": _Settled("uploads:read", "hand_in_pages.show_uploads", {"status": "stored"}),
    "run": _Settled("runs:read", "run_pages.show_runs", {"status": "failed"}),
    "source": _Settled("sources:read", "run_pages.show_runs", {"_anchor": "sources"}),
    "live": _Settled("live:read", "live_pages.show_live", {}),
    "disputes": _Settled("disputes:list", "dispute_pages.show_disputes", {}),
    "erasures": _Settled("erasures:manage", "erasure_pages.show_erasures", {}),
    "left": _Settled("erasures:manage", "erasure_pages.show_erasures", {}),
    "maintenance": _Settled("runs:start", "run_pages.show_runs", {}),
    "backup": _Settled("runs:start", "run_pages.show_runs", {}),
    "unverified": _Settled("runs:start", "run_pages.show_runs", {}),
    "training": _Settled("runs:start", "model_pages.show_models", {}),
}


@admin_pages.get("/admin")
@allow("administration:read")
def show_admin() -> str:
    """What the caller may settle stands above, the pages that they may open below."""
    return render_template("admin.html", attention=attention(), pages=entries("administration"))


def attention() -> list[tuple[str, str, datetime | None]]:
    """What waits for who calls: in words, where it is settled, and since when it waits."""
    sources: list[ListedSource] = []
    broken: list[tuple[str, str, datetime | None]] = []
    if may("sources:read"):
        try:
            sources = visible_sources()
        except ConfigurationError as error:
            broken = [(error.detail, _place_of("source"), None)]
    with services().connection() as connection:
        found = list_attention(connection, sources, school_id=principal().school_id)
    mine = [each for each in found if may(_SETTLED[each.kind].action)]
    return broken + [(_said(each), _place_of(each.kind), each.since) for each in mine]


def _place_of(kind: Kind) -> str:
    place = _SETTLED[kind]
    return url_for(place.endpoint, **place.query)


def _said(each: Attention) -> str:
    match each.kind:
        case "held":
            said = ngettext(
                "%(num)d file is held until somebody else releases it",
                "%(num)d files are held until somebody else releases them",
                each.number,
            )
        case "failed":
            said = ngettext(
                "%(num)d file could not be loaded", "%(num)d files could not be loaded", each.number
            )
        case "waiting":
            said = ngettext(
                "%(num)d file has waited for more than an hour",
                "%(num)d files have waited for more than an hour",
                each.number,
            )
        case "run":
            said = ngettext("The last run has failed", "The last %(num)d runs have failed", each.number)
        case "source":
            said = _("The source %(name)s cannot be read", name=each.name)
        case "live":
            said = _("The live source %(name)s is away", name=each.name)
        case "disputes":
            said = ngettext(
                "%(num)d disputed value waits for a decision",
                "%(num)d disputed values wait for a decision",
                each.number,
            )
        case "erasures":
            said = ngettext(
                "%(num)d erasure is not finished after two days",
                "%(num)d erasures are not finished after two days",
                each.number,
            )
        case "left":
            said = _("Students left long ago and wait for a decision")
        case "maintenance":
            said = _("The daily maintenance has failed")
        case "backup":
            said = _("The last backup that was tried is older than two days")
        case "unverified":
            said = _("No backup has been tried yet")
        case "training":
            said = _("The weekly training of the models has failed")
    return str(said)
