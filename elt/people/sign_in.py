"""Signing in by e-mail and password, with limits that all workers share.

Unknown, disabled and passwordless accounts are refused in the same words and after the same work as a wrong
password. Tries are counted before the password is looked at, so that many at once gain nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from elt.audit.trail import record
from elt.errors import PasswordChangeNeeded, SignInRefused, TooManyTries
from elt.people.passwords import hash_password, is_password, needs_rehash
from elt.people.rates import count, forget, network_of, uncount
from elt.people.sessions import end_session, start_session
from elt.people.user_passwords import set_password
from elt.warehouse import Connection

WINDOW_SECONDS = 15 * 60
# The first is for one who tries one account; the others for many who try one account, and for one who tries
# many. They are wider, because nobody should lock a colleague out, nor a school that shares one address.
LIMITS = {"account-and-address": 10, "account": 100, "address": 100}

_AUDIT_ACTOR = "anonymous"


@dataclass(frozen=True, slots=True)
class _Account:
    user_id: UUID
    password_hash: str | None
    is_active: bool
    is_temporary: bool
    is_expired: bool


def sign_in(
    connection: Connection, email: str, password: str, address: str, new_password: str | None = None
) -> str:
    """Check a password and begin a session.

    Args:
        address: of the network, where the request comes from.
        new_password: replaces the password, which ends all other sessions. Needed once where somebody else
            has made the present one.

    Returns:
        The value of the session's cookie.

    Raises:
        TooManyTries: for this account or from this address.
        SignInRefused: e-mail and password do not belong to an active account.
        PasswordChangeNeeded: they do, but the account's owner must choose a password of their own.
        WeakPassword: the new password is easy to guess.
    """
    name, account = _find(connection, email)
    keys = _keys(name, address)
    _count_try(connection, keys, address)
    is_right = is_password(password, account.password_hash if account else None)
    if account is None or not is_right or not account.is_active or account.is_expired:
        raise SignInRefused(f"user:{account.user_id}" if account else "")
    _uncount_try(connection, keys)
    if new_password is not None:
        _change_password(connection, account, password, new_password)
    elif account.is_temporary:
        raise PasswordChangeNeeded(
            "Your password was made by somebody else. Sign in with it and a new one of your own choice."
        )
    elif account.password_hash and needs_rehash(account.password_hash):
        _rehash(connection, account, password)
    return begin(connection, account.user_id, address, "password")


def begin(connection: Connection, user_id: UUID, address: str, by: str) -> str:
    """Begin the session of somebody who has proved who they are, and remember when that was."""
    with connection.transaction():
        token = start_session(connection, user_id)
        connection.execute("update ops.users set last_sign_in_at = now() where user_id = %s", (user_id,))
        record(
            connection,
            f"user:{user_id}",
            "session:start",
            f"user:{user_id}",
            {"address": address, "by": by},
        )
    return token


def sign_out(connection: Connection, token: str) -> None:
    """End the session with this cookie; there may be none."""
    with connection.transaction():
        user_id = end_session(connection, token)
        if user_id is not None:
            record(connection, f"user:{user_id}", "session:end", f"user:{user_id}")


def _count_try(connection: Connection, keys: dict[str, str], address: str) -> None:
    """Count this try under each key.

    Raises:
        TooManyTries: one of them has had enough; the audit trail is told the first time.
    """
    for kind, key in keys.items():
        counted, seconds_left = count(connection, key, WINDOW_SECONDS)
        if counted == LIMITS[kind] + 1:
            record(connection, _AUDIT_ACTOR, "session:throttled", "", {"address": address, "limit": kind})
        if counted > LIMITS[kind]:
            raise TooManyTries(
                f"Too many tries. Wait {seconds_left // 60 + 1} minutes.", retry_after=seconds_left
            )


def _uncount_try(connection: Connection, keys: dict[str, str]) -> None:
    """Somebody's own success tells nothing about the other accounts that were tried from the same address."""
    forget(connection, keys["account-and-address"])
    forget(connection, keys["account"])
    uncount(connection, keys["address"])


def _keys(name: str, address: str) -> dict[str, str]:
    """What tries are counted under. Of e-mails only hashes: people type passwords into the wrong field."""
    account = hashlib.sha256(name.encode(errors="replace")).hexdigest()
    network = network_of(address)
    return {
        "account-and-address": f"sign-in:{account}:{network}",
        "account": f"sign-in:{account}",
        "address": f"sign-in:{network}",
    }


def _find(connection: Connection, email: str) -> tuple[str, _Account | None]:
    """The e-mail as accounts are found by it, and the account.

    Tries are counted under the same text, so that no other spelling of an e-mail has tries of its own.
    """
    found: dict[str, Any] | None = connection.execute(
        """
        select lower(sent.email) as name, account.user_id, account.password_hash,
               account.disabled_at is null as is_active,
               account.password_expires_at is not null as is_temporary,
               coalesce(account.password_expires_at <= now(), false) as is_expired
        from (select %s::text as email) as sent
        left join ops.users as account on lower(account.email) = lower(sent.email)
        """,
        (email.replace("\x00", "").strip(),),
    ).fetchone()
    assert found is not None  # noqa: S101 - a left join of one row
    name: str = found.pop("name")
    return name, _Account(**found) if found["user_id"] else None


def _change_password(connection: Connection, account: _Account, password: str, new_password: str) -> None:
    if new_password == password:
        raise PasswordChangeNeeded("The new password must be another one.")
    set_password(connection, account.user_id, new_password, f"user:{account.user_id}")


def _rehash(connection: Connection, account: _Account, password: str) -> None:
    connection.execute(
        "update ops.users set password_hash = %s where user_id = %s and password_hash = %s",
        (hash_password(password), account.user_id, account.password_hash),
    )
