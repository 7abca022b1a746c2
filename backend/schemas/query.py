"""Models of typed SQL."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from backend.schemas.common import Answered, Sent
from elt.serving.typed_query import MAX_ROWS


class Query(Sent):
    """One statement."""

    sql: Annotated[str, StringConstraints(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$")] = Field(
        description="One SELECT, in PostgreSQL's SQL. The marts are found by their names.",
        examples=["select grade_level, avg(average_score) from mart_class_summary group by grade_level"],
    )
    format: Literal["json", "csv"] = "json"


class QueryAnswer(Answered):
    """What the statement has found."""

    columns: list[str]
    is_cut: bool = Field(description=f"There are more than the {MAX_ROWS} rows given.")
    rows: list[dict[str, Any]]
