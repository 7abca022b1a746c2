"""Charts as data: a table and a kind of drawing. Pages show it, `static/charts.js` draws it, CSV keeps it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flask import Response
from flask_babel import gettext as _

from backend.errors import InvalidRequest
from backend.pages.addresses import this_view
from backend.streams import attach
from backend.texts import number
from elt.reading.spreadsheets import guard

Kind = Literal["bars", "columns", "line", "area", "donut", "map", "bubbles", "interval"]
"""What `static/charts.js` draws. `map`: one series, `keys` are codes of countries. `bubbles`: across, up,
size. `interval`: a point, then the two ends of one or more intervals around it, the narrowest first."""

Unit = Literal["", " %"]
Verdict = Literal["below", "at", "above"]
"""How a row stands to the mark that counts."""

_PARAMETER = "csv"
"""With it in the address of a page, the chart of that id is answered as CSV."""


@dataclass(frozen=True, slots=True)
class Series:
    """A column of figures. `unit` stands behind each of them.

    `most`: no figure is greater, so drawings of it are of one size. `words`: what figures are called.
    """

    name: str
    unit: Unit = ""
    decimals: int = 0
    most: float | None = None
    words: Mapping[float, str] | None = None

    def text(self, value: float | None) -> str:
        """A figure as people read it."""
        if self.words is not None and value is not None:
            return self.words[value]
        return "–" if value is None else number(value, self.decimals) + self.unit


@dataclass(frozen=True, slots=True)
class Chart:
    """A table that is drawn. `of`: what the labels of the rows are.

    `keys`: what rows are known by to programs, one each, where that is not their label. `links`: where rows
    lead to, one each, empty for none. `band`: in a chart of intervals, how far from zero an amount counts as
    nothing.
    """

    id: str
    kind: Kind
    title: str
    definition: str
    of: str
    series: Sequence[Series]
    rows: Sequence[tuple[str, Sequence[float | None]]] = field(default_factory=tuple)
    keys: Sequence[str] = ()
    links: Sequence[str] = ()
    band: float | None = None
    mark: float | None = None
    verdicts: Sequence[Verdict] = ()

    def verdict(self, place: int) -> str:
        """How a row stands to the mark, in words."""
        words = {"below": _("Below"), "at": _("At the mark"), "above": _("Above")}
        return str(words[self.verdicts[place]])


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `definition`: what it counts; `note`: of how many, or when; `href`: where it leads."""

    label: str
    text: str
    definition: str
    note: str = ""
    href: str = ""


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
    head = [
        chart.of,
        *(series.name for series in chart.series),
        *([_("Pass mark")] if chart.verdicts else []),
    ]
    writer.writerow([guard(str(cell)) for cell in head])
    for place, (label, values) in enumerate(chart.rows):
        cells = [_cell(series, value) for series, value in zip(chart.series, values, strict=True)]
        verdict = [chart.verdict(place)] if chart.verdicts else []
        writer.writerow([guard(label), *cells, *verdict])
    return text.getvalue()


def _cell(series: Series, value: float | None) -> float | str:
    if value is None:
        return ""
    return guard(series.text(value)) if series.words is not None else value
