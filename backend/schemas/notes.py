"""Models of notes about students, and of values that are disputed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from backend.schemas.common import Answered, Name, Sent, Uuid
from backend.schemas.marts import KEY

Outcome = Literal["corrected", "stands"]

WrittenText = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]


class NewNote(Sent):
    """What is worth knowing about a student."""

    note: WrittenText = Field(description="What is worth knowing.")


class NoteModel(Answered):
    """A note about a student."""

    id: UUID = Field(validation_alias="note_id")
    school_id: str
    student_id: str
    note: str
    written_by: str = Field(description="Who wrote it.")
    created_at: datetime
    taken_back_by: str | None
    taken_back_at: datetime | None = Field(description="Since when it does not stand; null: it stands.")


class NoteList(Answered):
    """All notes about a student, newest first."""

    items: list[NoteModel]


class DisputeWords(Sent):
    """What is said about a value that is wrong."""

    should_be: Name | None = Field(default=None, description="What it should be, if that is known.")
    reason: WrittenText = Field(description="Why it is wrong, and how that is known.")


class Disputing(Sent):
    """Which value a page's form is about."""

    mart: Name
    column: Name
    key: Annotated[str, StringConstraints(max_length=2000, pattern=KEY)]


class NewDispute(DisputeWords):
    """A value that is wrong."""

    mart: Name = Field(description="The mart in which it stands.")
    column: Name = Field(description="Its column.")
    key: dict[Name, Name | int | None] = Field(
        default_factory=dict,
        max_length=10,
        description="The other columns of the mart's grain, beside school and student.",
    )


class Settlement(Sent):
    """What came of a dispute."""

    outcome: Literal["corrected", "stands"] = Field(
        description="`corrected`: the source was put right; `stands`: the value is right as it is."
    )
    why: WrittenText = Field(description="What was found, and what was done.")


class DisputeModel(Answered):
    """A value that somebody says is wrong."""

    id: UUID = Field(validation_alias="dispute_id")
    school_id: str
    student_id: str
    mart: str
    column: str = Field(validation_alias="column_name")
    key: dict[str, str | None] = Field(validation_alias="row_key")
    shown: str | None = Field(
        description="The value as it was when it was disputed; null also for a key that may not read it."
    )
    should_be: str | None
    reason: str
    raised_by: str
    created_at: datetime
    outcome: Literal["corrected", "stands"] | None = Field(description="null: nobody has settled it yet.")
    settled_by: str | None
    settled_why: str | None
    settled_at: datetime | None


class DisputeList(Answered):
    """All disputes about values of a student, newest first."""

    items: list[DisputeModel]


class DisputesQuery(Sent):
    """Which disputes."""

    is_open: bool = Field(default=True, description="Those that wait to be settled, or those that are.")
    limit: int = Field(default=50, ge=1, le=200, description="How many at most.")
    after: Uuid | None = Field(default=None, description="Continue behind this one: the `next` before.")


class DisputePage(Answered):
    """A page of disputes, newest first."""

    items: list[DisputeModel]
    next: str | None = Field(description="Give it as `after` to get the next page; null: this is the last.")
