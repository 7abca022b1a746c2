"""Models of API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field

from backend.permissions import PERMISSIONS
from backend.schemas.common import Answered, Name, Sent
from elt.people.principals import Role


def _known(action: str) -> str:
    if action not in PERMISSIONS:
        raise ValueError(f"expected one of: {', '.join(sorted(PERMISSIONS))}")
    return action


Action = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": sorted(PERMISSIONS)})]


class NewKey(Sent):
    """A key to be made."""

    name: Name = Field(description="Who or what uses the key.")
    role: Role = Field(description="What the key may do.")
    school_id: Name | None = Field(default=None, description="Limit the key to one school; default: any.")
    scopes: list[Action] | None = Field(
        default=None,
        min_length=1,
        max_length=50,
        description="Narrow the key to these actions of its role; default: all of them.",
    )
    expires_in_days: int | None = Field(
        default=None, ge=1, le=3650, description="Days until it expires; default: never."
    )


class KeyMade(Answered):
    """A new key."""

    id: UUID
    key: str = Field(description="The key itself. It is shown this once.")
    role: Role
    school_id: str | None
    scopes: list[str] | None
    expires_at: AwareDatetime | None


class Key(Answered):
    """What is known about a key; never the key itself."""

    id: UUID = Field(validation_alias="key_id")
    name: str
    role: Role
    school_id: str | None
    scopes: list[str] | None = Field(description="The actions it is narrowed to; null: all of its role.")
    prefix: str = Field(description="Its first characters, to tell it from others.")
    state: Literal["active", "suspended", "expired", "revoked"] = Field(
        description="`suspended`: worthless while the owner's account is disabled or may do less than it."
    )
    created_at: datetime
    created_by: str
    owner: str = Field(
        description="Who is behind it: the account `user:<id>` that made it, itself or by a key of its own; "
        "where no account did, the first of these keys, `key:<id>`."
    )
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class KeyPage(Answered):
    """A page of keys, newest first."""

    items: list[Key]
    next: str | None = Field(description="Give it as `after` to get the next page; null: this is the last.")
