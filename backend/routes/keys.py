"""API keys, for admins."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Blueprint

from backend.access import allow, principal
from backend.operations import Answer, operation
from backend.schemas.common import PageQuery
from backend.schemas.keys import Key, KeyMade, KeyPage, NewKey
from backend.services import services
from elt.keys import KeyRecord, create_key, list_keys, revoke_key

keys = Blueprint("keys", __name__)


@keys.get("/keys")
@allow("keys:manage")
@operation("List keys", {200: Answer("A page, newest first.", KeyPage)}, query=PageQuery)
def show_keys(query: PageQuery) -> KeyPage:
    """Revoked ones too; never the keys themselves."""
    with services().connection() as connection:
        after = UUID(query.after) if query.after else None
        found = list_keys(connection, after=after, limit=query.limit + 1)
    page = found[: query.limit]
    following = str(page[-1].key_id) if len(found) > query.limit else None
    return KeyPage(items=[_shown(record) for record in page], next=following)


@keys.post("/keys")
@allow("keys:manage")
@operation("Make a key", {201: Answer("The key, shown this once.", KeyMade)}, body=NewKey)
def make_key(body: NewKey) -> tuple[KeyMade, int]:
    """Only its hash is kept."""
    expires_at = datetime.now(UTC) + timedelta(days=body.expires_in_days) if body.expires_in_days else None
    with services().connection() as connection:
        key_id, key = create_key(connection, body.name, body.role, body.school_id, principal().id, expires_at)
    return KeyMade(id=key_id, key=key, role=body.role, school_id=body.school_id, expires_at=expires_at), 201


@keys.delete("/keys/<uuid:key_id>")
@allow("keys:manage")
@operation("Revoke a key", {200: Answer("The key is worthless from now on.", Key)})
def revoke(key_id: UUID) -> Key:
    """Revoking again changes nothing."""
    with services().connection() as connection:
        return _shown(revoke_key(connection, key_id))


def _shown(record: KeyRecord) -> Key:
    return Key.model_validate({**asdict(record), "state": record.state(datetime.now(UTC))})
