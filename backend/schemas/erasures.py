"""Models of erasures."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from backend.schemas.common import Answered, Name, Sent, Text


class NewErasure(Sent):
    """A person to be erased. Stands in the body, so that no log of addresses keeps who it was."""

    kind: Literal["student", "guardian", "teacher"] = "student"
    school_id: Name = Field(description="The person's school.")
    id: Name = Field(description="The school's own number of the person.")
    reason: Text = Field(min_length=1, description="Why, without naming the person. Is kept.")


class Erasure(Answered):
    """What is known about an erasure; never who it was."""

    id: UUID = Field(validation_alias="erasure_id")
    kind: str
    school_id: str
    reason: str
    requested_by: str
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None = Field(
        description="When a search of everything found nothing any more; null: files are still to be done."
    )
    found: list[str] = Field(
        description="As what a search still found the person (`identifier`, `name`): it waits for a decision."
    )
    counts: dict[str, int] = Field(description="How many rows and objects were removed, by place.")


class ErasureList(Answered):
    """Erasures, newest first."""

    items: list[Erasure]
