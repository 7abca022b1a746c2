"""The database roles under which Laurel works, and what each may touch.

The user of `LAUREL_DATABASE_URL` owns the tables and may create roles; it need not be a superuser. Roles
belong to the whole server, so several databases of it share them; the rights are each database's own.

- `laurel_app` (API), `laurel_loader`: the ledger and raw; the loader reads staging too, the API intermediate,
  and what people wrote about students: that it adds to and ends, but does not change;
- `laurel_transformer` (dbt): reads raw and the ledger, owns all that dbt builds;
- `laurel_reader`: signs in by itself, and reads the views of schema `served`, nothing else;
- `laurel_query`: the same for statements that people type, see `served.run`.
"""

from __future__ import annotations

from contextlib import suppress

import psycopg
from psycopg import sql

from elt.warehouse import Connection

READERS = ("laurel_reader", "laurel_query")
_ROLES = ("laurel_app", "laurel_loader", "laurel_transformer", *READERS)
_BUILT_SCHEMAS = ("staging", "intermediate", "core", "marts")

_GRANTS = """
grant usage on schema ops, raw, ml to laurel_app, laurel_loader;
grant usage on schema parts to laurel_loader;
grant select, insert, update, delete on all tables in schema ops, raw to laurel_app, laurel_loader;
revoke update, delete on ops.audit from laurel_app, laurel_loader;
revoke all on ops.users, ops.assignments, ops.sessions, ops.keys, ops.interventions, ops.student_notes,
    ops.disputes, ops.student_assignments, ops.mails, ops.report_subscriptions from laurel_loader;
revoke update, delete on ops.interventions, ops.student_notes, ops.disputes, ops.student_assignments
    from laurel_app;
grant update (taken_back_by, taken_back_at) on ops.student_notes to laurel_app;
grant update (outcome, settled_by, settled_why, settled_at) on ops.disputes to laurel_app;
grant update (ended_by, ended_at) on ops.student_assignments to laurel_app;
grant select, insert on all tables in schema ml to laurel_app, laurel_loader;
grant usage on all sequences in schema ops, ml to laurel_app, laurel_loader;
grant usage on schema live to laurel_app;
grant select on live.sources, live.countries, live.hours, live.version, live.rejects to laurel_app;
revoke all on live.responses from laurel_app;

grant usage on schema ops, raw, ml to laurel_transformer;
grant select on all tables in schema raw, ml to laurel_transformer;
grant select on ops.loads, ops.uploads, ops.upload_versions, ops.row_issues, ops.fixed_lines
    to laurel_transformer;

grant usage on schema served to laurel_reader, laurel_query;
grant execute on function served.scope(), served.age_band(date) to laurel_reader, laurel_query;
grant execute on function served.run(text, integer, bigint) to laurel_reader;
"""

# Who also reads what dbt has made and will make. The loader compares new rows with those in staging; the API
# finds out in intermediate whose an exam number is, when somebody is erased or asks for their record.
_READS_WHAT_IS_BUILT = {"staging": "laurel_loader", "intermediate": "laurel_app"}
_LET_READ = """
grant usage on schema {schema} to {role};
grant select on all tables in schema {schema} to {role};
alter default privileges for role laurel_transformer in schema {schema} grant select on tables to {role};
"""

# A function is given by a member of the role that takes it, to a role that may create in the schema.
_HAND_OVER = """
grant create on schema served to laurel_query;
alter function served.run(text, integer, bigint) owner to laurel_query;
revoke create on schema served from laurel_query;
"""


def create_roles(connection: Connection) -> None:
    """Create the roles that are missing and give each its rights; safe to repeat."""
    make_roles(connection)
    with connection.transaction():
        connection.execute(_GRANTS)
        if _owner_of_run(connection) != "laurel_query":
            connection.execute(_HAND_OVER)
        _let_read(connection)


def make_roles(connection: Connection) -> None:
    """Create the roles that are missing, without rights; a backup is restored once they are there."""
    for name in _ROLES:
        _create_role(connection, name)


def let_dbt_build(connection: Connection) -> None:
    """Make dbt's schemas for its role, and hand over what was built before there were roles."""
    for name in _BUILT_SCHEMAS:
        connection.execute(
            sql.SQL("create schema if not exists {} authorization laurel_transformer").format(
                sql.Identifier(name)
            )
        )
    of_others = connection.execute(
        """
        select format('alter schema %%I owner to laurel_transformer', nspname) as statement
        from pg_namespace
        where nspname = any (%(schemas)s) and nspowner <> to_regrole('laurel_transformer')
        union all
        select format('alter table %%s owner to laurel_transformer', c.oid::regclass)
        from pg_class as c
        where c.relnamespace::regnamespace::text = any (%(schemas)s) and c.relkind in ('r', 'v')
            and c.relowner <> to_regrole('laurel_transformer')
        """,
        {"schemas": list(_BUILT_SCHEMAS)},
    ).fetchall()
    for row in of_others:
        connection.execute(row["statement"])
    _let_read(connection)


def _let_read(connection: Connection) -> None:
    """Give what is in `_READS_WHAT_IS_BUILT`, in the schemas that there are by now."""
    given = """
        select to_regnamespace(%(schema)s) is null
            or exists (
                select from pg_default_acl where defaclnamespace = to_regnamespace(%(schema)s)
            ) as given
    """
    for schema, role in _READS_WHAT_IS_BUILT.items():
        row = connection.execute(given, {"schema": schema}).fetchone()
        if row and not row["given"]:
            statements = sql.SQL(_LET_READ).format(schema=sql.Identifier(schema), role=sql.Identifier(role))
            connection.execute(statements)


def _create_role(connection: Connection, name: str) -> None:
    role = sql.Identifier(name)
    if not connection.execute("select 1 from pg_roles where rolname = %s", (name,)).fetchone():
        login = sql.SQL("login" if name == "laurel_reader" else "nologin")
        # Another database of this server may be prepared at the same moment.
        with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            connection.execute(sql.SQL("create role {} {} noinherit").format(role, login))
    # The owner stays able to do what the roles do: it empties dbt's lists, and its views read dbt's tables.
    found = connection.execute("select pg_has_role(%s, 'usage') as has", (name,)).fetchone()
    if name != "laurel_reader" and not (found and found["has"]):
        connection.execute(sql.SQL("grant {} to current_user").format(role))


def _owner_of_run(connection: Connection) -> str | None:
    row = connection.execute(
        "select proowner::regrole::text as owner from pg_proc where oid = 'served.run'::regproc"
    ).fetchone()
    return row["owner"] if row else None
