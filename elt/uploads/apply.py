"""What each event does to the database. The same code serves the API, discover and replay.

Bodies, by kind:

- `accepted`, `adopted` (found in the store's inbox), `fixed`: dataset, school_id, origin, title, note,
  parent_id, parent_version (the last two for `fixed`), `object` (see `_insert_version`), and where they apply
  `idempotency` (principal, key, fingerprint) and `inbox` (key, etag).
- `replaced`: version, object, inbox. `amended`: title, note. `held`: version, reason. `approved`: version.
- `withdrawn`: reason.
- `erasing`: kind, school_id, tombstone, person_tombstones, reason, traces (see `ops.erasures`); told again
  with further traces.
- `erased`: version, erasures (ids), `object` (key, filename, size_bytes, sha256, options) as it is now,
  erased (rows that are no longer in it, see `elt.privacy.erased_counts`), rows_erased; the last two of the
  whole version, not of one erasure. brought: lines that went now and that fixes had brought, by the fix's id.

All but the first three and the last two also hold `before`: the status of every version of the upload and
of its fixes at that moment ({upload id: {version: status}}), from which replay knows what had been loaded by
then.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from elt.audit.trail import record
from elt.errors import NotFound
from elt.uploads.events import Event, EventKind, next_id
from elt.uploads.removal import take_out, take_out_outdated_fixes
from elt.warehouse import Connection

_FIRST_KINDS = ("accepted", "adopted", "fixed")

# `held` is the loader's decision, not a person's act.
_AUDITED_KINDS = {
    **dict.fromkeys(_FIRST_KINDS, "uploads:create"),
    "replaced": "uploads:replace",
    "amended": "uploads:amend",
    "approved": "uploads:approve",
    "withdrawn": "uploads:withdraw",
}


def new_event(
    connection: Connection, kind: EventKind, upload_id: UUID, principal: str, body: dict[str, Any]
) -> Event:
    """Make an event that comes after all that the database knows, whatever the clock says.

    The newest upload wins by time, so time must not run backwards when a clock is corrected.
    """
    last = connection.execute(
        "select event_id, occurred_at from ops.events order by event_id desc limit 1"
    ).fetchone()
    now = datetime.now(UTC)
    if last is not None:
        now = max(now, last["occurred_at"] + timedelta(microseconds=1))
    return Event(next_id(last["event_id"] if last else None), kind, upload_id, now, principal, body)


def adopt_event(connection: Connection, event: Event) -> bool:
    """Apply an event to the database, once.

    Returns:
        False if the database knew it already.

    Raises:
        NotFound: it is about an upload whose first event is not known yet.
    """
    is_first = event.kind in _FIRST_KINDS
    belongs_to = event.body.get("parent_id") if is_first else event.upload_id
    if event.kind == "erasing":
        belongs_to = None
    with connection.transaction():
        if belongs_to:
            # Before the event is noted: the request that made it may be about to do the same, in this order.
            _lock_upload(connection, UUID(str(belongs_to)))
        if not _remember(connection, event):
            return False
        if is_first:
            _insert_upload(connection, event)
        else:
            _CHANGES[event.kind](connection, event)
        if event.kind in _AUDITED_KINDS:
            _write_audit_line(connection, event)
    return True


def _write_audit_line(connection: Connection, event: Event) -> None:
    """What a person did, once, however often a replay tells it."""
    subject = f"upload:{event.upload_id}"
    told = connection.execute(
        "select from ops.audit where subject = %s and detail ->> 'event' = %s", (subject, str(event.event_id))
    )
    if told.rowcount:
        return
    body = event.body
    facts = {name: body[name] for name in ("dataset", "school_id", "parent_id", "version") if name in body}
    if described := body.get("object"):
        facts["sha256"] = described["sha256"]
    detail = {"event": event.event_id, "at": event.occurred_at, **facts}
    record(connection, event.principal, _AUDITED_KINDS[event.kind], subject, detail)


def _remember(connection: Connection, event: Event) -> bool:
    """Note the event; False if it was noted before."""
    inserted = connection.execute(
        """
        insert into ops.events (event_id, upload_id, kind, occurred_at, principal, body)
        values (%s, %s, %s, %s, %s, %s) on conflict do nothing
        """,
        (event.event_id, event.upload_id, event.kind, event.occurred_at, event.principal, Jsonb(event.body)),
    )
    return inserted.rowcount == 1


def _lock_upload(connection: Connection, upload_id: UUID) -> None:
    found = connection.execute("select from ops.uploads where upload_id = %s for update", (upload_id,))
    if found.rowcount == 0:
        raise NotFound(f"There is no upload {upload_id}.")


def _insert_upload(connection: Connection, event: Event) -> None:
    body = event.body
    connection.execute(
        """
        insert into ops.uploads (upload_id, dataset, school_id, uploader, origin, title, note,
                                 parent_id, parent_version, created_at)
        values (%(upload_id)s, %(dataset)s, %(school_id)s, %(uploader)s, %(origin)s, %(title)s, %(note)s,
                %(parent_id)s, %(parent_version)s, %(created_at)s)
        """,
        {
            "upload_id": event.upload_id,
            "dataset": body["dataset"],
            "school_id": body["school_id"],
            "uploader": event.principal,
            "origin": body["origin"],
            "title": body.get("title"),
            "note": body.get("note"),
            "parent_id": body.get("parent_id"),
            "parent_version": body.get("parent_version"),
            "created_at": body["object"]["received_at"],
        },
    )
    _insert_version(connection, event, 1)
    if idempotency := body.get("idempotency"):
        connection.execute(
            """
            insert into ops.idempotency_keys (principal, key, fingerprint, upload_id)
            values (%s, %s, %s, %s) on conflict do nothing
            """,
            (idempotency["principal"], idempotency["key"], idempotency["fingerprint"], event.upload_id),
        )
    if parent_id := body.get("parent_id"):
        _end_with_parent(connection, event.upload_id, UUID(parent_id))


def _end_with_parent(connection: Connection, upload_id: UUID, parent_id: UUID) -> None:
    """A fix whose event is found after its parent was withdrawn or replaced ends as the others did."""
    parent = connection.execute("select * from ops.uploads where upload_id = %s", (parent_id,)).fetchone()
    assert parent is not None  # noqa: S101 - adopt_event has locked it
    if parent["withdrawn_at"] is not None:
        take_out(connection, [upload_id], at=parent["withdrawn_at"], by=parent["withdrawn_by"], reason=None)
    elif parent["live_version"] is not None:
        take_out_outdated_fixes(connection, parent_id, parent["live_version"])


def _insert_version(connection: Connection, event: Event, version: int) -> None:
    """`object`: key, filename, media_type, size_bytes, sha256, options, received_at, ranked_at.

    And bound_school_id: the school that its sender is bound to; null or absent: none.
    """
    described = event.body["object"]
    connection.execute(
        """
        insert into ops.upload_versions (upload_id, version, object_key, filename, media_type, size_bytes,
                                         sha256, options, uploader, bound_school_id, received_at, ranked_at)
        values (%(upload_id)s, %(version)s, %(key)s, %(filename)s, %(media_type)s, %(size_bytes)s, %(sha256)s,
                %(options)s, %(uploader)s, %(bound_school_id)s, %(received_at)s, %(ranked_at)s)
        """,
        {
            "bound_school_id": None,
            **described,
            "options": Jsonb(described["options"]),
            "upload_id": event.upload_id,
            "version": version,
            "uploader": event.principal,
        },
    )
    if inbox := event.body.get("inbox"):
        connection.execute(
            """
            insert into ops.inbox_objects (object_key, etag, upload_id) values (%s, %s, %s)
            on conflict (object_key, etag)
            do update set upload_id = excluded.upload_id, reason = null, seen_at = now()
            """,
            (inbox["key"], inbox["etag"], event.upload_id),
        )


def _replace(connection: Connection, event: Event) -> None:
    version = event.body["version"]
    taken = connection.execute(
        "select from ops.upload_versions where upload_id = %s and version = %s", (event.upload_id, version)
    )
    if taken.rowcount:
        # The database went away before this replacement was acknowledged, and its sender tried again.
        return
    _insert_version(connection, event, version)
    connection.execute(
        "update ops.uploads set version = greatest(version, %s) where upload_id = %s",
        (version, event.upload_id),
    )
    _keep_withdrawn(connection, event.upload_id)


def _keep_withdrawn(connection: Connection, upload_id: UUID) -> None:
    """A version whose event is found after its upload was withdrawn must not bring the upload back."""
    connection.execute(
        """
        update ops.upload_versions v set status = 'withdrawn'
        from ops.uploads u
        where v.upload_id = %s and u.upload_id = v.upload_id and u.withdrawn_at is not null
          and v.status <> 'withdrawn'
        """,
        (upload_id,),
    )


def _amend(connection: Connection, event: Event) -> None:
    connection.execute(
        "update ops.uploads set title = %(title)s, note = %(note)s where upload_id = %(upload_id)s",
        {"title": event.body["title"], "note": event.body["note"], "upload_id": event.upload_id},
    )


def _hold(_connection: Connection, _event: Event) -> None:
    """Nothing: the loader sets the status, and finds the decision among the events should it load again."""


def _approve(connection: Connection, event: Event) -> None:
    connection.execute(
        """
        update ops.upload_versions
        set approved_at = %(at)s, approved_by = %(by)s,
            status = case status when 'held' then 'stored' else status end,
            reason = case status when 'held' then null else reason end
        where upload_id = %(upload_id)s and version = %(version)s and approved_at is null
        """,
        {
            "at": event.occurred_at,
            "by": event.principal,
            "upload_id": event.upload_id,
            "version": event.body["version"],
        },
    )


def _withdraw(connection: Connection, event: Event) -> None:
    take_out(
        connection,
        lock_with_fixes(connection, event.upload_id),
        at=event.occurred_at,
        by=event.principal,
        reason=event.body.get("reason"),
    )


def lock_with_fixes(connection: Connection, upload_id: UUID) -> list[UUID]:
    """Lock an upload and all its fixes, in the one order that everybody uses; returns their ids."""
    rows = connection.execute(
        """
        select upload_id from ops.uploads where upload_id = %(id)s or parent_id = %(id)s
        order by upload_id for update
        """,
        {"id": upload_id},
    )
    return [row["upload_id"] for row in rows]


def _note_erasure(connection: Connection, event: Event) -> None:
    connection.execute(
        """
        insert into ops.erasures as known (erasure_id, kind, school_id, tombstone, person_tombstones, traces,
                                           reason, requested_by, requested_at)
        values (%(erasure_id)s, %(kind)s, %(school_id)s, %(tombstone)s, %(person_tombstones)s, %(traces)s,
                %(reason)s, %(requested_by)s, %(requested_at)s)
        on conflict (kind, school_id, tombstone) do update
        set traces = array(select distinct unnest(known.traces || excluded.traces) order by 1)
        """,
        {
            "traces": [],  # of events from before there were any
            **event.body,
            "erasure_id": event.upload_id,
            "requested_by": event.principal,
            "requested_at": event.occurred_at,
        },
    )


def _note_rewriting(connection: Connection, event: Event) -> None:
    """The object holds fewer rows than it did. An older event that is found late says nothing new."""
    described = event.body["object"]
    connection.execute(
        """
        update ops.upload_versions v
        set object_key = %(key)s, filename = %(filename)s, size_bytes = %(size_bytes)s, sha256 = %(sha256)s,
            options = %(options)s, erased = %(erased)s, rows_erased = %(rows_erased)s
        where v.upload_id = %(upload_id)s and v.version = %(version)s
          and not exists (
              select from ops.events later
              where later.upload_id = v.upload_id and later.kind = 'erased'
                and later.body -> 'version' = to_jsonb(v.version) and later.event_id > %(event_id)s)
        """,
        {
            **described,
            "options": Jsonb(described["options"]),
            "erased": Jsonb(event.body["erased"]),
            "rows_erased": event.body["rows_erased"],
            "upload_id": event.upload_id,
            "version": event.body["version"],
            "event_id": event.event_id,
        },
    )


_CHANGES = {
    "erasing": _note_erasure,
    "erased": _note_rewriting,
    "replaced": _replace,
    "amended": _amend,
    "held": _hold,
    "approved": _approve,
    "withdrawn": _withdraw,
}
