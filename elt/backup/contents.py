"""What is in a database, in a form that can be compared: of each table the rows, and a sum over their hashes.

The server reads each table once and answers with two numbers. The sum is over 64 bits of each row's text, as
numeric: in any order the same, never too large, and a row that is there twice counts twice. PostgreSQL keeps
this hash the same from version to version, since tables are partitioned by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psycopg
from psycopg import sql
from psycopg.rows import DictRow

from elt.backup.manifest import TableSum
from elt.errors import TransientError
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
set local lock_timeout = '1min';
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
# What `pg_dump` locks.
_LOCKED = _TABLES.replace("c.relkind = 'r'", "c.relkind in ('r', 'p')")
# A listed table was dropped, or got another name or schema, before it was locked; or somebody is at it.
_CHANGED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.WrongObjectType,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
)
_ATTEMPTS = 5
# Whom `pg_dump` names as having rights: without them the dump cannot be restored. Owners are left out of it.
_GRANTEES = """
select distinct rolname as name
from (
    select a.grantee as role from pg_class, aclexplode(relacl) as a where a.grantee <> relowner
    union all
    select a.grantee from pg_attribute, aclexplode(attacl) as a
    union all
    select a.grantee from pg_namespace, aclexplode(nspacl) as a where a.grantee <> nspowner
    union all
    select a.grantee from pg_proc, aclexplode(proacl) as a where a.grantee <> proowner
    union all
    select a.grantee from pg_type, aclexplode(typacl) as a where a.grantee <> typowner
    union all
    select a.grantee from pg_default_acl, aclexplode(defaclacl) as a
    union all
    select defaclrole from pg_default_acl
    union all
    select unnest(polroles) from pg_policy
) as named join pg_roles as r on r.oid = named.role
where rolname !~ '^pg_'
order by 1
"""
_REVISION_TABLES = ("ops.alembic_version", "public.alembic_version")


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """A transaction that sees one moment, whose tables stay as they are until its end.

    They are locked at once, as `pg_dump` does it: names are looked up as of now, not as of the moment seen,
    so one that a load has moved meanwhile could not be read any more. Rows come out the same in any database.

    Raises:
        TransientError: tables went away, or somebody held them, each time that it was tried.
    """
    with ExitStack() as stack:
        _begin(connection, stack)
        yield


def _begin(connection: Connection, stack: ExitStack) -> None:
    for _ in range(_ATTEMPTS):
        with suppress(*_CHANGED), ExitStack() as attempt:
            attempt.enter_context(connection.transaction())
            connection.execute("set transaction isolation level repeatable read read only")
            connection.execute(_SETTINGS)
            _lock(connection, connection.execute(_LOCKED).fetchall())
            stack.push(attempt.pop_all())
            return
    raise TransientError(
        f"The tables of the database {connection.info.dbname} could not be held still to be read: each of "
        f"{_ATTEMPTS} times one was dropped or moved just then, or was locked by somebody for over a minute. "
        "Try again once loads and changes of tables have ended."
    )


def _lock(connection: Connection, tables: list[DictRow]) -> None:
    """Let nobody drop or change the tables; reading and writing goes on."""
    if tables:
        names = [sql.SQL("only {}").format(sql.Identifier(row["schema"], row["name"])) for row in tables]
        connection.execute(sql.SQL("lock table {} in access share mode").format(sql.SQL(", ").join(names)))


def sum_tables(connection: Connection) -> tuple[TableSum, ...]:
    """All tables, by schema and name; inside `snapshot`."""
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


def list_grantees(connection: Connection) -> tuple[str, ...]:
    """The roles that have rights in the database and do not come with every server, by name."""
    return tuple(row["name"] for row in connection.execute(_GRANTEES))


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
