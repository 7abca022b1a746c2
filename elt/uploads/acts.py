"""What every act on an upload has in common: find it, lock it, write the event, apply the event.

All of this runs inside the act's transaction. Each act is first an event in the store, then a database
transaction, then an answer; a refused one leaves nothing behind, neither event nor object.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from elt.errors import Conflict, LaurelError, NotFound, TransientError
from elt.people.principals import Principal
from elt.reading.dialect import ReadOptions
from elt.store.base import ObjectInfo, Store, StoredObject
from elt.uploads.apply import adopt_event, lock_with_fixes, new_event
from elt.uploads.events import EventKind, write_event
from elt.warehouse import Connection


@dataclass(frozen=True, slots=True)
class SentFile:
    """A stored file as its event describes it. `ranked_at` None: the time of the event."""

    stored: StoredObject
    filename: str
    media_type: str | None
    options: ReadOptions
    ranked_at: datetime | None = None


def record_act(
    connection: Connection,
    store: Store,
    kind: EventKind,
    upload_id: UUID,
    principal: Principal,
    body: dict[str, Any],
    file: SentFile | None = None,
) -> None:
    """Write the act down as an event, then let it have its effect on the database."""
    event = new_event(connection, kind, upload_id, principal.id, body)
    if file is not None:
        body["object"] = {
            "key": file.stored.key,
            "filename": file.filename,
            "media_type": file.media_type,
            "size_bytes": file.stored.size,
            "sha256": file.stored.sha256,
            "options": file.options.to_dict(),
            "bound_school_id": principal.school_id,
            "received_at": event.occurred_at.isoformat(),
            "ranked_at": (file.ranked_at or event.occurred_at).isoformat(),
        }
    write_event(store, event)
    adopt_event(connection, event)


def lock_own_upload(connection: Connection, upload_id: UUID | None, principal: Principal) -> dict[str, Any]:
    """The line of an upload of this principal, locked with its family.

    An administrator finds all; one who is bound to a school finds that school's.

    Raises:
        NotFound: there is none.
    """
    lock_family(connection, upload_id)
    upload = connection.execute("select * from ops.uploads where upload_id = %s", (upload_id,)).fetchone()
    if upload is None or not _may_act(principal, upload):
        raise NotFound(f"There is no upload {upload_id}.")
    return upload


def _may_act(principal: Principal, upload: dict[str, Any]) -> bool:
    if upload["uploader"] == principal.id:
        return True
    return principal.role == "admin" and principal.school_id in (None, upload["school_id"])


def lock_family(connection: Connection, upload_id: UUID | None) -> None:
    """Lock an upload, its parent and its fixes, oldest first as everybody does.

    Raises:
        NotFound: there is no such upload.
    """
    row = connection.execute(
        "select coalesce(parent_id, upload_id) as root from ops.uploads where upload_id = %s", (upload_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no upload {upload_id}.")
    lock_with_fixes(connection, row["root"])


def refuse_withdrawn(upload: dict[str, Any]) -> None:
    """Raise Conflict if the upload is withdrawn."""
    if upload["withdrawn_at"] is not None:
        raise Conflict(f"Upload {upload['upload_id']} is withdrawn.")


def family_statuses(connection: Connection, upload_id: UUID) -> dict[str, dict[str, str]]:
    """The status of every version of the upload's whole family: it, its parent, their fixes."""
    rows = connection.execute(
        """
        select u.upload_id, v.version, v.status
        from ops.uploads u join ops.upload_versions v using (upload_id)
        where coalesce(u.parent_id, u.upload_id) =
              (select coalesce(parent_id, upload_id) from ops.uploads where upload_id = %s)
        order by u.upload_id, v.version
        """,
        (upload_id,),
    )
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(str(row["upload_id"]), {})[str(row["version"])] = row["status"]
    return found


def inbox_facts(inbox: ObjectInfo | None) -> dict[str, Any]:
    """What an event says about the object that the bytes were copied from."""
    return {"inbox": {"key": inbox.key, "etag": inbox.etag}} if inbox else {}


@contextmanager
def removed_if_refused(store: Store, stored: StoredObject) -> Iterator[None]:
    """Delete the object of an act that was refused; after anything else it may belong to an event."""
    try:
        yield
    except TransientError:
        raise
    except LaurelError:
        store.delete(stored.key)
        raise
