"""Rows of a mart as Parquet, made from their CSV, whose quoting tells null from the empty text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from elt.reading.spreadsheets import GUARDED
from elt.serving.mart_catalogue import MartColumn
from elt.serving.mart_formats import NUMERIC

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


def write_parquet(batches: Iterable[Sequence[str]], columns: Sequence[MartColumn]) -> Iterator[bytes]:
    """A Parquet file, row group by row group."""
    schema = pa.schema([pa.field(column.name, _arrow_type(column.type)) for column in columns])
    sink = io.BytesIO()
    with pyarrow.parquet.ParquetWriter(sink, schema) as writer:
        for rows in _gather(batches):
            writer.write_table(_read_rows(rows, schema))
            yield _drain(sink)
    yield _drain(sink)


def _arrow_type(type_name: str) -> pa.DataType:
    """Arrow's type; a number with a declared scale stays exact, what Arrow lacks becomes text."""
    scaled = NUMERIC.fullmatch(type_name)
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
    table = pyarrow.csv.read_csv(
        pa.BufferReader(content),
        read_options=pyarrow.csv.ReadOptions(
            column_names=schema.names, use_threads=False, block_size=len(content) + 1
        ),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    for position, field in enumerate(schema):
        if field.type == pa.string():
            exact = pc.replace_substring_regex(table.column(position), GUARDED, r"\1")
            table = table.set_column(position, field, exact)
    return table


def _drain(sink: io.BytesIO) -> bytes:
    content = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return content
