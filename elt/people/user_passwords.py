"""The passwords of people: chosen by themselves, or made for them. A new one ends all their sessions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from elt.audit.trail import record
from elt.errors import NotFound
from elt.people.passwords import hash_password, new_password, refuse_weak
from elt.people.sessions import end_sessions
from elt.people.users import MADE_PASSWORD_LIVES, get_user
from elt.warehouse import Connection


def make_password(connection: Connection, user_id: UUID, by: str) -> tuple[str, datetime]:
    """Give a person a fresh password and end their sessions. It is good for choosing their own, for a week.

    Returns:
        The password, which is shown once and cannot be had again, and when it expires.

    Raises:
        NotFound: there is no such user.
    """
    plaintext = new_password()
    return plaintext, _write_password(connection, user_id, plaintext, by, MADE_PASSWORD_LIVES)


def set_password(connection: Connection, user_id: UUID, password: str, by: str) -> None:
    """Set the password that its owner chose, and end all sessions.

    Raises:
        NotFound: there is no such user.
        WeakPassword: it is easy to guess.
    """
    user = get_user(connection, user_id)
    refuse_weak(password, (user.email, user.name))
    _write_password(connection, user_id, password, by, None)


def _write_password(
    connection: Connection, user_id: UUID, password: str, by: str, lives: timedelta | None
) -> Any:
    kept = hash_password(password)
    with connection.transaction():
        written = connection.execute(
            """
            update ops.users set password_hash = %s, password_expires_at = now() + %s
            where user_id = %s
            returning password_expires_at
            """,
            (kept, lives, user_id),
        ).fetchone()
        if written is None:
            raise NotFound(f"There is no user {user_id}.")
        end_sessions(connection, user_id)
        record(connection, by, "users:password", f"user:{user_id}", {"temporary": lives is not None})
    return written["password_expires_at"]
