"""What an owner of a country database runs once, so that Laurel hears of changes at once; and how to undo it.

The statements are in `prepare.sql`.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import SecretStr

from elt.errors import ConfigurationError, SourceFault
from elt.live.connection import SourceConnection
from elt.live.followed_table import find_table, followed_spec
from elt.sources.configuration import Source
from elt.sources.postgres_words import in_our_words, read_address

SOURCE_CHANNEL = "laurel_changes"

MOST_LINES = 1_000_000
"""About how many changed rows are noted where nobody follows; they take some 100 MB."""

_STATEMENTS = Path(__file__).with_name("prepare.sql")
_OLDEST_SERVER = 140_000  # create or replace trigger
_TIMEOUT_SECONDS = 60

# Only what is ours, should others have put something there.
_UNDO = """\
drop function if exists laurel_live.note() cascade; -- and the triggers
drop function if exists laurel_live.beat(bigint), laurel_live.call(), laurel_live.forget(pg_snapshot),
    laurel_live.begin_anew(), laurel_live.stay_small(bigint),
    laurel_live.shows_all_of(pg_snapshot, pg_snapshot);
drop table if exists laurel_live.changes, laurel_live.floor;
do $$ begin
    drop schema if exists laurel_live;
exception when dependent_objects_still_exist then
    null;
end $$;
"""

_AGAINST_IT = sql.SQL("""
    select exists (select from pg_subscription_rel where srrelid = {}),
           current_setting('max_prepared_transactions')::int > 0
""")


def prepare_sql(source: Source, reader: str) -> str:
    """The statements, for an administrator to run in one transaction.

    Args:
        reader: the role that Laurel reads the source with; see `reader_of`.
    """
    return _statements(source, reader).as_string()


def unprepare_sql() -> str:
    """The statements that take all of it away, triggers included."""
    return _UNDO


def reader_of(source: Source, address: SecretStr) -> str:
    """The role that Laurel reads a source with.

    Raises:
        ConfigurationError: the address names no user.
    """
    user = read_address(address.get_secret_value()).get("user")
    if not user:
        raise ConfigurationError(
            f"Source {source.name}: the address in {source.address_variable} names no user to be let in."
        )
    return str(user)


async def prepare(owner: SecretStr, source: Source, reader: str) -> None:
    """Run the statements; safe to repeat. Followers compare the source once afterwards.

    Args:
        owner: the address of the source for the owner of its table.
        reader: the role that Laurel reads the source with; see `reader_of`.

    Raises:
        SourceUnavailable: the server does not answer, or the table is locked for longer than ten seconds.
        SourceFault: the table is not there, cannot have the triggers, or its owner is somebody else.
    """
    await _refuse_other_tables(owner, source)
    await _run(owner, _statements(source, reader))


async def unprepare(owner: SecretStr) -> None:
    """Take all of it away; raises as `prepare` does. Followers look for changes from then on."""
    await _run(owner, sql.SQL(_UNDO))


def _statements(source: Source, reader: str) -> sql.Composed:
    spec = followed_spec(source)
    text = _STATEMENTS.read_text("utf-8")
    return sql.SQL(text).format(
        table=sql.Identifier(*spec.table.split(".")),
        key=sql.Identifier(spec.source_column("id")),
        reader=sql.Identifier(reader),
        channel=sql.Literal(SOURCE_CHANNEL),
        most_lines=sql.Literal(MOST_LINES),
    )


async def _refuse_other_tables(owner: SecretStr, source: Source) -> None:
    connection = await SourceConnection.open(owner)
    try:
        table = await find_table(connection, source)
        version = connection.server_version
        [(has_other_way, has_two_phases)] = await connection.ask(_AGAINST_IT.format(sql.Literal(table.oid)))
    finally:
        await connection.close()
    reasons = (
        (
            version < _OLDEST_SERVER,
            f"PostgreSQL {version // 10_000} is too old, {_OLDEST_SERVER // 10_000} is needed",
        ),
        (table.is_standby, "this server follows another one and cannot be written to"),
        (table.has_parts, "its rows are in partitions, which may be written to past a trigger"),
        (has_other_way, "it is filled by a subscription, which fires no such triggers"),
        (has_two_phases, "transactions may be prepared for a commit in two phases, and may not call then"),
    )
    for is_so, reason in reasons:
        if is_so:
            raise SourceFault(
                f"Source {source.name}: {followed_spec(source).table} cannot call: {reason}. It is followed "
                "without, by looking for changes; nothing need be done."
            )


async def _run(owner: SecretStr, statements: sql.SQL | sql.Composed) -> None:
    read_address(owner.get_secret_value())
    options = f"-c lock_timeout=10000 -c statement_timeout={_TIMEOUT_SECONDS * 1000}"
    with in_our_words():
        async with await psycopg.AsyncConnection.connect(
            owner.get_secret_value(), connect_timeout=10, options=options, keepalives_idle=10,
            tcp_user_timeout=15_000, application_name="laurel-live-prepare",
        ) as connection:  # fmt: skip
            try:
                await connection.execute(statements)
            except psycopg.errors.InsufficientPrivilege as error:
                raise SourceFault(
                    f"PostgreSQL: {error.diag.message_primary}. It takes the owner of the table, who may "
                    "create a schema in its database."
                ) from None
