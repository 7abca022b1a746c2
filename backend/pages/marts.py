"""The marts to look at: which there are, and the rows of one as a table to choose, sort and take away.

The address says the choice in the words of `GET /api/v1/marts/{name}`, so the files that the page offers are
exactly what it shows. What forms send (`_column`, `_operator`, `_value`, `_show`) becomes such an address
first. `_by` counts the values of a column, `_sums` sums all of them up, `_lines` lets figures lead to their
source lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from backend.access import allow, may, principal
from backend.auditing import note_for_audit, subject_of
from backend.errors import InvalidRequest
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.pages.lineage import Picture, draw, graph_or_nothing
from backend.pages.mart_words import cell_text, operators, type_in_words
from backend.routes.marts import filters_asked, parse_key
from backend.schemas.marts import MartQuery
from backend.services import services
from elt.errors import TransientError, UploadRejected
from elt.privacy.column_classes import MartClasses, mart_classes
from elt.serving.mart_browsing import (
    MAX_VALUES,
    count_rows,
    count_values,
    is_measured,
    is_sortable,
    read_page,
    summarise,
)
from elt.serving.marts import OPERATORS, Mart, MartColumn, describe_mart, list_marts
from elt.transforming.dbt_lineage import Table
from elt.warehouse import Connection

mart_pages = Blueprint("mart_pages", __name__)

_ROWS = 50
_FORM = ("_column", "_operator", "_value", "_show")
_OF_THE_PAGE = (*_FORM, "_by", "_sums", "_lines")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the address says."""

    columns: list[str] | None
    order: list[str] | None
    after: dict[str, Any] | None
    where: Mapping[str, str | list[str]]


@mart_pages.get("/marts")
@allow("marts:list")
def show_marts() -> str:
    """Each with what one row of it is."""
    with services().connection() as connection:
        found = list_marts(connection, counted=False)
    # How many rows there are is a total of groups that may be hidden, and of all schools.
    if principal().role != "admin" or principal().school_id is not None:
        found = [replace(mart, rows=None) for mart in found]
    return render_template("marts.html", marts=found)


@mart_pages.get("/marts/<name>")
@allow("marts:read")
def show_mart(name: str) -> str | Response | tuple[str, int]:
    """A page of rows, as the person may see them; what is wrong with a choice is said above the table."""
    if any(part in request.args for part in _FORM):
        return redirect(_address_of_form(), 303)
    query = parse_query(MartQuery, is_form=True)
    asked = _Asked(
        query.columns.split(",") if query.columns else None,
        query.order.split(",") if query.order else None,
        parse_key(query.after) if query.after else None,
        {key: values for key, values in filters_asked().items() if key not in _OF_THE_PAGE},
    )
    note_for_audit(
        subject_of(asked.where), mart=name, format="page", columns=query.columns, where=sorted(asked.where)
    )
    with services().reader(principal()) as session:
        mart = describe_mart(session, name, "served")
        try:
            return _render(session, mart, asked)
        except UploadRejected as error:
            nothing = _Asked(None, None, None, asked.where)
            return render_template("mart.html", **_frame(mart, nothing), wrong=error.detail), 422


def _render(session: Connection, mart: Mart, asked: _Asked) -> str:
    frame = _frame(mart, asked)
    names = [column.name for column in frame["columns"]]
    page = read_page(session, mart, names, asked.where, asked.order, limit=_ROWS, after=asked.after)
    plain = [column for column in mart.columns if frame["classes"].of(column.name) == "none"]
    sums, values, counted = None, None, _counted_column(plain)
    if counted is not None:
        values = count_values(session, mart, counted, asked.where)
    if "_sums" in request.args:
        sums = summarise(session, mart, plain, asked.where)
    following = page.following and this_view(after=json.dumps(page.following, ensure_ascii=False))
    return render_template(
        "mart.html",
        **frame,
        rows=page.rows,
        total=count_rows(session, mart, asked.where),
        following=following,
        beginning=this_view(after=None) if asked.after else None,
        countable=[column.name for column in plain if is_sortable(column)],
        counted=counted,
        values=values and values[:MAX_VALUES],
        more_values=values is not None and len(values) > MAX_VALUES,
        sums=sums and {each.name: each for each in sums},
        summed="_sums" in request.args,
    )


def _frame(mart: Mart, asked: _Asked) -> dict[str, Any]:
    """What stands around the rows."""
    chosen = mart.columns if asked.columns is None else [mart.column(name) for name in asked.columns]
    classes = mart_classes().get(mart.name, MartClasses())
    return {
        "mart": mart,
        "may_ask": may("query:run"),
        "lineage": _made_of(mart.name) if may("lineage:read") else None,
        "columns": chosen,
        "classes": classes,
        "order": asked.order or [],
        "filters": [chip for key, value in asked.where.items() for chip in _chips(key, value)],
        "kept": [
            (key, value)
            for key, values in request.args.to_dict(flat=False).items()
            for value in values
            if key not in (*_FORM, "after") and value
        ],
        "files": {format: _file_address(mart, format) for format in ("csv", "parquet", "json")},
        "operators": operators(),
        "text": cell_text,
        "type": type_in_words,
        "is_measured": is_measured,
        "is_sortable": is_sortable,
        "sorted_by": _sorted_by,
        "this_view": this_view,
        "may_trace": may("provenance:read") and bool(mart.grain),
        "lines_of": _lines_of if "_lines" in request.args else None,
    }


def _made_of(name: str) -> tuple[Picture, Table] | None:
    """What the mart is made of; None before the first run on this machine, and while dbt writes it down."""
    try:
        graph = graph_or_nothing()
    except TransientError:
        return None
    if graph is None or name not in graph.tables:
        return None
    return draw(graph, name, only_above=True), graph.tables[name]


def _counted_column(plain: list[MartColumn]) -> MartColumn | None:
    name = request.args.get("_by")
    if not name:
        return None
    for column in plain:
        if column.name == name and is_sortable(column):
            return column
    known = ", ".join(column.name for column in plain if is_sortable(column))
    raise UploadRejected(_("Values can be counted of these columns: %(columns)s.", columns=known))


def _address_of_form() -> str:
    """What a form asked for, in the words of the API."""
    sent = request.args
    changes: dict[str, str | list[str] | None] = {**dict.fromkeys(_FORM), "after": None}
    if "_show" in sent:
        changes["columns"] = ",".join(sent.getlist("_show")) or None
    if column := sent.get("_column"):
        key, value = _condition(column, sent.get("_operator", "eq"), sent.get("_value", ""))
        changes[key] = list(dict.fromkeys([*sent.getlist(key), value])) if "__" not in key else value
    return this_view(**changes)


def _condition(column: str, operator: str, value: str) -> tuple[str, str]:
    if operator in ("isnull", "known"):
        return f"{column}__isnull", "false" if operator == "known" else "true"
    if operator not in OPERATORS:
        raise InvalidRequest(f"Unknown operator. Expected one of: {', '.join(OPERATORS)}.")
    return column if operator == "eq" else f"{column}__{operator}", value


def _chips(key: str, values: str | list[str]) -> list[tuple[str, str]]:
    """A condition in words, one for each value, and the address of the view without it."""
    column, _separator, operator = key.partition("__")
    listed = values if isinstance(values, list) else [values]
    if operator == "isnull":
        operator = "known" if listed[0].lower() in ("false", "0", "no") else "isnull"
    said = operators().get(operator or "eq", operator)
    return [
        (
            f"{column} {said}" + ("" if operator in ("known", "isnull") else f" {value}"),
            this_view(**{key: [other for other in listed if other != value] or None, "after": None}),
        )
        for value in listed
    ]


def _sorted_by(column: str) -> str:
    """The address of the rows by this column: upwards, then downwards, then as they were."""
    order = request.args.get("order", "")
    following = {column: f"-{column}", f"-{column}": None}.get(order, column)
    return this_view(order=following, after=None)


def _lines_of(mart: Mart, row: Mapping[str, Any], column: MartColumn) -> str | None:
    """Where the lines of files stand that a figure is made of; None for what only names the row."""
    if column.name in mart.grain or row[column.name] is None:
        return None
    key = json.dumps({name: row[name] for name in mart.grain}, ensure_ascii=False)
    return url_for("provenance_pages.show_provenance", mart=mart.name, column=column.name, key=key)


def _file_address(mart: Mart, format: str) -> str:
    """All rows of the choice as a file; where the API has it."""
    chosen = {
        key: [value for value in values if value]
        for key, values in request.args.to_dict(flat=False).items()
        if key not in (*_OF_THE_PAGE, "after", "limit")
    }
    return (
        f"{url_for('marts.read_mart', name=mart.name)}?{urlencode({**chosen, 'format': format}, doseq=True)}"
    )
