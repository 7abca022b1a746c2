"""The summary: how the students of a choice stand, counted in students, as figures and as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, render_template, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from backend.access import allow, principal
from backend.auditing import note_for_audit
from backend.operations import parse_query
from backend.pages.charts import Figure, answer_csv
from backend.pages.summary_charts import charts_of_classes, charts_of_students, share, students_of
from backend.schemas.pages import SummaryAddress
from backend.services import services
from backend.texts import number
from elt.serving.summary import SummaryFilter, read_summary

summary_pages = Blueprint("summary_pages", __name__)

_STATUSES = {"current": "Current", "left": "Left", "new": "New", "all": None}
_EXAMS = {"jamb": "JAMB", "sat": "SAT", "wassce": "WASSCE"}


@summary_pages.get("/summary")
@allow("summary:read")
def show_summary() -> Response | str:
    """Teachers see the students of their classes, administrators those of their school or of all."""
    asked = parse_query(SummaryAddress, is_form=True)
    note_for_audit(
        school_id=asked.school_id, grade_level=asked.grade_level, status=asked.status, term=asked.term
    )
    with services().reader(principal()) as session:
        summary = read_summary(session, _filter(asked))
    of_students = charts_of_students(summary, asked)
    of_classes = charts_of_classes(summary)
    if asked.csv is not None:
        return answer_csv([*of_students, *of_classes], asked.csv)
    return render_template(
        "summary.html",
        asked=asked,
        count=summary.whole["students"],
        is_anybody_there=bool(summary.schools or summary.terms),
        schools=_with(summary.schools, asked.school_id),
        grades=_with(summary.grades, asked.grade_level),
        terms=_with([term_name(row) for row in reversed(summary.terms)], asked.term),
        figures=_figures(summary.whole, asked),
        exams=[_exam(summary.whole, key, name) for key, name in _EXAMS.items()],
        of_students=of_students,
        of_classes=of_classes,
    )


def term_name(row: Mapping[str, Any]) -> str:
    """A term as the address names it: 2023/2024 Second Term."""
    return f"{row['school_year']} {row['term']}"


def _filter(asked: SummaryAddress) -> SummaryFilter:
    school_year, _space, term = (asked.term or "").partition(" ")
    return SummaryFilter(
        asked.school_id,
        asked.grade_level,
        _STATUSES[asked.status],
        school_year or None,
        term if school_year else None,
    )


def _with(options: Sequence[str], chosen: str | None) -> list[str]:
    """What can be chosen, and what is, be it nowhere any more: what a form shows is what is counted."""
    return [*options, *([chosen] if chosen and chosen not in options else [])]


def _figures(whole: Mapping[str, Any], asked: SummaryAddress) -> list[Figure]:
    worklist = url_for(
        "worklist_pages.show_worklist", school_id=asked.school_id, grade_level=asked.grade_level
    )
    return [
        _students(whole, asked),
        Figure(
            _("Average attendance"),
            _percent(whole["attendance_pct"]),
            _("The mean of the students' attendance in the term, each student counted once."),
            _of(whole["with_attendance"], _("with attendance")),
        ),
        Figure(
            _("Pass rate"),
            _percent(share(whole["passed"], whole["with_results"])),
            _(
                "Students whose average in the term is at least the pass mark, %(mark)s of 100.",
                mark=f"{whole['pass_mark'] or 0:g}",
            ),
            _of(whole["with_results"], _("with results")),
        ),
        Figure(
            _("At risk"),
            number(whole["at_risk"]) if whole["risk_known"] else "–",
            _("Students on the list of who needs help, as of now, whatever term is chosen."),
            _by(_of(whole["risk_known"], _("with a prediction")), is_rule=whole["is_risk_by_rule"]),
            href=worklist if whole["at_risk"] and asked.term is None else "",
        ),
    ]


def _students(whole: Mapping[str, Any], asked: SummaryAddress) -> Figure:
    meanings = {
        "current": _(
            "Students with results in the latest term of their class that has come as a whole, whatever the "
            "record says of them."
        ),
        "left": _(
            "Students whose results are all of earlier terms; and of those without any results, who have "
            "left by the record."
        ),
        "new": _("Students without any results yet, who have not left by the record."),
        "all": _("Students who are on record or have results, those who have left included."),
    }
    of_term = " " + _("Of these, those with results in the chosen term.") if asked.term else ""
    return Figure(
        _("Students"),
        number(whole["students"]),
        meanings[asked.status] + of_term,
        href="" if asked.term else students_of(asked, asked.grade_level),
    )


def _exam(whole: Mapping[str, Any], key: str, name: str) -> Figure:
    return Figure(
        _("%(exam)s, likely to pass", exam=name),
        _percent(share(whole[f"{key}_likely"], whole[f"{key}_known"])),
        _(
            "Students who are as likely as not, or more likely, to pass %(exam)s, by what is predicted now. "
            "Predictions begin in senior school.",
            exam=name,
        ),
        _by(_of(whole[f"{key}_known"], _("with a prediction")), is_rule=whole[f"is_{key}_by_rule"]),
    )


def _of(count: int, which: str) -> str:
    text = ngettext("of %(num)d student %(which)s", "of %(num)d students %(which)s", count, which=which)
    return str(text)


def _by(note: str, *, is_rule: bool) -> str:
    return str(_("%(note)s; where no model speaks, by the plain rule", note=note)) if is_rule else note


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{number(value, 1)} %"
