"""What stands around every page: the pages that the person may open, who they are, the colours they chose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Flask, current_app, g, request, url_for

from backend.access import action_of, may
from backend.pages.charts import csv_address
from backend.session_cookie import csrf_token, read_session_token
from elt.people.principals import Principal

_THEME = "laurel_theme"
_THEMES = frozenset({"light", "dark"})

_PAGES = {
    "worklist_pages.show_worklist": (
        "Who needs help",
        "Students who may fall behind, the most urgent first: why, what to do, and what was done.",
    ),
    "student_pages.show_students": ("Students", "Find a student: results, attendance, exams to come."),
    "hand_in_pages.show_hand_in": (
        "Hand in",
        "Send files, see what was understood, and correct what was rejected.",
    ),
    "hand_in_pages.show_uploads": ("Files", "What was handed in, and what became of it."),
    "live_pages.show_live": ("Live", "The countries of PISA, as their responses come in."),
}
"""The pages that one can go to from anywhere, in their order. Who may open one, its own action says."""


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
    app.jinja_env.globals["csv_address"] = csv_address


def entries() -> list[Entry]:
    """The pages that who calls may open; none for strangers."""
    return [
        Entry(title, about, url_for(endpoint), request.endpoint == endpoint)
        for endpoint, (title, about) in _PAGES.items()
        if may(action_of(current_app, endpoint) or "")
    ]


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
