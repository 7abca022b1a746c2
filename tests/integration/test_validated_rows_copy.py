"""What validation accepts, PostgreSQL takes: with the same value, to the digit."""

from __future__ import annotations

import io
import uuid
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from elt.contracts import Contract, get_contract, match_header, parse_contract
from elt.loading.raw_tables import raw_table, remove_repeats
from elt.loading.rows import to_copy_csv
from elt.reading.reader import ReadOptions, read_blocks
from elt.reading.repeats import RepeatFinder
from elt.reading.validation import validate
from elt.warehouse import Connection

TYPES = {
    "integer": "bigint",
    "number": "numeric",
    "date": "date",
    "datetime": "timestamp with time zone",
    "year": "integer",
    "boolean": "boolean",
    "string": "text",
}
CELLS = st.one_of(
    st.from_regex(r"[+-]?[0-9]{0,20}(\.[0-9]{0,5})?([eE][+-]?[0-9]{1,5})?", fullmatch=True),
    st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True),
    st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,7})?(Z|[+-][01][0-9]:[0-6][0-9])?",
        fullmatch=True,
    ),
    st.sampled_from(["true", "No", "1", "NaN", "inf", "0x1f", "1_000", "٣", "2024"]),
    st.sampled_from(["\\.", "\\N", '"', ",", "a\nb", "'"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)  # fmt: skip


def copy(connection: Connection, table: sql.Composable, columns: list[str], rows: pl.DataFrame) -> None:
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as into:
        into.write(to_copy_csv(rows))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(CELLS, min_size=1, max_size=30))
@example(cells=["1e-999", "1e-1000", "1e308", "0e999", "9" * 100, "0." + "1" * 98, ".5", "5.", "+0", "-0"])
@example(cells=["0001-01-01T00:00:00-14:00", "9999-12-31T23:59:59.999999Z", "2024-06-30T23:59:60Z"])
@example(cells=["0001-01-01", "9999-12-31", "0000-01-01", "\\.", "", " ", "\ufeff"])
def test_whatever_is_accepted_can_be_copied(connection: Connection, cells: list[str]) -> None:
    fields = [
        {"name": name, "title": name, "type": name, "description": "-", "personal": "none"} for name in TYPES
    ]
    school = {
        "name": "school_id",
        "title": "School",
        "description": "-",
        "personal": "none",
        "optional": True,
    }
    contract = parse_contract(
        {"name": "t", "title": "T", "description": "-", "grain": "row", "fields": [school, *fields]}
    )
    for name, type_ in TYPES.items():
        # One column at a time, so that what one type refuses does not hide what another takes.
        text = pl.DataFrame({name: cells, "other": cells}).write_csv(quote_style="always")
        detected, blocks = read_blocks(io.BytesIO(text.encode()), ReadOptions(delimiter=","))
        match = match_header(contract, detected.header)
        accepted = [b.accepted for b in validate(blocks, contract, match, school_id="s")]
        rows = pl.concat(accepted).select(name, "_line")
        with connection.transaction(force_rollback=True):
            connection.execute(
                sql.SQL("create temporary table taken (v {}, line bigint)").format(sql.SQL(type_))
            )
            copy(connection, sql.Identifier("taken"), ["v", "line"], rows)
            found = connection.execute(
                "select v is null as empty, v::text as v from taken order by line"
            ).fetchall()
        assert len(found) == rows.height
        for row, cell in zip(found, rows[name], strict=True):
            assert row["empty"] == (cell is None)
            if type_ == "text":
                assert row["v"] == cell


UNQUOTED = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\0";\r\n'), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(UNQUOTED, min_size=1, max_size=30), school=st.sampled_from(["main", 'St. "A"; B']))
@example(cells=["\\.", "\\N", "a,b", " ", "'", "\ufeff", ""], school="main")
def test_cells_without_quotes_are_copied_as_they_stand(
    connection: Connection, cells: list[str], school: str
) -> None:
    contract = parse_contract(
        {"name": "t", "title": "T", "description": "-", "grain": "row", "fields": [
            {"name": name, "title": name, "type": "string", "description": "-", "personal": "none"}
            for name in ("school_id", "word")
        ]}
    )  # fmt: skip
    text = "school_id;word\n" + "".join(f"{cell};{cell}\n" for cell in cells)
    detected, blocks = read_blocks(io.BytesIO(text.encode()), ReadOptions(delimiter=";", encoding="utf-8"))
    (checked,) = validate(blocks, contract, match_header(contract, detected.header), school_id=school)
    assert checked.is_plain == (school == "main")
    with connection.transaction(force_rollback=True):
        connection.execute("create temporary table taken (school text, word text, line bigint)")
        with (
            connection.cursor() as cursor,
            cursor.copy("copy taken from stdin (format csv, delimiter ';')") as into,
        ):
            into.write(to_copy_csv(checked.accepted, ";", is_plain=checked.is_plain))
        found = connection.execute("select school, word from taken order by line").fetchall()
    assert [tuple(row.values()) for row in found] == [(cell or school, cell or None) for cell in cells]


@pytest.mark.parametrize(
    ("dataset", "path"),
    [
        ("students", "laurel_high/students_bio_data.csv"),
        ("teachers", "laurel_high/Teachers_bio_data.csv"),
        ("guardians", "laurel_high/parents_bio_data.csv"),
        ("academic_history", "laurel_high/academic_history_data.csv"),
        ("survey_responses", "laurel_high/survey_student_data.csv"),
        ("student_performance", "student_performance/StudentsPerformance.csv"),
    ],
)
def test_every_cell_of_a_real_file_is_in_raw_as_it_was_written(
    connection: Connection, shared_data: Path, dataset: str, path: str
) -> None:
    contract = get_contract(dataset)
    with (shared_data / path).open("rb") as stream:
        detected, blocks = read_blocks(stream)
        match = match_header(contract, detected.header)
        accepted = pl.concat([b.accepted for b in validate(blocks, contract, match, school_id="main")])
    load(connection, contract, accepted)
    names = [name for name in match.columns if name]
    statement = sql.SQL("copy (select {} from {} order by _line) to stdout (format csv, header)").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), raw_table(contract)
    )
    with connection.cursor() as cursor, cursor.copy(statement) as out:
        raw = pl.read_csv(b"".join(out), infer_schema=False)
    wanted = pl.read_csv(shared_data / path, infer_schema=False, encoding="utf8")
    wanted.columns = names
    assert raw.equals(wanted)


def load(connection: Connection, contract: Contract, accepted: pl.DataFrame) -> uuid.UUID:
    upload = uuid.uuid4()
    rows = accepted.with_columns(pl.lit(str(upload)).alias("_upload_id"))
    copy(connection, raw_table(contract), [*contract.columns, "_line", "_upload_id"], rows)
    return upload


def test_repeats_found_while_reading_are_removed_from_raw(connection: Connection) -> None:
    contract = get_contract("academic_history")
    header = "Student ID,Grade Level,Subject,Term,Total Score\n"
    rows = [f"STU{n},JSS1,Art,First Term,{n % 100}\n" for n in range(500)]
    text = header + "".join(rows) + rows[3] + rows[7] + rows[3] + rows[8].replace(",8\n", ",9\n")
    detected, blocks = read_blocks(io.BytesIO(text.encode()), block_bytes=1000)
    match = match_header(contract, detected.header)
    with RepeatFinder(rows_in_memory=100) as finder:
        frames = []
        for checked in validate(blocks, contract, match, school_id="main"):
            finder.add(checked.accepted)
            frames.append(checked.accepted)
        with connection.transaction():
            upload = load(connection, contract, pl.concat(frames))
            assert remove_repeats(connection, contract, upload, finder.suspects()) == 3
    left = connection.execute("select count(*) as n, max(_line) as last from raw.academic_history").fetchone()
    assert left == {"n": 501, "last": 505}
