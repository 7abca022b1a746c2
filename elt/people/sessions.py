"""Sessions of people who have signed in, kept in the database: ended there, ended everywhere at once.

The browser holds 256 random bits in a cookie; the database holds their SHA-256. A session ends when it was
not used for an hour, twelve hours after it began, by signing out, and whenever the account is disabled or
changes its password, role, school or classes.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from psycopg import sql

from elt.people.principals import Assignment, Principal, Role
from elt.warehouse import Connection

IDLE = timedelta(hours=1)
LONGEST = timedelta(hours=12)

ASSIGNMENTS = sql.SQL(
    """
    coalesce((
        select jsonb_agg(
            jsonb_build_array(a.school_id, a.grade_level, a.subject)
            order by a.school_id, a.grade_level nulls first, a.subject nulls first
        )
        from ops.assignments as a
        where a.user_id = u.user_id
    ), '[]')
    """
)
"""What the user `u` teaches, as a column."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session that lives; `expires_at` is when it ends at the latest."""

    user_id: UUID
    email: str
    expires_at: datetime


def start_session(connection: Connection, user_id: UUID) -> str:
    """Begin a session for somebody who has just proved who they are; returns the value of the cookie.

    Also removes sessions that have ended by themselves.
    """
    token = secrets.token_urlsafe(32)
    with connection.transaction():
        connection.execute(
            "delete from ops.sessions where expires_at <= now() or last_seen_at <= now() - %s", (IDLE,)
        )
        connection.execute(
            """
            insert into ops.sessions (session_sha256, user_id, expires_at)
            values (%s, %s, now() + %s)
            """,
            (_hash(token), user_id, LONGEST),
        )
    return token


def find_session(connection: Connection, token: str) -> Principal | None:
    """Who has signed in with this cookie; None if the session is unknown or has ended.

    Using a session prolongs it; that is written at most once a minute.
    """
    found = connection.execute(
        sql.SQL(
            """
            select u.user_id, u.name, u.role, u.school_id, {assignments} as assignments,
                   s.last_seen_at < now() - interval '1 minute' as is_stale
            from ops.sessions as s
            join ops.users as u using (user_id)
            where s.session_sha256 = %s and s.expires_at > now() and s.last_seen_at > now() - %s
              and u.disabled_at is null
            """
        ).format(assignments=ASSIGNMENTS),
        (_hash(token), IDLE),
    ).fetchone()
    if found is None:
        return None
    if found["is_stale"]:
        connection.execute(
            "update ops.sessions set last_seen_at = now() where session_sha256 = %s", (_hash(token),)
        )
    return Principal(
        f"user:{found['user_id']}",
        cast("Role", found["role"]),
        found["school_id"],
        found["name"],
        read_assignments(found["assignments"]),
    )


def valid_sessions(connection: Connection, sha256: Collection[bytes]) -> set[bytes]:
    """Those of these hashes whose session lives. It is not prolonged."""
    found = connection.execute(
        """
        select s.session_sha256
        from ops.sessions as s
        join ops.users as u using (user_id)
        where s.session_sha256 = any(%s) and s.expires_at > now() and s.last_seen_at > now() - %s
          and u.disabled_at is null
        """,
        (list(sha256), IDLE),
    )
    return {bytes(row["session_sha256"]) for row in found}


def describe_session(connection: Connection, token: str) -> SessionRecord | None:
    """The session behind this cookie, without prolonging it; None if there is none."""
    found = connection.execute(
        """
        select u.user_id, u.email, s.expires_at
        from ops.sessions as s
        join ops.users as u using (user_id)
        where s.session_sha256 = %s and s.expires_at > now() and s.last_seen_at > now() - %s
        """,
        (_hash(token), IDLE),
    ).fetchone()
    return SessionRecord(**found) if found else None


def count_sessions(connection: Connection, user_id: UUID) -> int:
    """How many sessions of a person live."""
    found = connection.execute(
        """
        select count(*) as sessions from ops.sessions
        where user_id = %s and expires_at > now() and last_seen_at > now() - %s
        """,
        (user_id, IDLE),
    ).fetchone()
    return int(found["sessions"]) if found else 0


def end_session(connection: Connection, token: str) -> UUID | None:
    """Make the cookie worthless; returns whose session it was, None if there was none."""
    found = connection.execute(
        "delete from ops.sessions where session_sha256 = %s returning user_id", (_hash(token),)
    ).fetchone()
    return found["user_id"] if found else None


def end_sessions(connection: Connection, user_id: UUID) -> None:
    """End all sessions of a person, on every device."""
    connection.execute("delete from ops.sessions where user_id = %s", (user_id,))


def read_assignments(rows: list[list[Any]]) -> tuple[Assignment, ...]:
    """Assignments as `ASSIGNMENTS` gives them."""
    return tuple(Assignment(*row) for row in rows)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
