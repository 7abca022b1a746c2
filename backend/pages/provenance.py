"""Where a figure comes from: the lines of files behind it; and where to say that it is wrong."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, render_template
from flask_babel import gettext as _

from backend.access import allow, may, principal
from backend.auditing import note_also
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.pages.mart_words import cell_text
from backend.pages.posted import back, posted
from backend.routes.disputes import write_dispute, write_settlement
from backend.routes.marts import as_request_errors, parse_key, read_figure_row, read_lines
from backend.schemas.marts import ProvenanceQuery
from backend.schemas.notes import DisputeWords, Disputing, NewDispute, Settlement
from backend.schemas.pages import StudentAddress
from backend.services import services
from elt.errors import NotFound
from elt.people.users import names_of_principals
from elt.serving.disputes import Dispute, list_disputes, row_key_of
from elt.serving.marts import MartColumn, Provenance

provenance_pages = Blueprint("provenance_pages", __name__)


@provenance_pages.get("/provenance")
@allow("provenance:read")
def show_provenance() -> str:
    """One figure with its definition, the lines it is made of, and what was said about it."""
    query = parse_query(ProvenanceQuery, is_form=True)
    with as_request_errors():
        mart, key, row = read_figure_row(query)
        column = mart.column(query.column)
        found, refused = _lines(query, key)
    student = (row.get("school_id"), row.get("student_id"))
    grain = {name: row[name] for name in mart.grain} or key
    return render_template(
        "provenance.html",
        mart=mart, column=column, value=_text(column, row[query.column]), refused=refused,
        key=[(mart.column(name), _text(mart.column(name), value)) for name, value in grain.items()],
        lines=found.lines if found else [], total=found.total if found else 0,
        following=this_view(after=found.next) if found and found.next else None,
        beginning=this_view(after=None) if query.after else None,
        student=student if all(student) else None, asked_key=query.key,
        **_disputes(student, query, grain),
    )  # fmt: skip


@provenance_pages.post("/student/disputes")
@allow("disputes:write")
def write() -> Response:
    """Say that a value is wrong."""
    asked = parse_query(StudentAddress)
    figure, words = posted(Disputing, "In the dispute"), posted(DisputeWords, "In the dispute")
    key = {
        name: value
        for name, value in parse_key(figure.key).items()
        if name not in ("school_id", "student_id")
    }
    write_dispute(
        asked.id, asked.school,
        NewDispute(
            mart=figure.mart, column=figure.column, key=key, should_be=words.should_be, reason=words.reason
        ),
    )  # fmt: skip
    return back()


@provenance_pages.post("/student/disputes/<uuid:dispute_id>/settle")
@allow("disputes:settle")
def settle(dispute_id: UUID) -> Response:
    """Say what came of a dispute."""
    write_settlement(dispute_id, posted(Settlement, "In the settlement"))
    return back()


def _lines(query: ProvenanceQuery, key: dict[str, Any]) -> tuple[Provenance | None, str]:
    """The lines, or why there are none to be shown."""
    try:
        return read_lines(query, key), ""
    except NotFound as error:
        return None, error.detail


def _disputes(
    student: tuple[str | None, str | None], query: ProvenanceQuery, grain: dict[str, Any]
) -> dict[str, Any]:
    """What was said about this figure, newest first, and whether more may be said."""
    school_id, student_id = student
    found: list[Dispute] = []
    names: dict[str, str] = {}
    if school_id and student_id and may("disputes:read"):
        note_also("disputes:read")
        with services().connection() as connection:
            found = [
                each
                for each in list_disputes(connection, school_id, student_id)
                if (each.mart, each.column_name, each.row_key)
                == (query.mart, query.column, row_key_of(grain))
            ]
            people = [who for each in found for who in (each.raised_by, each.settled_by or "")]
            names = names_of_principals(connection, people)
    return {
        "disputes": found,
        "may_dispute": may("disputes:write") and not any(each.outcome is None for each in found),
        "may_settle": may("disputes:settle"),
        "name_of_principal": lambda who: names.get(who, _("a program")),
        "may_open_uploads": may("uploads:read") and principal().role == "admin",
    }


def _text(column: MartColumn, value: Any) -> str:
    if isinstance(value, Decimal):
        value = format(value.normalize(), "f")
    elif isinstance(value, date):
        value = value.isoformat()
    elif not isinstance(value, bool | str | list | dict) and value is not None:
        value = str(value)
    return cell_text(column, value)
