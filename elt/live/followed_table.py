"""The table of responses at a source, and the SQL that finds out what is in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from psycopg import sql

from elt.contracts import get_contract
from elt.errors import ConfigurationError, SourceFault
from elt.live.changes import COLUMNS, DATASET, LiveRow
from elt.live.connection import SourceConnection
from elt.sources.configuration import Source
from elt.sources.postgres_cells import WHOLE_NUMBERS, PostgresCells
from elt.sources.tables import RANGE_KEYS, Digest, TableShape, TableSpec, no_such_table, shape_of

KEYLESS_RANGE = -(2**63)
"""The range of rows without a key; no key lies in it."""

OLDEST_SERVER = 130_000

# Types whose values can be looked for as they are, by an index; others are looked for as texts.
_TYPES: dict[str, LiteralString] = {
    "smallint": "smallint", "integer": "integer", "bigint": "bigint", "numeric": "numeric", "real": "real",
    "double precision": "double precision",
}  # fmt: skip

_TABLE = sql.SQL("""
    select c.oid::bigint, c.relkind::text, c.relhassubclass, pg_is_in_recovery(),
           (select system_identifier::text from pg_control_system()),
           case when pg_is_in_recovery() then 'standby'
                else left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) end, -- the timeline
           (select oid::bigint from pg_database where datname = current_database())
    from pg_class as c where c.oid = to_regclass({})
""")

_COLUMNS = sql.SQL("""
    select attname, format_type(atttypid, null), attnotnull, exists (
        select from pg_index as i join pg_class as x on x.oid = i.indexrelid join pg_am on pg_am.oid = x.relam
        where i.indrelid = attrelid and i.indkey[0] = attnum and i.indisvalid and i.indpred is null
          and pg_am.amname = 'btree'
    )
    from pg_attribute where attrelid = to_regclass({}) and attnum > 0 and not attisdropped order by attnum
""")


@dataclass(frozen=True, slots=True)
class FollowedTable:
    """One table, as it was when it was looked at; equal to another one where nothing of this has changed.

    `is_standby`: the server follows another one, so its snapshots do not name what is in progress.
    `has_parts`: other tables hold (some of) its rows. `identity`: of server, database, table, and of how its
    rows are written; where that changes, what was known before means nothing.
    """

    name: sql.Identifier
    oid: int
    cells: PostgresCells
    identity: str
    is_standby: bool
    has_parts: bool
    may_lack_key: bool
    is_indexed: bool

    @property
    def shape(self) -> TableShape:
        """How its columns fit the contract."""
        return self.cells.shape

    @property
    def key(self) -> sql.Identifier:
        """The column with the response's number."""
        return self.cells.column("id")

    def values(self) -> list[sql.Composable]:
        """The cells of a row, in the order of `COLUMNS`; null for a column that the source lacks."""
        return [
            self.cells.text(column) if column in self.shape.columns else sql.SQL("null::text")
            for column in COLUMNS
        ]

    def id_text(self) -> sql.Composable:
        """What `LiveRow.id` is, of a row."""
        return sql.SQL("coalesce({}, '')").format(self.cells.text("id"))

    def noted_id(self, noted: sql.Composable) -> sql.Composable:
        """What `LiveRow.id` is, of a key that was noted as the database writes it, '' for none."""
        if (kind := _TYPES.get(self.cells.type_of("id"))) is None:
            return noted
        value = sql.SQL("nullif({}, '')::{}").format(noted, sql.SQL(kind))
        return sql.SQL("coalesce({}, '')").format(self.cells.as_text("id", value))

    def range_no(self) -> sql.Composable:
        """The range of a row."""
        return sql.SQL("coalesce({}, {})::bigint").format(self.cells.range_no(), sql.Literal(KEYLESS_RANGE))

    def rows_where(self, condition: sql.Composable) -> sql.Composed:
        """Rows for `live_row`: range, hash, cells."""
        values = self.values()
        return sql.SQL("select {}, {}, {} from {} where {}").format(
            self.range_no(), self.cells.hash_of(values), sql.SQL(", ").join(values), self.name, condition
        )

    def has_id_among(self, ids: sql.Composable) -> sql.Composable:
        """Whether a row's id is among an array of texts such as `LiveRow.id`."""
        if (kind := _TYPES.get(self.cells.type_of("id"))) is None:
            found = sql.SQL("{} = any({})").format(self.cells.text("id"), ids)
        else:
            # '' stands for no key, and is no number.
            found = sql.SQL("{} = any(array_remove({}, '')::{}[])").format(self.key, ids, sql.SQL(kind))
        if not self.may_lack_key:
            return found
        return sql.SQL("({} or ({} is null and '' = any({})))").format(found, self.key, ids)

    def in_ranges(self, ranges: list[int]) -> sql.Composable:
        """Whether a row is in one of these ranges; by an index where they are spans of numbers."""
        condition = sql.SQL("{} = any({})").format(self.range_no(), sql.Literal(ranges))
        spans = [number for number in ranges if number != KEYLESS_RANGE]
        if not self.shape.is_numbered or len(spans) != len(ranges):
            return condition
        low, high = min(spans) * RANGE_KEYS, (max(spans) + 1) * RANGE_KEYS
        return sql.SQL("{key} >= {low} and {key} < {high} and {condition}").format(
            key=self.key, low=low, high=high, condition=condition
        )

    def digests(self) -> sql.Composed:
        """Range, number of rows and sum of hashes, of all ranges."""
        return sql.SQL("select {}, count(*), sum({}::numeric) from {} group by 1").format(
            self.range_no(), self.cells.hash_of(self.values()), self.name
        )

    def snapshot(self) -> sql.Composable:
        """The statement's snapshot as a text.

        A standby does not tell which transactions are in progress: there, only what is older than all of
        them counts as seen.
        """
        now = sql.SQL("pg_current_snapshot()")
        if not self.is_standby:
            return sql.SQL("{}::text").format(now)
        return sql.SQL("concat(pg_snapshot_xmin({0}), ':', pg_snapshot_xmin({0}), ':')").format(now)


def live_row(row: tuple[Any, ...]) -> LiveRow:
    """A row of `rows_where`."""
    cells = row[2:]
    return LiveRow(cells[_ID] or "", row[0], row[1], cells)


_ID = COLUMNS.index("id")


def digest_of(row: tuple[Any, ...]) -> tuple[int, Digest]:
    """A row of `digests`."""
    return int(row[0]), Digest(int(row[1]), int(row[2]))


def followed_spec(source: Source) -> TableSpec:
    """The table of a source that is followed.

    Raises:
        ConfigurationError: none of its tables becomes `pisa_responses`.
    """
    for spec in source.kind.table_specs():
        if spec.dataset == DATASET:
            return spec
    raise ConfigurationError(
        f"Source {source.name}: none of its tables becomes {DATASET}; sources of kind pisa can be followed."
    )


async def find_table(connection: SourceConnection, source: Source) -> FollowedTable:
    """Look at the table.

    Raises:
        SourceFault: there is none, it does not fit, or it cannot be followed.
    """
    spec = followed_spec(source)
    _refuse_old_servers(spec.table, connection.server_version)
    name = sql.Identifier(*spec.table.split("."))
    named = sql.Literal(name.as_string())
    found = await connection.ask(_TABLE.format(named))
    if not found:
        raise no_such_table(spec.table)
    oid, kind, has_children, is_standby, system, timeline, database = found[0]
    _refuse_what_is_no_table(spec.table, kind)
    columns = {row[0]: row[1:] for row in await connection.ask(_COLUMNS.format(named))}
    types = {column: details[0] for column, details in columns.items()}
    # Whatever else the table has is not followed, and no news: 1 112 of the real one's 1 120 columns.
    shape = shape_of(
        spec.table, get_contract(DATASET), types, replace(spec, ignore=tuple(types)),
        whole_numbers=WHOLE_NUMBERS,
    )  # fmt: skip
    cells = PostgresCells(spec, shape, types, source.utc_offset)
    key = columns[spec.source_column("id")]
    table = FollowedTable(
        name, oid, cells, "", is_standby, kind == "p" or has_children,
        may_lack_key=not key[1], is_indexed=key[2],
    )  # fmt: skip
    return replace(table, identity=f"{system}/{timeline}/{database}/{oid}/{_layout(table)}")


def _refuse_old_servers(table: str, version: int) -> None:
    if version < OLDEST_SERVER:
        raise SourceFault(
            f"Table {table} is on PostgreSQL {version // 10_000}; {OLDEST_SERVER // 10_000} or later can be "
            "followed. `laurel sources run` reads it from 11 on."
        )


def _refuse_what_is_no_table(table: str, kind: str) -> None:
    if kind not in ("r", "p"):
        raise SourceFault(
            f"{table} is no table but a view or a foreign table, which cannot be followed; name the table "
            "itself. `laurel sources run` reads views."
        )


def _layout(table: FollowedTable) -> str:
    """Changes when the same rows would be written differently."""
    text = sql.SQL(", ").join([table.range_no(), *table.values()]).as_string()
    return hashlib.sha256(text.encode()).hexdigest()[:16]
