"""The audit trail, for admins."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response

from backend.access import allow, principal
from backend.auditing import note_for_audit
from backend.operations import Answer, operation
from backend.schemas.audit import AuditLine, AuditPage, AuditQuery
from backend.services import services
from backend.streams import stream_from_database
from elt.audit.reading import AuditFilter, list_lines, stream_csv, student_subjects
from elt.warehouse import Connection

audit = Blueprint("audit", __name__)


@audit.get("/audit")
@allow("audit:read")
@operation(
    "Read the audit trail",
    {200: Answer("A page, newest first; or all lines as a file.", AuditPage, media=("text/csv",))},
    description=(
        "People are named by keyed hashes; give `student_id` to find what was done to one student's record. "
        "An admin of one school sees what that school's people and keys did."
    ),
    query=AuditQuery,
)
def show_audit(query: AuditQuery) -> AuditPage | Response:
    """By who, what, whom and when."""
    return audit_csv(query) if query.format == "csv" else audit_page(query)


def audit_csv(query: AuditQuery) -> Response:
    """All lines that fit, as a file."""
    _note(query)
    return stream_from_database(
        lambda connection: _stream(connection, query), "text/csv; charset=utf-8", "audit.csv"
    )


def audit_page(query: AuditQuery) -> AuditPage:
    """A page of the lines that fit."""
    _note(query)
    after = int(query.after) if query.after else None
    with services().connection() as connection:
        found = list_lines(connection, _filter(connection, query), after=after, limit=query.limit + 1)
    page = [AuditLine.model_validate(line) for line in found[: query.limit]]
    return AuditPage(items=page, next=str(page[-1].audit_id) if len(found) > query.limit else None)


def _note(query: AuditQuery) -> None:
    note_for_audit(filters=sorted(query.model_fields_set - {"limit", "after"}))


def _stream(connection: Connection, query: AuditQuery) -> Iterator[bytes]:
    return stream_csv(connection, _filter(connection, query))


def _filter(connection: Connection, query: AuditQuery) -> AuditFilter:
    settings = services().settings
    subjects = None if query.subject is None else [query.subject]
    if query.student_id is not None:
        school = query.school_id or settings.default_school_id
        named = student_subjects(connection, settings, school, query.student_id)
        subjects = named if subjects is None else [name for name in subjects if name in named]
    return AuditFilter(query.actor, query.action, subjects, query.since, query.until, principal().school_id)
