"""SQL to type: one statement that reads, in the same bounded session as `POST /query`.

A statement may hold values about people, so it stands in no address: it is sent, and its answer is the page.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, render_template, request
from flask_babel import gettext as _
from pydantic import ValidationError

from backend.access import allow, principal
from backend.errors import InvalidRequest
from backend.pages.charts import Chart, Kind, Series
from backend.pages.mart_words import plain_text
from backend.routes.query import run_for_caller
from backend.schemas.query import Query
from backend.services import services
from backend.streams import attach
from elt.serving.marts import list_marts
from elt.serving.typed_query import MAX_ROWS, MAX_SECONDS, Answer

sql_pages = Blueprint("sql_pages", __name__)

_ROWS = 1_000
_DRAWN_ROWS = 60
_DRAWN_SERIES = 3
_BARS = 12
_DAY = re.compile(r"\d{4}(-\d{2}(-\d{2}.*)?)?")


class _Number(str):
    """A number as the database wrote it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Table:
    """What a statement has found. `numbers`: the columns that hold nothing else, but nulls."""

    columns: tuple[str, ...]
    rows: list[list[Any]]
    numbers: frozenset[str]
    is_cut: bool


@sql_pages.get("/sql")
@allow("query:form")
def show_sql() -> str:
    """An empty form, or one that asks for a mart's first rows; with all that can be asked beside it."""
    return _render(mart=request.args.get("mart"))


@sql_pages.post("/sql")
@allow("query:run")
def run_sql() -> str | Response | tuple[str, int]:
    """The rows as a table, a chart where they can be drawn, or as CSV; what is wrong with it in words."""
    typed = request.form.get("sql", "").replace("\r\n", "\n")
    try:
        asked = Query.model_validate_strings({"sql": typed, "format": request.form.get("format", "json")})
    except ValidationError:
        return _render(typed, wrong=_("Type one statement of at most 20,000 characters.")), 422
    try:
        answer = run_for_caller(asked.sql, MAX_ROWS if asked.format == "csv" else _ROWS)
    except InvalidRequest as error:
        line = next((issue.line for issue in error.issues if issue.line), None)
        return _render(typed, wrong=error.detail, line=line), 422
    if asked.format == "csv":
        response = Response(answer.to_csv(), content_type="text/csv; charset=utf-8")
        attach(response, "query.csv")
        response.headers["Laurel-Is-Cut"] = str(answer.is_cut).lower()
        return response
    table = _table(answer)
    return _render(typed, table=table, chart=_drawn(table))


def _render(typed: str = "", *, mart: str | None = None, **found: Any) -> str:
    with services().connection() as connection:
        marts = list_marts(connection, counted=False)
    if mart in [each.name for each in marts]:
        typed = f"select *\nfrom {mart}\nlimit 100"
    return render_template(
        "sql.html", typed=typed, marts=marts, person=principal().id, max_rows=MAX_ROWS, seconds=MAX_SECONDS,
        text=plain_text,
        **found,
    )  # fmt: skip


def _table(answer: Answer) -> _Table:
    rows = [list(json.loads(row, parse_float=_Number, parse_int=_Number).values()) for row in answer.rows]
    numbers = []
    for place, name in enumerate(answer.columns):
        known = [row[place] for row in rows if row[place] is not None]
        if known and all(isinstance(value, _Number) for value in known):
            numbers.append(name)
    return _Table(answer.columns, rows, frozenset(numbers), answer.is_cut)


def _drawn(table: _Table) -> Chart | None:
    """One column of labels and a few of numbers can be drawn; anything else is a table only."""
    labels = [place for place, name in enumerate(table.columns) if name not in table.numbers]
    places = [place for place, name in enumerate(table.columns) if name in table.numbers]
    if len(labels) != 1 or not 1 <= len(places) <= _DRAWN_SERIES or not 1 < len(table.rows) <= _DRAWN_ROWS:
        return None
    if not all(math.isfinite(float(row[place] or 0)) for row in table.rows for place in places):
        return None
    named = [plain_text(row[labels[0]]) for row in table.rows]
    kind: Kind = "bars" if len(named) <= _BARS else "columns"
    if all(_DAY.fullmatch(label) for label in named):
        kind = "line"
    return Chart(
        "answer",
        kind,
        _("The answer, drawn"),
        _("The rows of the table below."),
        table.columns[labels[0]],
        [Series(table.columns[place], decimals=_decimals(table, place)) for place in places],
        [
            (label, [None if row[place] is None else float(row[place]) for place in places])
            for label, row in zip(named, table.rows, strict=True)
        ],
    )


def _decimals(table: _Table, place: int) -> int:
    """As many as the most exact number has, up to four."""
    return min(4, max(len(str(row[place] or "").partition(".")[2]) for row in table.rows))
