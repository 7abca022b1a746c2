"""SQL that a person has typed: one statement that reads, with the rights of that person, and limits.

It runs in a session of `elt.serving.sessions.reader`, within `served.run`: a function of the role
`laurel_query`, inside which no statement can become another role. So it neither sees more than its author nor
reaches the sessions of others, whatever it calls.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq

from elt.errors import DatabaseUnavailable, Issue, LaurelError, UploadRejected
from elt.reading.spreadsheets import guard
from elt.warehouse import Connection

MAX_ROWS = 10_000
MAX_SECONDS = 10
_MAX_BYTES = 32 * 1024**2

_PREPARED = pq.ExecStatus.COMMAND_OK
_CURSOR = "declare answer no scroll cursor for "
_AWAY = ("08", "53", "57P", "58")  # connections, resources of the server, its end, its files


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a statement, each a JSON object as the database wrote it. `is_cut`: there are more."""

    columns: tuple[str, ...]
    rows: list[str]
    is_cut: bool

    def to_json(self) -> str:
        """Columns and rows as a JSON object."""
        rows = ",\n".join(self.rows)
        columns, is_cut = json.dumps(self.columns), json.dumps(self.is_cut)
        return f'{{"columns": {columns}, "is_cut": {is_cut}, "rows": [{rows}]}}'

    def to_csv(self) -> str:
        """The rows with a header, guarded against programs that calculate cells."""
        output = io.StringIO()
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow(map(guard, self.columns))
        for row in self.rows:
            writer.writerow(map(_cell, json.loads(row, parse_float=str, parse_int=str).values()))
        return output.getvalue()


def run_typed(
    session: Connection, statement: str, *, max_rows: int = MAX_ROWS, seconds: int = MAX_SECONDS
) -> Answer:
    """Run the statement in the session of the person who typed it.

    Raises:
        UploadRejected: it is not one statement that reads, is wrong (the issue says in which line, where
            PostgreSQL knows it), may not do that, or takes too long.
        DatabaseUnavailable: the server went away.
    """
    try:
        columns = _describe(session, statement)
        with session.transaction():
            session.execute("set transaction read only")
            session.execute("select set_config('statement_timeout', %s, true)", (f"{seconds}s",))
            found = session.execute(
                "select * from served.run(%s, %s, %s) as line",
                (statement, max_rows + 1, _MAX_BYTES),
                prepare=False,
            ).fetchall()
    except (psycopg.Error, UnicodeError) as error:
        raise _refused(error, statement, seconds=seconds) from error
    rows = [row["line"] for row in found]
    return Answer(columns, rows[:max_rows], len(rows) > max_rows)


def _describe(session: Connection, statement: str) -> tuple[str, ...]:
    """The columns of the answer; nothing is run. Only a query can be declared as a cursor, and only one.

    Raises:
        UploadRejected: columns without a name of their own.
    """
    _prepare(session, statement, _CURSOR)
    _prepare(session, statement)
    described = session.pgconn.describe_prepared(b"")
    columns = tuple((described.fname(number) or b"").decode() for number in range(described.nfields))
    if described.nparams:
        raise UploadRejected("The statement has parameters ($1); write values instead.")
    if doubled := sorted(name for name, count in Counter(columns).items() if count > 1):
        raise UploadRejected(f"Two columns are called {', '.join(doubled)}. Name them apart with `as`.")
    return columns


def _prepare(session: Connection, statement: str, before: str = "") -> None:
    done = session.pgconn.prepare(b"", (before + statement).encode())
    if done.status != _PREPARED:
        raise _refused(psycopg.errors.error_from_result(done), statement, before)


def _refused(
    error: Exception, statement: str, before: str = "", *, seconds: int = MAX_SECONDS
) -> LaurelError:
    """What PostgreSQL says about the statement, in front of which it was given something else to read."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return UploadRejected(
            f"The statement took longer than {seconds} seconds and was stopped. "
            "Ask for fewer rows, or group earlier."
        )
    if not isinstance(error, psycopg.Error):
        return UploadRejected(f"PostgreSQL cannot take it ({type(error).__name__}).")
    if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(_AWAY):
        return DatabaseUnavailable(f"PostgreSQL went away ({type(error).__name__}).")
    said, hint = error.diag.message_primary or type(error).__name__, error.diag.message_hint or ""
    position = int(error.diag.statement_position or 0) - len(before)
    line = _line(statement, position)
    if isinstance(error, psycopg.errors.SyntaxError) and (not line or not statement[: position - 1].strip()):
        hint = hint or "Type one statement that reads: select, with, values or table."
    where = f" (line {line})" if line else ""
    return UploadRejected(
        f"PostgreSQL says{where}: {said}. {hint}".rstrip(), [Issue(rule="sql", hint=hint or said, line=line)]
    )


def _line(statement: str, position: int) -> int | None:
    """The line of a place that is counted in characters from 1; None if it is none of the statement."""
    return statement.count("\n", 0, position - 1) + 1 if 0 < position <= len(statement) + 1 else None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return guard(str(value))
