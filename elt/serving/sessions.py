"""What each person may see of the marts: views in schema `served`, and sessions that are bound to a person.

The views are made from the marts that exist and the classes of their columns. They show a session what the
scope of its token allows: a random token that only `reader` knows, whose hash is in `ops.scopes`. Sessions
are of the role `laurel_reader`, which has no right to anything else; so SQL that somebody types sees the same
as the API's own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict

from psycopg import sql
from psycopg.conninfo import make_conninfo

from elt.errors import DatabaseUnavailable
from elt.log import get_logger
from elt.people.principals import Principal
from elt.privacy.column_classes import MartClasses, read_mart_classes
from elt.serving.database_roles import READERS
from elt.serving.mart_catalogue import list_marts
from elt.serving.served_views import SCHEMA, view_sql
from elt.settings import Settings
from elt.warehouse import Connection, connect

_PASSWORD_LOCK = 0x70617373  # "pass"

_log = get_logger(__name__)


def serve(connection: Connection) -> bool:
    """Make the views anew if the marts, their columns or the rules differ from those the views were made of.

    A table that dbt swaps takes its view with it; so this runs after each build.

    Returns:
        Whether anything was done.
    """
    views = _wanted_views(connection)
    text = "".join(statement.as_string(None) for statement in views.values())
    digest = hashlib.sha256(text.encode()).hexdigest()
    if _served(connection) == (sorted(views), digest):
        return False
    with connection.transaction():
        for name in _served(connection)[0]:
            connection.execute(sql.SQL("drop view {}").format(sql.Identifier(SCHEMA, name)))
        for name, statement in views.items():
            connection.execute(statement)
            connection.execute(_grant(name))
        connection.execute(sql.SQL("comment on schema served is {}").format(sql.Literal(digest)))
    _log.info("marts_served", views=len(views))
    return True


@contextmanager
def reader(
    settings: Settings,
    principal: Principal,
    *,
    borrow: Callable[[], AbstractContextManager[Connection]] | None = None,
) -> Iterator[Connection]:
    """A read-only session of the role `laurel_reader` that sees in schema `served` what the person may see.

    `borrow` lends a connection of Laurel's own, for noting and removing the scope; without it one is opened.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    own = borrow or (lambda: connect(settings.database_url.get_secret_value()))
    token = secrets.token_urlsafe(32)
    with _connect(settings) as session:
        with own() as connection:
            _note_scope(connection, token, session.info.backend_pid, principal)
        try:
            session.execute("select set_config('laurel.scope', %s, false)", (token,))
            yield session
        finally:
            with own() as connection:
                connection.execute("delete from ops.scopes where token_sha256 = %s", (_hash(token),))


def _wanted_views(connection: Connection) -> dict[str, sql.Composed]:
    classes = read_mart_classes()
    relations = {
        row["name"]
        for row in connection.execute(
            """
            select format('%s.%s', schemaname, tablename) as name from pg_tables
            union all
            select format('%s.%s', schemaname, viewname) from pg_views
            """
        )
    }
    return {
        mart.name: view_sql(mart, classes.get(mart.name, MartClasses()), relations)
        for mart in list_marts(connection, counted=False)
    }


def _served(connection: Connection) -> tuple[list[str], str | None]:
    """The views that there are, and the digest of those that were made last."""
    row = connection.execute(
        """
        select obj_description(to_regnamespace('served'), 'pg_namespace') as digest, array(
            select viewname::text from pg_views where schemaname = 'served' order by viewname
        ) as views
        """
    ).fetchone()
    return (row["views"], row["digest"]) if row else ([], None)


def _grant(name: str) -> sql.Composed:
    return sql.SQL("grant select on {} to {}").format(
        sql.Identifier(SCHEMA, name), sql.SQL(", ").join(map(sql.Identifier, READERS))
    )


def _note_scope(connection: Connection, token: str, backend_pid: int, principal: Principal) -> None:
    connection.execute("delete from ops.scopes where expires_at < now()")
    connection.execute(
        """
        insert into ops.scopes
            (token_sha256, backend_pid, principal, role, school_id, assignments, expires_at)
        values (%s, %s, %s, %s, %s, %s, now() + interval '1 hour')
        """,
        (
            _hash(token), backend_pid, principal.id, principal.role, principal.school_id,
            json.dumps([asdict(assignment) for assignment in principal.assignments]),
        ),
    )  # fmt: skip


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _connect(settings: Settings) -> Connection:
    """Sign in as `laurel_reader`; where its password is not ours yet, set it."""
    password = hmac.digest(
        settings.secret_key.get_secret_value().encode(), b"database role laurel_reader", hashlib.sha256
    ).hex()
    address = make_conninfo(settings.database_url.get_secret_value(), user="laurel_reader", password=password)
    try:
        return _open(address)
    except DatabaseUnavailable:
        _set_password(settings, password)
        return _open(address)


def _open(address: str) -> Connection:
    session = connect(address, application_name="laurel-reader")
    session.execute("set default_transaction_read_only = on; set search_path = served")
    return session


def _set_password(settings: Settings, password: str) -> None:
    """The server gets to see a hash only, which it could not turn into the password."""
    with connect(settings.database_url.get_secret_value()) as connection, connection.transaction():
        hashed = connection.pgconn.encrypt_password(
            password.encode(), b"laurel_reader", b"scram-sha-256"
        ).decode()
        # Many come at once after a start; PostgreSQL refuses to alter one role in two sessions at a time.
        connection.execute("select pg_advisory_xact_lock(%s)", (_PASSWORD_LOCK,))
        connection.execute(sql.SQL("alter role laurel_reader password {}").format(sql.Literal(hashed)))
