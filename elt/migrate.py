"""Bring the database `elt` to the schema that this version of the code expects, with its roles; or back.

Safe to run by several processes at once: they queue on one advisory lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from elt.contracts import load_contracts
from elt.errors import Conflict
from elt.loading.raw_tables import create_raw_tables
from elt.schema_version import MIGRATIONS, REVISIONS, read_revision, require_known
from elt.serving.database_roles import create_roles
from elt.warehouse import Connection, connect

if TYPE_CHECKING:
    import sqlalchemy
    from alembic.config import Config

BASE = "base"
"""The name of what is before the first revision: a database without tables of ours."""

_LOCK = 0x6C617572656C  # "laurel"

# Views of dbt's and of schema served read columns that go. The next run of any version makes its own: it has
# something to do (with a mart that all versions have), and does not find by which code the tables were built.
_FORGET_MARTS = """
    select format('drop view if exists %I.%I cascade', schemaname, viewname) as statement from pg_views
    where schemaname in ('staging', 'intermediate', 'core', 'marts', 'served')
    union all
    select format('comment on schema %I is null', nspname) from pg_namespace
    where nspname in ('staging', 'served')
    union all
    select 'insert into ops.unpublished_marts values (''mart_student_risk'', now()) on conflict do nothing'
    from pg_namespace where nspname = 'marts'
"""


def migrate(database_url: str) -> None:
    """Run the migrations, create the raw table of every contract that has none yet, and the database roles.

    Raises:
        DatabaseUnavailable: the database does not answer.
        SchemaMismatch: the database is newer than the code.
        ContractError: a raw table exists with other columns than its contract says.
    """
    with _alone(database_url) as connection:
        require_known(read_revision(connection))
        connection.execute("create schema if not exists ops")
        with alembic(database_url) as (config, _):
            from alembic import command

            command.upgrade(config, "head")
        create_raw_tables(connection, load_contracts().values())
        create_roles(connection)


def downgrade(database_url: str, revision: str, *, lose_data: bool = False) -> list[str]:
    """Take the schema back to an earlier revision, in one transaction: all of it or nothing.

    Raw tables and roles stay: an older version's `migrate` makes what it misses, and its next run the marts.
    Until then there are no figures.

    Args:
        revision: one of `REVISIONS`, or `BASE`.
        lose_data: go on although rows or values are lost that only the newer schema can hold.

    Returns:
        What was lost, in words: table, count, what.

    Raises:
        DatabaseUnavailable: the database does not answer.
        SchemaMismatch: the database is newer than the code.
        Conflict: data would be lost and `lose_data` is not set (tells which), a table is in use, or the
            database is at no later revision than the one asked for. Nothing was changed.
    """
    from elt.transforming.transform import keep_builds_out

    if revision != BASE and revision not in REVISIONS:
        raise Conflict(f"There is no revision {revision!r}. There are: {BASE}, {', '.join(REVISIONS)}.")
    with _alone(database_url) as connection:
        current = read_revision(connection)
        require_known(current)
        if current is None or (revision != BASE and revision >= current):
            raise Conflict(
                f"The database is at revision {current or BASE}, which is not after {revision}. "
                "Give an earlier one; laurel migrate without --back-to goes forward."
            )
        keep_builds_out(connection)
        with alembic(database_url) as (config, session):
            return _go_back(config, session, current, revision, lose_data=lose_data)


@contextmanager
def alembic(database_url: str) -> Iterator[tuple[Config, sqlalchemy.Connection]]:
    """Alembic's configuration, and the connection that its commands with it use."""
    # Here, so that commands that migrate nothing need not wait for it.
    from alembic.config import Config
    from sqlalchemy import create_engine, pool, text

    scheme, _, rest = database_url.partition("://")
    engine = create_engine(f"{scheme.split('+')[0]}+psycopg://{rest}", poolclass=pool.NullPool)
    config = Config()
    # The option is a format string: a percent sign in our path stands for itself.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.connect() as connection:
        connection.execute(text("set search_path to ops, public"))
        connection.commit()
        config.attributes["connection"] = connection
        yield config, connection
        connection.commit()


@contextmanager
def _alone(database_url: str) -> Iterator[Connection]:
    """A connection that holds the lock of migrations; its end frees it."""
    with connect(database_url, application_name="laurel-migrate") as connection:
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        yield connection


def _go_back(
    config: Config, session: sqlalchemy.Connection, current: str, revision: str, *, lose_data: bool
) -> list[str]:
    from alembic import command
    from alembic.script import ScriptDirectory
    from psycopg.errors import DeadlockDetected, LockNotAvailable
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError

    from elt.migrations.losses import count_losses

    steps = ScriptDirectory.from_config(config).iterate_revisions(current, revision)
    candidates = [loss for step in steps for loss in getattr(step.module, "LOSES", ())]
    try:
        with session.begin():  # Alembic finds it open, and leaves its end to us
            session.execute(text("set local lock_timeout to '10s'"))
            lost = count_losses(session, candidates)
            if lost and not lose_data:
                raise Conflict(
                    f"Going back from revision {current} to {revision} would lose: {'; '.join(lost)}. "
                    "Nothing was changed. Make a backup, then ask for it with --lose-data."
                )
            statements: Sequence[str] = session.execute(text(_FORGET_MARTS)).scalars().all()
            for statement in statements:
                session.execute(text(statement))
            command.downgrade(config, revision)
    except OperationalError as error:
        if isinstance(error.orig, (LockNotAvailable, DeadlockDetected)):
            raise Conflict(
                "Something works with the tables at this moment. Nothing was changed. "
                "Wait for the run to end, or stop the services, and try again."
            ) from error
        raise
    return lost
