"""Reading the audit trail: by who, what, whom and when, newest first, in pages or as one CSV file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from elt.audit.trail import person_subject
from elt.privacy.tombstones import plain
from elt.reading.spreadsheets import guard
from elt.settings import Settings
from elt.warehouse import Connection

COLUMNS = ("audit_id", "occurred_at", "actor", "actor_name", "action", "subject", "detail", "sha256")
_BATCH = 1000

_PEOPLE = """
with people as (
    select 'key:' || key_id as id, name, school_id from ops.keys
    union all select 'user:' || user_id, name, school_id from ops.users
)
"""
_ACTORS = (
    _PEOPLE
    + """
select id, name from people
where (%(school_id)s::text is null or school_id = %(school_id)s)
  and exists (select from ops.audit where actor = people.id)
order by name, id
"""
)
_LINES = (
    _PEOPLE
    + """
select lines.audit_id, lines.occurred_at, lines.actor, people.name as actor_name, lines.action, lines.subject,
       lines.detail, encode(lines.sha256, 'hex') as sha256
from ops.audit as lines left join people on people.id = lines.actor
where (%(actor)s::text is null or lines.actor = %(actor)s)
  and (%(action)s::text is null or lines.action = %(action)s)
  and (%(subjects)s::text[] is null or lines.subject = any(%(subjects)s))
  and (%(since)s::timestamptz is null or lines.occurred_at >= %(since)s)
  and (%(until)s::timestamptz is null or lines.occurred_at < %(until)s)
  and (%(school_id)s::text is null or people.school_id = %(school_id)s)
  and (%(after)s::bigint is null or lines.audit_id < %(after)s)
order by lines.audit_id desc
limit %(limit)s
"""
)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which lines; None: all. `until` is exclusive. `school_id`: only what people and keys of it did."""

    actor: str | None = None
    action: str | None = None
    subjects: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    school_id: str | None = None


def list_actors(connection: Connection, school_id: str | None = None) -> dict[str, str]:
    """The people and keys who have lines, with their present names, by name; of one school or all."""
    rows = connection.execute(_ACTORS, {"school_id": school_id})
    return {row["id"]: row["name"] for row in rows}


def student_subjects(
    connection: Connection, settings: Settings, school_id: str, student_id: str
) -> list[str]:
    """How lines name a student in whatever spelling: by keyed hash, by pseudonym where that was seen."""
    found = connection.execute(
        "select source_id, pseudonym from ops.pseudonyms where kind = 'student' and school_id = %s",
        (school_id,),
    )
    pseudonyms = sorted(
        f"pseudonym:{row['pseudonym']}" for row in found if plain(row["source_id"]) == plain(student_id)
    )
    return [person_subject(settings, "student", school_id, student_id), *pseudonyms]


def list_lines(
    connection: Connection, wanted: AuditFilter, *, after: int | None = None, limit: int | None = 50
) -> list[DictRow]:
    """Lines with `COLUMNS`, newest first, from before the line `after`; `limit` None: all."""
    return connection.execute(_LINES, _bound(wanted, after, limit)).fetchall()


def stream_csv(connection: Connection, wanted: AuditFilter) -> Iterator[bytes]:
    """All lines as CSV for spreadsheets, in flat memory; the connection is needed until the end."""
    cursor = psycopg.ServerCursor(connection, "laurel_audit_csv", row_factory=dict_row, withhold=True)
    with cursor:
        cursor.execute(_LINES, _bound(wanted, None, None))
        yield _csv([COLUMNS])
        while lines := cursor.fetchmany(_BATCH):
            yield _csv([_cell(line[name]) for name in COLUMNS] for line in lines)


def _bound(wanted: AuditFilter, after: int | None, limit: int | None) -> dict[str, Any]:
    return {
        "actor": wanted.actor,
        "action": wanted.action,
        "subjects": None if wanted.subjects is None else list(wanted.subjects),
        "since": wanted.since,
        "until": wanted.until,
        "school_id": wanted.school_id,
        "after": after,
        "limit": limit,
    }


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return guard("" if value is None else str(value))


def _csv(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
