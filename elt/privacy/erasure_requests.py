"""Asking for a person's erasure: the tombstone, the event, the line in `ops.erasures`; and reading those.

Light, because the API imports it. The work itself is in `elt.privacy.erasure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb
from uuid6 import uuid7

from elt.audit.trail import person_subject, record
from elt.contracts import load_contracts
from elt.errors import Issue, NotFound, UploadRejected
from elt.loading.raw_tables import raw_table
from elt.log import get_logger
from elt.people.principals import Principal
from elt.privacy.erase_rows import erase_from_raw, find_spellings
from elt.privacy.tombstones import Kind, Person, person_tombstones_of, tombstones_of
from elt.privacy.traces import find_traces, note_traces
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.apply import adopt_event, new_event
from elt.uploads.events import write_event
from elt.warehouse import Connection

_REQUEST_LOCK = 0x65726171  # "eraq": requests wait for one another, not for the one who erases

log = get_logger(__name__)


def request_erasure(
    settings: Settings,
    connection: Connection,
    store: Store,
    *,
    kind: Kind,
    school_id: str,
    identifier: str,
    reason: str,
    principal: Principal,
) -> UUID:
    """Write down that a person is to be erased, and take them out of raw; returns the erasure's id.

    The marts follow with the next run, everything else with `erase_pending`. Asked for again, an erasure is
    opened again.

    Raises:
        UploadRejected: identifier or reason are empty, or the reason names the person.
    """
    _check(identifier, reason)
    marks = tombstones_of(settings, kind, school_id, identifier)
    people = find_spellings(connection, (kind, school_id, identifier))
    spellings = [who[2] for who in people]
    traces = find_traces(connection, school_id, spellings) if kind == "student" else set[Person]()
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (_REQUEST_LOCK,))
        names = _person_tombstones(settings, connection, kind, school_id, spellings)
        known = connection.execute(
            """
            update ops.erasures
            set finished_at = null,
                person_tombstones = array(select distinct unnest(person_tombstones || %s::text[]))
            where kind = %s and school_id = %s and tombstone = any(%s) returning erasure_id
            """,
            (names, kind, school_id, marks),
        ).fetchone()
        erasure_id: UUID = known["erasure_id"] if known else UUID(int=uuid7().int)
        if known is None:
            body = {
                "kind": kind, "school_id": school_id, "tombstone": marks[0], "person_tombstones": names,
                "reason": reason, "traces": sorted(tombstones_of(settings, *trace)[0] for trace in traces),
            }  # fmt: skip
            event = new_event(connection, "erasing", erasure_id, principal.id, body)
            write_event(store, event)
            adopt_event(connection, event)
        else:
            note_traces(settings, connection, store, {erasure_id: traces})
        subject = person_subject(settings, kind, school_id, identifier)
        record(
            connection, principal.id, "people:erase", subject, {"erasure": str(erasure_id), "reason": reason}
        )
    add_counts(connection, erasure_id, erase_from_raw(connection, {*people, *traces}))
    log.info("erasure_requested", erasure_id=str(erasure_id), kind=kind)
    return erasure_id


def list_erasures(connection: Connection, *, school_id: str | None = None) -> list[dict[str, Any]]:
    """All erasures, or those of a school, newest first, without the hashes."""
    return connection.execute(
        """
        select erasure_id, kind, school_id, reason, requested_by, requested_at, finished_at, counts, found
        from ops.erasures where %(school_id)s::text is null or school_id = %(school_id)s
        order by erasure_id desc
        """,
        {"school_id": school_id},
    ).fetchall()


def get_erasure(connection: Connection, erasure_id: UUID) -> dict[str, Any]:
    """One erasure.

    Raises:
        NotFound: there is none.
    """
    for row in list_erasures(connection):
        if row["erasure_id"] == erasure_id:
            return row
    raise NotFound(f"There is no erasure {erasure_id}.")


def add_counts(connection: Connection, erasure_id: UUID, counts: Mapping[str, int]) -> None:
    """Add what was removed, by place, to what was removed before."""
    row = connection.execute(
        "select counts from ops.erasures where erasure_id = %s", (erasure_id,)
    ).fetchone()
    total = dict(row["counts"]) if row else {}
    for place, number in counts.items():
        total[place] = total.get(place, 0) + number
    connection.execute(
        "update ops.erasures set counts = %s where erasure_id = %s", (Jsonb(total), erasure_id)
    )


def _check(identifier: str, reason: str) -> None:
    if not identifier.strip() or not reason.strip():
        hint = "say who is to be erased, and why"
        raise UploadRejected(
            "An erasure needs an identifier and a reason.", [Issue(rule="required", hint=hint)]
        )
    if identifier.strip().lower() in reason.lower():
        hint = "the reason is kept, the identifier is not"
        raise UploadRejected("The reason must not name the person.", [Issue(rule="reason", hint=hint)])


def _person_tombstones(
    settings: Settings, connection: Connection, kind: Kind, school_id: str, identifiers: list[str]
) -> list[str]:
    """Of all names and birth dates that loaded files give the person."""
    found: set[str] = set()
    for contract in load_contracts().values():
        names = contract.identities.get(kind)
        if names is None or not {"first_name", "last_name", "date_of_birth"} <= set(contract.columns):
            continue
        rows = connection.execute(
            sql.SQL(
                "select distinct first_name, last_name, date_of_birth::text as born from {} "
                "where school_id = %s and {} = any(%s) and date_of_birth is not null"
            ).format(raw_table(contract), sql.Identifier(names[0])),
            (school_id, identifiers),
        )
        found |= {
            person_tombstones_of(settings, row["first_name"], row["last_name"], row["born"])[0]
            for row in rows
        }
    return sorted(found)
