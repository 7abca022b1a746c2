"""What the warehouse knows of the country databases: how far each was followed, and what is wrong with it.

Each function is one statement, so tasks may share a connection. Rows of `live.sources` are locked in the
order of their names, as `elt.live.apply` locks them, and `live.version` last. Each raises DatabaseUnavailable
where the warehouse went away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from elt.errors import LaurelError, public_text
from elt.live import CHANNEL
from elt.live.changes import Way
from elt.sources.tables import Digest
from elt.warehouse import AsyncConnection, answered


@dataclass(frozen=True, slots=True)
class Known:
    """How far a source was followed.

    `snapshot`: None where it must be compared as a whole; then `is_unread` says that nothing that is known of
    it counts, because it is new, another database than before, or checked by other rules. `compared_seconds`:
    how long ago it was compared. `rows`: how many of its rows are known, counted or rejected.
    """

    reading: int
    snapshot: str | None
    is_unread: bool
    compared_seconds: float
    rows: int


async def register(
    connection: AsyncConnection, source: str, country: str | None, way: Way, identity: str
) -> None:
    """Note what a source is. Where its identity is another one it will be read as a whole.

    Where only its way is another one it will be compared: until that was seen, triggers may have been
    switched off, and nothing was noted.
    """
    await _ask(
        connection,
        """
        insert into live.sources as known (source, country, way, identity) values (%s, %s, %s, %s)
        on conflict (source) do update set
            country = excluded.country,
            way = excluded.way,
            identity = excluded.identity,
            lag_seconds = case when excluded.way = 'notify' then known.lag_seconds end,
            snapshot = case
                when (known.identity, known.way) = (excluded.identity, excluded.way) then known.snapshot
            end,
            compared_at = case when known.identity = excluded.identity then known.compared_at end,
            reading = known.reading + case when known.identity = excluded.identity then 0 else 1 end
        where (known.country, known.way, known.identity)
            is distinct from (excluded.country, excluded.way, excluded.identity)
        """,
        (source, country, way, identity),
    )


async def load_known(connection: AsyncConnection, source: str) -> Known | None:
    """How far a source was followed; None where it is not registered (any more)."""
    rows = await _ask(
        connection,
        """
        select
            reading, snapshot, compared_at is null as is_unread,
            coalesce(extract(epoch from now() - compared_at), 0)::float8 as compared_seconds,
            (
                coalesce((select sum(responses) from live.countries where countries.source = known.source), 0)
                + (select count(*) from live.rejects where rejects.source = known.source)
            )::bigint as rows
        from live.sources as known where source = %s
        """,
        (source,),
    )
    return Known(**rows[0]) if rows else None


async def known_digests(connection: AsyncConnection, source: str) -> dict[int, Digest]:
    """What the known rows of each range come to, counted or rejected."""
    rows = await _ask(
        connection,
        """
        select range_no, count(*) as rows, sum(row_hash::numeric) as total
        from (
            select range_no, row_hash from live.responses where source = %(source)s
            union all
            select range_no, row_hash from live.rejects where source = %(source)s
        ) as rows
        group by range_no
        """,
        {"source": source},
    )
    return {row["range_no"]: Digest(row["rows"], int(row["total"])) for row in rows}


async def ranges_ahead(connection: AsyncConnection, source: str) -> list[int]:
    """The ranges with a row that was ahead of our clock when it was read."""
    rows = await _ask(
        connection,
        """
        select distinct range_no from live.rejects
        where source = %s and issues @> '[{"rule": "ahead"}]'
        """,
        (source,),
    )
    return [row["range_no"] for row in rows]


async def note_problem(
    connection: AsyncConnection, source: str, country: str | None, error: Exception
) -> None:
    """Say why a source is not followed, and tell viewers; a source that never answered becomes known so.

    Viewers are told what kind of error it is. Its text may name host, port and role; it is kept for
    administrators.
    """
    title = error.title if isinstance(error, LaurelError) else LaurelError.title
    await _ask(
        connection,
        """
        with noted as (
            insert into live.sources as known (source, country, way, problem, problem_detail, problem_at)
            values (%s, %s, 'poll', %s, %s, now())
            on conflict (source) do update set
                problem = excluded.problem, problem_detail = excluded.problem_detail,
                problem_at = coalesce(known.problem_at, excluded.problem_at)
            where (known.problem, known.problem_detail)
                is distinct from (excluded.problem, excluded.problem_detail)
            returning source
        ),
        bumped as (
            update live.version set version = version + 1, changed_at = clock_timestamp()
            where exists (select from noted) returning version
        )
        select pg_notify(%s, version::text) from bumped
        """,
        (source, country, title, public_text(error), CHANNEL),
    )


async def note_lags(connection: AsyncConnection, lags: Mapping[str, float]) -> None:
    """Keep how long the last canaries took, in seconds; viewers see it with the next change."""
    await _ask(
        connection,
        """
        with known as (
            select source from live.sources where source = any(%(sources)s) order by source for update
        )
        update live.sources set lag_seconds = heard.lag, lag_at = now()
        from known join unnest(%(sources)s::text[], %(lags)s::float8[]) as heard (source, lag) using (source)
        where sources.source = known.source
        """,
        {"sources": list(lags), "lags": list(lags.values())},
    )


async def remove_others(connection: AsyncConnection, names: Collection[str]) -> list[str]:
    """Forget the sources that are not among `names`, with all their rows; viewers are told."""
    rows = await _ask(
        connection,
        """
        with others as (
            select source from live.sources where source <> all(%s) order by source for update
        ),
        gone as (
            delete from live.sources using others where sources.source = others.source
            returning sources.source
        ),
        bumped as (
            update live.version set version = version + 1, changed_at = clock_timestamp()
            where exists (select from gone) returning version
        )
        select source, (select pg_notify(%s, version::text) from bumped) from gone order by source
        """,
        (list(names), CHANNEL),
    )
    return [row["source"] for row in rows]


async def _ask(
    connection: AsyncConnection, query: LiteralString, values: Sequence[Any] | Mapping[str, Any]
) -> list[dict[str, Any]]:
    async with answered(connection):
        cursor = await connection.execute(query, values)
        return await cursor.fetchall() if cursor.description else []
