"""Lineage: what each table is made of and what is made of it, as a picture to walk in; and dbt's own pages.

The picture is drawn here, in SVG: a column for each step away from a table, a line for each direct way.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from flask import Blueprint, Response, g, render_template, request
from flask_babel import gettext as _

from backend.access import allow
from backend.operations import JSON_TYPE, parse_query
from backend.schemas.pages import LineageQuery
from backend.services import services
from elt.errors import NotFound
from elt.transforming.dbt_docs import as_bytes, docs_catalog, docs_manifest, docs_page
from elt.transforming.dbt_lineage import Graph, Table, read_graph

lineage_pages = Blueprint("lineage_pages", __name__)

_LAYERS = ("raw", "ops", "ml", "seeds", "staging", "intermediate", "core", "marts")
_LETTER, _LINE, _GAP, _BETWEEN = 8, 24, 8, 48  # of the picture, in its own units
_LIST_OF_CHANGES = re.compile(r"__changed$|_changes$|^int_changed_")
_SCRIPT = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Box:
    """A table in the picture."""

    table: Table
    x: int
    y: int
    width: int


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes, and the lines between them: their way, and whether they touch the chosen one."""

    boxes: list[Box]
    lines: list[tuple[str, bool]]
    width: int
    height: int


@lineage_pages.get("/lineage")
@allow("lineage:read")
def show_lineage() -> str:
    """A table with what it is made of and what is made of it; without one, all tables to choose from."""
    asked = parse_query(LineageQuery, is_form=True)
    graph = graph_or_nothing()
    if asked.of is None or graph is None:
        return render_template("lineage.html", graph=graph, layers=_layers(graph), of=None)
    if asked.of not in graph.tables:
        raise NotFound(_("There is no such table. All of them are at /lineage."))
    above, below = graph.above(asked.of), graph.below(asked.of)
    return render_template(
        "lineage.html",
        graph=graph,
        of=graph.tables[asked.of],
        above=_by_layer(graph, above),
        below=_by_layer(graph, below),
        picture=draw(graph, asked.of),
    )


@lineage_pages.get("/lineage/dbt/")
@allow("lineage:read")
def show_dbt_docs() -> Response:
    """dbt's page. Its scripts are within it, so the browser is told exactly which those are."""
    docs_manifest(services().settings)  # without one the page would stay empty
    page = docs_page()
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in _SCRIPT.findall(page)
    )
    g.content_policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src 'self' data:; "
        "font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return _sent(page.encode(), "text/html; charset=utf-8")


@lineage_pages.get("/lineage/dbt/manifest.json")
@allow("lineage:read")
def show_manifest() -> Response:
    """What dbt knows about the project."""
    return _sent(as_bytes(docs_manifest(services().settings)), JSON_TYPE)


@lineage_pages.get("/lineage/dbt/catalog.json")
@allow("lineage:read")
def show_catalog() -> Response:
    """What the database knows about its tables."""
    with services().connection() as connection:
        return _sent(as_bytes(docs_catalog(services().settings, connection)), JSON_TYPE)


def graph_or_nothing() -> Graph | None:
    """The graph; None before the first run."""
    try:
        return read_graph(services().settings)
    except NotFound:
        return None


def draw(whole: Graph, chosen: str, *, only_above: bool = False) -> Picture:
    """The tables in columns, left of the chosen one what it is made of, right of it what is made of it."""
    graph = _without_plumbing(whole, chosen)
    columns: dict[int, list[str]] = {}
    for name, step in _steps(graph, chosen, only_above=only_above).items():
        columns.setdefault(step, []).append(name)
    heights = _heights(graph, columns)
    boxes: dict[str, Box] = {}
    x = 1
    for step in sorted(columns):
        width = _LETTER * max(map(len, columns[step])) + 2 * _GAP
        boxes |= {name: Box(graph.tables[name], x, heights[name], width) for name in columns[step]}
        x += width + _BETWEEN
    lines = [
        (_way(boxes[parent], box), chosen in (parent, name))
        for name, box in boxes.items()
        for parent in box.table.parents
        if parent in boxes
    ]
    lines.sort(key=lambda line: line[1])  # those of the chosen one lie on top
    height = max(heights.values()) + _LINE + 1
    return Picture(list(boxes.values()), lines, x - _BETWEEN + 1, height)


def _without_plumbing(graph: Graph, chosen: str) -> Graph:
    """Without rules, ledger and lists of what changed: they decide how tables are made, not of what."""
    drawn = {
        table.name
        for table in graph.tables.values()
        if table.layer not in ("ops", "seeds") and not _LIST_OF_CHANGES.search(table.name)
    } | {chosen}
    return Graph(
        {
            name: replace(
                graph.tables[name],
                parents=tuple(each for each in graph.tables[name].parents if each in drawn),
                children=tuple(each for each in graph.tables[name].children if each in drawn),
            )
            for name in drawn
        }
    )


def _steps(graph: Graph, chosen: str, *, only_above: bool) -> dict[str, int]:
    """How far each stands from the chosen one, on the longest way: what it is made of below zero."""
    found = {chosen: 0}

    def of(name: str, side: Collection[str], way: int) -> int:
        if name not in found:
            table = graph.tables[name]
            nearer = table.children if way < 0 else table.parents
            found[name] = way * (1 + max(abs(of(each, side, way)) for each in nearer if each in side))
        return found[name]

    for way, reached in ((-1, graph.above(chosen)), (1, set() if only_above else graph.below(chosen))):
        for name in sorted(reached):
            of(name, {*reached, chosen}, way)
    return found


def _heights(graph: Graph, columns: Mapping[int, list[str]]) -> dict[str, int]:
    """How far down each stands: beside those that it has a line to, columns beside each other's middle."""
    tallest = max(map(len, columns.values()))
    found: dict[str, int] = {}
    for step in sorted(columns, key=abs):
        first = 1 + (tallest - len(columns[step])) * (_LINE + _GAP) // 2
        for row, name in enumerate(
            sorted(columns[step], key=lambda name: (_middle(graph, name, found), name))
        ):
            found[name] = first + row * (_LINE + _GAP)
    return found


def _middle(graph: Graph, name: str, heights: Mapping[str, int]) -> float:
    """Where the tables stand, on average, that it has a line to."""
    near = (*graph.tables[name].parents, *graph.tables[name].children)
    found = [heights[each] for each in near if each in heights]
    return sum(found) / len(found) if found else 0


def _way(start: Box, end: Box) -> str:
    """A line in the words of SVG."""
    x, y, to_x, to_y = start.x + start.width, start.y + _LINE // 2, end.x, end.y + _LINE // 2
    bend = (to_x - x) // 2
    return f"M{x} {y}C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}"


def _layers(graph: Graph | None) -> list[tuple[str, list[Table]]]:
    return _by_layer(graph, graph.tables) if graph else []


def _by_layer(graph: Graph, names: Iterable[str]) -> list[tuple[str, list[Table]]]:
    found: dict[str, list[Table]] = {}
    for name in sorted(names):
        found.setdefault(graph.tables[name].layer, []).append(graph.tables[name])
    return sorted(
        found.items(), key=lambda item: _LAYERS.index(item[0]) if item[0] in _LAYERS else len(_LAYERS)
    )


def _sent(content: bytes, content_type: str) -> Response:
    """Compressed: nothing in it is a secret or about a person."""
    response = Response(content, content_type=content_type)
    response.vary.add("Accept-Encoding")
    if request.accept_encodings["gzip"]:
        response.set_data(gzip.compress(content, 5, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response
