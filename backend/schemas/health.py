"""Models of the health routes."""

from __future__ import annotations

from typing import Literal

from backend.schemas.common import Answered


class Health(Answered):
    """The process is alive."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(Answered):
    """What the API needs, and that it is there."""

    status: Literal["ready"] = "ready"
    checks: dict[str, Literal["ok"]]
