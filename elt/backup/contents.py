"""What is in a database, in a form that can be compared: of each table the rows, and a sum over their hashes.

The server reads each table once and answers with two numbers. The sum is over 64 bits of each row's text, as
numeric: in any order the same, never too large, and a row that is there twice counts twice. PostgreSQL keeps
this hash the same from version to version, since tables are partitioned by it.
"""

from __future__ import annotations

from psycopg import sql

from elt.backup.manifest import TableSum
from elt.warehouse import Connection, connect

# How the text of a row comes out; the database may have other defaults, and its copy not the same ones.
_SETTINGS = """
set local datestyle = 'ISO, YMD';
set local intervalstyle = 'postgres';
set local timezone = 'UTC';
set local extra_float_digits = 1;
set local bytea_output = 'hex';
set local search_path = pg_catalog;
set local statement_timeout = 0;
set local idle_in_transaction_session_timeout = 0;
"""
_TABLES = """
select n.nspname as schema, c.relname as name
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by 1, 2
"""
_SUM = """
select count(*) as rows, coalesce(sum(hashtextextended(laurel_row::text, 0)), 0) as sum
from only {} as laurel_row
"""
_REVISION_TABLES = ("ops.alembic_version", "public.alembic_version")


def begin_snapshot(connection: Connection) -> None:
    """Let the open transaction see one moment, and rows come out the same wherever they are read.

    It must be the transaction's first statement.
    """
    connection.execute("set transaction isolation level repeatable read read only")
    connection.execute(_SETTINGS)


def sum_tables(connection: Connection) -> tuple[TableSum, ...]:
    """All tables, by schema and name; after `begin_snapshot`."""
    return tuple(
        _sum(connection, row["schema"], row["name"]) for row in connection.execute(_TABLES).fetchall()
    )


def find_revision(connection: Connection) -> str | None:
    """The revision of the tables that Alembic has noted; None where there is none."""
    for table in _REVISION_TABLES:
        known = connection.execute("select to_regclass(%s) as table", (table,)).fetchone()
        if known and known["table"]:
            name = sql.Identifier(*table.split("."))
            row = connection.execute(sql.SQL("select version_num from {}").format(name)).fetchone()
            return row["version_num"] if row else None
    return None


def has_tables(url: str) -> bool:
    """Whether a database holds tables of anybody."""
    with connect(url, application_name="laurel-backup") as connection:
        return bool(connection.execute(_TABLES).rowcount)


def differences(expected: tuple[TableSum, ...], found: tuple[TableSum, ...]) -> list[str]:
    """What is not as it should be, a line per table, without anything of a row."""
    theirs = {table.name: table for table in found}
    lines = [_difference(table, theirs.pop(table.name, None)) for table in expected]
    return [line for line in lines if line] + [f"{name} is one too many" for name in theirs]


def _difference(expected: TableSum, found: TableSum | None) -> str | None:
    if found is None:
        return f"{expected.name} is missing"
    if found.rows != expected.rows:
        return f"{expected.name} has {found.rows} rows, not {expected.rows}"
    if found.checksum != expected.checksum:
        return f"{expected.name} has {found.rows} rows, and not the same ones"
    return None


def _sum(connection: Connection, schema: str, name: str) -> TableSum:
    row = connection.execute(sql.SQL(_SUM).format(sql.Identifier(schema, name))).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers with one row
    return TableSum(f"{schema}.{name}", row["rows"], int(row["sum"]))
