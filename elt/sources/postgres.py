"""Tables of a PostgreSQL database, 11 or later, read with COPY in read-only sessions that never wait long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from elt.contracts import Contract
from elt.sources.postgres_cells import WHOLE_NUMBERS, PostgresCells
from elt.sources.postgres_words import in_our_words, read_address
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


class PostgresDatabase:
    """One connection to a source."""

    def __init__(self, address: str, *, timeout_seconds: int, utc_offset: str) -> None:
        """Connect.

        Raises:
            ConfigurationError: the address cannot be read.
            SourceUnavailable: the server does not answer within ten seconds, or refuses.
        """
        read_address(address)
        self.utc_offset = utc_offset
        options = (
            f"-c lock_timeout={_LOCK_WAIT_MS} -c statement_timeout={timeout_seconds * 1000} "
            "-c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO"
        )
        with in_our_words():
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
        with in_our_words():
            found: dict[str, str] = dict(
                self._connection.execute(_COLUMNS, (name.as_string(self._connection),)).fetchall()
            )
        if not found:
            raise no_such_table(spec.table)
        return PostgresTable(
            self, name, spec, shape_of(spec.table, contract, found, spec, whole_numbers=WHOLE_NUMBERS), found
        )

    def ask(self, query: sql.Composed | sql.SQL) -> list[tuple[Any, ...]]:
        """All rows of a small answer."""
        with in_our_words():
            rows: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        return rows

    def stream(self, query: sql.Composable) -> Iterator[tuple[str | None, ...]]:
        """The rows of a large answer as texts, never all of them in memory."""
        statement = sql.SQL("copy ({}) to stdout").format(query)
        with in_our_words(), self._connection.cursor() as cursor, cursor.copy(statement) as copy:
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
        cells = PostgresCells(spec, shape, types, database.utc_offset)
        self._cells = [cells.text(column) for column in shape.columns]
        self._hash = cells.hash_of(self._cells)
        self._range = cells.range_no()

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
