"""Reading the marts: which there are, and their rows as JSON, CSV or Parquet, streamed.

Rows come from a cursor that the server has filled and that outlives its transaction. So a slow reader neither
fills memory nor holds a lock that would keep dbt from replacing the mart.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from elt.errors import DatabaseUnavailable, Issue, UploadRejected
from elt.serving.mart_catalogue import Mart, MartColumn, Schema, describe_mart, list_marts
from elt.serving.mart_formats import MEDIA_TYPES, Format, row_text, write_csv, write_json
from elt.serving.mart_query import OPERATORS, compose_query
from elt.serving.provenance import Provenance, SourceLine, provenance
from elt.warehouse import Connection

__all__ = [
    "MEDIA_TYPES",
    "OPERATORS",
    "Format",
    "Mart",
    "MartColumn",
    "MartRows",
    "Provenance",
    "SourceLine",
    "describe_mart",
    "list_marts",
    "open_mart",
    "provenance",
    "stream_mart",
]

_BATCH_ROWS = 2_000
_cursor_numbers = itertools.count(1)


class MartRows:
    """The rows of one query on a mart, held by the server until closed; all readings see the same rows."""

    def __init__(
        self, cursor: psycopg.ServerCursor[str], columns: Sequence[MartColumn], format: Format
    ) -> None:
        self._cursor = cursor
        self._columns = columns
        self._format = format
        self.count = 0

    def write(self, format: Format) -> Iterator[bytes]:
        """The rows from the first on. `csv` and `parquet` can be had of the same rows, `json` only alone."""
        if (format == "json") != (self._format == "json"):
            raise ValueError(f"These rows were opened as {self._format}, not {format}.")
        batches = self._batches()
        if format == "json":
            return write_json(batches)
        if format == "csv":
            return write_csv(batches, self._columns)
        from elt.serving.mart_parquet import (
            write_parquet,  # needs Arrow, which the API should not wait for to start
        )

        return write_parquet(batches, self._columns)

    def close(self) -> None:
        """Let the server forget the rows."""
        self._cursor.close()

    def _batches(self) -> Iterator[list[str]]:
        with _database_errors():
            if self.count:
                self._cursor.scroll(0, mode="absolute")
            self.count = 0
            while batch := self._cursor.fetchmany(_BATCH_ROWS):
                self.count += len(batch)
                yield batch


def open_mart(
    connection: Connection,
    name: str,
    columns: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    format: Format = "json",
    *,
    order: Sequence[str] | None = None,
    limit: int | None = None,
    after: Mapping[str, Any] | None = None,
    schema: Schema = "marts",
) -> MartRows:
    """Run the query that `stream_mart` describes and hold its rows; close them when done."""
    if format not in get_args(Format):
        known = ", ".join(get_args(Format))
        raise UploadRejected(f"Unknown format {str(format)[:40]!r}. Expected one of: {known}.")
    mart = describe_mart(connection, name, schema)
    chosen = mart.columns if columns is None else [mart.column(column) for column in columns]
    if not chosen:
        raise UploadRejected("`columns` names no column.")
    names = [column.name for column in chosen]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UploadRejected(f"`columns` names more than once: {', '.join(repeated)}.")
    query, values = compose_query(mart, chosen, where or {}, order, limit, after)
    statement = sql.SQL("select {} from ({}) as found").format(row_text(chosen, format), query)
    cursor = psycopg.ServerCursor(
        connection,
        f"laurel_mart_{next(_cursor_numbers)}",
        row_factory=scalar_row,
        scrollable=True,
        withhold=True,
    )
    with _database_errors(mart, where, after):
        cursor.execute(statement, values)
    return MartRows(cursor, chosen, format)


def stream_mart(
    connection: Connection,
    name: str,
    columns: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    format: Format = "json",
    *,
    order: Sequence[str] | None = None,
    limit: int | None = None,
    after: Mapping[str, Any] | None = None,
    schema: Schema = "marts",
) -> Iterator[bytes]:
    """The rows of a mart as a JSON array of objects, as CSV with a header, or as a Parquet file.

    Whatever can be wrong with the request is raised by the call itself, before the first byte. The connection
    must stay open until the iterator has ended or is closed.

    Args:
        connection: where the mart is.
        name: the mart.
        columns: in this order; all if None.
        where: conditions that must all hold: `{"column": value}` or `{"column__op": value}` with one of
            `OPERATORS`; a list means any of its values, None means null.
        format: `json`, `csv` or `parquet`.
        order: columns, each with a `-` in front for descending; then, and if None, the grain. Nulls last.
        limit: at most this many rows.
        after: a value (or None) for each column that orders: only rows that come behind, to read page by
            page.
        schema: `served` for what the session of a person may see (`elt.serving.sessions.reader`).

    Raises:
        NotFound: there is no such mart.
        UploadRejected: an unknown column, operator or format, or a value that does not fit its column's type.
        DatabaseUnavailable: the database does not answer.
    """
    rows = open_mart(
        connection, name, columns, where, format, order=order, limit=limit, after=after, schema=schema
    )
    stream = _until_closed(rows, format)
    next(stream)  # from here on closing it closes the rows, also if it is never read
    return stream


def _until_closed(rows: MartRows, format: Format) -> Iterator[bytes]:
    try:
        yield b""
        yield from rows.write(format)
    finally:
        rows.close()


@contextmanager
def _database_errors(mart: Mart | None = None, *conditions: Mapping[str, Any] | None) -> Iterator[None]:
    """Say the driver's errors in Laurel's words; what was sent is not repeated."""
    try:
        yield
    except (psycopg.DataError, psycopg.errors.UndefinedFunction) as error:
        if mart is None:
            raise
        named = {key.partition("__")[0] for condition in conditions for key in condition or {}}
        types = [f"{column.name} ({column.type})" for column in mart.columns if column.name in named]
        hint = f"Expected values that fit: {', '.join(types)}."
        raise UploadRejected(
            f"{mart.name}: a value does not fit its column. {hint}",
            [Issue(rule="type", column=name, hint=hint) for name in sorted(named)],
        ) from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(
            f"PostgreSQL went away while a mart was read ({type(error).__name__})."
        ) from error
