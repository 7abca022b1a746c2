"""What is known of a source's tables: per range of keys a digest, and for each row two hashes.

A row's key is kept as a keyed hash, so that the state names nobody. It can be lost at any time: then it is
made again from what the source's uploads have in raw, and everything is compared with that.
"""

from __future__ import annotations

import hashlib
import hmac
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from psycopg import sql

from elt.loading.raw_tables import raw_table
from elt.settings import Settings
from elt.sources.tables import DELETED, RANGE_KEYS, Digest, TableShape
from elt.warehouse import Connection

_PURPOSE = b"laurel keys of source rows 1"
UNKNOWN = 0
"""Instead of a row's hash: the row is told again, whatever it is."""
_BATCH = 500  # ranges written at once

Marks = dict[int, int]
"""The rows of a range: the hash of each one's key, and of itself."""

Key = tuple[str, ...]


@dataclass(slots=True)
class RangeState:
    """The rows of a range when they were read last. No digest: it must be read again."""

    marks: Marks
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class KnownTable:
    """What was noted when a table was read last. `is_incomplete`: some ranges must be read again."""

    layout: str
    source_clock: float | None
    compared_seconds_ago: float | None
    cursor_mark: str | None
    is_incomplete: bool


class TableState:
    """The state of one table of one source, on a connection of the caller's."""

    def __init__(self, connection: Connection, settings: Settings, source: str, shape: TableShape) -> None:
        self._connection = connection
        self._source = source
        self._principal = f"source:{source}"
        self._shape = shape
        self.filename = f"{source}-{shape.name.strip('/').replace('/', '-')}.csv"
        """Of the table's batches. It tells them from those of other tables that become the same dataset."""
        self._secret = hmac.digest(settings.secret_key.get_secret_value().encode(), _PURPOSE, "sha256")
        # With another secret no key would be recognised: then everything counts as unknown.
        self._secret_mark = hashlib.sha256(self._secret).hexdigest()[:8]
        self.layout = f"{shape.layout}-{self._secret_mark}"
        self._hasher = hashlib.blake2b(digest_size=8, key=self._secret)
        self._positions = [shape.columns.index(name) for name in shape.key]
        self._written_freely = {
            shape.columns.index(name)
            for name in shape.key
            if shape.contract.field(name).type == "integer" and name not in shape.numbers
        }

    def read(self) -> KnownTable | None:
        """What is known; None where the table was never read, or with another secret."""
        row = self._connection.execute(
            """
            select layout, source_clock, cursor_mark,
                extract(epoch from now() - compared_at)::float8 as compared_seconds_ago,
                exists (
                    select from ops.source_ranges as r
                    where r.source = t.source and r.table_name = t.table_name and r.digest is null
                ) as is_incomplete
            from ops.source_tables as t where source = %(source)s and table_name = %(table)s
            """,
            self._names(),
        ).fetchone()
        if row is None or row["layout"].rpartition("-")[2] != self._secret_mark:
            return None
        return KnownTable(**row)

    def count(self) -> int:
        """How many rows the table had."""
        row = self._connection.execute(
            """
            select coalesce(sum(row_count), 0)::bigint as rows from ops.source_ranges
            where source = %(source)s and table_name = %(table)s
            """,
            self._names(),
        ).fetchone()
        return int(row["rows"]) if row else 0

    def digests(self) -> dict[int, Digest | None]:
        """The digest of each known range; None for one that must be read again."""
        rows = self._connection.execute(
            """
            select range_no, row_count, digest from ops.source_ranges
            where source = %(source)s and table_name = %(table)s
            """,
            self._names(),
        )
        return {row["range_no"]: _digest(row) for row in rows}

    def ranges(self, numbers: Collection[int]) -> dict[int, RangeState]:
        """What is known of some ranges."""
        rows = self._connection.execute(
            """
            select range_no, row_count, digest, marks from ops.source_ranges
            where source = %(source)s and table_name = %(table)s and range_no = any(%(numbers)s)
            """,
            {**self._names(), "numbers": list(numbers)},
        )
        return {row["range_no"]: RangeState(_unpack(row["marks"]), _digest(row)) for row in rows}

    def save_ranges(self, ranges: Mapping[int, RangeState]) -> None:
        """Note the rows of some ranges; one without rows is forgotten."""
        empty = [number for number, state in ranges.items() if not state.marks]
        self._connection.execute(
            """
            delete from ops.source_ranges
            where source = %(source)s and table_name = %(table)s and range_no = any(%(empty)s)
            """,
            {**self._names(), "empty": empty},
        )
        with self._connection.cursor() as cursor:
            cursor.executemany(
                """
                insert into ops.source_ranges (source, table_name, range_no, row_count, digest, marks)
                values (%s, %s, %s, %s, %s, %s)
                on conflict (source, table_name, range_no) do update
                set row_count = excluded.row_count, digest = excluded.digest, marks = excluded.marks
                """,
                [
                    (self._source, self._shape.name, number, *_described(state), _pack(state.marks))
                    for number, state in ranges.items()
                    if state.marks
                ],
            )

    def save(self, *, clock: float | None, is_compared: bool) -> None:
        """Note that the table was read; `clock` is the source's time when that began."""
        self._connection.execute(
            """
            update ops.source_tables set
                layout = case when %(compared)s then %(layout)s else layout end,
                compared_at = case when %(compared)s then now() else compared_at end,
                synced_at = now(), error = null, source_clock = %(clock)s
            where source = %(source)s and table_name = %(table)s
            """,
            {**self._names(), "layout": self.layout, "clock": clock, "compared": is_compared},
        )

    def save_mark(self, mark: str | None) -> None:
        """Note up to where the cursor was followed."""
        self._connection.execute(
            """
            update ops.source_tables set cursor_mark = %(mark)s
            where source = %(source)s and table_name = %(table)s
            """,
            {**self._names(), "mark": mark},
        )

    def begin(self) -> None:
        """Start without knowing anything but what the source's uploads have in raw.

        Their rows count as changed, so all that the source has is sent again, and what it no longer has is
        taken out.
        """
        with self._connection.transaction():
            self._connection.execute(
                "delete from ops.source_tables where source = %(source)s and table_name = %(table)s",
                self._names(),
            )
            self._connection.execute(
                """
                insert into ops.source_tables (source, table_name, dataset, layout)
                values (%(source)s, %(table)s, %(dataset)s, %(layout)s)
                """,
                {
                    **self._names(),
                    "dataset": self._shape.contract.name,
                    "layout": self.layout,
                },
            )
            batch: dict[int, RangeState] = {}
            for number, keys in groupby(self._keys_in_raw(None), key=itemgetter(0)):
                batch[number] = RangeState({self._hash(key): UNKNOWN for _, key in keys}, None)
                if len(batch) == _BATCH:
                    self.save_ranges(batch)
                    batch = {}
            self.save_ranges(batch)

    def is_waiting(self) -> bool:
        """Whether rows of this table are on their way into raw, or may still be sent there again."""
        row = self._connection.execute(
            """
            select from ops.uploads u join ops.upload_versions v using (upload_id)
            where u.dataset = %s and u.uploader = %s and v.filename = %s and v.status = any(%s)
            limit 1
            """,
            (self._shape.contract.name, self._principal, self.filename, ["stored", "loading", "failed"]),
        ).fetchone()
        return row is not None

    def find_keys(self, gone: Mapping[int, Collection[int]]) -> Iterator[tuple[int, int, Key]]:
        """The keys of some rows that are no longer at the source, as raw has them: range, hash, cells."""
        for number, key in self._keys_in_raw(list(gone)):
            key_hash = self._hash(key)
            if key_hash in gone[number]:
                yield number, key_hash, key

    def hash_keys(self, rows: Sequence[Sequence[str | None]]) -> list[int]:
        """What the state keeps of the keys in rows' cells."""
        columns = [self._key_column(rows, at) for at in self._positions]
        return list(map(self._hash, zip(*columns, strict=True)))

    def _key_column(self, rows: Sequence[Sequence[str | None]], at: int) -> list[str]:
        if at in self._written_freely:
            return [_as_whole(cells[at]) or "" for cells in rows]
        return [cells[at] or "" for cells in rows]

    def _hash(self, key: Key) -> int:
        hasher = self._hasher.copy()  # takes half as long as a new one with the secret
        hasher.update("\x1f".join(key).encode())
        return int.from_bytes(hasher.digest())

    def _keys_in_raw(self, ranges: Sequence[int] | None) -> Iterator[tuple[int, Key]]:
        """Keys that the source's uploads have in raw, whose newest row is no tombstone; sorted by range."""
        contract, names = self._shape.contract, self._shape.key
        range_no = _range_sql(self._shape.range_column, is_number=self._shape.is_numbered)
        query = sql.SQL(
            """
            select range_no, {keys} from (
                select distinct on ({columns}) {range_no} as range_no, {texts}, {deleted} as is_deleted
                from {table} as r
                join ops.uploads as u on u.upload_id = r._upload_id and u.uploader = {principal}
                join ops.upload_versions as v on v.upload_id = u.upload_id and v.version = u.live_version
                    and v.filename = {filename}
                where {condition}
                order by {columns}, v.ranked_at desc, r._line desc
            ) as newest
            where is_deleted is not true order by range_no
            """
        ).format(
            keys=sql.SQL(", ").join(map(sql.Identifier, names)),
            columns=sql.SQL(", ").join(sql.Identifier("r", name) for name in ("school_id", *names)),
            texts=sql.SQL(", ").join(
                sql.SQL("{0}::text as {1}").format(sql.Identifier("r", name), sql.Identifier(name))
                for name in names
            ),
            range_no=range_no,
            deleted=sql.Identifier("r", DELETED),
            table=raw_table(contract),
            principal=sql.Literal(self._principal),
            filename=sql.Literal(self.filename),
            condition=sql.SQL("true") if ranges is None else sql.SQL("{} = any({})").format(
                range_no, sql.Literal(list(ranges))
            ),
        )  # fmt: skip
        with self._connection.transaction(), self._connection.cursor(name="source_keys") as cursor:
            cursor.itersize = 10_000
            for row in cursor.execute(query):
                yield row["range_no"], tuple(row[name] or "" for name in names)

    def _names(self) -> dict[str, str]:
        return {"source": self._source, "table": self._shape.name}


def _digest(row: Mapping[str, Any]) -> Digest | None:
    return None if row["digest"] is None else Digest(row["row_count"], int(row["digest"]))


def _described(state: RangeState) -> tuple[int, int | None]:
    return (len(state.marks), None) if state.digest is None else (state.digest.rows, state.digest.total)


def _as_whole(cell: str | None) -> str | None:
    """007 becomes 7, as it does in raw; what is no whole number stays as it is, and is quarantined there."""
    try:
        return None if cell is None else str(int(cell))
    except ValueError:
        return cell


def _range_sql(column: str, *, is_number: bool) -> sql.Composable:
    """As `elt.sources.tables.range_of`, over raw."""
    cell = sql.Identifier("r", column)
    if is_number:
        return sql.SQL("floor({}::numeric / {})::bigint").format(cell, sql.Literal(RANGE_KEYS))
    return sql.SQL("('x' || left(md5({}::text), 2))::bit(8)::int::bigint").format(cell)


def _pack(marks: Marks) -> bytes:
    return array("Q", chain.from_iterable(marks.items())).tobytes()


def _unpack(content: bytes) -> Marks:
    flat = array("Q", content)
    return dict(zip(flat[::2], flat[1::2], strict=True))
