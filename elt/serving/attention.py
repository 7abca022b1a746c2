"""What waits for an administrator: each kind of trouble once, with how much of it there is and since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from elt.backup.manifest import BACKED_UP
from elt.live.listing import list_live
from elt.sources.listing import ListedSource
from elt.warehouse import Connection

Kind = Literal[
    "held", "failed", "waiting", "run", "source", "live", "disputes", "erasures", "maintenance", "backup",
    "unverified", "training", "left",
]  # fmt: skip

SILENT_AFTER = timedelta(hours=1)
"""A source is read every five minutes; one that could not be for so long is silent."""
_WAITS_TOO_LONG = timedelta(hours=1)
_ERASED_WITHIN = timedelta(days=2)  # the daily maintenance finishes them
_ALERT_STANDS = timedelta(days=2)
_BACKED_UP_WITHIN = timedelta(days=2)  # the daily maintenance does it

# Of alerts (`elt.notify`) only those that nothing else in the database shows as long as they last.
_ALERTS: dict[str, Kind] = {
    "maintenance_failed": "maintenance",
    "training_failed": "training",
    "students_left": "left",
}

_UPLOADS = """
select case v.status when 'stored' then 'waiting' else v.status end as kind,
       count(*) as number, min(v.received_at) as since
from ops.upload_versions v join ops.uploads u using (upload_id, version)
where (v.status in ('held', 'failed') or (v.status = 'stored' and v.received_at < %(waits_since)s))
  and (%(school_id)s::text is null or u.school_id = %(school_id)s)
group by v.status
"""
_RUNS = """
select count(*) as number, min(started_at) as since from ops.runs
where status = 'failed' and run_id > coalesce(
    (select run_id from ops.runs where status = 'succeeded' order by run_id desc limit 1),
    '00000000-0000-0000-0000-000000000000'
)
"""
_DISPUTES = """
select count(*) as number, min(created_at) as since from ops.disputes
where outcome is null and (%(school_id)s::text is null or school_id = %(school_id)s)
"""
_ERASURES = """
select count(*) as number, min(greatest(requested_at, reopened_at)) as since from ops.erasures
where finished_at is null and greatest(requested_at, reopened_at) < %(erased_since)s
  and (%(school_id)s::text is null or school_id = %(school_id)s)
"""
_BACKUPS = """
select 1 as number, reached as since from ops.marks
where name = %(backed_up)s and reached < %(backed_up_since)s
"""
_NEVER_BACKED_UP = """
select 1 as number, begun.first as since from (select min(started_at) as first from ops.runs) as begun
where begun.first < %(backed_up_since)s
  and not exists (select from ops.marks where name = %(backed_up)s)
"""
_STANDING = "select event, sent_at from ops.alerts where event = any(%s) and sent_at > %s order by event"


@dataclass(frozen=True, slots=True)
class Attention:
    """Something to look at. `number`: how many of it; `name`: of a source; `since`: of the oldest."""

    kind: Kind
    number: int = 1
    name: str = ""
    since: datetime | None = None


def list_attention(
    connection: Connection,
    sources: Sequence[ListedSource] = (),
    *,
    school_id: str | None = None,
    now: datetime | None = None,
) -> list[Attention]:
    """What waits now; empty: nothing.

    Args:
        sources: those that the caller may see (`elt.sources.listing`).
        school_id: of uploads, disputes and erasures only those of this school; None: of all.
    """
    moment = now or datetime.now(UTC)
    bound = {
        "school_id": school_id,
        "waits_since": moment - _WAITS_TOO_LONG,
        "erased_since": moment - _ERASED_WITHIN,
        "backed_up": BACKED_UP,
        "backed_up_since": moment - _BACKED_UP_WITHIN,
    }
    found = [
        Attention(row["kind"], row["number"], since=row["since"])
        for row in connection.execute(f"{_UPLOADS} order by kind", bound)
    ]
    kinds: list[tuple[Kind, str]] = [
        ("run", _RUNS), ("disputes", _DISPUTES), ("erasures", _ERASURES), ("backup", _BACKUPS),
        ("unverified", _NEVER_BACKED_UP),
    ]  # fmt: skip
    for kind, query in kinds:
        row = connection.execute(query, bound).fetchone()
        if row and row["number"]:
            found.append(Attention(kind, row["number"], since=row["since"]))
    found += [
        Attention("source", name=source.name, since=source.succeeded_at)
        for source in sources
        if _is_silent(source, moment)
    ]
    found += [Attention("live", name=live.source) for live in list_live(connection) if live.problem]
    told = connection.execute(_STANDING, (list(_ALERTS), moment - _ALERT_STANDS))
    return found + [Attention(_ALERTS[row["event"]], since=row["sent_at"]) for row in told]


def _is_silent(source: ListedSource, now: datetime) -> bool:
    """Whether it cannot be read: it says so, or nothing has come from it for long."""
    if source.status in ("failed", "not_configured"):
        return True
    return source.succeeded_at is not None and source.succeeded_at < now - SILENT_AFTER
