"""Models of the worklist and of the model that makes it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from backend.schemas.assignments import AssignedTo
from backend.schemas.common import ENCODED, Answered, Name, Sent

# Whether at risk, score, school and student.
_PLACE = rf"^[01],-?[0-9]{{1,20}}(?:\.[0-9]{{1,20}})?(?:e[+-]?[0-9]{{1,3}})?,{ENCODED},{ENCODED}$"


class RiskQuery(Sent):
    """Which students."""

    school_id: Name | None = Field(default=None, description="Only of this school.")
    grade_level: Name | None = Field(default=None, description="Only of this grade level.")
    only_at_risk: bool = Field(default=True, description="Only those who are at risk.")
    assigned: Literal["all", "mine", "nobody"] = Field(
        default="all", description="Those the caller looks after, those nobody looks after, or all."
    )
    limit: int = Field(default=50, ge=1, le=1000, description="How many at most.")
    after: Annotated[str, StringConstraints(pattern=_PLACE, max_length=2000)] | None = Field(
        default=None, description="Continue behind this place: the `next` of the page before."
    )


class StudentAtRisk(Answered):
    """A line of the worklist, with the columns of `mart_student_risk`."""

    model_config = ConfigDict(extra="allow")

    school_id: str
    student_id: str
    assigned_to: AssignedTo | None = Field(description="Who looks after the student; null: nobody.")


class RiskPage(Answered):
    """A page of the worklist, the most urgent first."""

    items: list[StudentAtRisk]
    next: str | None = Field(description="Give it as `after` to get the next page; null: this is the last.")


class ModelVersion(Answered):
    """A trained version and what the gate said about it."""

    model_id: UUID
    target: str
    version: int
    algorithm: str
    created_at: datetime
    code_version: str
    is_published: bool = Field(description="Whether it passed; if no version has, the plain rule is shown.")
    accepted_by: str | None = Field(
        description="Who let it pass though groups of students lie apart; null where nobody had to."
    )
    accepted_at: datetime | None
    accepted_reason: str | None
    data_window: dict[str, Any]
    features: Any
    metrics: dict[str, Any]
    gate: Any = Field(description="Each condition, what was found, and whether it passed.")


class CardQuery(Sent):
    """Which version's card."""

    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Leave out for the newest.")


class ModelSummary(Answered):
    """A target and its newest version."""

    name: str = Field(description="The target that is predicted.")
    versions: int
    published_version: int | None = Field(
        description="The version whose predictions are shown; null: the rule's."
    )
    newest: ModelVersion


class ModelList(Answered):
    """All targets."""

    items: list[ModelSummary]


class ModelDetail(Answered):
    """A target with all its versions, newest first."""

    name: str
    published_version: int | None
    versions: list[ModelVersion]
