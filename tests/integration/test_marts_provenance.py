"""From a figure in a mart to the lines of the files it is made of."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from elt.errors import NotFound, UploadRejected
from elt.serving.marts import provenance
from elt.warehouse import Connection

FIRST = UUID("01930000-0000-7000-8000-000000000001")
FIX = UUID("01930000-0000-7000-8000-000000000002")

TABLES = """
create schema staging;
create schema marts;
create table staging.stg_academic_history (
    school_id text, student_id text, class text, term integer, total_score numeric, version text,
    _upload_id uuid, _line bigint
);
create table staging.stg_students (
    school_id text, student_id text, born_on date, _upload_id uuid, _line bigint
);
create schema core;
create view core.fct_years as select *, '2023/2024' as school_year from staging.stg_academic_history;
create table marts.mart_terms (
    school_id text, student_id text, class_name text, term integer, mean_score numeric, age integer,
    remark text,
    unique nulls not distinct (school_id, student_id, class_name, term)
);
create table staging.mart_sources (
    mart text, column_name text, dataset text, relation text, match text, source_columns text
);
insert into staging.mart_sources values
    ('mart_terms', '*', 'academic_history', null, 'school_id,student_id,class_name=class,term',
     'total_score,version'),
    ('mart_terms', 'age', 'academic_history', null, 'school_id,student_id,class_name=class,term', 'term'),
    ('mart_terms', 'age', 'students', '', 'school_id=school_id, student_id=student_id', 'born_on'),
    ('mart_terms', 'term', 'academic_history', 'core.fct_years', 'school_id,student_id,class_name=class,term',
     'school_year'),
    ('mart_terms', 'remark', 'academic_history', null, 'school_id,gone', 'term');
insert into marts.mart_terms values
    ('north', '001', 'SSS1', 1, 62.5, 15, ''), ('north', '001', null, 1, 40, 15, ''),
    ('north', '002', 'SSS1', 1, 10, 16, '');
"""


@pytest.fixture
def marts(connection: Connection) -> Connection:
    connection.execute(TABLES)
    now = datetime.now(UTC)
    for upload_id, parent, live in ((FIRST, None, 2), (FIX, FIRST, 1)):
        connection.execute(
            """
            insert into ops.uploads
                (upload_id, dataset, school_id, uploader, parent_id, version, live_version, created_at)
            values (%s, 'academic_history', 'north', 'key:x', %s, %s, %s, %s)
            """,
            (upload_id, parent, live, live, now),
        )
        for version in range(1, live + 1):
            connection.execute(
                """
                insert into ops.upload_versions (upload_id, version, object_key, filename, size_bytes, sha256,
                    uploader, received_at, ranked_at)
                values (%s, %s, %s, %s, 1, 'x', 'key:x', %s, %s)
                """,
                (upload_id, version, f"uploads/{upload_id}/{version}", f"terms v{version}.csv", now, now),
            )
    scores = [
        ("001", "SSS1", 1, "60.5", FIRST, 9),
        ("001", "SSS1", 1, "64.5", FIX, 2),
        ("001", "SSS1", 1, "10", FIRST, 10),
        ("001", None, 1, "40", FIRST, 3),
        ("001", "SSS1", 2, "99", FIRST, 4),
        ("002", "SSS1", 1, "10", FIRST, 5),
    ]
    for student, group, term, score, upload_id, line in scores:
        connection.execute(
            "insert into staging.stg_academic_history values ('north', %s, %s, %s, %s, 'cell', %s, %s)",
            (student, group, term, score, upload_id, line),
        )
    connection.execute(
        "insert into staging.stg_students values ('north', '001', '2010-02-28', %s, 7)", (FIRST,)
    )
    return connection


KEY = {"school_id": "north", "student_id": "001", "class_name": "SSS1", "term": "1"}


def test_a_figure_is_traced_to_its_lines(marts: Connection) -> None:
    found = provenance(marts, "mart_terms", KEY, "mean_score")
    assert (found.value, found.total, found.next) == (Decimal("62.5"), 3, None)
    assert found.key == {**KEY, "term": 1}
    assert [(line.upload_id, line.line, line.version, line.filename, line.fixes) for line in found.lines] == [
        (FIRST, 9, 2, "terms v2.csv", None),
        (FIRST, 10, 2, "terms v2.csv", None),
        (FIX, 2, 1, "terms v1.csv", FIRST),
    ]
    assert found.lines[0].values == {"total_score": Decimal("60.5"), "version": "cell"}
    assert found.lines[0].school_id == "north"
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["lines"][1]["values"]["total_score"] == 10
    assert plain["lines"][2]["fixes"] == str(FIRST)


def test_what_is_said_of_a_column_wins_over_what_is_said_of_the_row(marts: Connection) -> None:
    found = provenance(marts, "mart_terms", KEY, "age")
    assert [(line.dataset, line.line) for line in found.lines] == [
        ("academic_history", 9),
        ("academic_history", 10),
        ("academic_history", 2),
        ("students", 7),
    ]
    assert found.to_dict()["lines"][3]["values"] == {"born_on": "2010-02-28"}


def test_a_relation_may_stand_for_staging(marts: Connection) -> None:
    found = provenance(marts, "mart_terms", KEY, "term")
    assert [(line.line, line.values) for line in found.lines] == [
        (line, {"school_year": "2023/2024"}) for line in (9, 10, 2)
    ]


def test_null_in_a_key_matches_null(marts: Connection) -> None:
    found = provenance(marts, "mart_terms", {**KEY, "class_name": None}, "mean_score")
    assert [line.line for line in found.lines] == [3]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_pages_together_give_every_line_once(marts: Connection, size: int) -> None:
    seen = []
    after = None
    while True:
        page = provenance(marts, "mart_terms", KEY, "age", limit=size, after=after)
        assert page.total == 4
        seen += [(line.dataset, line.line) for line in page.lines]
        after = page.next
        if after is None:
            break
        assert len(page.lines) == size
    assert seen == [
        ("academic_history", 9),
        ("academic_history", 10),
        ("academic_history", 2),
        ("students", 7),
    ]


@pytest.mark.parametrize(
    ("mart", "key", "column", "error", "named"),
    [
        ("mart_none", KEY, "age", NotFound, "mart_terms"),
        ("mart_terms", KEY, "nope", UploadRejected, "Its columns are"),
        ("mart_terms", {"nope": 1}, "age", UploadRejected, "Its columns are"),
        ("mart_terms", {}, "age", UploadRejected, "school_id, student_id"),
        ("mart_terms", {"student_id": "001"}, "age", UploadRejected, "several rows"),
        ("mart_terms", {**KEY, "student_id": "9"}, "age", NotFound, "no row"),
        ("mart_terms", {**KEY, "term": "one"}, "age", UploadRejected, r"term \(integer\)"),
        ("mart_terms", KEY, "remark", NotFound, "gone"),
    ],
)
def test_what_cannot_be_traced_is_said(
    marts: Connection, mart: str, key: dict[str, str], column: str, error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        provenance(marts, mart, key, column)


@pytest.mark.parametrize("after", ["", "x", "students:1:2", f"students:{UUID(int=1)}:x"])
def test_a_made_up_cursor_is_refused(marts: Connection, after: str) -> None:
    with pytest.raises(UploadRejected, match="after"):
        provenance(marts, "mart_terms", KEY, "age", after=after)


def test_a_column_without_known_source_is_not_found(marts: Connection) -> None:
    marts.execute("delete from staging.mart_sources")
    with pytest.raises(NotFound, match="not written down"):
        provenance(marts, "mart_terms", KEY, "age")
    marts.execute("drop table staging.mart_sources")
    with pytest.raises(NotFound, match="No run"):
        provenance(marts, "mart_terms", KEY, "age")
