"""Models that several resources share."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

# Text that PostgreSQL can keep: it has no NUL.
_NO_NUL = r"^[^\x00]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_NO_NUL)]
Text = Annotated[str, StringConstraints(max_length=500, pattern=_NO_NUL)]
ENCODED = r"(?:[A-Za-z0-9_.~-]|%0[1-9A-F]|%[1-9A-F][0-9A-F])*"
"""Such text percent-encoded, as a part of a cursor."""
Uuid = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
        min_length=36,
        max_length=36,
    ),
]


def _refuse_number(value: Any) -> Any:
    """Pydantic takes a number for seconds since 1970; the document does not."""
    if not re.match(r"\d{4}-", str(value)):
        raise ValueError("write it as 2026-11-20, with the time as 2026-11-20T16:00:00Z")
    return value


Day = Annotated[date, BeforeValidator(_refuse_number)]
Moment = Annotated[AwareDatetime, BeforeValidator(_refuse_number)]


class Sent(BaseModel):
    """What comes in; unknown names are refused, because they are mistyped ones."""

    model_config = ConfigDict(extra="forbid")


class Answered(BaseModel):
    """What goes out."""

    model_config = ConfigDict(from_attributes=True)


class IssueModel(Answered):
    """One thing that is wrong with a file or a request."""

    line: int | None = Field(
        default=None, description="Physical line where the record starts; null: the file as a whole."
    )
    column: str | None = Field(default=None, description="The contract's column; null: the row as a whole.")
    rule: str = Field(description="The rule that is broken.")
    found: str | None = Field(default=None, description="What stood there; never given for personal columns.")
    hint: str = Field(description="What was expected, in words.")
    severity: Literal["error", "warning"] = "error"


class Problem(Answered):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A stable name of the kind of problem.")
    title: str = Field(description="The kind of problem in words.")
    status: int
    detail: str = Field(description="What happened here, and what to do.")
    instance: str = Field(description="This one occurrence; the log knows it by the same id.")
    issues: list[IssueModel] = Field(description="What is wrong with the file or request, the first 50.")


class PageQuery(Sent):
    """Where in a list to start, and how much of it."""

    limit: int = Field(default=50, ge=1, le=200, description="How many at most.")
    after: Uuid | None = Field(
        default=None, description="Continue behind this one: the `next` of the page before."
    )
