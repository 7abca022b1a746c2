"""The tables of schema `raw`, one per contract: their DDL, and what relies on their columns.

Grain of `raw.<dataset>`: one line of one live upload. `_upload_id` and `_line` name where a row came from;
`_loaded_at` is the start of the transaction that wrote it. `raw.<dataset>__changed` lists the keys of rows
that were taken out of a keyed dataset and that the marts still show.

A file that was loaded in parts (`elt.loading.parts`) has a table of its own, which inherits from that of its
dataset: whoever reads the latter sees its rows. Until all parts are there it is in schema `parts`, unseen.
INHERIT is not under MVCC: a reader in REPEATABLE READ may see rows of a load that ended after its snapshot,
and of these only such as were committed before it. In READ COMMITTED a statement sees all of them or none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, LiteralString
from uuid import UUID

from psycopg import sql

from elt.contracts import Contract, Field, FieldType
from elt.errors import ContractError
from elt.warehouse import Connection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SQL_TYPES: dict[FieldType, str] = {
    "string": "text",
    "integer": "bigint",
    "number": "numeric",
    "date": "date",
    "datetime": "timestamp with time zone",
    "year": "integer",
    "boolean": "boolean",
}

LOAD_COLUMNS = {
    "_upload_id": ("uuid", "The upload that the row belongs to."),
    "_line": ("bigint", "Physical line of the file where the record starts; the header is line 1."),
    "_loaded_at": ("timestamp with time zone", "When the row was loaded."),
}

# What is the same in all rows of a load, so that COPY need not carry it.
_DEFAULTS: dict[str, LiteralString] = {
    "_upload_id": "ops.loading_upload_id()",
    "_loaded_at": "now()",
}

_PAGES_PER_RANGE = 32  # of the only index; rows of one upload lie together, so a few pages find them

_CHANGED_COLUMNS = {"row_key": ("uuid", True), "load_id": ("bigint", True)}

_EXISTING = """
    select attname as name, format_type(atttypid, atttypmod) as type, attnotnull as required
    from pg_attribute
    where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
"""


def sql_type(field: Field) -> str:
    """The type of a field's raw column, in PostgreSQL's words."""
    return _SQL_TYPES[field.type]


def raw_table(contract: Contract) -> sql.Identifier:
    """The raw table of a dataset."""
    return sql.Identifier("raw", contract.name)


def changed_table(contract: Contract) -> sql.Identifier:
    """The list of removed keys of a keyed dataset."""
    return sql.Identifier("raw", f"{contract.name}__changed")


def part_table(split_id: UUID) -> sql.Identifier:
    """The table into which the parts of a file are loaded, as long as they are not all there."""
    return sql.Identifier("parts", f"rows_{split_id.hex}")


def create_part_table(connection: Connection, contract: Contract, split_id: UUID, note: str) -> None:
    """Make it, for the loader to fill; `note` stays with it as its comment.

    It lacks `_loaded_at`, which is the time of the transaction that shows the rows.
    """
    table = part_table(split_id)
    columns = [
        _column_sql(name, *column) for name, column in _expected(contract).items() if name != "_loaded_at"
    ]
    for statement in (
        sql.SQL("create table {} ({})").format(table, sql.SQL(", ").join(columns)),
        sql.SQL("create index on {} using brin (_upload_id) with (pages_per_range = {})").format(
            table, sql.Literal(_PAGES_PER_RANGE)
        ),
        sql.SQL("comment on table {} is {}").format(table, sql.Literal(note)),
        sql.SQL("grant select, insert, delete on {} to laurel_loader").format(table),
    ):
        connection.execute(statement)


def complete_part_table(connection: Connection, split_id: UUID) -> None:
    """Give its rows the time of loading, without touching them: a default of the time when it is set."""
    connection.execute(
        sql.SQL("alter table {} add column _loaded_at {} not null default now()").format(
            part_table(split_id), sql.SQL(LOAD_COLUMNS["_loaded_at"][0])
        )
    )


def attach_part_table(connection: Connection, contract: Contract, split_id: UUID) -> None:
    """Make its rows rows of the dataset's table; no row is written."""
    table = part_table(split_id)
    connection.execute(sql.SQL("alter table {} inherit {}").format(table, raw_table(contract)))
    connection.execute(sql.SQL("alter table {} set schema raw").format(table))


def raw_ddl(contract: Contract) -> str:
    """The statements that create a dataset's tables, each ending in a semicolon."""
    return sql.SQL("\n").join(_statements(contract)).as_string(None)


def create_raw_tables(connection: Connection, contracts: Iterable[Contract]) -> None:
    """Create the tables that are not there yet, and compare those that are.

    Raises:
        ContractError: a table has other columns than its contract says; names them.
    """
    for contract in contracts:
        with connection.transaction():
            exists = _existing(connection, contract.name)
            if not exists:
                connection.execute(raw_ddl(contract).encode())
                continue
            _compare(contract.name, exists, _expected(contract))
            if contract.is_keyed:
                changed = f"{contract.name}__changed"
                _compare(changed, _existing(connection, changed), _CHANGED_COLUMNS)


def row_key_sql(contract: Contract, alias: str) -> sql.Composable:
    """The key of a row of the table `alias`, as an expression of type uuid.

    Raises:
        ContractError: the dataset has no key.
    """
    if not contract.is_keyed:
        raise ContractError(f"{contract.name} has no primary key")
    parts = [sql.SQL("{}::text").format(sql.Identifier(alias, name)) for name in contract.primary_key]
    return sql.SQL("ops.row_key({})").format(sql.SQL(", ").join(parts))


def remove_repeats(
    connection: Connection,
    contract: Contract,
    upload_id: UUID,
    suspects: Iterable[NDArray[np.int64]],
    *,
    table: sql.Identifier | None = None,
) -> int:
    """Delete later copies of identical rows of one upload, among the lines that `RepeatFinder` suspects.

    Runs in the transaction that wrote the rows: those of an older version have the same upload id and are
    left alone. The first of identical rows stays. Cells are compared as text, so that
    rows are copies only where every cell is. `table` is where they are, if not yet in raw. Returns the number
    of rows removed.
    """
    connection.execute("create temporary table suspected_repeats (line bigint) on commit drop")
    with connection.cursor() as cursor, cursor.copy("copy suspected_repeats from stdin") as copy:
        found = 0
        for lines in suspects:
            copy.write("".join(f"{line}\n" for line in lines.tolist()))
            found += lines.size
    removed = 0
    if found:
        removed = connection.execute(
            _remove_repeats_sql(contract, table or raw_table(contract)), {"upload_id": upload_id}
        ).rowcount
    connection.execute("drop table suspected_repeats")
    return removed


def _remove_repeats_sql(contract: Contract, table: sql.Identifier) -> sql.Composed:
    # A ctid is a place in one table, not in those that inherit from it.
    cells = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in contract.columns)
    return sql.SQL(
        "delete from only {table} where ctid in ("
        " select place from ("
        "  select ctid as place, row_number() over (partition by {cells} order by _line) as copy"
        "  from only {table} where _upload_id = %(upload_id)s and _loaded_at = now()"
        "  and _line in (select line from suspected_repeats)"
        " ) rows where copy > 1)"
    ).format(table=table, cells=cells)


def _statements(contract: Contract) -> list[sql.Composable]:
    table = raw_table(contract)
    lines = [_column_sql(name, *column) for name, column in _expected(contract).items()]
    statements: list[sql.Composable] = [
        sql.SQL("create table {} (\n    {}\n);").format(table, sql.SQL(",\n    ").join(lines)),
        sql.SQL("create index {} on {} using brin (_upload_id) with (pages_per_range = {});").format(
            sql.Identifier(f"{contract.name}__upload_id"), table, sql.Literal(_PAGES_PER_RANGE)
        ),
        _comment(sql.SQL("table {}").format(table), f"{contract.description.strip()} Grain: a loaded line."),
    ]
    texts = {field.name: field.description.strip() for field in contract.fields}
    texts |= {name: text for name, (_, text) in LOAD_COLUMNS.items()}
    for name, text in texts.items():
        statements.append(_comment(sql.SQL("column {}.{}").format(table, sql.Identifier(name)), text))
    return statements + (_changed_statements(contract) if contract.is_keyed else [])


def _changed_statements(contract: Contract) -> list[sql.Composable]:
    table = changed_table(contract)
    lines = [_column_sql(name, *column) for name, column in _CHANGED_COLUMNS.items()]
    text = f"Keys of rows taken out of raw.{contract.name} that the marts still show."
    return [
        sql.SQL("create table {} (\n    {}\n);").format(table, sql.SQL(",\n    ").join(lines)),
        _comment(sql.SQL("table {}").format(table), text),
    ]


def _column_sql(name: str, type_: str, required: bool) -> sql.Composable:
    parts: list[sql.Composable] = [sql.Identifier(name), sql.SQL(type_)]
    if required:
        parts.append(sql.SQL("not null"))
    if default := _DEFAULTS.get(name):
        parts.append(sql.SQL("default {}").format(sql.SQL(default)))
    return sql.SQL(" ").join(parts)


def _comment(target: sql.Composable, text: str) -> sql.Composable:
    return sql.SQL("comment on {} is {};").format(target, sql.Literal(text))


def _expected(contract: Contract) -> dict[str, tuple[str, bool]]:
    """Name, type and not-null of each column. Only the school is never empty: a file must keep the rest."""
    columns = {field.name: (sql_type(field), field.name == "school_id") for field in contract.fields}
    return columns | {name: (type_, True) for name, (type_, _) in LOAD_COLUMNS.items()}


def _existing(connection: Connection, table: str) -> dict[str, tuple[str, bool]]:
    name = sql.Identifier("raw", table).as_string(None)
    rows = connection.execute(_EXISTING, (name,)).fetchall()
    return {row["name"]: (row["type"], row["required"]) for row in rows}


def _compare(table: str, found: dict[str, tuple[str, bool]], expected: dict[str, tuple[str, bool]]) -> None:
    faults = [
        f"{name}: is {_in_words(found.get(name))}, should be {_in_words(expected.get(name))}"
        for name in {**expected, **found}
        if found.get(name) != expected.get(name)
    ]
    if faults:
        raise ContractError(
            f"raw.{table} does not fit its contract ({'; '.join(faults)}). "
            "Write a migration for the table, or restore the contract."
        )


def _in_words(column: tuple[str, bool] | None) -> str:
    return "absent" if column is None else f"{column[0]}{' not null' if column[1] else ''}"
