"""What stands around every page: the pages that the person may open, who they are, the colours they chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from flask import Flask, current_app, g, request, url_for
from flask_babel import lazy_gettext as _

from backend.access import action_of, may
from backend.pages.charts import csv_address
from backend.services import services
from backend.session_cookie import csrf_token, read_session_token
from elt.clock import school_day
from elt.people.principals import Principal
from elt.serving.freshness import Freshness, read_freshness

_THEME = "laurel_theme"
_THEMES = frozenset({"light", "dark"})

Group = Literal["", "administration", "data"]


class _Page(NamedTuple):
    title: Any  # texts, said in the reader's language when they are shown
    about: Any
    group: Group = ""
    holds: Group = ""  # the pages of this group are reached from here


_PAGES = {
    "summary_pages.show_summary": _Page(
        _("Summary"),
        _("How the students stand: attendance, results, who is at risk, exams to come."),
    ),
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
    "mart_pages.show_marts": _Page(
        _("Data"),
        _("Every table of figures, to look at and to take away; what each column means."),
        holds="data",
    ),
    "sql_pages.show_sql": _Page(_("SQL"), _("Ask the marts in a language of your own."), "data"),
    "dictionary_pages.show_dictionary": _Page(
        _("Dictionary"), _("What every column of files and marts means."), "data"
    ),
    "lineage_pages.show_lineage": _Page(_("Lineage"), _("What each table is made of."), "data"),
    "model_pages.show_models": _Page(
        _("Models"),
        _("How good the predictions are, for whom, and why a model is shown or not."),
        "data",
    ),
    "resources_pages.show_resources": _Page(
        _("Resources"), _("Rooms, equipment and teachers of each school: what there is, for how many.")
    ),
    "insights_pages.show_insights": _Page(
        _("Insights"), _("What has to do with results, how much, and what makes no difference.")
    ),
    "live_pages.show_live": _Page(_("Live"), _("The countries of PISA, as their responses come in.")),
    "admin_pages.show_admin": _Page(
        _("Administration"),
        _("What needs somebody now, and the pages for those who run Laurel."),
        holds="administration",
    ),
    "run_pages.show_runs": _Page(
        _("Runs"),
        _("What the pipeline did, what failed and why, and how fresh each dataset is."),
        "administration",
    ),
    "quality_pages.show_quality": _Page(
        _("Data quality"),
        _("Rows that were rejected, by rule, dataset and who handed them in, week by week."),
        "administration",
    ),
    "dispute_pages.show_disputes": _Page(
        _("Disputes"), _("Values that somebody says are wrong: look, put right, settle."), "administration"
    ),
    "people_pages.show_people": _Page(
        _("People"), _("Who may sign in, in which role, for which school and classes."), "administration"
    ),
    "key_pages.show_keys": _Page(
        _("Keys"), _("What lets programs in: make, narrow and revoke keys."), "administration"
    ),
    "audit_pages.show_audit": _Page(
        _("Audit trail"),
        _("Who did what, to whom and when, and whether the trail is whole."),
        "administration",
    ),
    "erasure_pages.show_erasures": _Page(
        _("Erasures"),
        _("People who asked to be forgotten: start it, and see what was done."),
        "administration",
    ),
}
"""The pages that one can go to from anywhere, in their order. Who may open one, its own action says.

Those of the group `administration` stand on a page of their own, which the navigation names once, for those
who run the platform (`administration:read`); what other roles need has no group.
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
    app.jinja_env.globals.update(
        csv_address=csv_address, entries_of=entries, figures_as_of=_figures_as_of, may=may
    )


def entries(group: Group = "") -> list[Entry]:
    """The pages of a group that who calls may open; none for strangers."""
    return [
        Entry(page.title, page.about, url_for(endpoint), _is_here(url_for(endpoint), page))
        for endpoint, page in _PAGES.items()
        if page.group == group and may(action_of(current_app, endpoint) or "")
    ]


def _is_here(href: str, page: _Page) -> bool:
    """Whether this is the page, one below it, or one that is reached from it."""
    if request.path == href or request.path.startswith(f"{href}/"):
        return True
    return bool(page.holds) and any(entry.is_here for entry in entries(page.holds))


def _figures_as_of() -> Freshness:
    with services().connection() as connection:
        return read_freshness(connection)


def _layout() -> dict[str, Any]:
    person: Principal | None = g.get("principal")
    chosen = request.cookies.get(_THEME)
    session = read_session_token()
    return {
        "csrf": csrf_token(session) if session else "",
        "today": school_day(services().settings).isoformat(),
        "me": person,
        "entries": entries(),
        "theme": chosen if chosen in _THEMES else None,
    }
