"""The audit trail: who did what, to whom and when, and whether a line was changed or taken out."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, render_template, url_for
from werkzeug.exceptions import Forbidden

from backend.access import allow, principal
from backend.auditing import note_for_audit
from backend.operations import parse_query
from backend.permissions import PERMISSIONS
from backend.routes.audit import audit_csv, audit_page
from backend.schemas.admin_pages import AuditAddress
from backend.schemas.audit import AuditQuery
from backend.services import services
from elt.audit.anchors import read_anchors, write_anchor
from elt.audit.reading import list_actors
from elt.audit.trail import AuditReport, verify
from elt.errors import Conflict

audit_pages = Blueprint("audit_pages", __name__)

_SAME_NAMES = ("actor", "action", "subject", "school_id", "student_id", "after")
_VERIFIED_HERE = 200_000
"""Lines that are checked while somebody waits: a few seconds. More, the command line checks."""


@audit_pages.get("/admin/audit")
@allow("audit:read")
def show_audit() -> Response | str:
    """Newest first; of a school, what its people and keys did."""
    query = parse_query(AuditAddress, is_form=True)
    if query.csv:
        return audit_csv(_wanted(query))
    return _page(query)


@audit_pages.post("/admin/audit/verify")
@allow("audit:read")
def verify_chain() -> str:
    """Read the whole chain, and compare it with what the store keeps of it, as `laurel audit verify` does."""
    if principal().school_id is not None:
        raise Forbidden("The chain is checked by administrators of all schools.")
    note_for_audit(verified=True)
    with services().connection() as connection:
        if _last_line(connection) > _VERIFIED_HERE:
            raise Conflict("The trail is too long to be checked while you wait. Run: laurel audit verify")
        report = verify(connection, read_anchors(services().store))
        if report.is_sound:
            write_anchor(connection, services().store)
    return _page(AuditAddress(), report)


def _page(query: AuditAddress, report: AuditReport | None = None) -> str:
    school_id = principal().school_id
    page = audit_page(_wanted(query))
    with services().connection() as connection:
        actors = list_actors(connection, school_id)
        last = _last_line(connection)
    return render_template(
        "audit.html",
        page=page,
        query=query,
        actors=actors,
        actions=sorted(PERMISSIONS),
        following=page.next and _address(query, after=page.next),
        csv=_address(query, csv="lines"),
        can_verify=school_id is None and last <= _VERIFIED_HERE,
        is_bound=school_id is not None,
        last=last,
        report=report,
    )


def _address(query: AuditAddress, **more: str) -> str:
    """Of the same lines, also where the page answers a check, which has no address to come back to."""
    same: dict[str, Any] = query.model_dump(mode="json", exclude_none=True, exclude={"after", "csv"})
    return url_for("audit_pages.show_audit", **same | more)


def _wanted(query: AuditAddress) -> AuditQuery:
    """The same for the API's route: days begin and end at midnight in the school's time zone."""
    chosen: dict[str, Any] = {
        name: value for name in _SAME_NAMES if (value := getattr(query, name)) is not None
    }
    if query.since:
        chosen["since"] = _midnight(query.since)
    if query.until:
        chosen["until"] = _midnight(query.until + timedelta(days=1))
    return AuditQuery(**chosen)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(services().settings.time_zone))


def _last_line(connection: Any) -> int:
    found = connection.execute("select max(audit_id) as last from ops.audit").fetchone()
    return int(found["last"] or 0) if found else 0
