"""What people do to uploads: hand in, replace, amend, approve, withdraw.

Each act is first an event in the store, then a database transaction, then an answer. A refused act leaves
nothing behind: no event, no object. Whoever may act at all is decided by the caller; here an upload is only
found by its uploader and by administrators.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from elt.apply import adopt_event, lock_with_fixes, new_event
from elt.contracts import get_contract
from elt.errors import Conflict, LaurelError, NotFound, TransientError
from elt.events import EventKind, id_time, write_event
from elt.ledger import count_brought_lines, get_version
from elt.reader import ReadOptions
from elt.same_bytes import SAME_BYTES_STATUSES, find_same, is_overridden
from elt.store import ObjectInfo, Store, StoredObject
from elt.warehouse import Connection

__all__ = [
    "Accepted", "NewUpload", "Principal", "accept_upload", "adopt_event", "amend_upload", "approve_upload",
    "check_request", "find_idempotent", "hold_upload", "new_object_key", "replace_upload",
    "request_fingerprint", "withdraw_upload",
]  # fmt: skip

Role = Literal["researcher", "teacher", "analyst", "admin"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts: `id` is what the ledger keeps, such as `key:<key_id>`; `school_id` None means any school."""

    id: str
    role: Role
    school_id: str | None = None
    name: str = ""


INBOX = Principal("inbox", "researcher", name="Found in the store")
"""Stands for files that were put into the store by other means than the API."""

SYSTEM = Principal("system", "admin", name="Laurel")
"""Stands for what Laurel does by itself."""


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What a sender says about a file. `school_id` is for rows that name none; a fix takes its parent's."""

    dataset: str
    filename: str
    school_id: str
    media_type: str | None = None
    title: str | None = None
    note: str | None = None
    fixes: UUID | None = None
    options: ReadOptions = field(default_factory=ReadOptions)
    origin: Literal["api", "inbox", "source", "demo"] = "api"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The upload that the bytes belong to; `created` is False if they had been handed in before."""

    upload_id: UUID
    created: bool


def new_object_key(upload_id: UUID, version: int, filename: str) -> str:
    """Where a version's bytes go. Objects are never changed, so two racing versions never share a key."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", filename.replace("\\", "/").rpartition("/")[2]).strip("._")[-100:]
    unique = "" if version == 1 else f"{secrets.token_hex(4)}-"
    return f"uploads/{id_time(upload_id):%Y-%m-%d}/{upload_id}/{version}/{unique}{safe or 'file.csv'}"


def request_fingerprint(request: NewUpload, sha256: str) -> str:
    """What makes two requests under one `Idempotency-Key` the same request."""
    parts = [
        request.dataset, request.school_id, request.filename, str(request.fixes or ""), sha256,
        request.options.to_dict(), request.title, request.note,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find_idempotent(connection: Connection, principal: Principal, key: str, fingerprint: str) -> UUID | None:
    """The upload that an earlier request with this key made.

    Raises:
        Conflict: the key was used for another request.
    """
    row = connection.execute(
        "select fingerprint, upload_id from ops.idempotency_keys where principal = %s and key = %s",
        (principal.id, key),
    ).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise Conflict(f"The Idempotency-Key {key[:80]!r} was used for another request; choose a new one.")
    found: UUID = row["upload_id"]
    return found


def check_request(connection: Connection, request: NewUpload, principal: Principal) -> None:
    """Refuse what can be refused before the bytes arrive.

    Raises:
        UnknownDataset: no contract has that name.
        NotFound: `fixes` names no upload of this principal.
        Conflict: `fixes` names an upload that cannot be fixed, or of another dataset.
    """
    get_contract(request.dataset)
    if request.fixes is not None:
        _find_parent(connection, request, principal)


def accept_upload(
    connection: Connection,
    store: Store,
    upload_id: UUID,
    request: NewUpload,
    stored: StoredObject,
    principal: Principal,
    *,
    idempotency_key: str | None = None,
    inbox: ObjectInfo | None = None,
) -> Accepted:
    """Accept bytes that are whole in the store.

    The same bytes again from the same uploader, for the same dataset, school, options and parent, are the
    first upload, unless it is withdrawn, rejected, failed or overridden by a later one. `inbox` is the object
    that the bytes were copied from, for files that came by other means.

    Raises:
        UnknownDataset, NotFound, Conflict: as `check_request`; also for an `Idempotency-Key` used otherwise,
            and for a fix of an upload that has no rejected rows left.
        TransientError: store or database went away; the event may be there and will then be adopted.
    """
    fingerprint = request_fingerprint(request, stored.sha256)
    with _removed_if_refused(store, stored), connection.transaction():
        contract = get_contract(request.dataset)
        if idempotency_key is not None:
            _wait_for_twin(connection, f"{principal.id}\0{idempotency_key}")
            known = find_idempotent(connection, principal, idempotency_key, fingerprint)
            if known is not None:
                return _known(store, stored, known)
        body = _describe(connection, request, principal)
        _wait_for_twin(connection, f"{principal.id}\0{request.dataset}\0{stored.sha256}")
        known = find_same(
            connection, contract, principal.id, body["school_id"], stored.sha256,
            request.options, body.get("parent_id"),
        )  # fmt: skip
        if known is not None:
            return _known(store, stored, known)
        if request.fixes is not None:
            _refuse_without_open_lines(connection, UUID(body["parent_id"]), body["parent_version"])
        if idempotency_key is not None:
            body["idempotency"] = {
                "principal": principal.id, "key": idempotency_key, "fingerprint": fingerprint,
            }  # fmt: skip
        kind: EventKind = "fixed" if request.fixes else "adopted" if inbox else "accepted"
        body |= _inbox_facts(inbox)
        rank = body.pop("ranked_at", None)
        _record(connection, store, kind, upload_id, principal, body, _Bytes(request, stored, rank))
    return Accepted(upload_id, created=True)


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
    with _removed_if_refused(store, stored), connection.transaction():
        upload = _own_upload(connection, upload_id, principal)
        _refuse_withdrawn(upload)
        if _is_current(connection, upload, stored, options):
            store.delete(stored.key)
            return int(upload["version"])
        request = NewUpload(upload["dataset"], filename, upload["school_id"], media_type, options=options)
        version = int(upload["version"]) + 1
        rank = _rank_of_parent(connection, upload)
        body = {"version": version, "before": _statuses(connection, upload_id), **_inbox_facts(inbox)}
        _record(connection, store, "replaced", upload_id, principal, body, _Bytes(request, stored, rank))
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
        _own_upload(connection, upload_id, principal)
        _record(connection, store, "amended", upload_id, principal, {"title": title, "note": note})


def approve_upload(connection: Connection, store: Store, upload_id: UUID, principal: Principal) -> None:
    """Release a held upload; it then loads with its original rank and without the check that held it.

    Raises:
        NotFound: no such upload.
        Conflict: nothing of it is held, or the principal handed it in.
    """
    with connection.transaction():
        _lock_family(connection, upload_id)
        held = connection.execute(
            """
            select version, uploader from ops.upload_versions where upload_id = %s and status = 'held'
            order by version desc limit 1
            """,
            (upload_id,),
        ).fetchone()
        if held is None:
            raise Conflict(f"Upload {upload_id} is not held.")
        if held["uploader"] == principal.id:
            raise Conflict("A second person must approve: this one handed the file in.")
        body = {"version": held["version"], "before": _statuses(connection, upload_id)}
        _record(connection, store, "approved", upload_id, principal, body)


def withdraw_upload(
    connection: Connection, store: Store, upload_id: UUID, principal: Principal, *, reason: str | None = None
) -> None:
    """Withdraw an upload and its fixes: their rows leave raw, and what they had overridden shows again.

    Raises:
        NotFound: no such upload of this principal.
        Conflict: it is withdrawn already.
    """
    with connection.transaction():
        upload = _own_upload(connection, upload_id, principal)
        _refuse_withdrawn(upload)
        body = {"reason": reason, "before": _statuses(connection, upload_id)}
        _record(connection, store, "withdrawn", upload_id, principal, body)


def hold_upload(connection: Connection, store: Store, upload_id: UUID, version: int, reason: str) -> None:
    """Note that the loader holds a version; called in the load's transaction."""
    body = {"version": version, "reason": reason}
    _record(connection, store, "held", upload_id, SYSTEM, body)


@dataclass(frozen=True, slots=True)
class _Bytes:
    """What an event says about an object. `rank` None: the time of the event."""

    request: NewUpload
    stored: StoredObject
    rank: datetime | None


def _record(
    connection: Connection,
    store: Store,
    kind: EventKind,
    upload_id: UUID,
    principal: Principal,
    body: dict[str, Any],
    content: _Bytes | None = None,
) -> None:
    event = new_event(connection, kind, upload_id, principal.id, body)
    if content is not None:
        body["object"] = {
            "key": content.stored.key,
            "filename": content.request.filename,
            "media_type": content.request.media_type,
            "size_bytes": content.stored.size,
            "sha256": content.stored.sha256,
            "options": content.request.options.to_dict(),
            "received_at": event.occurred_at.isoformat(),
            "ranked_at": (content.rank or event.occurred_at).isoformat(),
        }
    write_event(store, event)
    adopt_event(connection, event)


def _describe(connection: Connection, request: NewUpload, principal: Principal) -> dict[str, Any]:
    body: dict[str, Any] = {
        "dataset": request.dataset,
        "school_id": request.school_id,
        "origin": request.origin,
        "title": request.title,
        "note": request.note,
    }
    if request.fixes is not None:
        parent = _find_parent(connection, request, principal)
        body |= {
            "school_id": parent["school_id"],
            "parent_id": str(parent["upload_id"]),
            "parent_version": parent["version"],
            "ranked_at": parent["ranked_at"],
            "before": _statuses(connection, parent["upload_id"]),
        }
    return body


def _inbox_facts(inbox: ObjectInfo | None) -> dict[str, Any]:
    return {"inbox": {"key": inbox.key, "etag": inbox.etag}} if inbox else {}


def _find_parent(connection: Connection, request: NewUpload, principal: Principal) -> dict[str, Any]:
    """The upload that a fix belongs to: never itself a fix. Its newest version is what is being fixed."""
    named = _own_upload(connection, request.fixes, principal)
    root_id = named["parent_id"] or named["upload_id"]
    root = connection.execute(
        """
        select u.*, v.ranked_at, v.status
        from ops.uploads u join ops.upload_versions v using (upload_id, version)
        where upload_id = %s for update of u
        """,
        (root_id,),
    ).fetchone()
    assert root is not None  # noqa: S101 - a fix refers to its parent
    if root["dataset"] != request.dataset:
        raise Conflict(f"Upload {root_id} is of {root['dataset']}; a fix must be of the same dataset.")
    status = "withdrawn" if named["withdrawn_at"] or root["withdrawn_at"] else root["status"]
    if status not in ("loaded", "rejected"):
        raise Conflict(f"Upload {root_id} is {status}; only one that is loaded or rejected can be fixed.")
    return root


def _refuse_without_open_lines(connection: Connection, parent_id: UUID, version: int) -> None:
    rejected = get_version(connection, parent_id, version).counts.rejected or 0
    if rejected <= count_brought_lines(connection, parent_id, version):
        raise Conflict(f"Upload {parent_id} has no rejected rows left to fix.")


def _own_upload(connection: Connection, upload_id: UUID | None, principal: Principal) -> dict[str, Any]:
    _lock_family(connection, upload_id)
    upload = connection.execute("select * from ops.uploads where upload_id = %s", (upload_id,)).fetchone()
    if upload is None or (principal.role != "admin" and upload["uploader"] != principal.id):
        raise NotFound(f"There is no upload {upload_id}.")
    return upload


def _lock_family(connection: Connection, upload_id: UUID | None) -> None:
    """Lock an upload, its parent and its fixes, oldest first as everybody does."""
    row = connection.execute(
        "select coalesce(parent_id, upload_id) as root from ops.uploads where upload_id = %s", (upload_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no upload {upload_id}.")
    lock_with_fixes(connection, row["root"])


def _refuse_withdrawn(upload: dict[str, Any]) -> None:
    if upload["withdrawn_at"] is not None:
        raise Conflict(f"Upload {upload['upload_id']} is withdrawn.")


def _is_current(
    connection: Connection, upload: dict[str, Any], stored: StoredObject, options: ReadOptions
) -> bool:
    newest = connection.execute(
        "select * from ops.upload_versions where upload_id = %s and version = %s",
        (upload["upload_id"], upload["version"]),
    ).fetchone()
    assert newest is not None  # noqa: S101 - every upload has its newest version
    return (
        newest["sha256"] == stored.sha256
        and newest["options"] == options.to_dict()
        and newest["status"] in SAME_BYTES_STATUSES
        and not is_overridden(connection, get_contract(upload["dataset"]), {**newest, **upload})
    )


def _rank_of_parent(connection: Connection, upload: dict[str, Any]) -> datetime | None:
    """A fix keeps the rank of what it fixes, in each of its versions."""
    if upload["parent_id"] is None:
        return None
    row = connection.execute(
        "select ranked_at from ops.upload_versions where upload_id = %s and version = %s",
        (upload["parent_id"], upload["parent_version"]),
    ).fetchone()
    return row["ranked_at"] if row else None


def _statuses(connection: Connection, upload_id: UUID) -> dict[str, dict[str, str]]:
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


def _known(store: Store, stored: StoredObject, upload_id: UUID) -> Accepted:
    store.delete(stored.key)
    return Accepted(upload_id, created=False)


def _wait_for_twin(connection: Connection, identity: str) -> None:
    """Let two identical requests at the same moment be one after the other, until the transaction ends."""
    digest = hashlib.blake2b(identity.encode(), digest_size=8).digest()
    connection.execute("select pg_advisory_xact_lock(%s)", (int.from_bytes(digest, signed=True),))


@contextmanager
def _removed_if_refused(store: Store, stored: StoredObject) -> Iterator[None]:
    """Delete the object of an act that was refused; after anything else it may belong to an event."""
    try:
        yield
    except TransientError:
        raise
    except LaurelError:
        store.delete(stored.key)
        raise
