"""Raw tables on a real PostgreSQL."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from psycopg import sql

from elt.contracts import get_contract, load_contracts
from elt.errors import ContractError
from elt.loading.raw_tables import create_raw_tables, remove_repeats, row_key_sql
from elt.warehouse import Connection


def insert(connection: Connection, upload: uuid.UUID, line: int, **cells: object) -> None:
    row = {"school_id": "main", "_upload_id": upload, "_line": line} | cells
    statement = sql.SQL("insert into raw.academic_history ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Placeholder, row))
    )
    connection.execute(statement, row)


def test_every_contract_has_its_table_and_a_second_run_changes_nothing(connection: Connection) -> None:
    create_raw_tables(connection, load_contracts().values())
    tables = connection.execute("select tablename from pg_tables where schemaname = 'raw'").fetchall()
    names = {row["tablename"] for row in tables}
    assert names == set(load_contracts()) | {
        f"{name}__changed" for name, contract in load_contracts().items() if contract.is_keyed
    }


def test_columns_stand_in_contract_order_and_have_its_descriptions(connection: Connection) -> None:
    contract = get_contract("teachers")
    rows = connection.execute(
        "select attname, col_description(attrelid, attnum) as text from pg_attribute"
        " where attrelid = 'raw.teachers'::regclass and attnum > 0 order by attnum"
    ).fetchall()
    assert [row["attname"] for row in rows] == [*contract.columns, "_upload_id", "_line", "_loaded_at"]
    assert rows[1]["text"] == contract.field("teacher_id").description


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("alter table raw.students drop column stream", "stream: is absent, should be text"),
        ("alter table raw.students add column shoe_size text", "shoe_size: is text, should be absent"),
        ("alter table raw.students alter column age type text", "age: is text, should be bigint"),
        ("alter table raw.students alter column school_id drop not null", "school_id: is text, should be"),
        ("alter table raw.students__changed drop column load_id", "load_id: is absent"),
    ],
)
def test_a_table_that_drifted_from_its_contract_is_refused_by_column(
    connection: Connection, statement: str, named: str
) -> None:
    connection.execute(statement.encode())
    with pytest.raises(ContractError, match=named):
        create_raw_tables(connection, load_contracts().values())


def test_the_key_of_a_row_is_the_same_for_a_null_and_differs_between_cells(connection: Connection) -> None:
    upload = uuid.uuid4()
    insert(connection, upload, 2, student_id="A", grade_level="JSS1", subject="Art", term="First Term")
    insert(connection, upload, 3, student_id="A", grade_level="JSS1", subject="Art", term="First Term")
    insert(connection, upload, 4, student_id="A", grade_level="JSS1", subject="Art", term="Third Term")
    key = row_key_sql(get_contract("academic_history"), "t")
    statement = sql.SQL("select {} as key from raw.academic_history t order by _line").format(key)
    first, second, third = (row["key"] for row in connection.execute(statement))
    assert first == second != third


def test_a_dataset_without_a_key_has_no_row_key() -> None:
    with pytest.raises(ContractError, match="no primary key"):
        row_key_sql(get_contract("survey_responses"), "t")


def test_only_later_copies_of_identical_rows_of_this_load_are_removed(connection: Connection) -> None:
    mine, other = uuid.uuid4(), uuid.uuid4()
    same = {"student_id": "A", "subject": "Art", "cumulative_score": "64.0"}
    insert(connection, mine, 4, **same)  # of the version that this load replaces
    suspects = [np.array([2, 3]), np.array([4])]
    with connection.transaction():
        insert(connection, mine, 2, **same)
        insert(connection, mine, 3, **same | {"cumulative_score": "64.00"})
        insert(connection, mine, 4, **same)
        insert(connection, mine, 5, **same)
        insert(connection, other, 4, **same)
        removed = remove_repeats(connection, get_contract("academic_history"), mine, suspects)
    rows = connection.execute("select _upload_id, _line from raw.academic_history order by _line").fetchall()
    assert removed == 1
    assert sorted((row["_upload_id"] == mine, row["_line"]) for row in rows) == [
        (False, 4),
        (True, 2),
        (True, 3),
        (True, 4),
        (True, 5),
    ]


def test_identical_rows_on_one_line_leave_one(connection: Connection) -> None:
    upload = uuid.uuid4()
    with connection.transaction():
        for _ in range(3):
            insert(connection, upload, 2, student_id="A")
        removed = remove_repeats(connection, get_contract("academic_history"), upload, [np.array([2, 2, 2])])
    assert removed == 2
