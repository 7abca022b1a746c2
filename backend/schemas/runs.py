"""Models of pipeline runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from backend.schemas.common import Answered, PageQuery

RunStatus = Literal["running", "succeeded", "failed"]


class RunListQuery(PageQuery):
    """Which runs."""

    status: RunStatus | None = Field(default=None, description="Only in this status.")


class Run(Answered):
    """One run of the pipeline: discover, load, transform, score, publish."""

    id: UUID = Field(validation_alias="run_id")
    trigger: str = Field(description="What started it.")
    airflow_run: str | None = Field(description="The run's id in Airflow, where Airflow ran it.")
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    stages: dict[str, Any] = Field(
        description="What each stage reported about itself; about people only to admins of all schools."
    )
    error: str | None = Field(description="The stage that failed, and why.")


class RunPage(Answered):
    """A page of runs, newest first."""

    items: list[Run]
    next: str | None = Field(description="Give it as `after` to get the next page; null: this is the last.")


class RunRequested(Answered):
    """A run has been asked for; it starts as soon as the one that may be running has ended."""

    waiting_uploads: int = Field(description="How many uploads wait to be loaded.")
