"""What the addresses of the pages for administrators may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backend.schemas.common import Name, Sent, Uuid
from backend.schemas.datasets import DatasetName
from backend.schemas.runs import RunStatus


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
