"""What the addresses of the pages for administrators may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backend.schemas.common import Sent, Uuid
from backend.schemas.runs import RunStatus


class RunsAddress(Sent):
    """Which runs."""

    status: RunStatus | None = None
    after: Uuid | None = Field(default=None, description="Continue behind this run.")
    asked: Literal["yes"] | None = Field(default=None, description="A run has just been asked for.")
