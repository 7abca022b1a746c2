"""Charts as data: a table and a kind of drawing. Pages show it, `static/charts.js` draws it, CSV keeps it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from flask import Response

from backend.errors import InvalidRequest
from backend.pages.addresses import this_view
from backend.streams import attach
from elt.reading.spreadsheets import guard

Kind = Literal["bars", "columns", "line", "donut"]
Unit = Literal["", " %"]

_PARAMETER = "csv"
"""With it in the address of a page, the chart of that id is answered as CSV."""


@dataclass(frozen=True, slots=True)
class Series:
    """A column of figures. `unit` stands behind each of them."""

    name: str
    unit: Unit = ""
    decimals: int = 0

    def text(self, value: float | None) -> str:
        """A figure as people read it."""
        return "–" if value is None else f"{value:,.{self.decimals}f}{self.unit}"


@dataclass(frozen=True, slots=True)
class Chart:
    """A table that is drawn. `of`: what the labels of the rows are."""

    id: str
    kind: Kind
    title: str
    definition: str
    of: str
    series: Sequence[Series]
    rows: Sequence[tuple[str, Sequence[float | None]]] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `definition` says what it counts; `note` of how many, or as of when."""

    label: str
    text: str
    definition: str
    note: str = ""


def csv_address(chart_id: str) -> str:
    """The address of this page's chart as CSV, for the same choice."""
    return this_view(**{_PARAMETER: chart_id})


def answer_csv(charts: Sequence[Chart], wanted: str) -> Response:
    """One of the page's charts as CSV.

    Raises:
        InvalidRequest: the page has no such chart.
    """
    for chart in charts:
        if chart.id == wanted:
            response = Response(_written(chart), content_type="text/csv; charset=utf-8")
            attach(response, f"{chart.id}.csv")
            return response
    raise InvalidRequest(f"This page has these charts: {', '.join(chart.id for chart in charts)}.")


def _written(chart: Chart) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([guard(cell) for cell in (chart.of, *(series.name for series in chart.series))])
    for label, values in chart.rows:
        writer.writerow([guard(label), *("" if value is None else value for value in values)])
    return text.getvalue()
