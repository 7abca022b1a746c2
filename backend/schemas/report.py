"""What the addresses of reports may say."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from backend.schemas.common import Name, Sent


class ClassAddress(Sent):
    """A class."""

    school: Name
    grade_level: Name


class ReportAddress(Sent):
    """Whose report: a student's or a class's. Numbers may hold any character, so they stand in the query."""

    school: Name
    id: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")] | None = Field(
        default=None, description="The school's number of the student."
    )
    grade_level: Name | None = Field(default=None, description="The class.")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.id is None) == (self.grade_level is None):
            raise ValueError("give either `id` (a student) or `grade_level` (a class)")
        return self
