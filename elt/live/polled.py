"""A country database that may only be read: changes are looked for, by the transactions that wrote the rows.

Two looks. The quick one reads the rows behind the largest known number, by the key's index, and makes new
responses known soon; it proves nothing. The whole scan finds every row that was written since a snapshot, and
counts, since a deleted row leaves no trace; only it carries a new snapshot. Both are taken as seldom as is
needed to keep the source busy for 5 % of the time at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from itertools import islice

from psycopg import sql

from elt.live import comparing
from elt.live.changes import Changes, LiveRow, MustCompare, Way
from elt.live.connection import SourceConnection
from elt.live.followed_table import FollowedTable, find_table, live_row
from elt.live.notified import is_prepared
from elt.sources.configuration import Source
from elt.sources.tables import Digest

LOOK_SECONDS = 0.25
SCAN_SECONDS = 1.0

MOST_IDS = 20_000
"""Where a scan finds more than that, comparing ranges takes not much longer, and less memory."""

_BUSY_SHARE = 0.05
_WINDOW = 2000
_MOST_AGE = 2**31 - 1_000_000  # transactions; beyond it, ages of rows mean nothing

# `xmin` has 32 bits, its age is negative for what may be half a turn away: such rows are older than any
# snapshot that is taken here. What is in progress in a snapshot cannot be told for rows that were written in
# a subtransaction, hence the horizon: all that is not older than its oldest transaction may be new.
_MAY_BE_NEW = sql.SQL("age(xmin) between 0 and age(pg_snapshot_xmin(%(snapshot)s::pg_snapshot)::xid)")

_AGE = sql.SQL("""
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    - pg_snapshot_xmin(%(snapshot)s::pg_snapshot)::text::bigint
""")

_SCAN = sql.SQL("""
    select {snapshot}, {age}, count(*), (array_agg(distinct {id}) filter (where {is_new}))[:{most}]
    from {table}
""")

_LOOK = sql.SQL("""
    with fresh as materialized (
        select {key} as key from {table} where {key} > %(after)s and {is_new} order by {key} limit {part_rows}
    )
    {rows}
    union all select null, null, {snapshot}, {padding}
""")


class PolledSource:
    """See `elt.live.changes.LiveSource`."""

    way: Way = "poll"

    def __init__(self, connection: SourceConnection, source: Source, table: FollowedTable) -> None:
        """`source.timeout_seconds` is how long one scan of the table may take."""
        self.identity = table.identity
        self._connection = connection
        self._source = source
        self._table = table
        self._can_look = table.shape.is_numbered and table.is_indexed and not table.has_parts
        # The largest number, and the snapshot, that the next look goes on from; "": there is none yet.
        self._largest, self._looked = 0, ""
        self._scanned: tuple[str, int] | None = None  # snapshot of the newest scan, and the rows it counted
        self._look_at = self._scan_at = self._compare_at = 0.0  # when it may be done again

    async def wait(self, seconds: float) -> bool:
        """Until it is time for the next look."""
        due = min(self._look_at, self._scan_at) if self._looked else self._scan_at
        left = due - time.monotonic()
        await asyncio.sleep(max(min(left, seconds), 0.0))
        return left <= seconds

    async def read(self, snapshot: str, *, known_rows: int) -> AsyncIterator[Changes]:
        """What is new, by the look that is due; nothing if none is.

        A quick look carries no snapshot: how far the source is known it does not tell.
        """
        self._notice_gone(snapshot, known_rows)
        now = time.monotonic()
        if now >= self._scan_at:
            async for part in self._scan(snapshot, known_rows):
                yield part
        elif self._looked and now >= self._look_at:
            async for part in self._look():
                yield part

    async def compare(self, known: Mapping[int, Digest]) -> AsyncIterator[Changes]:
        """The ranges that differ."""
        busy = self._connection.busy_seconds
        self._scanned = None
        async for part in comparing.compare(
            self._connection, self._table, known, seconds=self._source.timeout_seconds
        ):
            if part.snapshot is not None:
                await self._look_from(part.snapshot)
            yield part
        self._rest(busy)
        self._compare_at = self._scan_at

    async def beat(self, number: int) -> bool:  # noqa: ARG002
        """Nothing may be written here."""
        return False

    async def is_best_way(self) -> bool:
        """See `LiveSource`; triggers may be switched on at any time, and the table be made anew."""
        if await find_table(self._connection, self._source) != self._table:
            return False
        return not await is_prepared(self._connection, self._table)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _scan(self, snapshot: str, known_rows: int) -> AsyncIterator[Changes]:
        """All rows that may be new since a snapshot.

        The rows are read after the scan; what changed in between is found by the next one.
        """
        busy = self._connection.busy_seconds
        query = _SCAN.format(
            snapshot=self._table.snapshot(), age=_AGE, id=self._table.id_text(), is_new=_MAY_BE_NEW,
            most=sql.Literal(MOST_IDS + 1), table=self._table.name,
        )  # fmt: skip
        answer = await self._connection.ask(
            query, {"snapshot": snapshot}, seconds=self._source.timeout_seconds
        )
        reached, age, count, found = answer[0]
        ids: list[str] = found or []
        if not 0 <= age < _MOST_AGE:
            raise MustCompare("the snapshot is of another time of this server")
        if len(ids) > MOST_IDS:
            # It may be so each time, as long as some transaction stays open at the source.
            self._rest(busy)
            raise MustCompare(f"more than {MOST_IDS} rows may be new")
        if known_rows > count:
            self._compare_gone()
        remaining = iter(sorted(ids))
        while part := list(islice(remaining, comparing.PART_ROWS)):
            yield Changes(await self._rows(part), ids=frozenset(part))
        await self._look_from(reached)
        self._rest(busy)
        self._scanned = reached, count
        yield Changes([], snapshot=reached)

    async def _look_from(self, snapshot: str) -> None:
        """Quick looks tell what this snapshot does not show."""
        if self._can_look:
            largest = sql.SQL("select max({}) from {}").format(self._table.key, self._table.name)
            self._largest, self._looked = (await self._connection.ask(largest))[0][0] or 0, snapshot

    def _rest(self, busy_before: float) -> None:
        """The next scan is due when the source has rested from this one, or from a comparison."""
        busy = self._connection.busy_seconds - busy_before
        self._scan_at = max(self._scan_at, time.monotonic()) + max(SCAN_SECONDS, busy / _BUSY_SHARE)

    async def _look(self) -> AsyncIterator[Changes]:
        """New responses among the largest numbers."""
        busy = self._connection.busy_seconds
        among = sql.SQL("{} = any(array(select key from fresh))").format(self._table.key)
        query = _LOOK.format(
            key=self._table.key, table=self._table.name, is_new=_MAY_BE_NEW,
            part_rows=sql.Literal(comparing.PART_ROWS), rows=self._table.rows_where(among),
            snapshot=self._table.snapshot(),
            padding=sql.SQL(", ").join([sql.SQL("null")] * (len(self._table.values()) - 1)),
        )  # fmt: skip
        answer = await self._connection.ask(
            query, {"snapshot": self._looked, "after": self._largest - _WINDOW}
        )
        rows = [live_row(row) for row in answer if row[0] is not None]
        busy = self._connection.busy_seconds - busy
        self._look_at = time.monotonic() + max(LOOK_SECONDS, busy / _BUSY_SHARE)
        if rows:
            self._largest = max(self._largest, *(int(row.id) for row in rows))
            yield Changes(rows, ids=frozenset(row.id for row in rows))
        if len(rows) < comparing.PART_ROWS:  # else the next look finds the others
            self._looked = next(row[2] for row in answer if row[0] is None)

    def _notice_gone(self, snapshot: str, known_rows: int) -> None:
        """Once a scan was taken in, more rows are known than it counted only if some are gone."""
        scanned, self._scanned = self._scanned, None
        if scanned is not None and scanned[0] == snapshot and scanned[1] < known_rows:
            self._compare_gone()

    def _compare_gone(self) -> None:
        if time.monotonic() >= self._compare_at:
            raise MustCompare("rows are gone")

    async def _rows(self, ids: list[str]) -> list[LiveRow]:
        query = self._table.rows_where(self._table.has_id_among(sql.SQL("%(ids)s::text[]")))
        return list(map(live_row, await self._connection.ask(query, {"ids": ids})))
