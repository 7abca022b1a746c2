"""A mart as a person looks at it: a page of rows, how many there are, and what a column holds.

All of it reads the views of schema `served`, in the session of the person (`elt.serving.sessions.reader`).
Counting reads all rows that are chosen, so it stops after a short time and then says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from elt.errors import DatabaseUnavailable
from elt.serving.mart_catalogue import Mart, MartColumn
from elt.serving.mart_query import compose_filters, whole_order
from elt.serving.marts import open_mart
from elt.warehouse import Connection

_COUNT_SECONDS = 1
_SUMMARY_SECONDS = 5
MAX_VALUES = 24
"""So many values of a column are counted one by one."""

_MEASURED = ("smallint", "integer", "bigint", "numeric", "real", "double precision", "date", "timestamp")
_UNSORTED = ("json", "jsonb", "xml")


@dataclass(frozen=True, slots=True)
class MartPage:
    """Rows as the database writes them in JSON, numbers as text. `following`: the place where more begin."""

    rows: list[dict[str, Any]]
    following: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """What the chosen rows hold in a column; `least` and `most` only of numbers and times."""

    name: str
    known: int
    missing: int
    distinct: int
    least: str | None
    most: str | None


def read_page(
    session: Connection,
    mart: Mart,
    columns: Sequence[str],
    where: Mapping[str, Any],
    order: Sequence[str] | None,
    *,
    limit: int,
    after: Mapping[str, Any] | None,
) -> MartPage:
    """Up to `limit` rows; they hold the columns that order, too.

    Raises:
        NotFound, UploadRejected, DatabaseUnavailable: see `elt.serving.marts.stream_mart`.
    """
    places = [name.removeprefix("-") for name in whole_order(mart, order)]
    asked = [*columns, *(name for name in places if name not in columns)]
    opened = open_mart(
        session, mart.name, asked, where, "json", order=order, limit=limit + 1, after=after, schema="served"
    )
    with closing(opened):
        text = b"".join(opened.write("json"))
    rows: list[dict[str, Any]] = json.loads(text, parse_float=str, parse_int=str)
    last = rows[limit - 1] if len(rows) > limit and mart.grain else None
    return MartPage(rows[:limit], last and {name: last[name] for name in places})


def count_rows(session: Connection, mart: Mart, where: Mapping[str, Any]) -> int | None:
    """How many rows are chosen; None where counting them takes too long."""
    filters, values = compose_filters(mart, where)
    query = sql.SQL("select count(*) as found from {}{}").format(mart.identifier, filters)
    rows = _within(session, _COUNT_SECONDS, query, values)
    return int(rows[0]["found"]) if rows else None


def count_values(
    session: Connection, mart: Mart, column: MartColumn, where: Mapping[str, Any]
) -> list[tuple[str | None, int]] | None:
    """The most frequent values of a column and their rows; one more than `MAX_VALUES` if there are more.

    None where counting takes too long.
    """
    filters, values = compose_filters(mart, where)
    query = sql.SQL("select {0}::text as value, count(*) as found from {1}{2} group by {0}").format(
        sql.Identifier(column.name), mart.identifier, filters
    ) + sql.SQL(" order by found desc, value limit {}").format(sql.Literal(MAX_VALUES + 1))
    rows = _within(session, _SUMMARY_SECONDS, query, values)
    return None if rows is None else [(row["value"], row["found"]) for row in rows]


def summarise(
    session: Connection, mart: Mart, columns: Sequence[MartColumn], where: Mapping[str, Any]
) -> list[ColumnSummary] | None:
    """Of each column, what the chosen rows hold; None where that takes too long."""
    columns = [column for column in columns if is_sortable(column)]
    if not columns:
        return []
    filters, values = compose_filters(mart, where)
    figures = sql.SQL(", ").join(_figures(number, column) for number, column in enumerate(columns))
    query = sql.SQL("select count(*) as rows, {} from {}{}").format(figures, mart.identifier, filters)
    rows = _within(session, _SUMMARY_SECONDS, query, values)
    if rows is None:
        return None
    [row] = rows
    return [
        ColumnSummary(
            column.name,
            row[f"known{number}"],
            row["rows"] - row[f"known{number}"],
            row[f"distinct{number}"],
            row[f"least{number}"],
            row[f"most{number}"],
        )
        for number, column in enumerate(columns)
    ]


def is_sortable(column: MartColumn) -> bool:
    """Whether rows can be put in the order of the column."""
    return column.type not in _UNSORTED and not column.type.endswith("[]")


def is_measured(column: MartColumn) -> bool:
    """Whether the column holds numbers or times."""
    return column.type.startswith(_MEASURED)


def _figures(number: int, column: MartColumn) -> sql.Composed:
    cell = sql.Identifier(column.name)
    least, most = (sql.SQL("{}({})::text").format(sql.SQL(what), cell) for what in ("min", "max"))
    if not is_measured(column):
        least = most = sql.Composed([sql.NULL])
    names = [sql.Identifier(f"{what}{number}") for what in ("known", "distinct", "least", "most")]
    return sql.SQL("count({0}) as {3}, count(distinct {0}) as {4}, {1} as {5}, {2} as {6}").format(
        cell, least, most, *names
    )


def _within(
    session: Connection, seconds: int, query: sql.Composed, values: Sequence[Any]
) -> list[dict[str, Any]] | None:
    try:
        with session.transaction():
            session.execute("select set_config('statement_timeout', %s, true)", (f"{seconds}s",))
            return session.execute(query, values).fetchall()
    except psycopg.errors.QueryCanceled:
        return None
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(
            f"PostgreSQL went away while a mart was read ({type(error).__name__})."
        ) from error
