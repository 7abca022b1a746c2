"""The weekly report of a class by e-mail: a link to its page, or the PDF where the school chose that."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from elt.clock import school_day
from elt.mail import Mail, can_mail
from elt.outbox import send_due
from elt.people.principals import HELPERS, Principal
from elt.people.users import UserRecord, principal_of
from elt.serving.report import read_class_report, record_report, sees_class
from elt.serving.report_pdf import write_pdf
from elt.serving.report_sheet import class_sheet
from elt.serving.sessions import reader
from elt.serving.subscriptions import list_subscriptions, queue_due, unsubscribe
from elt.settings import Settings
from elt.warehouse import Connection, connect


def send_due_reports(settings: Settings) -> int:
    """Send the reports that are due, once each, and those that wait; returns how many went out.

    Without a mail server none: they stay due.

    Raises:
        DatabaseUnavailable: the database went away; what is noted is sent by the next call.
    """
    if not can_mail(settings):
        return 0
    with connect(settings.database_url.get_secret_value(), application_name="laurel-mail") as connection:
        queue_due(connection, school_day(settings))
    return send_due(settings, {"report": write_report})


def write_report(
    settings: Settings, connection: Connection, person: UserRecord, detail: dict[str, Any]
) -> Mail | None:
    """The mail about a class; None: the subscription ended, or ends: the person may not see that any more.

    Raises:
        NotFound: no run has built the marts, or one is building them.
    """
    subscription_id = UUID(detail["subscription_id"])
    held = {each.subscription_id for each in list_subscriptions(connection, person.user_id)}
    if subscription_id not in held:
        return None
    school, grade = detail["school_id"], detail["grade_level"]
    if not _may_read(settings, person, school, grade):
        unsubscribe(connection, person.user_id, subscription_id)
        return None
    here = settings.resolved_public_url
    text = (
        f"The report of class {grade}, school {school}, is ready:\n"
        f"{here}/report?{urlencode({'school': school, 'grade_level': grade})}\n\n"
        f"You get this each week because you asked for it. To end it: {here}/account\n"
    )
    attachment = None
    if settings.mail_reports == "attach":
        attachment = (f"{school} {grade}.pdf", _pdf(settings, principal_of(person), school, grade))
    return Mail((person.email,), f"Laurel: report of class {grade}", text, attachment=attachment)


def _may_read(settings: Settings, person: UserRecord, school: str, grade: str) -> bool:
    if person.role not in HELPERS:
        return False
    with reader(settings, principal_of(person)) as session:
        return sees_class(session, school, grade)


def _pdf(settings: Settings, reading: Principal, school: str, grade: str) -> bytes:
    """As the person sees the class; the lines in the audit trail are there before anything leaves."""
    with (
        connect(settings.database_url.get_secret_value(), application_name="laurel-mail") as connection,
        reader(settings, reading) as session,
    ):
        sheet = class_sheet(read_class_report(session, connection, school, grade))
        told = {"school_id": school, "grade_level": grade, "by": "mail"}
        record_report(connection, reading.id, "", told)
    return write_pdf(sheet)
