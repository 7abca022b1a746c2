"""Models of students and of what is done to help them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from backend.schemas.common import ENCODED, Answered, Day, Name, Sent, Text, Uuid

_SCHOOL = Field(default=None, description="Needed where several schools have a student of this number.")
_REASON = Field(default=None, description="Why you look; kept in the audit trail (or send `X-Purpose`).")


EnrollmentStatus = Literal["current", "left", "new"]
"""Whether somebody is still there: what the summary counts, `enrollment_status` of `mart_student_summary`."""


class StudentsQuery(Sent):
    """Which students."""

    school_id: Name | None = Field(default=None, description="Only of this school.")
    grade_level: Name | None = Field(default=None, description="Only of this grade level.")
    status: EnrollmentStatus | None = Field(
        default=None, description="Only those with results in the latest term, who left, or without results."
    )
    q: Name | None = Field(default=None, description="The beginning of a number, or a part of a name.")
    limit: int = Field(default=50, ge=1, le=200, description="How many at most.")
    after: Annotated[str, StringConstraints(pattern=rf"^{ENCODED},{ENCODED}$", max_length=1200)] | None = (
        Field(default=None, description="Continue behind this student: the `next` of the page before.")
    )


class StudentQuery(Sent):
    """Which student, and why."""

    school: Name | None = _SCHOOL
    reason: Text | None = _REASON


class SchoolQuery(Sent):
    """The school of the student."""

    school: Name | None = _SCHOOL


class StudentSummary(Answered):
    """A student in a list."""

    school_id: str
    student_id: str = Field(description="The school's number; for researchers a pseudonym.")
    full_name: str | None = Field(description="Null for those who may not see names.")
    grade_level: str | None
    stream: str | None
    gender: str | None
    latest_average_score: float | None
    latest_attendance_pct: float | None


class StudentPage(Answered):
    """A page of students, by school and number."""

    items: list[StudentSummary]
    next: str | None = Field(description="Give it as `after` to get the next page; null: this is the last.")


class StudentRecord(Answered):
    """A student's record; the parts have the columns of the marts they come from."""

    school_id: str
    student_id: str
    profile: dict[str, Any] | None = Field(description="`mart_students`; null: no file says who this is.")
    standing: dict[str, Any] | None = Field(description="`mart_student_profiles`.")
    overview: dict[str, Any] | None = Field(description="`mart_student_overview`.")
    terms: list[dict[str, Any]] = Field(description="`mart_student_terms`, oldest first.")
    subjects: list[dict[str, Any]] = Field(description="`mart_student_subjects`, oldest first.")
    jamb: list[dict[str, Any]] = Field(description="`mart_jamb_performance`, newest first.")
    sat: list[dict[str, Any]] = Field(description="`mart_sat_performance`, newest first.")
    wassce: list[dict[str, Any]] = Field(description="`mart_waec_performance`, newest first.")
    guardians: list[dict[str, Any]] = Field(description="`mart_guardians`.")


class StudentRisk(Answered):
    """What is predicted of a student."""

    school_id: str
    student_id: str
    current: dict[str, Any] | None = Field(description="`mart_student_risk`: with reasons; null: nothing.")
    exams: list[dict[str, Any]] = Field(description="`mart_student_predictions`: exams to come.")
    flags: list[dict[str, Any]] = Field(description="`mart_student_flags`: all so far, newest first.")


class NewIntervention(Sent):
    """What was done."""

    done_on: Day = Field(description="The day it was done.")
    action: Name = Field(description="What was done, in a few words.")
    note: Annotated[Text, StringConstraints(max_length=4000)] | None = Field(
        default=None, description="Anything worth knowing."
    )
    corrects: Uuid | None = Field(default=None, description="The line that this one replaces.")
    takes_back: bool = Field(
        default=False, description="The line in `corrects` stands no more; `action` says why."
    )


class InterventionModel(Answered):
    """A line about what was done."""

    id: UUID = Field(validation_alias="intervention_id")
    school_id: str
    student_id: str
    done_on: date
    done_by: str = Field(description="Who wrote it down.")
    action: str
    note: str | None
    corrects: UUID | None
    takes_back: bool = Field(description="It only says why the line that it corrects stands no more.")
    corrected_by: UUID | None = Field(description="The line that stands in place of this one.")
    created_at: datetime


class InterventionWithOutcome(InterventionModel):
    """A line, and what followed."""

    was_at_risk: bool | None = Field(description="By the last prediction up to that day.")
    is_at_risk_after: bool | None = Field(description="By the first prediction after it; null: none yet.")


class InterventionList(Answered):
    """All lines about a student, newest first."""

    items: list[InterventionWithOutcome]
