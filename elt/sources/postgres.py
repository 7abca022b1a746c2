"""Tables of a PostgreSQL database, 11 or later, read with COPY in read-only sessions that never wait long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from elt.contracts import Contract
from elt.errors import SourceFault, SourceUnavailable
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

_LOCK_WAIT_MS = 10_000

_COLUMNS = """
    select attname, format_type(atttypid, null) as type
    from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum
"""

_WHOLE_NUMBERS = ("smallint", "integer", "bigint")
_FRACTIONS = ("numeric", "real", "double precision")
_DAY_AND_TIME = "'YYYY-MM-DD\"T\"HH24:MI:SS.US'"


class PostgresDatabase:
    """One connection to a source."""

    def __init__(self, address: str, *, timeout_seconds: int, utc_offset: str) -> None:
        """Connect.

        Raises:
            SourceUnavailable: the server does not answer within ten seconds, or refuses.
        """
        self.utc_offset = utc_offset
        options = (
            f"-c lock_timeout={_LOCK_WAIT_MS} -c statement_timeout={timeout_seconds * 1000} "
            "-c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO"
        )
        with _in_our_words():
            self._connection: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
                address, autocommit=True, connect_timeout=10, options=options, client_encoding="utf8",
                application_name="laurel-source", keepalives_idle=30,
            )  # fmt: skip

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def table(self, spec: TableSpec, contract: Contract) -> PostgresTable:
        """One of its tables.

        Raises:
            SourceFault: there is no such table, or it does not fit its dataset.
        """
        name = sql.Identifier(*spec.table.split("."))
        with _in_our_words():
            found: dict[str, str] = dict(
                self._connection.execute(_COLUMNS, (name.as_string(self._connection),)).fetchall()
            )
        if not found:
            raise no_such_table(spec.table)
        return PostgresTable(
            self, name, spec, shape_of(spec.table, contract, found, spec, whole_numbers=_WHOLE_NUMBERS), found
        )

    def ask(self, query: sql.Composed | sql.SQL) -> list[tuple[Any, ...]]:
        """All rows of a small answer."""
        with _in_our_words():
            rows: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        return rows

    def stream(self, query: sql.Composable) -> Iterator[tuple[str | None, ...]]:
        """The rows of a large answer as texts, never all of them in memory."""
        statement = sql.SQL("copy ({}) to stdout").format(query)
        with _in_our_words(), self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            yield from copy.rows()


class PostgresTable:
    """A table of PostgreSQL; see `elt.sources.tables.SourceTable`."""

    def __init__(
        self, database: PostgresDatabase, name: sql.Identifier, spec: TableSpec, shape: TableShape,
        types: dict[str, str],
    ) -> None:  # fmt: skip
        self.shape = shape
        self._database = database
        self._name = name
        self._spec = spec
        self._types = types
        self._cells = [self._as_text(column) for column in shape.columns]
        # A record's own text form keeps null, the empty text and every separator apart.
        self._hash = sql.SQL("(hashtextextended(row({})::text, 0) & 9223372036854775807)").format(
            sql.SQL(", ").join(self._cells)
        )
        self._range = self._range_of(shape.range_column)

    def clock(self) -> float:
        """The server's time."""
        return float(self._database.ask(sql.SQL("select extract(epoch from now())"))[0][0])

    def is_unchanged_since(self, clock: float) -> bool:  # noqa: ARG002
        """PostgreSQL keeps no time of a table's last commit."""
        return False

    def digests(self) -> dict[int, Digest]:
        """One scan of the table; nothing but sums leaves the server."""
        query = sql.SQL("select {} as range_no, count(*), sum({}::numeric) from {} group by 1").format(
            self._range, self._hash, self._name
        )
        return {int(number): Digest(rows, int(total)) for number, rows, total in self._database.ask(query)}

    def rows(self, ranges: Sequence[int]) -> Iterator[SourceRows]:
        """Rows of some ranges, in their order."""
        condition = sql.SQL("{} = any({})").format(self._range, sql.Literal(list(ranges)))
        if self.shape.is_numbered:
            key = sql.Identifier(self._spec.source_column(self.shape.range_column))
            between = sql.SQL("{key} >= {low} and {key} < {high} and ").format(
                key=key, low=min(ranges) * RANGE_KEYS, high=(max(ranges) + 1) * RANGE_KEYS
            )
            condition = between + condition
        return self._read(condition)

    def count(self) -> int:
        """Counted exactly."""
        return int(self._database.ask(sql.SQL("select count(*) from {}").format(self._name))[0][0])

    def newest_mark(self) -> str | None:
        """The largest value of the cursor."""
        if self._spec.cursor is None:
            return None
        query = sql.SQL("select max({})::text from {}").format(sql.Identifier(self._spec.cursor), self._name)
        newest: str | None = self._database.ask(query)[0][0]
        return newest

    def rows_since(self, mark: str) -> Iterator[SourceRows]:
        """Rows by their cursor, with those committed late or without one."""
        return self._read(
            sql.SQL("({0} >= {1}::timestamptz - interval '10 minutes' or {0} is null)").format(
                sql.Identifier(self._spec.cursor or ""), sql.Literal(mark)
            )
        )

    def _read(self, condition: sql.Composable) -> Iterator[SourceRows]:
        query = sql.SQL("select {}, {}, {} from {} where {} order by 1").format(
            self._range, self._hash, sql.SQL(", ").join(self._cells), self._name, condition
        )
        return gather_rows(self._database.stream(query))

    def _range_of(self, column: str) -> sql.Composable:
        """As `elt.sources.tables.range_of`."""
        if self.shape.is_numbered:
            return sql.SQL("floor({}::numeric / {})::bigint").format(
                sql.Identifier(self._spec.source_column(column)), sql.Literal(RANGE_KEYS)
            )
        return sql.SQL("('x' || left(md5({}), 2))::bit(8)::int").format(self._as_text(column))

    def _as_text(self, column: str) -> sql.Composable:
        """A cell as the contract writes it."""
        source = sql.Identifier(self._spec.source_column(column))
        wanted, found = self.shape.contract.field(column).type, self._types[self._spec.source_column(column)]
        if wanted == "datetime" and found == "timestamp with time zone":
            return sql.SQL("to_char({} at time zone 'UTC', {}) || '+00:00'").format(
                source, sql.SQL(_DAY_AND_TIME)
            )
        if wanted == "datetime" and found == "timestamp without time zone":
            offset = sql.Literal(self._database.utc_offset)
            return sql.SQL("to_char({}, {}) || {}").format(source, sql.SQL(_DAY_AND_TIME), offset)
        if wanted == "date" and found.startswith("timestamp"):
            return sql.SQL("({}::date)::text").format(source)
        if wanted in ("integer", "year") and found in _FRACTIONS:
            return sql.SQL(
                "case when {0} = trunc({0}) then trunc({0}::numeric)::text else {0}::text end"
            ).format(source)
        return sql.SQL("{}::text").format(source)


@contextmanager
def _in_our_words() -> Iterator[None]:
    """The server's errors, without its text beyond the first line; that names tables, not rows."""
    try:
        yield
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
        raise SourceUnavailable(
            f"The database did not answer in time ({type(error).__name__}): it is slow, or somebody keeps "
            f"the table "
            "locked. It is tried again with the next run."
        ) from None
    except psycopg.OperationalError as error:
        text = str(error).strip().splitlines()
        raise SourceUnavailable(f"PostgreSQL: {text[0] if text else type(error).__name__}") from None
    except psycopg.Error as error:
        raise SourceFault(f"PostgreSQL refused to read the table: {type(error).__name__}.") from None
