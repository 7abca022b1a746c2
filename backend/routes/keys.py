"""API keys, for admins."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Blueprint
from werkzeug.exceptions import Forbidden

from backend.access import allow, principal
from backend.errors import InvalidRequest
from backend.operations import Answer, operation
from backend.permissions import actions_of, foreign_actions
from backend.schemas.common import PageQuery
from backend.schemas.keys import Key, KeyMade, KeyPage, NewKey
from backend.services import services
from elt.people.keys import KeyRecord, create_key, list_keys, revoke_key

keys = Blueprint("keys", __name__)


@keys.get("/keys")
@allow("keys:manage")
@operation("List keys", {200: Answer("A page, newest first.", KeyPage)}, query=PageQuery)
def show_keys(query: PageQuery) -> KeyPage:
    """Revoked ones too; never the keys themselves. Those of the caller's school, if bound to one."""
    return show_keys_for(query)


def show_keys_for(query: PageQuery) -> KeyPage:
    """A page of the keys that the caller administers."""
    with services().connection() as connection:
        after = UUID(query.after) if query.after else None
        found = list_keys(connection, school_id=principal().school_id, after=after, limit=query.limit + 1)
    page = found[: query.limit]
    following = str(page[-1].key_id) if len(found) > query.limit else None
    return KeyPage(items=[_shown(record) for record in page], next=following)


@keys.post("/keys")
@allow("keys:manage")
@operation(
    "Make a key",
    {201: Answer("The key, shown this once.", KeyMade)},
    description="Nobody can make a key that may do more than they may themselves.",
    body=NewKey,
)
def make_key(body: NewKey) -> tuple[KeyMade, int]:
    """Only its hash is kept."""
    return make_key_for(body), 201


def make_key_for(body: NewKey) -> KeyMade:
    """A key that may do no more than the caller.

    Raises:
        InvalidRequest, Forbidden, UploadRejected: it may not be made like this.
    """
    _refuse_more_than_own(body)
    expires_at = datetime.now(UTC) + timedelta(days=body.expires_in_days) if body.expires_in_days else None
    with services().connection() as connection:
        key_id, key = create_key(
            connection, body.name, body.role, body.school_id, principal().id, expires_at, body.scopes
        )
    return KeyMade(
        id=key_id,
        key=key,
        role=body.role,
        school_id=body.school_id,
        scopes=body.scopes,
        expires_at=expires_at,
    )


@keys.delete("/keys/<uuid:key_id>")
@allow("keys:manage")
@operation("Revoke a key", {200: Answer("The key is worthless from now on.", Key)})
def revoke(key_id: UUID) -> Key:
    """Revoking again changes nothing."""
    return revoke_shown(key_id)


def revoke_shown(key_id: UUID) -> Key:
    """Make a key of the caller's school, or of any, worthless.

    Raises:
        NotFound: there is none, or it is another school's.
    """
    with services().connection() as connection:
        return _shown(revoke_key(connection, key_id, principal().id, school_id=principal().school_id))


def _refuse_more_than_own(body: NewKey) -> None:
    if foreign := foreign_actions(body.role, body.scopes or []):
        raise InvalidRequest(f"The role {body.role} may not do this anyway: {', '.join(foreign)}.")
    caller = principal()
    if caller.school_id not in (None, body.school_id):
        raise Forbidden(f"You make keys for the school {caller.school_id} only; give it as school_id.")
    if caller.actions is not None and not set(body.scopes or actions_of(body.role)) <= caller.actions:
        raise Forbidden("Your key is narrowed to some actions; it makes keys for no others (`scopes`).")


def _shown(record: KeyRecord) -> Key:
    return Key.model_validate({**asdict(record), "state": record.state(datetime.now(UTC))})
