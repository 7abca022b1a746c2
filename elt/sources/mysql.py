"""Tables of a MySQL or MariaDB database, read as text in sessions that never wait long.

Text is what the server makes of each cell: so a decimal year, a zero date or a name in latin1 arrives as it
is. The driver is written for asyncio; it is driven here by an event loop of the connection's own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from elt.contracts import Contract
from elt.errors import ConfigurationError, SourceFault, SourceUnavailable
from elt.sources.tables import (
    RANGE_KEYS,
    Digest,
    SourceRows,
    TableShape,
    TableSpec,
    gather_rows,
    no_such_table,
    shape_of,
)

_T = TypeVar("_T")

_FETCH = 5000
_LOCK_WAIT = 10
_CLOCK_MARGIN = 2  # seconds; a table's time of change is kept in whole ones

_WHOLE_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
_FRACTIONS = ("decimal", "float", "double")

_UNAVAILABLE = {
    1040: "it has too many connections", 1045: "user or password is wrong", 1205: "a lock was not to be had",
    1969: "the statement took too long", 2003: "no connection", 2006: "the connection broke",
    2013: "the connection broke", 3024: "the statement took too long",
}  # fmt: skip
_FAULTS = {
    1044: "the user may not use the database", 1049: "there is no such database",
    1142: "the user may not read the table", 1143: "the user may not read a column",
    1146: "there is no such table",
}  # fmt: skip


class MySQLDatabase:
    """One connection to a source."""

    def __init__(self, address: str, *, timeout_seconds: int, utc_offset: str) -> None:
        """Connect to mysql://user:password@host:port/database; with ?tls=true the way there is safe.

        Raises:
            SourceUnavailable: the server does not answer within ten seconds, or refuses.
            ConfigurationError: the address names no host or no database.
        """
        self.utc_offset = utc_offset
        self._loop = asyncio.new_event_loop()
        try:
            with _in_our_words():
                self._connection = self._wait(_connect(address))
                for statement in self._session_settings(timeout_seconds):
                    self.ask(statement)
        except BaseException:
            self._loop.close()
            raise

    def close(self) -> None:
        """Close the connection, in whatever state it is."""
        try:
            self._connection.close()
            self._loop.run_until_complete(asyncio.sleep(0))
        finally:
            self._loop.close()

    def table(self, spec: TableSpec, contract: Contract) -> MySQLTable:
        """One of its tables.

        Raises:
            SourceFault: there is no such table, or it does not fit its dataset.
        """
        found: dict[str, str] = {
            name: kind.lower()
            for name, kind in self.ask(
                "select column_name, data_type from information_schema.columns "  # noqa: S608
                f"where table_schema = database() and table_name = {_quoted(spec.table)} "
                "order by ordinal_position"
            )
        }
        if not found:
            raise no_such_table(spec.table)
        return MySQLTable(
            self, spec, shape_of(spec.table, contract, found, spec, whole_numbers=_WHOLE_NUMBERS), found
        )

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a small answer, as texts."""
        return list(self.stream(query))

    def stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a large answer as texts, never all of them in memory."""
        from asyncmy.cursors import SSCursor

        with _in_our_words():
            cursor = self._connection.cursor(SSCursor)
            self._wait(cursor.execute(query))
            try:
                while rows := self._wait(cursor.fetchmany(_FETCH)):
                    yield from rows
            except GeneratorExit:
                # Reading the rest of an answer that nobody wants would take as long as the answer.
                self._connection.close()
                raise
            self._wait(cursor.close())

    def _session_settings(self, timeout_seconds: int) -> list[str]:
        version = str(self.ask("select version()")[0][0])
        settings = [
            "set session time_zone = '+00:00'", f"set session lock_wait_timeout = {_LOCK_WAIT}",
            "set session transaction read only", "set session net_write_timeout = 600",
        ]  # fmt: skip
        if "mariadb" in version.lower():
            return [*settings, f"set session max_statement_time = {timeout_seconds}"]
        return [
            *settings,
            f"set session max_execution_time = {timeout_seconds * 1000}",
            "set session information_schema_stats_expiry = 0",  # else times of change are a day old
        ]

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._loop.run_until_complete(work)


async def _connect(address: str) -> Any:
    import asyncmy

    parts = urlsplit(address)
    database = unquote(parts.path).strip("/")
    if not parts.hostname or not database:
        raise ConfigurationError("The address must read mysql://user:password@host:port/database.")
    is_safe = parse_qs(parts.query).get("tls", ["false"])[0].lower() in ("true", "1", "yes")
    return await asyncmy.connect(
        host=parts.hostname, port=parts.port or 3306, user=unquote(parts.username or ""),
        password=unquote(parts.password or ""), database=database, charset="utf8mb4", connect_timeout=10,
        autocommit=True, conv={}, ssl=ssl.create_default_context() if is_safe else None,
    )  # fmt: skip


class MySQLTable:
    """A table of MySQL; see `elt.sources.tables.SourceTable`."""

    def __init__(
        self, database: MySQLDatabase, spec: TableSpec, shape: TableShape, types: dict[str, str]
    ) -> None:
        self.shape = shape
        self._database = database
        self._spec = spec
        self._types = types
        self._name = _identifier(spec.table)
        self._cells = [self._as_text(column) for column in shape.columns]
        self._range = self._range_of(shape.range_column)
        # Null is told from every text by a character that no cell may hold. Two sums of each row, one of them
        # backwards, because CRC-32 alone is short, and is blind to two cells that change places.
        whole = ", ".join(f"ifnull({cell}, char(0 using utf8mb4))" for cell in self._cells)
        text = f"concat_ws(char(31 using utf8mb4), {whole})"
        self._hash = f"((crc32({text}) & 2147483647) * 4294967296 + crc32(reverse({text})))"

    def clock(self) -> float:
        """The server's time, in whole seconds."""
        return float(self._database.ask("select unix_timestamp()")[0][0])

    def is_unchanged_since(self, clock: float) -> bool:
        """By the time of the table's last commit, which the server forgets when it restarts."""
        rows = self._database.ask(
            "select unix_timestamp(update_time) from information_schema.tables "  # noqa: S608
            f"where table_schema = database() and table_name = {_quoted(self._spec.table)}"
        )
        changed = rows[0][0] if rows else None
        return changed is not None and float(changed) < clock - _CLOCK_MARGIN

    def digests(self) -> dict[int, Digest]:
        """One scan of the table; nothing but sums leaves the server."""
        query = (
            f"select {self._range} as range_no, count(*), sum({self._hash}) "  # noqa: S608
            f"from {self._name} group by range_no"
        )
        return {
            int(number): Digest(int(rows), int(total)) for number, rows, total in self._database.ask(query)
        }

    def rows(self, ranges: Sequence[int]) -> Iterator[SourceRows]:
        """Rows of some ranges, in their order."""
        condition = f"{self._range} in ({', '.join(str(int(number)) for number in ranges)})"
        if self.shape.is_numbered:
            key = _identifier(self._spec.source_column(self.shape.range_column))
            low, high = min(ranges) * RANGE_KEYS, (max(ranges) + 1) * RANGE_KEYS
            condition = f"{key} >= {low} and {key} < {high} and {condition}"
            if len(ranges) == max(ranges) - min(ranges) + 1:
                condition = f"{key} >= {low} and {key} < {high}"
        return self._read(condition)

    def count(self) -> int:
        """Counted exactly."""
        return int(self._database.ask(f"select count(*) from {self._name}")[0][0])  # noqa: S608

    def newest_mark(self) -> str | None:
        """The largest value of the cursor."""
        if self._spec.cursor is None:
            return None
        query = f"select cast(max({_identifier(self._spec.cursor)}) as char) from {self._name}"  # noqa: S608
        newest: str | None = self._database.ask(query)[0][0]
        return newest

    def rows_since(self, mark: str) -> Iterator[SourceRows]:
        """Rows by their cursor, with those committed late or without one."""
        cursor = _identifier(self._spec.cursor or "")
        return self._read(f"({cursor} >= {_quoted(mark)} - interval 10 minute or {cursor} is null)")

    def _read(self, condition: str) -> Iterator[SourceRows]:
        order = "range_no"
        if self.shape.is_numbered:  # the table lies in this order
            order = _identifier(self._spec.source_column(self.shape.range_column))
        query = (
            f"select {self._range} as range_no, {self._hash}, {', '.join(self._cells)} "  # noqa: S608
            f"from {self._name} where {condition} order by {order}"
        )
        return gather_rows(self._database.stream(query))

    def _range_of(self, column: str) -> str:
        """As `elt.sources.tables.range_of`."""
        if self.shape.is_numbered:
            return f"floor({_identifier(self._spec.source_column(column))} / {RANGE_KEYS})"
        return f"conv(left(md5({self._as_text(column)}), 2), 16, 10)"

    def _as_text(self, column: str) -> str:
        """A cell as the contract writes it."""
        source = _identifier(self._spec.source_column(column))
        wanted, found = self.shape.contract.field(column).type, self._types[self._spec.source_column(column)]
        text = f"convert({source} using utf8mb4)"
        if found == "timestamp" and wanted == "datetime":
            return _time(source, "+00:00")
        if found == "datetime" and wanted == "datetime":
            return _time(source, self._database.utc_offset)
        if found in ("date", "datetime", "timestamp") and wanted == "date":
            return f"nullif(date_format({source}, '%Y-%m-%d'), '0000-00-00')"
        if found in _FRACTIONS and wanted in ("integer", "year"):
            return f"if({source} = truncate({source}, 0), convert(cast({source} as signed), char), {text})"
        if found == "bit":
            return f"convert({source} + 0, char)"
        if found in (*_WHOLE_NUMBERS, "decimal"):
            return source  # as text they are the same, and converting them takes the server longer
        return text


def _time(source: str, utc_offset: str) -> str:
    """A moment; the zero date is no moment."""
    written = f"concat(date_format({source}, '%Y-%m-%dT%H:%i:%s.%f'), '{utc_offset}')"
    return f"if({source} is null or year({source}) = 0, null, {written})"


def _identifier(name: str) -> str:
    return ".".join("`" + part.replace("`", "``") + "`" for part in name.split("."))


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@contextmanager
def _in_our_words() -> Iterator[None]:
    """The server's errors by their numbers: their texts may hold cells."""
    from asyncmy.errors import Error

    try:
        yield
    except Error as error:
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if number in _FAULTS:
            raise SourceFault(f"MySQL error {number}: {_FAULTS[number]}.") from None
        raise SourceUnavailable(
            f"MySQL error {number}: {_UNAVAILABLE.get(number, 'the database could not be read')}. "
            "It is tried again with the next run."
        ) from None
    except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
        raise SourceUnavailable(f"The database does not answer ({type(error).__name__}).") from None
