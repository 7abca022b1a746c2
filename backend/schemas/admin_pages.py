"""What the addresses of the pages for administrators may say."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from backend.schemas.audit import Line
from backend.schemas.common import Day, Name, Sent, Uuid
from backend.schemas.datasets import DatasetName
from backend.schemas.runs import RunStatus

_FIRST, _LAST = date(1900, 1, 1), date(2999, 12, 31)  # beyond which clocks of other zones have no time


class RunsAddress(Sent):
    """Which runs."""

    status: RunStatus | None = None
    after: Uuid | None = Field(default=None, description="Continue behind this run.")
    asked: Literal["yes"] | None = Field(default=None, description="A run has just been asked for.")


class QualityAddress(Sent):
    """Of which files."""

    weeks: int = Field(default=12, ge=1, le=104, description="How many, this one included.")
    dataset: DatasetName | None = None
    uploader: Name | None = None
    csv: Name | None = Field(default=None, description="Only this chart, as CSV.")


class AuditAddress(Sent):
    """Which lines of the audit trail, in whole days of the school's time zone."""

    actor: Name | None = None
    action: Name | None = None
    subject: Name | None = None
    school_id: Name | None = Field(default=None, description="The school of `student_id`.")
    student_id: Name | None = None
    since: Day | None = Field(default=None, ge=_FIRST, le=_LAST, description="From this day on.")
    until: Day | None = Field(default=None, ge=_FIRST, le=_LAST, description="To this day, which is in it.")
    after: Line | None = Field(default=None, description="Continue behind this line.")
    csv: Literal["lines"] | None = Field(default=None, description="All lines that fit, as CSV.")


class ModelAddress(Sent):
    """Which version of a model."""

    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Leave out for the newest.")
    csv: Name | None = Field(default=None, description="Only this chart, as CSV.")
