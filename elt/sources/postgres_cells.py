"""What is asked of a row in PostgreSQL: its cells as the contract writes them, its hash, its range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from elt.sources.tables import RANGE_KEYS, TableShape, TableSpec

WHOLE_NUMBERS = ("smallint", "integer", "bigint")
FRACTIONS = ("numeric", "real", "double precision")

_DAY_AND_TIME = "'YYYY-MM-DD\"T\"HH24:MI:SS.US'"


@dataclass(frozen=True, slots=True)
class PostgresCells:
    """SQL about the rows of one table. `types`: of its columns, as `format_type` names them."""

    spec: TableSpec
    shape: TableShape
    types: Mapping[str, str]
    utc_offset: str

    def column(self, name: str) -> sql.Identifier:
        """What the source calls one of the contract's columns."""
        return sql.Identifier(self.spec.source_column(name))

    def type_of(self, name: str) -> str:
        """The source's type of one of the contract's columns."""
        return self.types[self.spec.source_column(name)]

    def text(self, name: str) -> sql.Composable:
        """A cell as the contract writes it."""
        return self.as_text(name, self.column(name))

    def as_text(self, name: str, value: sql.Composable) -> sql.Composable:
        """A value of a column's type as the contract writes it in this column."""
        wanted, found = self.shape.contract.field(name).type, self.type_of(name)
        if wanted == "datetime" and found == "timestamp with time zone":
            return sql.SQL("to_char({} at time zone 'UTC', {}) || '+00:00'").format(
                value, sql.SQL(_DAY_AND_TIME)
            )
        if wanted == "datetime" and found == "timestamp without time zone":
            return sql.SQL("to_char({}, {}) || {}").format(
                value, sql.SQL(_DAY_AND_TIME), sql.Literal(self.utc_offset)
            )
        if wanted == "date" and found.startswith("timestamp"):
            return sql.SQL("({}::date)::text").format(value)
        if wanted in ("integer", "year") and found in FRACTIONS:
            # A real becomes a numeric with six digits, unless by way of its text, which has all of them.
            return sql.SQL(
                "case when {0} = trunc({0}) then trunc({0}::text::numeric)::text else {0}::text end"
            ).format(value)
        return sql.SQL("{}::text").format(value)

    def hash_of(self, cells: Sequence[sql.Composable]) -> sql.Composable:
        """63 bits of some cells. A record's own text form keeps null, the empty text and separators apart."""
        return sql.SQL("(hashtextextended(row({})::text, 0) & 9223372036854775807)").format(
            sql.SQL(", ").join(cells)
        )

    def range_no(self) -> sql.Composable:
        """As `elt.sources.tables.range_of`; null where the key is."""
        name = self.shape.range_column
        if self.shape.is_numbered:
            return sql.SQL("floor({}::numeric / {})::bigint").format(
                self.column(name), sql.Literal(RANGE_KEYS)
            )
        return sql.SQL("('x' || left(md5({}), 2))::bit(8)::int").format(self.text(name))
