"""Models of who looks after which student."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from backend.schemas.common import Answered, Sent, Uuid


class NewAssignment(Sent):
    """Who shall look after the student."""

    user_id: Uuid | None = Field(
        default=None,
        description="A teacher or administrator who may see the student; without it, the caller.",
    )


class AssignmentModel(Answered):
    """Who looks after a student now."""

    school_id: str
    student_id: str
    user_id: UUID
    name: str
    assigned_by: str = Field(description="The principal who decided so.")
    assigned_at: datetime


class AssignedTo(Answered):
    """A person who looks after a student."""

    user_id: UUID
    name: str
