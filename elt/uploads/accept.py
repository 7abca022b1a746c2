"""Handing files in: new uploads and fixes of rejected rows.

An upload is accepted when its bytes are whole in the store and its event stands beside them. Whoever may hand
in at all is decided by the caller.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from elt.contracts import get_contract
from elt.errors import Conflict
from elt.people.principals import Principal
from elt.reading.dialect import ReadOptions
from elt.store.base import ObjectInfo, Store, StoredObject
from elt.uploads.acts import (
    SentFile,
    family_statuses,
    inbox_facts,
    lock_own_upload,
    record_act,
    removed_if_refused,
)
from elt.uploads.events import EventKind
from elt.uploads.ledger import count_brought_lines, get_version
from elt.uploads.same_bytes import find_same
from elt.warehouse import Connection


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

    The same bytes again from the same uploader, for the same dataset, school, options and version of the
    parent, are the first upload, unless it is withdrawn, rejected, failed or overridden by a later one.
    `inbox` is the object that the bytes were copied from, for files that came by other means.

    Raises:
        UnknownDataset, NotFound, Conflict: as `check_request`; also for an `Idempotency-Key` used otherwise,
            and for a fix of an upload that has no rejected rows left.
        TransientError: store or database went away; the event may be there and will then be adopted.
    """
    fingerprint = request_fingerprint(request, stored.sha256)
    with removed_if_refused(store, stored), connection.transaction():
        contract = get_contract(request.dataset)
        if idempotency_key is not None:
            _wait_for_twin(connection, f"{principal.id}\0{idempotency_key}")
            known = find_idempotent(connection, principal, idempotency_key, fingerprint)
            if known is not None:
                return _known(store, stored, known)
        body = _describe(connection, request, principal)
        _wait_for_twin(connection, f"{principal.id}\0{request.dataset}\0{stored.sha256}")
        known = find_same(
            connection, contract, principal.id, body["school_id"], stored.sha256, request.options,
            parent_id=body.get("parent_id"), parent_version=body.get("parent_version"),
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
        body |= inbox_facts(inbox)
        file = SentFile(
            stored, request.filename, request.media_type, request.options, body.pop("ranked_at", None)
        )
        record_act(connection, store, kind, upload_id, principal, body, file)
    return Accepted(upload_id, created=True)


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
            "before": family_statuses(connection, parent["upload_id"]),
        }
    return body


def _find_parent(connection: Connection, request: NewUpload, principal: Principal) -> dict[str, Any]:
    """The upload that a fix belongs to: never itself a fix. Its newest version is what is being fixed."""
    named = lock_own_upload(connection, request.fixes, principal)
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


def _known(store: Store, stored: StoredObject, upload_id: UUID) -> Accepted:
    store.delete(stored.key)
    return Accepted(upload_id, created=False)


def _wait_for_twin(connection: Connection, identity: str) -> None:
    """Let two identical requests at the same moment be one after the other, until the transaction ends."""
    digest = hashlib.blake2b(identity.encode(), digest_size=8).digest()
    connection.execute("select pg_advisory_xact_lock(%s)", (int.from_bytes(digest, signed=True),))
