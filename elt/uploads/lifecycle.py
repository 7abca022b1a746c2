"""What people do to uploads that are there: replace, amend, approve, withdraw, try again.

Whoever may act at all is decided by the caller; here an upload is only found by its uploader and by
administrators.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from elt.audit.trail import record
from elt.contracts import get_contract
from elt.errors import Conflict
from elt.people.keys import person_behind
from elt.people.principals import SYSTEM, Principal
from elt.reading.dialect import ReadOptions
from elt.store.base import ObjectInfo, Store, StoredObject
from elt.uploads.acts import (
    SentFile,
    family_statuses,
    inbox_facts,
    lock_family,
    lock_own_upload,
    record_act,
    refuse_withdrawn,
    removed_if_refused,
)
from elt.uploads.same_bytes import SAME_BYTES_STATUSES, find_same, is_overridden
from elt.warehouse import Connection


def replace_upload(
    connection: Connection,
    store: Store,
    upload_id: UUID,
    stored: StoredObject,
    filename: str,
    media_type: str | None,
    options: ReadOptions,
    principal: Principal,
    *,
    inbox: ObjectInfo | None = None,
) -> int:
    """Make the bytes the upload's new version; the old one stays live until the new one has loaded.

    Returns:
        The version's number; the present one if the bytes are the same and nothing overrides them.

    Raises:
        NotFound: no such upload of this principal.
        Conflict: it is withdrawn.
    """
    with removed_if_refused(store, stored), connection.transaction():
        upload = lock_own_upload(connection, upload_id, principal)
        refuse_withdrawn(upload)
        if _is_current(connection, upload, stored, options):
            store.delete(stored.key)
            return int(upload["version"])
        version = int(upload["version"]) + 1
        body = {"version": version, "before": family_statuses(connection, upload_id), **inbox_facts(inbox)}
        file = SentFile(stored, filename, media_type, options, _rank_of_parent(connection, upload))
        record_act(connection, store, "replaced", upload_id, principal, body, file)
    return version


def amend_upload(
    connection: Connection,
    store: Store,
    upload_id: UUID,
    principal: Principal,
    title: str | None,
    note: str | None,
) -> None:
    """Set title and note.

    Raises:
        NotFound: no such upload of this principal.
    """
    with connection.transaction():
        lock_own_upload(connection, upload_id, principal)
        record_act(connection, store, "amended", upload_id, principal, {"title": title, "note": note})


def approve_upload(connection: Connection, store: Store, upload_id: UUID, principal: Principal) -> None:
    """Release a held upload; it then loads with its original rank and without the check that held it.

    Raises:
        NotFound: no such upload.
        Conflict: nothing of it is held, or the person behind the principal handed it in, by whatever key.
    """
    with connection.transaction():
        lock_family(connection, upload_id)
        held = connection.execute(
            """
            select version, uploader from ops.upload_versions where upload_id = %s and status = 'held'
            order by version desc limit 1
            """,
            (upload_id,),
        ).fetchone()
        if held is None:
            raise Conflict(f"Upload {upload_id} is not held.")
        if person_behind(connection, held["uploader"]) == person_behind(connection, principal.id):
            raise Conflict("A second person must approve: you handed the file in, by this or another key.")
        body = {"version": held["version"], "before": family_statuses(connection, upload_id)}
        record_act(connection, store, "approved", upload_id, principal, body)


def withdraw_upload(
    connection: Connection, store: Store, upload_id: UUID, principal: Principal, *, reason: str | None = None
) -> None:
    """Withdraw an upload and its fixes: their rows leave raw, and what they had overridden shows again.

    Raises:
        NotFound: no such upload of this principal.
        Conflict: it is withdrawn already.
    """
    with connection.transaction():
        upload = lock_own_upload(connection, upload_id, principal)
        refuse_withdrawn(upload)
        body = {"reason": reason, "before": family_statuses(connection, upload_id)}
        record_act(connection, store, "withdrawn", upload_id, principal, body)


def retry_upload(connection: Connection, upload_id: UUID, principal: Principal) -> None:
    """Let an upload whose load failed wait again, with its rank.

    No event: what was handed in stays the same, and a replay tries anew whatever had failed.

    Raises:
        NotFound: no such upload of this principal.
        Conflict: it has not failed, or the same file has been handed in since.
    """
    with connection.transaction():
        upload = lock_own_upload(connection, upload_id, principal)
        version = _newest_version(connection, upload)
        if version["status"] != "failed":
            raise Conflict(f"Upload {upload_id} is {version['status']}; only one that failed can be retried.")
        again = find_same(
            connection, get_contract(upload["dataset"]), upload["uploader"], upload["school_id"],
            version["sha256"], ReadOptions.from_dict(version["options"]), parent_id=upload["parent_id"],
            parent_version=upload["parent_version"],
        )  # fmt: skip
        if again is not None:  # without a key, its rows would count twice
            raise Conflict(f"The same file has been handed in as upload {again} since.")
        connection.execute(
            """
            update ops.upload_versions set status = 'stored', reason = null
            where upload_id = %s and version = %s
            """,
            (upload_id, upload["version"]),
        )
        record(
            connection, principal.id, "uploads:retry", f"upload:{upload_id}", {"version": upload["version"]}
        )


def hold_upload(connection: Connection, store: Store, upload_id: UUID, version: int, reason: str) -> None:
    """Note that the loader holds a version; called in the load's transaction."""
    body = {"version": version, "reason": reason}
    record_act(connection, store, "held", upload_id, SYSTEM, body)


def _is_current(
    connection: Connection, upload: dict[str, Any], stored: StoredObject, options: ReadOptions
) -> bool:
    newest = _newest_version(connection, upload)
    return (
        newest["sha256"] == stored.sha256
        and newest["options"] == options.to_dict()
        and newest["status"] in SAME_BYTES_STATUSES
        and not is_overridden(connection, get_contract(upload["dataset"]), {**newest, **upload})
    )


def _newest_version(connection: Connection, upload: dict[str, Any]) -> dict[str, Any]:
    newest = connection.execute(
        "select * from ops.upload_versions where upload_id = %s and version = %s",
        (upload["upload_id"], upload["version"]),
    ).fetchone()
    assert newest is not None  # noqa: S101 - every upload has its newest version
    return newest


def _rank_of_parent(connection: Connection, upload: dict[str, Any]) -> datetime | None:
    """A fix keeps the rank of what it fixes, in each of its versions."""
    if upload["parent_id"] is None:
        return None
    row = connection.execute(
        "select ranked_at from ops.upload_versions where upload_id = %s and version = %s",
        (upload["parent_id"], upload["parent_version"]),
    ).fetchone()
    return row["ranked_at"] if row else None
