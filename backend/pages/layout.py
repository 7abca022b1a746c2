"""What stands around every page: the pages that the person may open, who they are, the colours they chose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from flask import Flask, current_app, g, request, url_for
from flask_babel import lazy_gettext as _

from backend.access import action_of, may
from backend.pages.charts import csv_address
from backend.services import services
from backend.session_cookie import csrf_token, read_session_token
from elt.people.principals import Principal
from elt.serving.freshness import Freshness, read_freshness

_THEME = "laurel_theme"
_THEMES = frozenset({"light", "dark"})

Group = Literal["", "administration"]


class _Page(NamedTuple):
    title: Any  # texts, said in the reader's language when they are shown
    about: Any
    group: Group = ""


_PAGES = {
    "worklist_pages.show_worklist": _Page(
        _("Who needs help"),
        _("Students who may fall behind, the most urgent first: why, what to do, and what was done."),
    ),
    "student_pages.show_students": _Page(
        _("Students"), _("Find a student: results, attendance, exams to come.")
    ),
    "hand_in_pages.show_hand_in": _Page(
        _("Hand in"), _("Send files, see what was understood, and correct what was rejected.")
    ),
    "hand_in_pages.show_uploads": _Page(_("Files"), _("What was handed in, and what became of it.")),
    "live_pages.show_live": _Page(_("Live"), _("The countries of PISA, as their responses come in.")),
}
"""The pages that one can go to from anywhere, in their order. Who may open one, its own action says.

Those of the group `administration` stand on a page of their own, which the navigation names once.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A page in the navigation."""

    title: str
    about: str
    href: str
    is_here: bool


def register_layout(app: Flask) -> None:
    """Give every template what `base.html` needs."""
    app.context_processor(_layout)
    app.jinja_env.globals.update(csv_address=csv_address, figures_as_of=_figures_as_of)


def entries(group: Group = "") -> list[Entry]:
    """The pages of a group that who calls may open; none for strangers."""
    return [
        Entry(page.title, page.about, url_for(endpoint), request.endpoint == endpoint)
        for endpoint, page in _PAGES.items()
        if page.group == group and may(action_of(current_app, endpoint) or "")
    ]


def _figures_as_of() -> Freshness:
    with services().connection() as connection:
        return read_freshness(connection)


def _layout() -> dict[str, Any]:
    person: Principal | None = g.get("principal")
    chosen = request.cookies.get(_THEME)
    session = read_session_token()
    return {
        "csrf": csrf_token(session) if session else "",
        "today": datetime.now(UTC).date().isoformat(),
        "me": person,
        "entries": entries(),
        "theme": chosen if chosen in _THEMES else None,
    }
