"""The report of a student or a class on one page, to print or to take away as a PDF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, redirect, render_template, url_for
from flask_babel import gettext as _

from backend.access import allow, may, principal
from backend.auditing import note_also, note_for_audit
from backend.operations import parse_query
from backend.pages.account import own_user_id
from backend.routes.students import find_seen
from backend.schemas.report import ClassAddress, ReportAddress
from backend.services import services
from backend.streams import attach
from backend.texts import day, language_without_region
from elt.clock import school_day
from elt.errors import NotFound
from elt.mail import can_mail
from elt.people.principals import user_id_of
from elt.serving.report import read_class_report, read_student_report, sees_class
from elt.serving.report_pdf import write_pdf
from elt.serving.report_sheet import (
    Sheet,
    Words,
    chance,
    class_sheet,
    of_100,
    reasons,
    student_sheet,
)
from elt.serving.subscriptions import subscribe
from elt.warehouse import Connection

report_pages = Blueprint("report_pages", __name__)


@report_pages.app_template_global("words_of_100")
def words_of_100(probability: float) -> str:
    """A probability in words."""
    return of_100(probability, _)


@report_pages.app_template_global("words_of_chance")
def words_of_chance(prediction: Mapping[str, Any]) -> str:
    """A prediction in words."""
    return chance(prediction, _)


report_pages.add_app_template_global(reasons, "reasons_of")


@report_pages.get("/report")
@allow("reports:read")
def show_report() -> str:
    """Of a student or of a class, as the address says."""
    asked = parse_query(ReportAddress, is_form=True)
    address = asked.model_dump(exclude_none=True)
    is_weekly = asked.grade_level is not None and user_id_of(principal().id) is not None
    back = (
        url_for("student_pages.show_student", school=asked.school, id=asked.id)
        if asked.id is not None
        else url_for("worklist_pages.show_worklist", school_id=asked.school, grade_level=asked.grade_level)
    )
    return render_template(
        "report.html",
        sheet=_sheet(asked),
        pdf=url_for("report_pages.send_report", **address),
        back=back,
        can_mail=can_mail(services().settings),
        subscribe=url_for("report_pages.subscribe_to_class", **address) if is_weekly else None,
    )


@report_pages.get("/report.pdf")
@allow("reports:read")
def send_report() -> Response:
    """The same as a PDF."""
    asked = parse_query(ReportAddress, is_form=True)
    pdf = write_pdf(_sheet(asked), language=language_without_region(), page=_("Page"))
    response = Response(pdf, content_type="application/pdf")
    attach(response, f"{asked.school} {asked.id or asked.grade_level}.pdf")
    return response


@report_pages.post("/report/weekly")
@allow("mails:choose")
def subscribe_to_class() -> Response:
    """Send the caller the report of a class by e-mail, each week.

    Raises:
        NotFound: the caller sees no such class.
    """
    asked = parse_query(ClassAddress)
    person = own_user_id()
    with services().reader(principal()) as session:
        if not may("reports:read") or not sees_class(session, asked.school, asked.grade_level):
            raise NotFound("There is no such class.")
    with services().connection() as connection:
        subscribe(connection, person, asked.school, asked.grade_level, school_day(services().settings))
    return redirect(url_for("account_pages.show_account"), code=303)  # type: ignore[return-value]


def _sheet(asked: ReportAddress) -> Sheet:
    """Read as the caller may see it; each look leaves its lines in the audit trail."""
    words = Words(_, day)
    if may("interventions:read"):
        note_also("interventions:read")
        with services().connection() as connection:
            return _read(asked, connection, words)
    return _read(asked, None, words)


def _read(asked: ReportAddress, connection: Connection | None, words: Words) -> Sheet:
    with services().reader(principal()) as session:
        if asked.id is not None:
            school = find_seen(session, asked.id, asked.school, None)
            return student_sheet(read_student_report(session, connection, school, asked.id), words)
        assert asked.grade_level is not None  # noqa: S101 - it is one of the two
        note_for_audit(school_id=asked.school, grade_level=asked.grade_level)
        return class_sheet(read_class_report(session, connection, asked.school, asked.grade_level), words)
