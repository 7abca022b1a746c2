"""API keys of programs: made, recognised, checked, revoked.

A key is `lrl_`, 43 characters for 256 random bits, and 6 for their CRC-32. The prefix lets scanners find keys
that leaked; the CRC tells a typing error from a revoked key without asking the database. Only the SHA-256 of
a key is kept: 256 random bits cannot be guessed, so a slow hash would add nothing but waiting.

A key that an account made, itself or by a key of its own, may do no more than the account: it is suspended
while the account is disabled, gone, or may itself not do what the key may. That is looked at at each use.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast, get_args
from uuid import UUID

from psycopg import sql
from uuid6 import uuid7

from elt.audit.trail import record
from elt.errors import NotFound, UploadRejected
from elt.people.principals import Principal, Role
from elt.warehouse import Connection

PREFIX = "lrl_"
_SHOWN_CHARACTERS = len(PREFIX) + 6
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43  # 62 ** 43 > 2 ** 256
_CHECK_LENGTH = 6  # 62 ** 6 > 2 ** 32
_NAME_LENGTH = 200

_IS_CURRENT = sql.SQL("(k.revoked_at is null and (k.expires_at is null or k.expires_at > now()))")
_IS_SUSPENDED = sql.SQL(
    """
    (k.owner like 'user:%%' and not exists (
        select from ops.users as u
        where u.user_id = case when k.owner like 'user:%%' then substr(k.owner, 6)::uuid end
          and u.disabled_at is null and u.role in ('admin', k.role)
          and (u.school_id is null or u.school_id = k.school_id)
    ))
    """
)
_RECORD = sql.SQL(
    """
    k.key_id, k.name, k.role, k.school_id, k.scopes, k.prefix, k.created_at, k.created_by, k.owner,
    k.expires_at, k.last_used_at, k.revoked_at, {} as is_suspended
    """
).format(_IS_SUSPENDED)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is known about a key. `prefix` is its beginning, enough to tell it from others.

    `scopes` are the actions that it is narrowed to; None: all of its role. `owner` is who is behind it, see
    `person_behind`. `is_suspended`: it is worthless for as long as its owner's account is.
    """

    key_id: UUID
    name: str
    role: str
    school_id: str | None
    scopes: list[str] | None
    prefix: str
    created_at: datetime
    created_by: str
    owner: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    is_suspended: bool

    def state(self, now: datetime) -> str:
        """`active`, `suspended`, `expired` or `revoked`; of several the last."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "suspended" if self.is_suspended else "active"


def create_key(
    connection: Connection,
    name: str,
    role: str,
    school_id: str | None,
    created_by: str,
    expires_at: datetime | None = None,
    scopes: list[str] | None = None,
) -> tuple[UUID, str]:
    """Make a key. `school_id` None: for any school. `expires_at` None: until revoked.

    `scopes` None: for all that its role may do; else the actions it is narrowed to, of which the caller knows
    that the role may do them.

    Returns:
        Its id and the key itself, which is shown once and cannot be had again.

    Raises:
        UploadRejected: the role is unknown, the name is missing or too long, the expiry is past or later than
            that of the key which makes it.
    """
    _check(name, role, expires_at)
    _check_maker(connection, created_by, expires_at)
    plaintext = _new_key()
    key_id = UUID(int=uuid7().int)
    with connection.transaction():
        connection.execute(
            """
            insert into ops.keys
                (key_id, name, role, school_id, prefix, key_sha256, created_by, owner, expires_at, scopes)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                key_id,
                name.strip(),
                role,
                school_id,
                plaintext[:_SHOWN_CHARACTERS],
                _hash(plaintext),
                created_by,
                _owner(connection, key_id, created_by),
                expires_at,
                scopes,
            ),
        )
        detail = {"role": role, "school_id": school_id, "scopes": scopes, "expires_at": expires_at}
        record(connection, created_by, "keys:create", f"key:{key_id}", detail)
    return key_id, plaintext


def verify_key(connection: Connection, plaintext: str) -> Principal | None:
    """Who calls with this key; None if it is malformed, unknown, expired, revoked or suspended.

    The search is for the key's hash, so how long it takes tells nothing about other keys. The time of last
    use is kept to the minute.
    """
    if not is_well_formed(plaintext):
        return None
    found = connection.execute(
        sql.SQL(
            """
            select k.key_id, k.name, k.role, k.school_id, k.scopes,
                   k.last_used_at is null or k.last_used_at < now() - interval '1 minute' as is_stale
            from ops.keys as k
            where k.key_sha256 = %s and {} and not {}
            """
        ).format(_IS_CURRENT, _IS_SUSPENDED),
        (_hash(plaintext),),
    ).fetchone()
    if found is None:
        return None
    if found["is_stale"]:
        _note_use(connection, found["key_id"])
    return Principal(
        f"key:{found['key_id']}",
        cast("Role", found["role"]),
        found["school_id"],
        found["name"],
        actions=None if found["scopes"] is None else frozenset(found["scopes"]),
    )


def valid_keys(connection: Connection, sha256: Collection[bytes]) -> set[bytes]:
    """Those of these hashes whose key is good now. It does not count as a use."""
    found = connection.execute(
        sql.SQL(
            """
            select k.key_sha256 from ops.keys as k
            where k.key_sha256 = any(%s) and {} and not {}
            """
        ).format(_IS_CURRENT, _IS_SUSPENDED),
        (list(sha256),),
    )
    return {bytes(row["key_sha256"]) for row in found}


def list_keys(
    connection: Connection,
    *,
    school_id: str | None = None,
    after: UUID | None = None,
    limit: int | None = None,
) -> list[KeyRecord]:
    """Keys, newest first, revoked ones too: those made before `after`, at most `limit`; else all.

    `school_id` None: of every school; else those that are bound to it.
    """
    found = connection.execute(
        sql.SQL(
            """
            select {} from ops.keys as k
            where (%(school_id)s::text is null or k.school_id = %(school_id)s)
              and (%(after)s::uuid is null or k.key_id < %(after)s::uuid)
            order by k.key_id desc
            limit %(limit)s
            """
        ).format(_RECORD),
        {"school_id": school_id, "after": after, "limit": limit},
    )
    return [_record(row) for row in found]


def revoke_key(connection: Connection, key_id: UUID, by: str, *, school_id: str | None = None) -> KeyRecord:
    """Make a key worthless at once. Revoking again changes nothing.

    Raises:
        NotFound: there is no such key; or, with `school_id`, it is not bound to that school.
    """
    with connection.transaction():
        found = connection.execute(
            sql.SQL(
                """
                update ops.keys as k set revoked_at = coalesce(k.revoked_at, now())
                where k.key_id = %(key_id)s and (%(school_id)s::text is null or k.school_id = %(school_id)s)
                returning {}
                """
            ).format(_RECORD),
            {"key_id": key_id, "school_id": school_id},
        ).fetchone()
        if found is None:
            raise NotFound(f"There is no key {key_id}. `laurel keys list` shows all.")
        record(connection, by, "keys:revoke", f"key:{key_id}")
    return _record(found)


def person_behind(connection: Connection, principal: str) -> str:
    """Who acts when a principal does: all keys of an account, and its sessions, are one person.

    Of a key `user:<id>` of the account that made it, itself or by a key of its own. A key that was made on
    the command line has no account: it is a person, `key:<id>`, together with the keys made by it. Anybody
    else is who they are.
    """
    found = connection.execute(
        "select owner from ops.keys where 'key:' || key_id = %s", (principal,)
    ).fetchone()
    return str(found["owner"]) if found else principal


def is_well_formed(plaintext: str) -> bool:
    """Whether the text has the form of a key and no typing error; says nothing about its validity."""
    secret = plaintext[len(PREFIX) : -_CHECK_LENGTH]
    return (
        plaintext.startswith(PREFIX)
        and len(secret) == _SECRET_LENGTH
        and all(character in _ALPHABET for character in secret)
        and secrets.compare_digest(plaintext[-_CHECK_LENGTH:].encode(), _checksum(secret).encode())
    )


def _new_key() -> str:
    secret = _base62(secrets.randbits(256), _SECRET_LENGTH)
    return f"{PREFIX}{secret}{_checksum(secret)}"


def _checksum(secret: str) -> str:
    return _base62(zlib.crc32(secret.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, place = divmod(number, 62)
        digits = _ALPHABET[place] + digits
    return digits


def _hash(plaintext: str) -> bytes:
    return hashlib.sha256(plaintext.encode()).digest()


def _note_use(connection: Connection, key_id: UUID) -> None:
    """Requests that come at the same moment do not wait for one another: one of them writes."""
    connection.execute(
        """
        update ops.keys set last_used_at = now()
        where key_id = (select key_id from ops.keys where key_id = %s for update skip locked)
        """,
        (key_id,),
    )


def _check(name: str, role: str, expires_at: datetime | None) -> None:
    if role not in get_args(Role):
        raise UploadRejected(f"Unknown role {role!r}. Expected one of: {', '.join(get_args(Role))}.")
    if not name.strip() or len(name) > _NAME_LENGTH:
        raise UploadRejected(f"A key needs a name of at most {_NAME_LENGTH} characters, such as who uses it.")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise UploadRejected("The key would have expired already. Give a time in the future.")


def _owner(connection: Connection, key_id: UUID, created_by: str) -> str:
    """Who is behind a new key; itself if it is made on the command line."""
    maker = person_behind(connection, created_by)
    return maker if maker.startswith(("user:", "key:")) else f"key:{key_id}"


def _check_maker(connection: Connection, created_by: str, expires_at: datetime | None) -> None:
    """Keys end at the latest when the key that made them ends; otherwise its end would mean nothing."""
    outlived = connection.execute(
        """
        select from ops.keys
        where 'key:' || key_id = %s and expires_at < coalesce(%s::timestamptz, 'infinity')
        """,
        (created_by, expires_at),
    ).fetchone()
    if outlived is not None:
        raise UploadRejected("Your own key ends sooner than this one would. Give it an earlier end.")


def _record(row: dict[str, Any]) -> KeyRecord:
    return KeyRecord(**row)
