"""People who may sign in: made, changed, disabled, given classes and passwords.

Whatever narrows what a person may do ends their sessions in the same transaction, and every change leaves a
line in the audit trail, which names people by their `user_id` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack, get_args
from uuid import UUID

from psycopg import sql
from psycopg.errors import UniqueViolation
from uuid6 import uuid7

from elt.audit.trail import record
from elt.errors import AccountRefused, Conflict, NotFound
from elt.mail import is_address
from elt.people.passwords import hash_password, new_password, refuse_weak
from elt.people.principals import Assignment, Principal, Role
from elt.people.sessions import ASSIGNMENTS, end_sessions, read_assignments
from elt.warehouse import Connection

MADE_PASSWORD_LIVES = timedelta(days=7)
FIRST_ADMIN = "admin@laurel.local"

_SELECT = sql.SQL(
    """
    select u.user_id, u.email, u.name, u.role, u.school_id, {assignments} as assignments,
           u.password_hash is not null as has_password, u.password_expires_at,
           u.oidc_subject is not null as has_oidc,
           u.created_at, u.created_by, u.last_sign_in_at, u.disabled_at, u.mails_loaded, u.mails_troubled
    from ops.users as u
    """
).format(assignments=ASSIGNMENTS)


@dataclass(frozen=True, slots=True)
class UserRecord:
    """What is known about a person; never the password.

    `password_expires_at` is set while the password is one that was made for them. `has_oidc`: they have
    signed in by OpenID Connect. `mails_loaded`, `mails_troubled`: whether they are told by e-mail
    of files of theirs that were loaded, or were not.
    """

    user_id: UUID
    email: str
    name: str
    role: Role
    school_id: str | None
    assignments: tuple[Assignment, ...]
    has_password: bool
    password_expires_at: datetime | None
    has_oidc: bool
    created_at: datetime
    created_by: str
    last_sign_in_at: datetime | None
    disabled_at: datetime | None
    mails_loaded: bool
    mails_troubled: bool

    @property
    def state(self) -> str:
        """`active` or `disabled`."""
        return "active" if self.disabled_at is None else "disabled"


class UserChanges(TypedDict, total=False):
    """What may be changed; what is left out stays."""

    email: str
    name: str
    role: Role
    school_id: str | None
    assignments: Sequence[Assignment]
    disabled: bool


def names_of_principals(connection: Connection, principals: Sequence[str]) -> dict[str, str]:
    """The names of those among these principals (`user:<id>`) who are people."""
    rows = connection.execute(
        "select 'user:' || user_id as principal, name from ops.users where 'user:' || user_id = any(%s)",
        (list(principals),),
    )
    return {row["principal"]: row["name"] for row in rows}


def create_user(
    connection: Connection,
    email: str,
    name: str,
    role: str,
    by: str,
    *,
    school_id: str | None = None,
    assignments: Sequence[Assignment] = (),
    password: str | None = None,
    is_made: bool = False,
) -> UUID:
    """Make an account. Without a password its owner signs in by OpenID Connect.

    Args:
        is_made: the password was not chosen by its owner, who must choose another one within a week.

    Raises:
        AccountRefused, WeakPassword: something about it is not valid.
        Conflict: the e-mail is taken, or assignments are given to somebody who is no teacher.
    """
    if role not in get_args(Role):
        raise AccountRefused(f"Unknown role {role!r}. Expected one of: {', '.join(get_args(Role))}.")
    _refuse_wrong_email(email)
    _check(name, role, assignments)
    if password is not None and not is_made:
        refuse_weak(password, (email, name))
    kept = hash_password(password) if password is not None else None
    lives = MADE_PASSWORD_LIVES if is_made else None
    user_id = UUID(int=uuid7().int)
    with _unique_email(), connection.transaction():
        connection.execute(
            """
            insert into ops.users
                (user_id, email, name, role, school_id, password_hash, password_expires_at, created_by)
            values (%s, %s, %s, %s, %s, %s, now() + %s, %s)
            """,
            (user_id, email, name, role, school_id, kept, lives, by),
        )
        _write_assignments(connection, user_id, assignments, by)
        record(connection, by, "users:create", f"user:{user_id}", {"role": role, "school_id": school_id})
    return user_id


def get_user(connection: Connection, user_id: UUID) -> UserRecord:
    """One person.

    Raises:
        NotFound: there is no such user.
    """
    found = connection.execute(_SELECT + sql.SQL("where u.user_id = %s"), (user_id,)).fetchone()
    if found is None:
        raise NotFound(f"There is no user {user_id}.")
    return _record(found)


def find_user(connection: Connection, email: str) -> UserRecord:
    """The person with this e-mail, in capitals or not.

    Raises:
        NotFound: there is none.
    """
    found = connection.execute(
        _SELECT + sql.SQL("where lower(u.email) = lower(%s)"), (email.strip(),)
    ).fetchone()
    if found is None:
        raise NotFound("There is no user with this e-mail. `laurel users list` shows all.")
    return _record(found)


def list_users(
    connection: Connection,
    *,
    school_id: str | None = None,
    role: str | None = None,
    state: str | None = None,
    matching: str | None = None,
    after: UUID | None = None,
    limit: int | None = None,
) -> list[UserRecord]:
    """People, newest first, disabled ones too: of one school or all, made before `after`, at most `limit`.

    `matching`: a part of name or e-mail, in capitals or not.
    """
    found = connection.execute(
        _SELECT
        + sql.SQL(
            """
            where (%(after)s::uuid is null or u.user_id < %(after)s::uuid)
              and (%(school_id)s::text is null or u.school_id = %(school_id)s::text)
              and (%(role)s::text is null or u.role = %(role)s::text)
              and (%(state)s::text is null or (u.disabled_at is null) = (%(state)s::text = 'active'))
              and (%(matching)s::text is null
                   or strpos(lower(u.name), lower(%(matching)s::text)) > 0
                   or strpos(lower(u.email), lower(%(matching)s::text)) > 0)
            order by u.user_id desc
            limit %(limit)s
            """
        ),
        {
            "school_id": school_id, "role": role, "state": state, "matching": matching, "after": after,
            "limit": limit,
        },
    )  # fmt: skip
    return [_record(row) for row in found]


def sign_out_user(connection: Connection, user_id: UUID, by: str) -> None:
    """End all sessions of a person; they may sign in again.

    Raises:
        NotFound: there is no such user.
    """
    with connection.transaction():
        get_user(connection, user_id)
        end_sessions(connection, user_id)
        record(connection, by, "users:sign_out", f"user:{user_id}")


def change_user(connection: Connection, user_id: UUID, by: str, **changes: Unpack[UserChanges]) -> UserRecord:
    """Change an account. A change of what the person may do, or who they are, ends their sessions.

    Another e-mail may be another person's, so it ends what an OpenID provider knows the account by, too.

    Raises:
        NotFound: there is no such user.
        AccountRefused: the result would not be valid.
        Conflict: the e-mail is taken, nobody would be left to administer, or assignments would be given to
            somebody who is no teacher.
    """
    with _unique_email(), connection.transaction():
        connection.execute("select from ops.users where user_id = %s for update", (user_id,))
        before = get_user(connection, user_id)
        wanted: dict[str, Any] = {**_current(before), **changes}
        if wanted["role"] != "teacher" and "assignments" not in changes:
            wanted["assignments"] = ()
        wanted["assignments"] = tuple(wanted["assignments"])
        changed = sorted(name for name, value in wanted.items() if _current(before)[name] != value)
        if not changed:
            return before
        if "email" in changed:
            _refuse_wrong_email(wanted["email"])
        _check(wanted["name"], wanted["role"], wanted["assignments"])
        if wanted["disabled"] or wanted["role"] != "admin" or wanted["school_id"] is not None:
            _refuse_to_lose_last_admin(connection, before)
        connection.execute(
            """
            update ops.users
            set email = %(email)s, name = %(name)s, role = %(role)s, school_id = %(school_id)s,
                disabled_at = case when %(disabled)s then coalesce(disabled_at, now()) end,
                oidc_issuer = case when lower(email) = lower(%(email)s) then oidc_issuer end,
                oidc_subject = case when lower(email) = lower(%(email)s) then oidc_subject end
            where user_id = %(user_id)s
            """,
            {name: value for name, value in wanted.items() if name != "assignments"} | {"user_id": user_id},
        )
        if "assignments" in changed:
            connection.execute("delete from ops.assignments where user_id = %s", (user_id,))
            _write_assignments(connection, user_id, wanted["assignments"], by)
        if changed != ["name"]:
            end_sessions(connection, user_id)
        told = {name: wanted[name] for name in changed if name in ("role", "school_id", "disabled")}
        record(connection, by, "users:change", f"user:{user_id}", {"changed": changed, **told})
        return get_user(connection, user_id)


def principal_of(user: UserRecord) -> Principal:
    """The person as who acts."""
    return Principal(f"user:{user.user_id}", user.role, user.school_id, user.name, user.assignments)


def choose_mails(connection: Connection, user_id: UUID, *, loaded: bool, troubled: bool) -> None:
    """Whether a person hears by e-mail of their files that were loaded, and of those that were not."""
    connection.execute(
        "update ops.users set mails_loaded = %s, mails_troubled = %s where user_id = %s",
        (loaded, troubled, user_id),
    )


def make_first_admin(connection: Connection) -> str | None:
    """Make `FIRST_ADMIN` where there is nobody at all yet; returns the password, else None."""
    with connection.transaction():
        connection.execute("lock table ops.users in share row exclusive mode")
        if connection.execute("select from ops.users limit 1").fetchone() is not None:
            return None
        password = new_password()
        create_user(
            connection, FIRST_ADMIN, "Administrator", "admin", "system", password=password, is_made=True
        )
        return password


@contextmanager
def _unique_email() -> Iterator[None]:
    try:
        yield
    except UniqueViolation:
        raise Conflict("There is an account with this e-mail already.") from None


def _write_assignments(
    connection: Connection, user_id: UUID, assignments: Sequence[Assignment], by: str
) -> None:
    for assignment in assignments:
        connection.execute(
            """
            insert into ops.assignments (user_id, school_id, grade_level, subject, created_by)
            values (%s, %s, %s, %s, %s)
            on conflict do nothing
            """,
            (user_id, assignment.school_id, assignment.grade_level, assignment.subject, by),
        )


def _refuse_to_lose_last_admin(connection: Connection, user: UserRecord) -> None:
    """Locks the other admins' lines, so that two who disable each other at once do not both succeed."""
    if user.role != "admin" or user.school_id is not None or user.disabled_at is not None:
        return
    others = connection.execute(
        """
        select from ops.users
        where role = 'admin' and school_id is null and disabled_at is null and user_id <> %s
        for update
        """,
        (user.user_id,),
    ).fetchone()
    if others is None:
        raise Conflict("This is the last active admin for all schools. Make another one first.")


def _refuse_wrong_email(email: str) -> None:
    if not 3 <= len(email) <= 254 or not is_address(email):
        raise AccountRefused("An account needs an e-mail address, such as ada@school.example.")


def _check(name: str, role: str, assignments: Sequence[Assignment]) -> None:
    if not name.strip():
        raise AccountRefused("An account needs a name.")
    if assignments and role != "teacher":
        raise Conflict("Classes and subjects are assigned to teachers only.")


def _current(user: UserRecord) -> dict[str, Any]:
    return {
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "school_id": user.school_id,
        "assignments": user.assignments,
        "disabled": user.disabled_at is not None,
    }


def _record(row: dict[str, Any]) -> UserRecord:
    return UserRecord(**{**row, "assignments": read_assignments(row["assignments"])})
