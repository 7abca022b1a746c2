"""A demo school in a MySQL or MariaDB database, as RosarioSIS would hold it (`demo/rosariosis.sql`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pymysql

from demo import rosariosis_lessons as lessons
from demo import rosariosis_people as people
from demo.rosariosis_school import OneSchool, Rows
from demo.school import DemoSchool
from elt.errors import ConfigurationError, Conflict, DatabaseUnavailable

TABLES_FILE = Path(__file__).with_name("rosariosis.sql")
_MARK = "Laurel demo school"  # the comment of each of our tables
_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Target:
    """Where to write. `repr` does not show the password."""

    host: str
    port: int
    user: str
    database: str
    _password: str

    def __repr__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}/{self.database}"

    def connect(self) -> pymysql.Connection:
        """A connection that commits when it is told to, takes zero dates, and keeps its times in UTC."""
        return pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self._password, database=self.database,
            charset="utf8mb4", connect_timeout=10,
            init_command="set session sql_mode = 'STRICT_TRANS_TABLES', time_zone = '+00:00'",
        )  # fmt: skip


def parse_target(address: str) -> Target:
    """The parts of mysql://user:password@host:port/database.

    Raises:
        ConfigurationError: it is no such address. Never repeats it, for it holds a password.
    """
    try:
        parts = urlsplit(address)
        target = Target(
            parts.hostname or "", parts.port or 3306, unquote(parts.username or ""),
            unquote(parts.path.removeprefix("/")), unquote(parts.password or ""),
        )  # fmt: skip
    except ValueError:
        target = None
    if target is None or parts.scheme not in ("mysql", "mariadb") or not (target.host and target.database):
        raise ConfigurationError(
            "The database is given as mysql://user:password@host:port/database; in the password, characters "
            "such as @ and / as %40 and %2F."
        )
    return target


def write_rosariosis(
    address: str, school: DemoSchool, school_id: str, *, replace: bool = False
) -> dict[str, int]:
    """Make the tables and write one school of the demo school into them; returns the rows of each table.

    Args:
        address: mysql://user:password@host:port/database; the database is there and empty.
        replace: drop an earlier demo school. Tables that are not the demo's are never touched.

    Raises:
        ConfigurationError: the address is no such address.
        Conflict: the database has tables already.
        DatabaseUnavailable: the server does not answer, or refuses.
    """
    target = parse_target(address)
    rows = build_rows(OneSchool(school, school_id))
    with _in_our_words(target), target.connect() as connection:
        _make_room(connection, target, replace=replace)
        create_tables(connection)
        for table in rows:
            _insert(connection, table)
        connection.commit()
    return {table.table: len(table.cells) for table in rows}


def build_rows(school: OneSchool) -> list[Rows]:
    """The rows of all tables. The same school gives the same rows."""
    return [
        people.school_rows(school), people.class_rows(school), lessons.marking_period_rows(),
        lessons.calendar_rows(school), people.teacher_rows(school), people.parent_rows(school),
        people.student_rows(school), lessons.course_rows(school), lessons.student_course_rows(school),
        lessons.attendance_rows(school), lessons.grade_rows(school), lessons.referral_rows(school),
        people.activity_rows(school), people.eligibility_rows(school), people.poll_rows(school),
        people.sat_number_rows(school), people.waec_number_rows(school),
    ]  # fmt: skip


def create_tables(connection: pymysql.Connection) -> None:
    """Make RosarioSIS's tables in an empty database."""
    with connection.cursor() as cursor:
        for statement in _statements():
            cursor.execute(statement)


def table_names() -> list[str]:
    """The tables' names, in the order of `TABLES_FILE`."""
    return [statement.split()[2] for statement in _statements()]


def _statements() -> list[str]:
    text = re.sub(r"^--.*$", "", TABLES_FILE.read_text("utf-8"), flags=re.MULTILINE)
    return [statement for part in text.split(";") if (statement := part.strip())]


def _make_room(connection: pymysql.Connection, target: Target, *, replace: bool) -> None:
    """Drop an earlier demo school if that is wanted; refuse whatever else is in the way."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select table_name, table_comment from information_schema.tables where table_schema = database()"
        )
        comments: dict[str, str] = dict(cursor.fetchall())
        if comments and not replace:
            raise Conflict(
                f"{target!r} has tables already: {_list(comments)}. Name an empty database, or replace an "
                "earlier demo school with --force."
            )
        ours = [name for name in table_names() if name in comments]
        if foreign := [name for name in ours if comments[name] != _MARK]:
            raise Conflict(
                f"{target!r} has tables of these names that are no demo school: {_list(foreign)}. They stay. "
                "Name an empty database."
            )
        for name in ours:
            cursor.execute(f"drop table `{name}`")


def _list(names: Iterable[str]) -> str:
    first, *rest = sorted(names)
    return ", ".join([first, *rest[:2], *(["…"] if rest[2:] else [])])


def _insert(connection: pymysql.Connection, rows: Rows) -> None:
    columns = ", ".join(f"`{name}`" for name in rows.columns)
    places = ", ".join(["%s"] * len(rows.columns))
    statement = f"insert into `{rows.table}` ({columns}) values ({places})"  # noqa: S608
    with connection.cursor() as cursor:
        for start in range(0, len(rows.cells), _BATCH):
            cursor.executemany(statement, rows.cells[start : start + _BATCH])


@contextmanager
def _in_our_words(target: Target) -> Iterator[None]:
    """The server's errors; what it says about one names users and tables, never passwords."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        number, text = (*error.args, "")[:2]
        raise DatabaseUnavailable(f"{target!r}: MySQL error {number}: {text}") from None
