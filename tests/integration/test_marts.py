"""Marts as people and programs read them, on hand-made tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elt.errors import NotFound, UploadRejected
from elt.serving.marts import describe_mart, list_marts, open_mart, stream_mart
from elt.warehouse import Connection, connect

MART = """
create schema if not exists marts;
create table marts.mart_terms (
    school_id text not null,
    student_id text not null,
    term integer not null,
    mean_score numeric(5, 2),
    share double precision,
    total numeric,
    is_at_risk boolean,
    born_on date,
    built_at timestamptz,
    note text,
    labels text[],
    details jsonb,
    unique (school_id, student_id, term)
);
comment on table marts.mart_terms is 'Results per student and term.';
comment on column marts.mart_terms.mean_score is 'Mean of all totals, 0 to 100.';
insert into marts.mart_terms values
    ('north', '0012', 1, 71.50, 0.1, 12345678901234567890, true, '2010-02-28', '2026-11-20 12:00:00.5+00',
     'said "yes, but"', '{a,b}', '{"k": 1}'),
    ('north', '0012', 2, 100, 'NaN', 0.10, false, '0001-01-01', '2026-11-20 12:00:00+01', '', '{}', '[]'),
    ('north', '7', 1, null, null, null, null, null, null, null, null, null),
    ('south', '7', 1, -3.25, 1e-300, -1, false, '2026-11-20', '1969-12-31 23:59:59.999999+00',
     E'two\\nlines\\r, ', '{"x,y"}', 'null');
create view marts.mart_view as
    select school_id, count(*) as rows_count from marts.mart_terms group by school_id;
comment on view marts.mart_view is 'One row per school. Grain: school_id.';
create table marts.mart_terms__dbt_tmp (x integer);
"""


@pytest.fixture
def marts(connection: Connection) -> Connection:
    connection.execute(MART)
    return connection


def _read(connection: Connection, name: str = "mart_terms", **options: Any) -> bytes:
    return b"".join(stream_mart(connection, name, **options))


def _rows(connection: Connection, name: str = "mart_terms", **options: Any) -> list[dict[str, Any]]:
    return json.loads(_read(connection, name, **options))


def _keys(connection: Connection, where: Mapping[str, Any]) -> list[str]:
    found = _rows(connection, columns=["school_id", "student_id", "term"], where=where)
    return ["/".join(map(str, row.values())) for row in found]


def test_marts_are_found_with_what_dbt_wrote_about_them(marts: Connection) -> None:
    assert [(mart.name, mart.kind) for mart in list_marts(marts)] == [
        ("mart_terms", "table"),
        ("mart_view", "view"),
    ]
    mart = describe_mart(marts, "mart_terms")
    assert mart.description == "Results per student and term."
    assert mart.grain == ("school_id", "student_id", "term")
    assert mart.columns[3].description == "Mean of all totals, 0 to 100."
    assert [(column.name, column.type, column.is_nullable) for column in mart.columns[2:4]] == [
        ("term", "integer", False),
        ("mean_score", "numeric(5,2)", True),
    ]
    marts.execute("analyze marts.mart_terms")
    assert describe_mart(marts, "mart_terms").rows == 4
    view = describe_mart(marts, "mart_view")
    assert view.grain == ("school_id",)
    assert view.about == "One row per school."
    assert view.rows is not None
    assert json.dumps(mart.to_dict())


@pytest.mark.parametrize(
    ("description", "grain"),
    [
        ("Grain: school_id, rows_count.", ("school_id", "rows_count")),
        ("x. Grain: `school_id` × `rows_count`. More.", ("school_id", "rows_count")),
        ("grain school_id and rows_count", ("school_id", "rows_count")),
        ("Grain: one row per school.", ()),
        ("No such word.", ()),
        (None, ()),
    ],
)
def test_a_view_says_its_grain_in_words(
    marts: Connection, description: str | None, grain: tuple[str, ...]
) -> None:
    marts.execute(
        f"comment on view marts.mart_view is {'null' if description is None else repr(description)}"
    )
    assert describe_mart(marts, "mart_view").grain == grain


def test_before_the_first_run_there_are_no_marts(connection: Connection) -> None:
    assert list_marts(connection) == []
    with pytest.raises(NotFound, match="No run has built"):
        describe_mart(connection, "mart_terms")


@pytest.mark.parametrize("name", ["mart_x", "mart_terms__dbt_tmp", "keys", "mart_terms; drop", "a\0b", ""])
def test_an_unknown_mart_is_answered_with_those_there_are(marts: Connection, name: str) -> None:
    with pytest.raises(NotFound, match="mart_terms, mart_view"):
        stream_mart(marts, name)


def test_json_holds_every_value(marts: Connection) -> None:
    rows = _rows(marts)
    assert [(row["school_id"], row["student_id"], row["term"]) for row in rows] == [
        ("north", "0012", 1),
        ("north", "0012", 2),
        ("north", "7", 1),
        ("south", "7", 1),
    ]
    first = rows[0]
    assert (first["total"], first["is_at_risk"], first["born_on"], first["note"]) == (
        12345678901234567890,
        True,
        "2010-02-28",
        'said "yes, but"',
    )
    assert first["labels"] == ["a", "b"]
    assert datetime.fromisoformat(first["built_at"]) == datetime(2026, 11, 20, 12, 0, 0, 500_000, UTC)
    assert (rows[1]["note"], rows[2]["note"], rows[3]["note"]) == ("", None, "two\nlines\r, ")
    assert _read(marts, where={"term": 9}) == b"[]\n"


def test_csv_tells_null_from_the_empty_text(marts: Connection) -> None:
    content = _read(
        marts, format="csv", columns=["student_id", "note", "is_at_risk", "mean_score", "built_at"]
    )
    lines = content.decode().split("\n")
    assert lines[0] == "student_id,note,is_at_risk,mean_score,built_at"
    assert lines[1] == '0012,"said ""yes, but""",true,71.50,2026-11-20T12:00:00.5+00:00'
    assert lines[2] == '0012,"",false,100.00,2026-11-20T11:00:00+00:00'
    assert lines[3] == "7,,,,"
    assert [row[1] for row in csv.reader(io.StringIO(content.decode(), newline=""))][1:] == [
        'said "yes, but"',
        "",
        "",
        "two\nlines\r, ",
    ]
    assert _read(marts, format="csv", columns=["term"], where={"term": 9}) == b"term\n"


def test_parquet_keeps_types_and_values(marts: Connection) -> None:
    table = pq.read_table(io.BytesIO(_read(marts, format="parquet")))
    types = {field.name: field.type for field in table.schema}
    assert types["mean_score"] == pa.decimal128(5, 2)
    assert types["built_at"] == pa.timestamp("us", tz="UTC")
    assert types["is_at_risk"] == pa.bool_()
    assert types["term"] == pa.int32()
    columns = table.to_pydict()
    assert columns["student_id"] == ["0012", "0012", "7", "7"]
    assert columns["mean_score"] == [Decimal("71.50"), Decimal(100), None, Decimal("-3.25")]
    assert columns["note"] == ['said "yes, but"', "", None, "two\nlines\r, "]
    assert columns["born_on"] == [date(2010, 2, 28), date(1, 1, 1), None, date(2026, 11, 20)]
    assert columns["built_at"][3] == datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)
    assert columns["share"][0] == 0.1
    assert columns["share"][1] != columns["share"][1]  # NaN
    assert columns["share"][2:] == [None, 1e-300]
    assert columns["labels"] == ["{a,b}", "{}", None, '{"x,y"}']
    empty = pq.read_table(io.BytesIO(_read(marts, format="parquet", where={"term": 9})))
    assert (empty.num_rows, empty.schema) == (0, table.schema)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, ["north/0012/1", "north/0012/2", "north/7/1", "south/7/1"]),
        ({"student_id": "0012"}, ["north/0012/1", "north/0012/2"]),
        ({"student_id": "12"}, []),
        ({"term": "1", "school_id": "south"}, ["south/7/1"]),
        ({"term": ["1", "2"], "student_id": ["0012"]}, ["north/0012/1", "north/0012/2"]),
        ({"mean_score__gte": "71.5"}, ["north/0012/1", "north/0012/2"]),
        ({"mean_score__lt": 0}, ["south/7/1"]),
        ({"school_id__ne": "north"}, ["south/7/1"]),
        ({"note__contains": "YES, b"}, ["north/0012/1"]),
        ({"note__contains": "%"}, []),
        ({"mean_score__isnull": "true"}, ["north/7/1"]),
        ({"mean_score__isnull": "no", "term": 2}, ["north/0012/2"]),
        ({"mean_score": None}, ["north/7/1"]),
        ({"mean_score__ne": None, "term": 2}, ["north/0012/2"]),
        ({"is_at_risk": True}, ["north/0012/1"]),
        ({"born_on__gt": "2010-02-28"}, ["south/7/1"]),
        ({"built_at__lte": datetime(1970, 1, 1, tzinfo=UTC)}, ["south/7/1"]),
        ({"note": "' or true --"}, []),
    ],
)
def test_conditions_choose_rows(marts: Connection, where: Mapping[str, Any], found: list[str]) -> None:
    assert _keys(marts, where) == found


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"columns": ["nope"]}, "Its columns are: school_id"),
        ({"columns": []}, "no column"),
        ({"where": {"nope": 1}}, "Its columns are"),
        ({"where": {'term" or true --': 1}}, "Its columns are"),
        ({"where": {"term__like": 1}}, "contains"),
        ({"where": {"term": "two"}}, r"term \(integer\)"),
        ({"where": {"term": ["1", "two"]}}, r"term \(integer\)"),
        ({"where": {"born_on__gt": "31/12/2020"}}, r"born_on \(date\)"),
        ({"where": {"term__gt": ["1", "2"]}}, "one value"),
        ({"where": {"note": "a\0b"}}, "NUL"),
        ({"where": {"note__isnull": "perhaps"}}, "true or false"),
        ({"order": ["nope"]}, "Its columns are"),
        ({"limit": -1}, "negative"),
        ({"format": "xlsx"}, "json, csv, parquet"),
        ({"after": {"term": 1}}, "school_id, student_id, term"),
        ({"after": {"school_id": "a", "student_id": "b", "term": "x"}}, r"term \(integer\)"),
        ({"after": {"term": 1}, "order": ["mean_score"]}, "mean_score, school_id, student_id, term"),
    ],
)
def test_a_wrong_request_is_refused_before_the_first_byte(
    marts: Connection, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(UploadRejected, match=named):
        stream_mart(marts, "mart_terms", **options)
    assert marts.execute("select 1 as one").fetchone() == {"one": 1}
    assert marts.execute("select count(*) as held from pg_cursors").fetchone() == {"held": 0}


def test_rows_come_in_the_order_asked_for_page_by_page(marts: Connection) -> None:
    by_score = _rows(marts, columns=["mean_score"], order=["-mean_score", "term"])
    assert [row["mean_score"] for row in by_score] == [100.00, 71.50, -3.25, None]
    seen: list[tuple[Any, ...]] = []
    after = None
    while page := _rows(marts, columns=["school_id", "student_id", "term"], limit=1, after=after):
        after = page[-1]
        seen.append(tuple(after.values()))
    assert seen == [("north", "0012", 1), ("north", "0012", 2), ("north", "7", 1), ("south", "7", 1)]


@pytest.mark.parametrize(
    "order",
    [
        ["mean_score"],
        ["-mean_score"],
        ["-term", "mean_score"],
        ["is_at_risk", "-note"],
        ["-school_id", "share"],
    ],
)
def test_pages_in_any_order_hold_each_row_once(marts: Connection, order: list[str]) -> None:
    marts.execute(
        "insert into marts.mart_terms (school_id, student_id, term) "
        "select 'east', 'S' || number, number % 3 from generate_series(1, 7) as number"
    )
    keys = [name for name in ("school_id", "student_id", "term") if f"-{name}" not in order]
    columns = [*(name.removeprefix("-") for name in order), *(name for name in keys if name not in order)]
    whole = _rows(marts, columns=columns, order=order)
    seen: list[dict[str, Any]] = []
    while page := _rows(marts, columns=columns, order=order, limit=2, after=seen[-1] if seen else None):
        seen += page
        assert len(seen) <= len(whole)
    assert list(map(str, seen)) == list(map(str, whole))  # NaN is like nothing, itself included
    assert len(seen) == 11


def _held(connection: Connection) -> int:
    found = connection.execute("select count(*) as held from pg_cursors").fetchone()
    assert found is not None
    return found["held"]


def test_a_reader_that_goes_away_leaves_no_cursor(marts: Connection) -> None:
    unread: Iterator[bytes] = stream_mart(marts, "mart_terms")
    half = stream_mart(marts, "mart_terms", format="csv")
    next(half)
    assert _held(marts) == 2
    unread.close()  # type: ignore[attr-defined]
    half.close()  # type: ignore[attr-defined]
    assert _held(marts) == 0


def test_a_slow_reader_does_not_keep_a_mart_from_being_replaced(marts: Connection, database_url: str) -> None:
    stream = stream_mart(marts, "mart_terms", format="csv", columns=["student_id"])
    with connect(database_url) as builder:
        builder.execute("set lock_timeout = '2s'")
        builder.execute("drop table marts.mart_terms cascade")
    assert b"".join(stream) == b"student_id\n0012\n0012\n7\n7\n"


def test_both_files_of_a_mart_hold_the_same_rows(marts: Connection) -> None:
    rows = open_mart(marts, "mart_terms", ["student_id", "term"], format="csv")
    as_csv = b"".join(rows.write("csv"))
    marts.execute("truncate marts.mart_terms")
    as_parquet = b"".join(rows.write("parquet"))
    assert rows.count == 4
    rows.close()
    assert pl.read_csv(as_csv, schema_overrides={"student_id": pl.String, "term": pl.Int32}).equals(
        pl.read_parquet(io.BytesIO(as_parquet))
    )


def test_many_rows_come_in_pieces(connection: Connection) -> None:
    connection.execute(
        "create schema marts; create table marts.mart_big as "
        "select n as number, repeat('x', 100) as filler from generate_series(1, 120000) as n"
    )
    for format in ("json", "csv", "parquet"):
        pieces = list(stream_mart(connection, "mart_big", format=format, order=["number"]))
        assert max(map(len, pieces)) < 3_000_000
    file = pq.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert file.metadata.num_rows == 120_000
    assert file.num_row_groups == 3
    assert file.read(["number"])["number"].to_pylist() == list(range(1, 120_001))
