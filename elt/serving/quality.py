"""How good the data is that was handed in: counts of the ledger by week, rule, dataset and sender.

Counted in the database, from the counts that each version of an upload keeps; only rules are counted from the
issues of rows, which are found by upload and version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import psycopg

from elt.warehouse import Connection

# A version belongs to the week in which it was handed in, as the school's clock has it.
_VERSIONS = """
with versions as materialized (
    select v.upload_id, v.version, u.dataset, v.uploader, v.status,
           date_trunc('week', v.received_at at time zone %(time_zone)s)::date as week,
           coalesce(v.rows_read, 0) as rows_read, coalesce(v.rows_rejected, 0) as rows_rejected,
           coalesce(v.warnings, 0) as warnings
    from ops.upload_versions v join ops.uploads u using (upload_id)
    where v.received_at >= (%(since)s::timestamp at time zone %(time_zone)s)
      and (%(school_id)s::text is null or u.school_id = %(school_id)s)
      and (%(dataset)s::text is null or u.dataset = %(dataset)s)
      and (%(uploader)s::text is null or v.uploader = %(uploader)s)
)
"""
_COUNTS = """
select week, dataset, uploader, sum(rows_read)::bigint as read, sum(rows_rejected)::bigint as rejected,
       sum(warnings)::bigint as warnings, count(*) filter (where status = 'rejected') as refused
from versions group by grouping sets ((), (week), (dataset), (uploader))
"""
_RULES = """
select i.rule,
       count(distinct (i.upload_id, i.version, i.line)) filter (where i.severity = 'error') as rejected,
       count(distinct (i.upload_id, i.version, i.line)) filter (where i.severity = 'warning') as warnings
from versions join ops.row_issues i using (upload_id, version)
group by i.rule order by rejected desc, warnings desc, i.rule
"""
_SENDERS = """
select v.uploader, min(people.name) as name
from ops.upload_versions v join ops.uploads u using (upload_id)
left join (
    select 'key:' || key_id as id, name from ops.keys
    union all select 'user:' || user_id, name from ops.users
) people on people.id = v.uploader
where %(school_id)s::text is null or u.school_id = %(school_id)s
group by v.uploader order by name nulls last, v.uploader
"""
_UNKNOWN = """
select dataset, rule, row_count from served.mart_data_quality
where upload_count is null order by dataset, rule
"""


@dataclass(frozen=True, slots=True)
class QualityFilter:
    """Which versions of uploads: handed in since a Monday, by the clock of `time_zone`. None: all."""

    since: date
    time_zone: str
    school_id: str | None = None
    dataset: str | None = None
    uploader: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows that were read, those that were rejected, findings about loaded ones, and files refused whole."""

    read: int = 0
    rejected: int = 0
    warnings: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class RuleCounts:
    """Rows that broke a rule: rejected, or loaded all the same."""

    rule: str
    rejected: int
    warnings: int


@dataclass(slots=True)
class Quality:
    """Counts of all, of each week (also of those without files), dataset and sender; and of rules."""

    total: Counts = field(default_factory=Counts)
    weeks: dict[date, Counts] = field(default_factory=dict)
    datasets: dict[str, Counts] = field(default_factory=dict)
    uploaders: dict[str, Counts] = field(default_factory=dict)
    rules: Sequence[RuleCounts] = ()


@dataclass(frozen=True, slots=True)
class UnknownKeys:
    """Rows of a dataset whose key no other file knows; `rows` None: too few to tell who asks."""

    dataset: str
    rule: str
    rows: int | None


def monday_of(day: date, weeks_before: int = 0) -> date:
    """The Monday of a day's week, or of so many weeks before."""
    return day - timedelta(days=day.weekday(), weeks=weeks_before)


def read_quality(connection: Connection, wanted: QualityFilter, until: date) -> Quality:
    """All counts of the weeks from `wanted.since` to that of the day `until`."""
    bound = {
        "since": wanted.since, "time_zone": wanted.time_zone, "school_id": wanted.school_id,
        "dataset": wanted.dataset, "uploader": wanted.uploader,
    }  # fmt: skip
    number = (monday_of(until) - wanted.since).days // 7 + 1
    found = Quality(weeks={wanted.since + timedelta(weeks=week): Counts() for week in range(number)})
    for row in connection.execute(_VERSIONS + _COUNTS, bound):
        _put(found, row, Counts(row["read"] or 0, row["rejected"] or 0, row["warnings"] or 0, row["refused"]))
    found.rules = [RuleCounts(**row) for row in connection.execute(_VERSIONS + _RULES, bound)]
    return found


def list_senders(connection: Connection, school_id: str | None = None) -> dict[str, str | None]:
    """Everybody who has handed in, with their present names; None: neither a person nor a key."""
    rows = connection.execute(_SENDERS, {"school_id": school_id})
    return {row["uploader"]: row["name"] for row in rows}


def read_unknown_keys(session: Connection) -> list[UnknownKeys]:
    """Of all schools, as a session of `elt.serving.sessions` may see it; none before the first build."""
    try:
        rows = session.execute(_UNKNOWN).fetchall()
    except psycopg.errors.UndefinedTable:
        return []
    return [UnknownKeys(row["dataset"], row["rule"], row["row_count"]) for row in rows]


def _put(found: Quality, row: dict[str, Any], counts: Counts) -> None:
    if row["week"] is not None:
        found.weeks[row["week"]] = counts
    elif row["dataset"] is not None:
        found.datasets[row["dataset"]] = counts
    elif row["uploader"] is not None:
        found.uploaders[row["uploader"]] = counts
    else:
        found.total = counts
