"""What the addresses of pages may say beside what the API's may."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from backend.schemas.common import Name, Sent, Uuid
from backend.schemas.datasets import DatasetName
from backend.schemas.students import EnrollmentStatus

_NO_NUL = r"^[^\x00]+$"


class StudentAddress(Sent):
    """Which student's page. Numbers may hold any character, so they stand in the query, not the path."""

    school: Name
    id: Annotated[str, StringConstraints(max_length=200, pattern=_NO_NUL)] = Field(
        description="The school's number, or a pseudonym."
    )
    term: Name | None = Field(default=None, description="The term of the subjects, as 2024/2025 First Term.")
    subject: Name | None = Field(default=None, description="The subject that is shown over the terms.")
    csv: Name | None = Field(default=None, description="Only this chart, as CSV.")


class HandInAddress(Sent):
    """What is to be handed in."""

    dataset: DatasetName | None = None
    fixes: Uuid | None = Field(default=None, description="The upload whose rejected rows the file corrects.")
    replaces: Uuid | None = Field(default=None, description="The upload of which the file is a new version.")


class SummaryAddress(Sent):
    """Of which students."""

    school_id: Name | None = Field(default=None, description="Only of this school.")
    grade_level: Name | None = Field(default=None, description="Only of this class.")
    status: EnrollmentStatus | Literal["all"] = Field(
        default="current", description="At school, left, without results yet, or all of them."
    )
    term: Name | None = Field(
        default=None, description="Results of this term, as 2023/2024 Second Term; without it, of the latest."
    )
    csv: Name | None = Field(default=None, description="Only this chart, as CSV.")


class DictionaryQuery(Sent):
    """What to look up."""

    q: Name | None = Field(default=None, description="Words of a name, a header or a meaning.")


class LineageQuery(Sent):
    """Where to stand."""

    of: Name | None = Field(default=None, description="A table: `mart_students`, `raw.students`.")
