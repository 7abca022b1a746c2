"""Models of sources."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from backend.schemas.common import Answered
from elt.sources.listing import Status


class SourceTable(Answered):
    """A table of a source, or a question to an API."""

    table: str
    dataset: str = Field(description="What its rows become.")
    rows: int = Field(description="How many it had when it was read last.")
    synced_at: datetime | None = Field(description="When it was read last; null: never.")
    compared_at: datetime | None = Field(description="When it was last compared row by row.")
    error: str | None = Field(description="Why it could not be read the last time.")
    findings: list[str] = Field(description="What is new or missing there, and stops nothing.")


class Source(Answered):
    """A database or an API that is read every five minutes."""

    name: str
    kind: str
    school_id: str
    status: Status = Field(description="`not_configured`: its address is not set, as `error` says.")
    started_at: datetime | None = Field(description="When the last reading began.")
    succeeded_at: datetime | None = Field(description="When all its tables could be read last.")
    error: str | None
    rows: int
    tables: list[SourceTable]


class SourceList(Answered):
    """All sources, by name."""

    items: list[Source]
