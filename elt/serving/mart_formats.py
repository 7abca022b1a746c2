"""Rows of a mart as JSON and CSV, a few thousand rows at a time.

The database writes each row as one text, which costs Python nothing per cell. In CSV, texts that a
spreadsheet program would take for formulas are guarded (`elt.reading.spreadsheets`);
`elt.serving.mart_parquet` makes Parquet of the CSV and takes the guards away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Literal

from psycopg import sql

from elt.reading.spreadsheets import NUMBER, RISKY, STARTS
from elt.serving.mart_catalogue import MartColumn

Format = Literal["json", "csv", "parquet"]
MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}

# Types whose texts never need quotes.
_BARE = {"boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "date", "uuid"}
NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")

_JSON_ROW = sql.SQL("row_to_json(found)::text")
_CSV_BARE = sql.SQL("coalesce({}::text, '')")
_CSV_TIME = sql.SQL("coalesce(to_json({}) #>> '{{}}', '')")  # ISO 8601
_CSV_TEXT = sql.SQL(
    """case
        when {0} is null then ''
        when strpos({starts}, left({0}::text, 1)) > 0 and {0}::text ~ {risky} and {0}::text !~ {number}
        then '"''' || replace({0}::text, '"', '""') || '"'
        when {0}::text = '' or {0}::text ~ '[",\\r\\n]' then '"' || replace({0}::text, '"', '""') || '"'
        else {0}::text
    end"""
)

# The first tells most texts apart at once.
_GUARD = {"starts": sql.Literal(f"'{STARTS}"), "risky": sql.Literal(RISKY), "number": sql.Literal(NUMBER)}


def row_text(columns: Sequence[MartColumn], format: Format) -> sql.Composable:
    """The SQL expression that makes one text of a row of the subquery `found`."""
    if format == "json":
        return _JSON_ROW
    cells = sql.SQL(", ").join(map(_csv_cell, columns))
    return sql.SQL("array_to_string(array[{}]::text[], ',')").format(cells)


def write_json(batches: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """A JSON array, one row per line."""
    start = "[\n"
    for rows in batches:
        yield (start + ",\n".join(rows)).encode()
        start = ",\n"
    yield b"[]\n" if start == "[\n" else b"\n]\n"


def write_csv(batches: Iterable[Sequence[str]], columns: Sequence[MartColumn]) -> Iterator[bytes]:
    """CSV with a header (RFC 4180, but with bare line feeds); null is empty, the empty text is quoted."""
    header = ",".join(column.name for column in columns)
    for rows in chain([[header]], batches):
        yield ("\n".join(rows) + "\n").encode()


def _csv_cell(column: MartColumn) -> sql.Composable:
    name = sql.Identifier(column.name)
    if column.type.startswith("timestamp"):
        return _CSV_TIME.format(name)
    if column.type in _BARE or NUMERIC.fullmatch(column.type):
        return _CSV_BARE.format(name)
    return _CSV_TEXT.format(name, **_GUARD)
