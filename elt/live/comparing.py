"""A whole table beside what is known of it: digests of its ranges, and the rows of those that differ."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping

from psycopg import sql

from elt.live.changes import Changes
from elt.live.connection import SourceConnection
from elt.live.followed_table import FollowedTable, digest_of, live_row
from elt.sources.tables import Digest

PART_ROWS = 10_000
"""About how many rows make a part."""


async def compare(
    connection: SourceConnection, table: FollowedTable, known: Mapping[int, Digest], *, seconds: int
) -> AsyncIterator[Changes]:
    """The ranges that differ; see `LiveSource.compare`.

    The digests and the snapshot are of one moment. Rows are read after it, each part in a statement of its
    own: what changed in between is told again by the next reading, and no transaction stays open at the
    source. `seconds`: how long one statement may take.
    """
    query = sql.SQL(
        "with digests as materialized ({}) "
        "select null::bigint, null::bigint, null::numeric, {} union all select *, null from digests"
    ).format(table.digests(), table.snapshot())
    answer = await connection.ask(query, seconds=seconds)
    snapshot: str = next(row[3] for row in answer if row[3] is not None)
    present = dict(digest_of(row) for row in answer if row[3] is None)
    due = [number for number in {*known, *present} if known.get(number) != present.get(number)]
    # Those that are gone come last: rows that have only moved to other ranges keep counting meanwhile.
    due.sort(key=lambda number: (number not in present, number))
    findings = table.shape.findings
    for ranges in _parts(due, known, present):
        rows = await connection.ask(table.rows_where(table.in_ranges(ranges)), seconds=seconds)
        yield Changes(list(map(live_row, rows)), ranges=frozenset(ranges), findings=findings)
        findings = ()
    yield Changes([], snapshot=snapshot, findings=findings)


def _parts(due: list[int], known: Mapping[int, Digest], present: Mapping[int, Digest]) -> Iterator[list[int]]:
    """So that no part brings, or takes away, many more rows than `PART_ROWS`."""
    nothing = Digest(0, 0)
    part: list[int] = []
    rows = 0
    for number in due:
        part.append(number)
        rows += max(known.get(number, nothing).rows, present.get(number, nothing).rows)
        if rows >= PART_ROWS:
            yield part
            part, rows = [], 0
    if part:
        yield part
