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

from elt.errors import DatabaseUnavailable, UploadRejected
from elt.reading.spreadsheets import guard
from elt.warehouse import Connection

MAX_ROWS = 10_000
MAX_SECONDS = 10
_MAX_BYTES = 32 * 1024**2

_PREPARED = pq.ExecStatus.COMMAND_OK
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
        UploadRejected: it is not one statement that reads, is wrong, may not do that, or takes too long.
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
    except psycopg.errors.QueryCanceled:
        raise UploadRejected(f"The statement took longer than {seconds} seconds and was stopped.") from None
    except (psycopg.Error, UnicodeError) as error:
        if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(_AWAY):
            raise DatabaseUnavailable(f"PostgreSQL went away ({type(error).__name__}).") from error
        raise UploadRejected(_in_words(error)) from None
    rows = [row["line"] for row in found]
    return Answer(columns, rows[:max_rows], len(rows) > max_rows)


def _describe(session: Connection, statement: str) -> tuple[str, ...]:
    """The columns of the answer; nothing is run. Only a query can be declared as a cursor, and only one.

    Raises:
        UploadRejected: columns without a name of their own.
    """
    _prepare(session, "declare answer no scroll cursor for " + statement)
    _prepare(session, statement)
    described = session.pgconn.describe_prepared(b"")
    columns = tuple((described.fname(number) or b"").decode() for number in range(described.nfields))
    if described.nparams:
        raise UploadRejected("The statement has parameters ($1); write values instead.")
    if doubled := sorted(name for name, count in Counter(columns).items() if count > 1):
        raise UploadRejected(f"Two columns are called {', '.join(doubled)}. Name them apart with `as`.")
    return columns


def _prepare(session: Connection, statement: str) -> None:
    done = session.pgconn.prepare(b"", statement.encode())
    if done.status != _PREPARED:
        raise psycopg.errors.error_from_result(done)


def _in_words(error: Exception) -> str:
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return f"PostgreSQL says: {said or type(error).__name__}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return guard(str(value))
