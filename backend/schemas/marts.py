"""Models of marts and of where their figures come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from backend.schemas.common import Answered, Name, Sent

_COLUMN = "[a-z][a-z0-9_]*"
_PAIR = f"{_COLUMN}=[^,\\x00]*"
KEY = f"^({_PAIR}(,{_PAIR})*|\\{{.*\\}})$"


class MartColumn(Answered):
    """One column of a mart."""

    name: str
    type: str = Field(description="PostgreSQL's name of the type.")
    description: str | None
    is_nullable: bool


class Mart(Answered):
    """A described table of figures."""

    name: str
    kind: Literal["table", "view"]
    description: str | None
    grain: list[str] = Field(description="The columns that together tell its rows apart.")
    rows: int | None = Field(description="About how many there are.")
    columns: list[MartColumn]


class MartList(Answered):
    """All marts; none before the first run has built them."""

    items: list[Mart]


class MartQuery(Sent):
    """Any column of the mart as a filter: `grade_level=SS3`, or with an operator `total_score__gte=50`.

    Operators: `eq`, `ne`, `lt`, `lte`, `gt`, `gte`, `contains`, `isnull`. The same column twice: any of
    the values.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | list[str]]

    columns: Annotated[str, StringConstraints(pattern=f"^{_COLUMN}(,{_COLUMN})*$")] | None = Field(
        default=None, description="Only these, in this order, separated by commas."
    )
    order: Annotated[str, StringConstraints(pattern=f"^-?{_COLUMN}(,-?{_COLUMN})*$")] | None = Field(
        default=None,
        description="By these columns, separated by commas, with `-` in front descending; then by the grain.",
    )
    format: Literal["json", "csv", "parquet"] = Field(
        default="json", description="A JSON array of objects, a CSV file, or a Parquet file."
    )
    limit: int | None = Field(
        default=None, ge=1, le=2**53, description="How many rows at most; default: all."
    )
    after: Annotated[str, StringConstraints(pattern=KEY)] | None = Field(
        default=None,
        description=(
            "Rows behind the one with these values of the columns that order, to read in pages: "
            "`school_id=main,student_id=STU001`, or a JSON object."
        ),
    )


class ProvenanceQuery(Sent):
    """Which figure."""

    mart: Name = Field(description="The mart's name.")
    key: Annotated[str, StringConstraints(pattern=KEY)] = Field(
        description="The row: `school_id=main,student_id=STU001`, or a JSON object."
    )
    column: Name = Field(description="The column of the figure.")
    limit: int = Field(default=100, ge=1, le=1000, description="How many lines at most.")
    after: Name | None = Field(default=None, description="The `next` of the page before.")


class SourceLine(Answered):
    """A row of a file that a figure is made of."""

    dataset: str
    upload_id: UUID
    version: int
    filename: str
    line: int
    school_id: str
    fixes: UUID | None = Field(description="The upload whose rejected row this line corrected.")
    values: dict[str, Any] = Field(description="The cells that the figure is made of.")


class Provenance(Answered):
    """A figure, and the lines it is made of."""

    mart: str
    column: str
    key: dict[str, Any]
    value: Any
    total: int = Field(description="How many lines there are.")
    lines: list[SourceLine]
    next: str | None = Field(description="Give it as `after` to get the next page; null: this is the last.")
