"""Removes bytes that never became an upload: their receiver was killed before it had written the event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from elt.errors import LoadError
from elt.log import get_logger
from elt.settings import Settings
from elt.store.base import ObjectInfo, Store
from elt.store.object_keys import PREFIX, upload_of_key
from elt.uploads.claims import keep_replay_out
from elt.uploads.discover import unknown_event_keys
from elt.uploads.events import id_time, read_event
from elt.warehouse import Connection, connect

_BATCH = 1000

# A file may come in parts for a day, and S3 dates it by the first; what takes longer, `Store.sweep` ends.
_AGE = timedelta(days=2)

log = get_logger(__name__)


def sweep(settings: Settings, store: Store, *, now: datetime | None = None) -> int:
    """Remove objects under `uploads/` that neither an event nor the database names; returns how many.

    Only what is older than two days, by the time in its upload's id and by its own: the bytes of a new
    version are younger than their upload, those of a slow sender than their request.

    Raises:
        LoadError: an event cannot be read, and so may name any object; nothing was removed.
        TransientError: store or database did not answer, or a replay is running.
    """
    before = (now or datetime.now(UTC)) - _AGE
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-sweep") as connection, keep_replay_out(connection):
        unnamed = {key for batch in _old_objects(store, before) for key in _unnamed(connection, batch)}
        if unnamed:
            unnamed -= set(_named_by_unknown_events(connection, store))
        for key in sorted(unnamed):
            store.delete(key)
            log.info("leftover_removed", upload_id=str(upload_of_key(key)))
    return len(unnamed)


def _old_objects(store: Store, before: datetime) -> Iterator[list[str]]:
    """Keys of uploads' objects that are older than `before`, some at a time."""
    old = (item.key for item in store.list(PREFIX) if _is_old(item, before))
    while batch := list(islice(old, _BATCH)):
        yield batch


def _is_old(item: ObjectInfo, before: datetime) -> bool:
    upload_id = upload_of_key(item.key)
    return upload_id is not None and id_time(upload_id) < before and item.modified < before


def _unnamed(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Those of the keys that the database names neither as a version nor in an event."""
    by_key = {key: upload_of_key(key) for key in keys}
    rows = connection.execute(
        """
        select object_key as key from ops.upload_versions where upload_id = any(%(uploads)s)
        union select body -> 'object' ->> 'key' from ops.events where upload_id = any(%(uploads)s)
        """,
        {"uploads": list(set(by_key.values()))},
    )
    return set(by_key) - {row["key"] for row in rows}


def _named_by_unknown_events(connection: Connection, store: Store) -> Iterator[str]:
    """Keys of objects in events that the database has not adopted, or never will."""
    for event_key in unknown_event_keys(connection, store):
        try:
            event = read_event(store, event_key)
        except LoadError as error:
            raise LoadError(
                f"{event_key} cannot be read as an event and may name any object, so none was removed."
            ) from error
        if described := event.body.get("object"):
            yield described["key"]
