"""Rows of a mart as JSON, CSV and Parquet, a few thousand rows at a time.

The database writes each row as one text, which costs Python nothing per cell; Parquet is made from the CSV,
whose quoting tells null from the empty text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from psycopg import sql

from elt.mart_catalogue import MartColumn

Format = Literal["json", "csv", "parquet"]
MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}

_ROW_GROUP_ROWS = 50_000
_ROW_GROUP_CHARACTERS = 16 * 1024**2

_ARROW_TYPES = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "numeric": pa.float64(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    "timestamp without time zone": pa.timestamp("us"),
}
_BARE = {*_ARROW_TYPES, "uuid"}  # their texts never need quotes
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")

_JSON_ROW = sql.SQL("row_to_json(found)::text")
_CSV_BARE = sql.SQL("coalesce({}::text, '')")
_CSV_TIME = sql.SQL("coalesce(to_json({}) #>> '{{}}', '')")  # ISO 8601
_CSV_TEXT = sql.SQL(
    """case
        when {0} is null then ''
        when {0}::text = '' or {0}::text ~ '[",\\r\\n]' then '"' || replace({0}::text, '"', '""') || '"'
        else {0}::text
    end"""
)


def row_text(columns: Sequence[MartColumn], format: Format) -> sql.Composable:
    """The SQL expression that makes one text of a row of the subquery `found`."""
    if format == "json":
        return _JSON_ROW
    cells = sql.SQL(", ").join(_csv_cell(column).format(sql.Identifier(column.name)) for column in columns)
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


def write_parquet(batches: Iterable[Sequence[str]], columns: Sequence[MartColumn]) -> Iterator[bytes]:
    """A Parquet file, row group by row group."""
    schema = pa.schema([pa.field(column.name, _arrow_type(column.type)) for column in columns])
    sink = io.BytesIO()
    with pyarrow.parquet.ParquetWriter(sink, schema) as writer:
        for rows in _gather(batches):
            writer.write_table(_read_rows(rows, schema))
            yield _drain(sink)
    yield _drain(sink)


def _csv_cell(column: MartColumn) -> sql.SQL:
    if column.type.startswith("timestamp"):
        return _CSV_TIME
    return _CSV_BARE if column.type in _BARE or _NUMERIC.fullmatch(column.type) else _CSV_TEXT


def _arrow_type(type_name: str) -> pa.DataType:
    """Arrow's type; a number with a declared scale stays exact, what Arrow lacks becomes text."""
    scaled = _NUMERIC.fullmatch(type_name)
    if scaled and int(scaled[1]) <= 38:
        return pa.decimal128(int(scaled[1]), int(scaled[2]))
    return _ARROW_TYPES.get(type_name, pa.float64() if scaled else pa.string())


def _gather(batches: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    rows: list[str] = []
    characters = 0
    for batch in batches:
        rows.extend(batch)
        characters += sum(map(len, batch))
        if len(rows) >= _ROW_GROUP_ROWS or characters >= _ROW_GROUP_CHARACTERS:
            yield rows
            rows, characters = [], 0
    if rows:
        yield rows


def _read_rows(rows: Sequence[str], schema: pa.Schema) -> pa.Table:
    content = ("\n".join(rows) + "\n").encode()
    return pyarrow.csv.read_csv(
        pa.BufferReader(content),
        read_options=pyarrow.csv.ReadOptions(
            column_names=schema.names, use_threads=False, block_size=len(content) + 1
        ),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _drain(sink: io.BytesIO) -> bytes:
    content = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return content
