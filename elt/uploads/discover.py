"""What waits to be loaded: adopt what the store knows and the database does not, then list what is stored.

A run looks at recent events and at the inbox, never at all that was ever handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from elt.contracts import get_contract
from elt.errors import LoadError, NotFound
from elt.log import get_logger
from elt.people.principals import SYSTEM
from elt.reading.dialect import ReadOptions
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.apply import adopt_event
from elt.uploads.claims import claimed_families, keep_replay_out
from elt.uploads.events import Event, id_time, list_event_keys, read_event
from elt.uploads.inbox import adopt_inbox
from elt.uploads.lifecycle import withdraw_upload
from elt.uploads.same_bytes import find_same
from elt.warehouse import Connection, connect

_BATCH = 1000
_LOOK_BACK = timedelta(days=1)  # clocks of two machines may differ, and midnight falls between them

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PendingLoad:
    """A version that waits to be loaded."""

    upload_id: UUID
    version: int


def discover(settings: Settings, store: Store) -> list[PendingLoad]:
    """Adopt unknown events and inbox files, and list what waits, oldest first.

    Includes versions whose loader was killed.

    Raises:
        TransientError: store or database did not answer, or a replay is running.
    """
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-discover") as connection, keep_replay_out(connection):
        adopt_recent_events(connection, store)
        adopt_inbox(settings, connection, store)
        return list_pending(connection)


def adopt_recent_events(connection: Connection, store: Store) -> int:
    """Adopt events since a day before those looked at last time; returns how many were unknown."""
    reached = _reached(connection)
    since = reached - _LOOK_BACK if reached else None
    unknown = unknown_event_keys(connection, store, since)
    events = without_superseded(_readable(store, unknown))
    late = [event for event in events if not _adopt(connection, store, event)]
    for event in late:  # its upload's first event may have sorted after it
        if not _adopt(connection, store, event):
            log.error("event_not_adopted", event_id=str(event.event_id), reason="its upload is unknown")
    _set_reached(connection)
    return len(unknown)


def unknown_event_keys(connection: Connection, store: Store, since: datetime | None = None) -> list[str]:
    """Keys of events, from the day of `since` on, that the database does not know; oldest first."""
    return [key for batch in _batches(list_event_keys(store, since)) for key in _unknown(connection, batch)]


def _reached(connection: Connection) -> datetime | None:
    """Up to when all events are known; None before the first look.

    The newest known event does not tell: the API notes its own, whatever was left before them.
    """
    row = connection.execute("select reached from ops.marks where name = 'events'").fetchone()
    # The earlier of the two: a clock that ran ahead must not hide what comes after it is set right.
    return min(row["reached"], datetime.now(UTC)) if row else None


def _set_reached(connection: Connection) -> None:
    """To the newest known event; what was left while we looked is well within the margin."""
    newest = connection.execute("select event_id from ops.events order by event_id desc limit 1").fetchone()
    if newest is None:
        return
    connection.execute(
        """
        insert into ops.marks (name, reached) values ('events', %s)
        on conflict (name) do update set reached = excluded.reached where marks.reached <> excluded.reached
        """,
        (id_time(newest["event_id"]),),
    )


def without_superseded(events: Iterable[Event]) -> list[Event]:
    """Leave out replacements that were never acknowledged: their sender tried again under the same number."""
    events = sorted(events, key=lambda event: event.event_id)
    last = {
        (event.upload_id, event.body["version"]): event.event_id
        for event in events
        if event.kind == "replaced"
    }
    return [
        event
        for event in events
        if event.kind != "replaced" or last[event.upload_id, event.body["version"]] == event.event_id
    ]


def list_pending(connection: Connection) -> list[PendingLoad]:
    """Versions that wait, and those that no living loader is loading, in the order they were received."""
    rows = connection.execute(
        """
        select v.upload_id, v.version, v.status, coalesce(u.parent_id, u.upload_id) as root_id
        from ops.upload_versions v join ops.uploads u using (upload_id)
        where v.status in ('stored', 'loading')
        order by v.received_at, v.upload_id, v.version
        """
    ).fetchall()
    busy = claimed_families(connection, {row["root_id"] for row in rows if row["status"] == "loading"})
    return [
        PendingLoad(row["upload_id"], row["version"])
        for row in rows
        if row["status"] == "stored" or row["root_id"] not in busy
    ]


def _batches(keys: Iterator[tuple[UUID, str]]) -> Iterator[list[tuple[UUID, str]]]:
    batch: list[tuple[UUID, str]] = []
    for item in keys:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _unknown(connection: Connection, batch: Sequence[tuple[UUID, str]]) -> list[str]:
    rows = connection.execute(
        "select event_id from ops.events where event_id = any(%s)", ([event_id for event_id, _ in batch],)
    )
    known = {row["event_id"] for row in rows}
    return [key for event_id, key in batch if event_id not in known]


def _readable(store: Store, keys: Iterable[str]) -> Iterator[Event]:
    for key in keys:
        try:
            yield read_event(store, key)
        except (LoadError, NotFound) as error:
            log.error("event_not_adopted", key=key, reason=error.detail)


def _adopt(connection: Connection, store: Store, event: Event) -> bool:
    """Adopt one event that was never answered; False if its upload is not known yet."""
    try:
        if not adopt_event(connection, event):
            return True
    except NotFound:
        return False
    log.info("event_adopted", event_id=str(event.event_id), kind=event.kind, upload_id=str(event.upload_id))
    if event.kind in ("accepted", "adopted"):
        _withdraw_if_repeated(connection, store, event)
    return True


def _withdraw_if_repeated(connection: Connection, store: Store, event: Event) -> None:
    """Withdraw an upload that was never acknowledged if its sender has handed the file in again since.

    Otherwise the rows of a dataset without a key would count twice.
    """
    body, described = event.body, event.body["object"]
    twin = find_same(
        connection, get_contract(body["dataset"]), event.principal, body["school_id"], described["sha256"],
        ReadOptions.from_dict(described["options"]), other_than=event.upload_id,
    )  # fmt: skip
    if twin is None:
        return
    first = connection.execute(
        "select event_id from ops.events where upload_id = %s order by event_id limit 1", (twin,)
    ).fetchone()
    if first and first["event_id"] > event.event_id:
        reason = f"The same file was accepted as upload {twin}; this one had never been acknowledged."
        withdraw_upload(connection, store, event.upload_id, SYSTEM, reason=reason)
