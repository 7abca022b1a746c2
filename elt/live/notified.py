"""A country database that calls when something changed, and notes what; see `elt/live/prepare.sql`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from psycopg import sql

from elt.live import comparing
from elt.live.changes import Changes, MustCompare, Way
from elt.live.connection import SourceConnection
from elt.live.followed_table import FollowedTable, find_table, live_row
from elt.live.prepare import SOURCE_CHANNEL
from elt.sources.configuration import Source
from elt.sources.tables import Digest

FORGET_SECONDS = 300.0
"""How old a snapshot must be before the source forgets what it shows; another follower may be behind."""

_UNCALLED_SECONDS = 2.0  # a call may be left out where the server's queue of them is full

# One statement, so one snapshot: what was noted since the one before, and how those rows are now. Of many ids
# it takes the first ones after {after}; the others are asked for again.
_READ = sql.SQL("""
    with noted as materialized (
        select id, beat from laurel_live.changes
        where xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
          and not pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)
          and xid < pg_snapshot_xmax(pg_current_snapshot()) -- else it came with a dump of another server
    ),
    part as materialized (
        select distinct id collate "C" as id from noted
        where id is not null and (%(after)s::text is null or id collate "C" > %(after)s::text)
        order by 1 limit {part_rows}
    ),
    asked as materialized (
        select coalesce(array_agg({noted_id}), '{{}}') as ids, max(id) as last from part
    )
    select {snapshot},
           (select laurel_live.shows_all_of(%(snapshot)s::pg_snapshot, seen)
                   and pg_snapshot_xmax(%(snapshot)s::pg_snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
            from laurel_live.floor),
           (select max(beat) from noted),
           (select bool_or(id is null and beat is null) from noted),
           ids, last, null::bigint, null::bigint, {no_cells}
    from asked
    union all
    select null, null, null, null, null, null, * from (
        {rows}
    ) as found
""")


class NotifiedSource:
    """See `elt.live.changes.LiveSource`."""

    way: Way = "notify"

    def __init__(self, connection: SourceConnection, source: Source, table: FollowedTable) -> None:
        """`source.timeout_seconds` is how long one statement of a comparison may take."""
        self.identity = table.identity
        self._connection = connection
        self._source = source
        self._table = table
        self._read_at = 0.0
        self._forgettable: tuple[float, str] | None = None
        self._query = _read_query(table)

    async def wait(self, seconds: float) -> bool:
        """Until the source calls; now and then it is read without."""
        if await self._connection.has_news(seconds):
            return True
        return time.monotonic() - self._read_at >= _UNCALLED_SECONDS

    async def read(self, snapshot: str, *, known_rows: int) -> AsyncIterator[Changes]:  # noqa: ARG002
        """Rows that were noted since a snapshot, in parts of `comparing.PART_ROWS` ids."""
        after: str | None = None
        reached: str | None = None
        beat: int | None = None
        while True:
            header, rows = await self._ask(snapshot, after)
            now, is_complete, newest_beat, is_emptied, ids, after, *_ = header
            if is_complete is not True:
                # After a crash nothing says from when on lines are complete, and what came with a dump of
                # another server says it wrongly: from now on.
                await self._forget(now)
                raise MustCompare("what changed since then is no longer noted at the source")
            if is_emptied:
                raise MustCompare("the table was emptied")
            # What came later than the first part is told again next time.
            if reached is None:
                reached, beat = now, newest_beat
            is_last = len(ids) < comparing.PART_ROWS
            yield Changes(
                [live_row(row[6:]) for row in rows], ids=frozenset(ids),
                snapshot=reached if is_last else None, beat=beat if is_last else None,
            )  # fmt: skip
            if is_last:
                break
        self._read_at = time.monotonic()
        await self._forget_old(snapshot)

    async def _ask(self, snapshot: str, after: str | None) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
        answer = await self._connection.ask(self._query, {"snapshot": snapshot, "after": after})
        header = next(row for row in answer if row[0] is not None)
        return header, [row for row in answer if row[0] is None]

    async def compare(self, known: Mapping[int, Digest]) -> AsyncIterator[Changes]:
        """The ranges that differ."""
        async for part in comparing.compare(
            self._connection, self._table, known, seconds=self._source.timeout_seconds
        ):
            yield part
        self._read_at = time.monotonic()

    async def beat(self, number: int) -> bool:
        """Commit a canary."""
        await self._connection.ask(sql.SQL("select laurel_live.beat(%(number)s)"), {"number": number})
        return True

    async def is_best_way(self) -> bool:
        """See `LiveSource`; triggers may be switched off at any time, and the table be made anew."""
        if await find_table(self._connection, self._source) != self._table:
            return False
        return await is_prepared(self._connection, self._table)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _forget_old(self, snapshot: str) -> None:
        """`snapshot` is known for good; what an older one shows is not needed at the source any more."""
        now = time.monotonic()
        if self._forgettable is None:
            self._forgettable = now, snapshot
        elif now - self._forgettable[0] >= FORGET_SECONDS:
            await self._forget(self._forgettable[1])
            self._forgettable = now, snapshot

    async def _forget(self, snapshot: str) -> None:
        query = sql.SQL("select laurel_live.forget(%(snapshot)s::pg_snapshot)")
        await self._connection.ask(query, {"snapshot": snapshot})


_PREPARED = sql.SQL("""
    select count(*) = 4
       and has_table_privilege('laurel_live.changes', 'select')
       and has_table_privilege('laurel_live.floor', 'select')
       and has_function_privilege('laurel_live.beat(bigint)', 'execute')
       and has_function_privilege('laurel_live.forget(pg_snapshot)', 'execute')
       and has_function_privilege('laurel_live.shows_all_of(pg_snapshot, pg_snapshot)', 'execute')
    from pg_trigger as t
    where t.tgrelid = {oid} and t.tgfoid = to_regproc('laurel_live.note') and t.tgenabled in ('O', 'A')
      and not exists (select from pg_subscription_rel where srrelid = {oid})
""")

_HAS_SCHEMA = sql.SQL("""
    select coalesce(has_schema_privilege(to_regnamespace('laurel_live')::oid, 'usage'), false)
       and to_regclass('laurel_live.changes') is not null and to_regclass('laurel_live.floor') is not null
       and to_regprocedure('laurel_live.beat(bigint)') is not null
       and to_regprocedure('laurel_live.forget(pg_snapshot)') is not null
       and to_regprocedure('laurel_live.shows_all_of(pg_snapshot, pg_snapshot)') is not null
""")


async def is_prepared(connection: SourceConnection, table: FollowedTable) -> bool:
    """Whether the table calls, and whether this role may read what is noted."""
    if table.is_standby or table.has_parts or not (await connection.ask(_HAS_SCHEMA))[0][0]:
        return False
    answer = await connection.ask(_PREPARED.format(oid=sql.Literal(table.oid)))
    return bool(answer[0][0])


async def begin_listening(connection: SourceConnection) -> None:
    """Before the first reading, so that no call is missed."""
    await connection.allow_writing()
    await connection.listen(SOURCE_CHANNEL)


def _read_query(table: FollowedTable) -> sql.Composed:
    rows = table.rows_where(table.has_id_among(sql.SQL("(select ids from asked)::text[]")))
    return _READ.format(
        part_rows=sql.Literal(comparing.PART_ROWS),
        noted_id=table.noted_id(sql.Identifier("id")),
        snapshot=table.snapshot(),
        no_cells=sql.SQL(", ").join([sql.SQL("null::text")] * len(table.values())),
        rows=rows,
    )
