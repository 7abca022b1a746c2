"""Models of the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from backend.schemas.common import Answered, Moment, Name, Sent

Line = Annotated[str, StringConstraints(pattern="^[0-9]{1,18}$")]


class AuditQuery(Sent):
    """Which lines. What is left out does not limit."""

    actor: Name | None = Field(default=None, description="Who: `user:<id>`, `key:<id>`, `cli:<account>`.")
    action: Name | None = Field(default=None, description="What, such as `students:read`.")
    subject: Name | None = Field(default=None, description="To what, such as `upload:<id>`.")
    school_id: Name | None = Field(default=None, description="The school of `student_id`; default: `main`.")
    student_id: Name | None = Field(default=None, description="Only what was done to this student's record.")
    since: Moment | None = Field(default=None, description="From this moment on.")
    until: Moment | None = Field(default=None, description="Before this moment.")
    format: Literal["json", "csv"] = Field(default="json", description="A page, or all lines as a CSV file.")
    limit: int = Field(default=50, ge=1, le=1000, description="How many at most, in JSON.")
    after: Line | None = Field(default=None, description="Continue behind this line: the `next` of a page.")


class AuditLine(Answered):
    """Who did what, and when."""

    audit_id: int = Field(description="1, 2, 3 … without gaps.")
    occurred_at: datetime
    actor: str
    actor_name: str | None = Field(description="The present name of the person or key.")
    action: str
    subject: str = Field(description="What it was done to. People stand here as a keyed hash.")
    detail: dict[str, Any] = Field(description="Why (`reason`), in which request, and what else matters.")
    sha256: str = Field(description="Hash of this line and of the hash of the line before.")


class AuditPage(Answered):
    """A page of lines, newest first."""

    items: list[AuditLine]
    next: str | None = Field(description="Give it as `after` to get the next page; null: this is the last.")
