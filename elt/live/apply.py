"""Brings what was read of the country databases into `live`: rows, running sums, snapshot in one transaction.

The sums change by what the rows change, so a reading costs what is new in it, however much is known. They are
numeric, hence exact: `recount` finds no difference, whatever was killed when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from elt.live import CHANNEL
from elt.live.changes import COLUMNS, Changes
from elt.live.check import CheckedRows
from elt.warehouse import AsyncConnection

_MEASURES = ("escs", "tmins", "belong", "durecec")
_TYPES = {
    "source": "text", "id": "text", "range_no": "bigint", "row_hash": "bigint", "cnt": "text",
    **dict.fromkeys((*_MEASURES, "w_fstuwt"), "numeric"), "time_submitted": "timestamptz",
}  # fmt: skip

_LOCK = "select source, reading from live.sources where source = any(%s) order by source for update"

_INCOMING = ", ".join(f"%({name})s::{type_}[]" for name, type_ in _TYPES.items())
_COUNT = "coalesce(sum(sign) filter (where {0}), 0)"
_SUMS = {
    "responses": "sum(sign)",
    **{f"{name}_n": _COUNT.format(f"{name} is not null") for name in _MEASURES},
    **{f"{name}_sum": f"coalesce(sum(sign * {name}), 0)" for name in _MEASURES},
    "both_n": _COUNT.format("durecec is not null and belong is not null"),
}

_NAMED = "unnest(%(id_sources)s::text[], %(ids)s::text[]) as named (source, id)"
_RANGED = "unnest(%(range_sources)s::text[], %(ranges)s::bigint[]) as ranged (source, range_no)"

# What is known of the ids and ranges of a reading, and is not in it as it is, changes or goes. The ids are
# those of its rows, too: of a table that was made anew, a row may be known in another range.
_APPLY = f"""
with incoming as (
    select * from unnest({_INCOMING}) as rows ({", ".join(_TYPES)})
),
old as (
    select known.* from {_NAMED} join live.responses as known using (source, id)
    union
    select known.* from {_RANGED} join live.responses as known using (source, range_no)
),
gone as (
    delete from live.responses as known using old
    where known.source = old.source and known.id = old.id
      and not exists (select from incoming where incoming.source = old.source and incoming.id = old.id)
    returning known.source, known.id
),
changed as (
    select
        source, id, incoming.range_no, incoming.row_hash, cnt as country, incoming.escs, incoming.tmins,
        incoming.belong, incoming.durecec, w_fstuwt as weight,
        coalesce(time_submitted, old.submitted_at, statement_timestamp()) as submitted_at
    from incoming left join old using (source, id)
    where old.row_hash is distinct from incoming.row_hash or old.range_no <> incoming.range_no
),
written as (
    insert into live.responses
        (source, id, range_no, row_hash, country, escs, tmins, belong, durecec, weight, submitted_at)
    select source, id, range_no, row_hash, country, escs, tmins, belong, durecec, weight, submitted_at
    from changed
    on conflict (source, id) do update set
        range_no = excluded.range_no, row_hash = excluded.row_hash, country = excluded.country,
        escs = excluded.escs, tmins = excluded.tmins, belong = excluded.belong, durecec = excluded.durecec,
        weight = excluded.weight, submitted_at = excluded.submitted_at
),
differences as (
    select -1 as sign, source, country, submitted_at, escs, tmins, belong, durecec from old
    where (source, id) in (select * from gone) or (source, id) in (select source, id from changed)
    union all
    select 1, source, country, submitted_at, escs, tmins, belong, durecec from changed
),
by_country as (
    insert into live.countries as known (source, country, {", ".join(_SUMS)})
    select source, country, {", ".join(_SUMS.values())} from differences group by source, country
    on conflict (source, country) do update set
        {", ".join(f"{name} = known.{name} + excluded.{name}" for name in _SUMS)}
),
by_hour as (
    insert into live.hours as known (source, country, hour, responses)
    select source, country, date_trunc('hour', submitted_at, 'UTC'), sum(sign)
    from differences group by 1, 2, 3
    on conflict (source, country, hour) do update set responses = known.responses + excluded.responses
)
select count(*) as differences from differences
"""  # noqa: S608 - names of this file only

_NOT_AGAIN = (
    "(known.source, known.id, known.place) not in"
    " (select * from unnest(%(reject_sources)s::text[], %(reject_ids)s::text[], %(places)s::int[]))"
)
_FORGET = (
    "delete from live.countries where responses = 0 and source = any(%(sources)s::text[])",
    "delete from live.hours where responses = 0 and source = any(%(sources)s::text[])",
    f"""
    delete from live.rejects as known using {_NAMED}
    where known.source = named.source and known.id = named.id and {_NOT_AGAIN}
    """,  # noqa: S608 - names of this file only
    f"""
    delete from live.rejects as known using {_RANGED}
    where known.source = ranged.source and known.range_no = ranged.range_no and {_NOT_AGAIN}
    """,  # noqa: S608 - names of this file only
)
_REJECT = """
insert into live.rejects (source, id, place, range_no, row_hash, issues)
values (%s, %s, %s, %s, %s, %s)
on conflict (source, id, place) do update set
    range_no = excluded.range_no, row_hash = excluded.row_hash, issues = excluded.issues
where (rejects.range_no, rejects.row_hash, rejects.issues)
    is distinct from (excluded.range_no, excluded.row_hash, excluded.issues)
"""
# Only with a snapshot it is known that nothing newer is there: a part, or a quick look, says no such thing.
_NOTE = """
update live.sources set
    reading = reading + 1, snapshot = coalesce(%(snapshot)s, snapshot),
    read_at = case when %(snapshot)s::text is null then read_at else now() end,
    compared_at = case when %(is_compared)s then now() else compared_at end,
    problem = null, problem_detail = null, problem_at = null
where source = %(source)s
"""
_BUMP = """
with bumped as (
    update live.version set version = version + 1, changed_at = clock_timestamp() returning version
)
select version, pg_notify(%s, version::text) from bumped
"""


_NULL = "\0"  # a character that no text of PostgreSQL has


@dataclass(frozen=True, slots=True)
class Reading:
    """A part of a reading, checked. `reading`: what `live.sources.reading` was when the source was asked.

    `is_compared`: with it a comparison of the whole source ends.
    """

    source: str
    reading: int
    changes: Changes
    rows: CheckedRows
    is_compared: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """`version` that viewers hear of, None where they are not told.

    `late` names sources of which another follower has applied something meanwhile: their readings were left
    out, and they must be read again.
    """

    version: int | None
    late: frozenset[str]


async def apply(connection: AsyncConnection, readings: Sequence[Reading], *, tell: bool = False) -> Applied:
    """Apply at most one reading of each source, all in one transaction.

    Viewers are told where something changed or a canary came along, and always where `tell` says so.

    Raises:
        psycopg.Error: nothing was applied.
    """
    async with connection.transaction():
        cursor = await connection.execute(_LOCK, ([reading.source for reading in readings],))
        present = {row["source"]: row["reading"] for row in await cursor.fetchall()}
        due = [reading for reading in readings if present.get(reading.source) == reading.reading]
        late = frozenset(reading.source for reading in readings) - {reading.source for reading in due}
        if not due:
            return Applied(None, late)
        has_changed = await _write(connection, due)
        has_beat = any(reading.changes.beat is not None for reading in due)
        version = await _bump(connection) if has_changed or has_beat or tell else None
    return Applied(version, late)


async def _write(connection: AsyncConnection, readings: Sequence[Reading]) -> bool:
    values = _arrays(readings)
    rejects = [
        (reading.source, each.row.id, each.place, each.row.range_no, each.row.row_hash, _issues(each.issues))
        for reading in readings
        for each in reading.rows.rejected
    ]
    async with connection.pipeline():
        applied = await connection.execute(_APPLY, values)
        for statement in _FORGET:
            await connection.execute(statement, values)
        if rejects:
            async with connection.cursor() as cursor:
                await cursor.executemany(_REJECT, rejects)
        for reading in readings:
            note = {"snapshot": reading.changes.snapshot, "is_compared": reading.is_compared}
            await connection.execute(_NOTE, {**note, "source": reading.source})
        row = await applied.fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers with one row
    return bool(row["differences"])


async def _bump(connection: AsyncConnection) -> int:
    """Tell viewers. Its lock is the last one taken, and held for the shortest time."""
    cursor = await connection.execute(_BUMP, (CHANNEL,))
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - the table always has its row
    return int(row["version"])


def _arrays(readings: Sequence[Reading]) -> dict[str, str]:
    rows = [(reading.source, row) for reading in readings for row in reading.rows.accepted]
    values: dict[str, list[str | int | None]] = {
        "source": [source for source, _ in rows],
        "id": [row.id for _, row in rows],
        "range_no": [row.range_no for _, row in rows],
        "row_hash": [row.row_hash for _, row in rows],
    }
    for place, name in enumerate(COLUMNS):
        if name != "id":
            values[name] = [row.cells[place] for _, row in rows]
    ids = [
        (reading.source, each)
        for reading in readings
        for each in reading.changes.ids.union(row.id for row in reading.changes.rows)
    ]
    ranges = [(reading.source, each) for reading in readings for each in reading.changes.ranges]
    rejects = [(reading.source, each) for reading in readings for each in reading.rows.rejected]
    values |= {
        "sources": [reading.source for reading in readings],
        "id_sources": [source for source, _ in ids], "ids": [each for _, each in ids],
        "range_sources": [source for source, _ in ranges], "ranges": [each for _, each in ranges],
        "reject_sources": [source for source, _ in rejects],
        "reject_ids": [each.row.id for _, each in rejects], "places": [each.place for _, each in rejects],
    }  # fmt: skip
    return {name: _array(cells) for name, cells in values.items()}


def _array(cells: Sequence[str | int | None]) -> str:
    """An array as PostgreSQL reads it. psycopg searches each cell, which takes ten times as long."""
    if not cells:
        return "{}"
    texts = [_NULL if cell is None else str(cell) for cell in cells]
    together = "".join(texts)
    if '"' in together or "\\" in together:
        texts = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    return ('{"' + '","'.join(texts) + '"}').replace(f'"{_NULL}"', "NULL")


def _issues(issues: Sequence[tuple[str | None, str]]) -> Jsonb:
    return Jsonb([{"column": column, "rule": rule} for column, rule in issues])


_RECOUNT = f"""
with counted as (
    select source, country, {", ".join(_SUMS.values())}
    from (select 1 as sign, * from live.responses) as responses group by source, country
),
kept as (select source, country, {", ".join(_SUMS)} from live.countries),
hours_counted as (
    select source, country, date_trunc('hour', submitted_at, 'UTC') as hour, count(*) as responses
    from live.responses group by 1, 2, 3
),
hours_kept as (select source, country, hour, responses from live.hours)
select source, country, 'sums' as what
from ((table counted except table kept) union all (table kept except table counted)) as differing
union
select source, country, 'hours'
from ((table hours_counted except table hours_kept) union all (table hours_kept except table hours_counted))
    as differing
order by 1, 2, 3
"""  # noqa: S608 - names of this file only


async def recount(connection: AsyncConnection) -> list[str]:
    """Where the running sums are not those of the responses; nothing, unless somebody else wrote there."""
    cursor = await connection.execute(_RECOUNT)
    return [f"{row['source']}, {row['country']}: the {row['what']} differ" for row in await cursor.fetchall()]
