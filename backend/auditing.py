"""What requests leave in the audit trail (`elt.audit.trail`).

Every action of `backend.permissions` is in one of three sets. Acts are written by elt, in the transaction of
the act itself. What shows people's data is written here, after the view has made its answer and before the
first byte of it leaves: an answer that cannot be written down is not given. Denials are written, but only so
many a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, current_app, g, request

from backend.access import action_of
from backend.denials import DenialLimit
from backend.errors import problem_of
from backend.services import services
from elt.audit.numbers import leave_out
from elt.audit.sql import veil_values
from elt.audit.trail import keyed_mark, person_subject, record
from elt.errors import LaurelError, TransientError
from elt.log import get_logger
from elt.people.principals import Principal
from elt.privacy.pseudonyms import is_pseudonym

WRITTEN_IN_THE_ACT = frozenset(
    {
        "erasures:manage",
        "keys:manage",
        "session:create",  # refused ones are denials
        "session:end",
        "users:manage",
        "disputes:settle",
        "disputes:write",
        "interventions:write",
        "assignments:write",
        "notes:write",
        "uploads:amend",
        "uploads:approve",
        "uploads:create",
        "uploads:replace",
        "uploads:retry",
        "uploads:withdraw",
    }
)
WRITTEN_HERE = frozenset(
    {
        "audit:read",
        "disputes:list",
        "disputes:read",
        "interventions:read",
        "marts:read",
        "notes:read",
        "provenance:read",
        "query:run",
        "reports:read",
        "resources:read",
        "risk:read",
        "runs:start",
        "students:export",
        "students:list",
        "students:read",
        "summary:read",
        "uploads:content",
    }
)
NOT_WRITTEN = frozenset(
    {
        "administration:read",  # what waits, by count
        "datasets:check",  # stores nothing, shows the sender their own file
        "datasets:propose",
        "datasets:read",
        "docs:read",
        "health:read",
        "live:public",  # figures of countries, and of no person
        "lineage:read",  # how tables are made, no rows
        "insights:read",  # sizes of effects, and no person
        "live:read",
        "marts:list",  # which there are, no rows
        "mails:choose",  # the caller's own wishes
        "metrics:read",
        "models:read",
        "quality:read",  # counts of rows by rule
        "query:form",  # an empty one; what is typed is written down when it is run
        "runs:read",
        "sources:read",
        "session:forms",
        "session:read",
        "uploads:read",  # status and counts; issues never repeat personal values
    }
)

# A statement that fails may tell something too.
_WRITTEN_IF_TRIED = frozenset({"query:run"})
# Whether a record exists is told to nobody who may not see it, so for them looking for one is a denial too.
_HIDDEN = frozenset(
    {
        "students:read", "students:export", "interventions:read", "interventions:write", "notes:read",
        "notes:write", "disputes:read", "disputes:write", "disputes:settle", "reports:read",
        "assignments:write",
    }
)  # fmt: skip
_MAX_REASON = 500
_log = get_logger(__name__)


def register_auditing(app: Flask) -> None:
    """Write a line for each answer that needs one."""
    app.extensions["laurel_denials"] = DenialLimit()
    app.after_request(_write)


def note_for_audit(subject: str = "", **detail: Any) -> None:
    """What this request's line shall say beside who, what and when. Never names, cells or identifiers."""
    g.audit_subject = subject or g.get("audit_subject", "")
    g.audit_detail = {**g.get("audit_detail", {}), **detail}


def note_also(action: str, **detail: Any) -> None:
    """This answer shows what another action shows, too, and leaves that one's line as well."""
    g.audit_also = [*g.get("audit_also", []), (action, detail)]


def student_subject(school_id: str, student_id: str) -> str:
    """How this request's line names a student that its caller sees, or looks for, under this identifier."""
    if g.principal.role in ("researcher", "analyst") and is_pseudonym(student_id):
        return f"pseudonym:{student_id}"
    g.audit_identifier = student_id
    return person_subject(services().settings, "student", school_id, student_id)


def subject_of(key: Mapping[str, Any]) -> str:
    """How this request's line names the student whom conditions on a mart single out; empty: nobody."""
    school, student = (key.get(name, key.get(f"{name}__eq")) for name in ("school_id", "student_id"))
    school = school or g.principal.school_id or services().settings.default_school_id
    return student_subject(school, student) if isinstance(school, str) and isinstance(student, str) else ""


def veiled(value: str) -> str:
    """A keyed mark that stands for what somebody has searched for."""
    return keyed_mark(services().settings, value)[:12]


def note_sql(statement: str) -> None:
    """Keep a statement that somebody has typed; values in it, which may name people, are veiled."""
    note_for_audit(sql=veil_values(services().settings, statement))


def _write(response: Response) -> Response:
    action = action_of(current_app, request.endpoint) if request.url_rule else None
    status = response.status_code
    if status in (401, 403) or (status == 404 and action in _HIDDEN):
        _write_denial(action or "", status)
    elif action in WRITTEN_HERE and (_is_answered(status) or (action in _WRITTEN_IF_TRIED and status == 422)):
        try:
            _record(action or "", _detail())
            for other, detail in g.get("audit_also", []):
                _record(other, {**_detail(), **detail})
        except LaurelError as error:
            response.close()
            return problem_of(error)
    return response


def _is_answered(status: int) -> bool:
    """Whether it was done: 303 sends the reader of a page on to what came of it."""
    return status < 300 or status == 303


def _detail() -> dict[str, Any]:
    detail = {"request": g.request_id, **g.get("audit_detail", {})}
    if reason := request.headers.get("X-Purpose", "").strip()[:_MAX_REASON]:
        detail.setdefault("reason", reason)
    if "reason" in detail:
        detail["reason"] = leave_out(detail["reason"], [g.get("audit_identifier", "")])
    return detail


def _write_denial(action: str, status: int) -> None:
    address = request.remote_addr or ""
    limit: DenialLimit = current_app.extensions["laurel_denials"]
    left_out = limit.admit(f"{_caller()} {address}")
    if left_out is None:
        return
    detail = {
        **_detail(),
        "denied": status,
        "address": address,
        "route": request.url_rule and request.url_rule.rule,
    }
    if left_out:
        detail["others_left_out"] = left_out
    try:
        _record(action or "unknown", detail)
    except TransientError:
        _log.warning("denial_not_written", action=action, status=status)


def _record(action: str, detail: dict[str, Any]) -> None:
    with services().connection() as connection:
        record(connection, _caller(), action, g.get("audit_subject", ""), detail)


def _caller() -> str:
    caller: Principal | None = g.get("principal")
    return caller.id if caller is not None else "anonymous"
