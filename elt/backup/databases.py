"""Databases beside the one that Laurel works in: made to restore into, renamed, dropped.

All of them are named after it, so that what a killed call left behind is recognised: in `elt_check_…` a
backup is tried, `elt_restore_…` is being restored, `elt_before_…` is what a restore has put aside.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from elt.errors import BackupError, ConfigurationError, Conflict
from elt.log import get_logger
from elt.warehouse import Connection, connect

Purpose = Literal["check", "restore"]

KEPT_ASIDE = timedelta(days=7)
"""How long what a restore has put aside is kept: it holds people who may be erased meanwhile."""

_ENDING_SECONDS = 5
_MAINTENANCE = "postgres"  # every server has it, and nobody minds a session there
# Columns of a catalogue row as options of `create database`. The name of the locale's column changed in 17.
_LOCALE = """
select pg_encoding_to_char(encoding) as encoding, datcollate as lc_collate, datctype as lc_ctype,
    case datlocprovider when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end as locale_provider,
    case when datlocprovider = 'i' then locale end as icu_locale,
    case when datlocprovider = 'b' then locale end as builtin_locale
from pg_database as d,
    lateral (select coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') as locale) as named
where datname = %s
"""
# What was granted on a database, its owner's rights left out: those the new one's owner has as well.
_RIGHTS = """
select pg_get_userbyid(nullif(a.grantee, 0)) as grantee, a.is_grantable,
    string_agg(a.privilege_type, ', ' order by a.privilege_type) as privileges
from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) as a
where datname = %s and a.grantee <> datdba
group by a.grantee, a.is_grantable
"""
_SETTINGS = """
select pg_get_userbyid(nullif(setrole, 0)) as role, split_part(kept, '=', 1) as setting,
    substr(kept, strpos(kept, '=') + 1) as value
from pg_db_role_setting as s join pg_database as d on d.oid = s.setdatabase, unnest(setconfig) as kept
where datname = %s
order by 1, 2
"""
_NOT_EXCHANGEABLE = (
    "To back up and restore, the address of a database must be of the form postgresql://user@host/name: the "
    "name behind the host, not as ?dbname=…, and signs like # ? / @ in a password as %23 %3F %2F %40. Write "
    "LAUREL_DATABASE_URL and LAUREL_AIRFLOW_DATABASE_URL so."
)
_TIME = "%Y%m%dt%H%M%S"
_RANDOM = re.compile(r"[0-9a-f]{8}")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Placed:
    """A restored database in its place.

    `aside`: what the one before is called now; None where there was none. `left_out`: its settings that the
    user of the address may not give to another database.
    """

    aside: str | None
    left_out: tuple[str, ...] = ()


class Server:
    """A session in the server's database `postgres`, which holds the lock of one who backs up or restores."""

    def __init__(self, connection: Connection, database: str) -> None:
        self._connection = connection
        self.database = database

    @property
    def version(self) -> int:
        """The server's major version."""
        return self._connection.info.server_version // 10_000

    def exists(self, name: str) -> bool:
        """Whether there is a database of this name."""
        return bool(self._connection.execute("select from pg_database where datname = %s", (name,)).rowcount)

    def require_roles(self, names: Iterable[str]) -> None:
        """See that those to whom a backup gives rights are there; a dump holds no roles.

        Raises:
            ConfigurationError: names those that are not, and how they are made.
        """
        rows = self._connection.execute(
            "select name from unnest(%s::text[]) as name where name not in (select rolname from pg_roles)",
            (list(names),),
        ).fetchall()
        if missing := [row["name"] for row in rows]:
            made = "; ".join(f"create role {sql.Identifier(name).as_string()} nologin" for name in missing)
            raise ConfigurationError(
                "The backup gives rights to roles that this server does not have: "
                f"{', '.join(missing)}. Create them: {made}; then try again."
            )

    def create(self, purpose: Purpose) -> str:
        """Make an empty database that nobody but its owner may connect to; returns its name.

        It sorts as the one that Laurel works in does, where that is there.

        Raises:
            ConfigurationError: the user of the address may not make databases.
        """
        name = f"{self.database}_{purpose}_{secrets.token_hex(4)}"
        try:
            self._connection.execute(
                sql.SQL("create database {} template template0 {}").format(
                    sql.Identifier(name), self._locale()
                )
            )
        except psycopg.errors.InsufficientPrivilege:
            user = self._connection.info.user
            raise ConfigurationError(
                f"The database user {user} may not make databases; to try and to restore a backup it must. "
                f'As an administrator of the server: alter role "{user}" createdb'
            ) from None
        # It holds everybody's data, and until the end not with the rights of the one it is a copy of.
        self._execute("revoke connect on database {} from public", name)
        return name

    def _locale(self) -> sql.Composable:
        """How the database is written and sorted, as `create database` wants it."""
        row = self._connection.execute(_LOCALE, (self.database,)).fetchone()
        known = row or {"encoding": "UTF8"}
        options = [
            sql.SQL("{} {}").format(sql.SQL(option), sql.Literal(value))
            for option, value in known.items()
            if value is not None
        ]
        return sql.SQL(" ").join(options)

    def drop(self, name: str) -> None:
        """Remove a database of ours, whoever is connected to it."""
        self._execute("drop database if exists {} with (force)", name)

    def sessions(self, name: str) -> list[str]:
        """Who stays connected to a database, by the names that programs give themselves.

        Sessions that are just ending get some seconds for it, as PostgreSQL gives them when it renames.
        """
        deadline = time.monotonic() + _ENDING_SECONDS
        while (found := self._sessions_now(name)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _sessions_now(self, name: str) -> list[str]:
        # Vacuum has no user, and gives way by itself.
        rows = self._connection.execute(
            """
            select distinct application_name as name from pg_stat_activity
            where datname = %s and usesysid is not null order by 1
            """,
            (name,),
        )
        return [row["name"] or "a program without a name" for row in rows]

    def put_in_place(self, name: str, now: datetime) -> Placed:
        """Give a restored database the name that Laurel knows, at once and only if nobody is connected.

        It gets the rights and settings of the one that had the name before, which belong to no dump. Where
        there was none everybody may connect, as to any new database.

        Raises:
            Conflict: somebody is connected to it.
        """
        aside = (
            f"{self.database}_before_{now.astimezone(UTC).strftime(_TIME)}"
            if self.exists(self.database)
            else None
        )
        left_out: list[str] = []
        with self._connection.transaction():
            if aside is None:
                self._execute("grant connect on database {} to public", name)
            else:
                self._copy_rights(name)
                left_out = self._copy_settings(name)
                self._rename(self.database, aside)
            self._rename(name, self.database)
        return Placed(aside, tuple(left_out))

    def _copy_rights(self, name: str) -> None:
        """Let connect and make things in a database who may in the one in use."""
        self._execute("revoke all on database {} from public", name)
        for row in self._connection.execute(_RIGHTS, (self.database,)).fetchall():
            grantee = sql.SQL("public") if row["grantee"] is None else sql.Identifier(row["grantee"])
            self._connection.execute(
                sql.SQL("grant {} on database {} to {}{}").format(
                    sql.SQL(row["privileges"]),
                    sql.Identifier(name),
                    grantee,
                    sql.SQL(" with grant option" if row["is_grantable"] else ""),
                )
            )

    def _copy_settings(self, name: str) -> list[str]:
        """Set for a database what is set for the one in use; returns the statements that were refused."""
        refused = []
        for row in self._connection.execute(_SETTINGS, (self.database,)).fetchall():
            whose = sql.SQL("database {}").format(sql.Identifier(name))
            if row["role"] is not None:
                whose = sql.SQL("role {} in {}").format(sql.Identifier(row["role"]), whose)
            setting = sql.SQL(".").join(map(sql.Identifier, row["setting"].split(".")))
            try:
                with self._connection.transaction():
                    # Taken as it is kept: a list of schemas, written as a literal, would be one schema.
                    self._connection.execute(
                        "select set_config(%s, %s, true)", (row["setting"], row["value"])
                    )
                    self._connection.execute(sql.SQL("alter {} set {} from current").format(whose, setting))
                    self._connection.execute(sql.SQL("reset {}").format(setting))
            except psycopg.Error:
                whom = f" of the role {row['role']}" if row["role"] else ""
                refused.append(f"{row['setting']}{whom}")
        return refused

    def drop_leftovers(self, now: datetime, *, kept_aside: timedelta = KEPT_ASIDE) -> list[str]:
        """Remove what killed calls have left, and what was put aside so long ago; returns the names."""
        rows = self._connection.execute(
            "select datname from pg_database where starts_with(datname, %s) order by 1",
            (f"{self.database}_",),
        ).fetchall()
        doomed = [row["datname"] for row in rows if self._is_leftover(row["datname"], now - kept_aside)]
        for name in doomed:
            self.drop(name)
            log.info("database_dropped", name=name)
        return doomed

    def _is_leftover(self, name: str, put_aside_before: datetime) -> bool:
        purpose, _, rest = name.removeprefix(f"{self.database}_").partition("_")
        if purpose == "before":
            try:
                put_aside_at = datetime.strptime(rest, _TIME).replace(tzinfo=UTC)
            except ValueError:
                return False
            return put_aside_at <= put_aside_before
        return purpose in ("check", "restore") and bool(_RANDOM.fullmatch(rest))

    def _rename(self, name: str, to: str) -> None:
        try:
            self._execute("alter database {} rename to {}", name, to)
        except psycopg.errors.ObjectInUse:
            raise Conflict(in_use(name, self.sessions(name))) from None

    def _execute(self, statement: str, *names: str) -> None:
        self._connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def connect_server(url: str) -> Iterator[Server]:
    """The server of a database's address. One backs up or restores that database at a time.

    Raises:
        Conflict: another backup or restore of it is running.
        DatabaseUnavailable: the server does not answer.
    """
    database = database_of(url)
    lock = int.from_bytes(
        hashlib.blake2b(f"laurel-backup {database}".encode(), digest_size=8).digest(), signed=True
    )
    with connect(beside(url, _MAINTENANCE), application_name="laurel-backup") as connection:
        row = connection.execute("select pg_try_advisory_lock(%s) as mine", (lock,)).fetchone()
        if not (row and row["mine"]):
            raise Conflict(
                f"Another backup or restore of the database {database} is running. Wait for its end."
            )
        yield Server(connection, database)
        # The server may take a moment to notice that a session has ended, and the next one may be ours.
        connection.execute("select pg_advisory_unlock(%s)", (lock,))


def database_of(url: str) -> str:
    """The name of the database in an address.

    Raises:
        ConfigurationError: it is no address.
    """
    parts = _parts(url)
    return str(parts.get("dbname") or parts.get("user") or "")


def beside(url: str, name: str) -> str:
    """The address of another database of the same server, in all else the same.

    Raises:
        ConfigurationError: the address is written in a way in which the name cannot be exchanged.
    """
    address = urlsplit(url)
    query = f"?{address.query}" if address.query else ""
    other = f"{address.scheme}://{address.netloc}/{quote(name, safe='')}{query}"
    if _parts(other) != {**_parts(url), "dbname": name}:
        raise ConfigurationError(_NOT_EXCHANGEABLE)
    return other


def _parts(url: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:  # its text may repeat the address
        raise ConfigurationError(_NOT_EXCHANGEABLE) from None


def scratch_address(url: str, name: str) -> str:
    """The address of a database that was made to restore into. It is looked at whether it leads there.

    Raises:
        BackupError: it leads to another database; nothing was done to that.
        ConfigurationError: as `beside`.
    """
    address = beside(url, name)
    with connect(address, application_name="laurel-backup") as connection:
        row = connection.execute("select current_database() as name").fetchone()
    found = row["name"] if row else ""
    if found != name:
        raise BackupError(
            f"To restore beside the database in use, {name} was made; but its address leads to {found}. "
            "Nothing was restored. Write the address as postgresql://user@host/name, directly to the server."
        )
    return address


def in_use(name: str, sessions: list[str]) -> str:
    """What to tell who wants to replace a database that is used."""
    return (
        f"The database {name} is in use by: {', '.join(sessions)}. Stop the services (./start.sh down, or "
        "the containers of API, Airflow and live), then try again."
    )
