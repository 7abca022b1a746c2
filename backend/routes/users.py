"""People who may sign in, for admins. An admin of one school sees and makes people of that school only."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint
from werkzeug.exceptions import Forbidden

from backend.access import allow, principal
from backend.operations import Answer, operation
from backend.permissions import actions_of
from backend.schemas.people import (
    NewUser,
    PasswordMade,
    User,
    UserChange,
    UserListQuery,
    UserMade,
    UserPage,
)
from backend.services import services
from elt.errors import NotFound
from elt.people.passwords import new_password
from elt.people.principals import Assignment, Role
from elt.people.user_passwords import make_password
from elt.people.users import (
    UserRecord,
    change_user,
    create_user,
    get_user,
    list_users,
    sign_out_user,
)
from elt.warehouse import Connection

users = Blueprint("users", __name__)

_NULLABLE = {"school_id"}


@users.get("/users")
@allow("users:manage")
@operation("List people", {200: Answer("A page, newest first.", UserPage)}, query=UserListQuery)
def show_users(query: UserListQuery) -> UserPage:
    """Disabled ones too."""
    return show_users_for(query)


def show_users_for(query: UserListQuery) -> UserPage:
    """A page of the people whom the caller administers."""
    after = UUID(query.after) if query.after else None
    with services().connection() as connection:
        found = list_users(
            connection, school_id=principal().school_id, role=query.role, state=query.state,
            matching=query.q, after=after, limit=query.limit + 1,
        )  # fmt: skip
    page = found[: query.limit]
    following = str(page[-1].user_id) if len(found) > query.limit else None
    return UserPage(items=[User.model_validate(record) for record in page], next=following)


@users.post("/users")
@allow("users:manage")
@operation(
    "Make an account",
    {201: Answer("The account, with a password that is shown this once.", UserMade)},
    description="The password is good for a week, and only for choosing another one at the first sign-in.",
    body=NewUser,
    problems=(409,),
)
def make_user(body: NewUser) -> tuple[UserMade, int]:
    """For a person; programs get keys."""
    return make_account(body), 201


def make_account(body: NewUser) -> UserMade:
    """An account that reaches no further than the caller.

    Raises:
        AccountRefused, Conflict, Forbidden: it may not be made like this.
    """
    assignments = [each.to_assignment() for each in body.assignments]
    school_id = body.school_id or principal().school_id
    _refuse_other_schools({"school_id": school_id, "assignments": assignments})
    _refuse_more_than_own(body.role)
    made = new_password() if body.with_password else None
    with services().connection() as connection:
        user_id = create_user(
            connection, body.email, body.name, body.role, principal().id,
            school_id=school_id, assignments=assignments, password=made, is_made=body.with_password,
        )  # fmt: skip
        user = User.model_validate(get_user(connection, user_id))
    return UserMade(user=user, password=made)


@users.get("/users/<uuid:user_id>")
@allow("users:manage")
@operation("Show a person", {200: Answer("The account.", User)})
def show_user(user_id: UUID) -> User:
    """Without the password."""
    return describe_user(user_id)


def describe_user(user_id: UUID) -> User:
    """An account of the caller's school, or of any.

    Raises:
        NotFound: there is none, or it is another school's.
    """
    with services().connection() as connection:
        return User.model_validate(_find(connection, user_id))


@users.patch("/users/<uuid:user_id>")
@allow("users:manage")
@operation(
    "Change an account",
    {200: Answer("The account.", User)},
    description="What changes what the person may do ends their sessions.",
    body=UserChange,
    problems=(409,),
)
def change(user_id: UUID, body: UserChange) -> User:
    """What is left out stays as it is."""
    return change_account(user_id, body)


def change_account(user_id: UUID, body: UserChange) -> User:
    """What is left out stays as it is.

    Raises:
        NotFound: there is none, or it is another school's.
        AccountRefused, Conflict, Forbidden: it may not be like this.
    """
    changes: dict[str, Any] = {
        name: getattr(body, name)
        for name in body.model_fields_set
        if name in _NULLABLE or getattr(body, name) is not None
    }
    if "assignments" in changes:
        changes["assignments"] = [each.to_assignment() for each in body.assignments or []]
    _refuse_other_schools(changes)
    with services().connection() as connection:
        before = _find(connection, user_id)
        _refuse_more_than_own(before.role, changes.get("role", before.role))
        return User.model_validate(change_user(connection, user_id, principal().id, **changes))


@users.delete("/users/<uuid:user_id>")
@allow("users:manage")
@operation(
    "Disable an account",
    {200: Answer("The person cannot sign in any more, and is signed out.", User)},
    description=(
        "The account stays, for the audit trail names it. Its sessions end, and its keys, with those that "
        "they made, are suspended. `PATCH` with `disabled: false` undoes it: the keys work again."
    ),
    problems=(409,),
)
def disable(user_id: UUID) -> User:
    """Again changes nothing."""
    with services().connection() as connection:
        _refuse_more_than_own(_find(connection, user_id).role)
        return User.model_validate(change_user(connection, user_id, principal().id, disabled=True))


@users.post("/users/<uuid:user_id>/password")
@allow("users:manage")
@operation(
    "Make a new password for a person",
    {201: Answer("The password, shown this once. The old one is worthless.", PasswordMade)},
    description="For who has forgotten it: ends their sessions, and must be changed at the next sign-in.",
)
def reset_password(user_id: UUID) -> tuple[PasswordMade, int]:
    """Good for a week."""
    return make_password_for(user_id), 201


@users.delete("/users/<uuid:user_id>/sessions")
@allow("users:manage")
@operation("Sign a person out", {204: Answer("Everywhere. The person can sign in again.")})
def end_sessions_of(user_id: UUID) -> tuple[None, int]:
    """For a device that was lost or left open."""
    sign_out_everywhere(user_id)
    return None, 204


def make_password_for(user_id: UUID) -> PasswordMade:
    """A password that is good for a week, and for choosing another one.

    Raises:
        NotFound: there is no such person, or of another school.
    """
    with services().connection() as connection:
        _refuse_more_than_own(_find(connection, user_id).role)
        password, expires_at = make_password(connection, user_id, principal().id)
    return PasswordMade(password=password, expires_at=expires_at)


def sign_out_everywhere(user_id: UUID) -> None:
    """End all sessions of a person.

    Raises:
        NotFound: there is no such person, or of another school.
    """
    with services().connection() as connection:
        _refuse_more_than_own(_find(connection, user_id).role)
        sign_out_user(connection, user_id, principal().id)


def _find(connection: Connection, user_id: UUID) -> UserRecord:
    """The person, if they are the caller's to see.

    Raises:
        NotFound: there is none, or it is another school's.
    """
    found = get_user(connection, user_id)
    if principal().school_id not in (None, found.school_id):
        raise NotFound(f"There is no user {user_id}.")
    return found


def _refuse_other_schools(changes: dict[str, Any]) -> None:
    """An admin of one school can give nobody a reach beyond it."""
    own = principal().school_id
    assigned: list[Assignment] = changes.get("assignments", [])
    named = {changes.get("school_id", own), *(each.school_id for each in assigned)}
    if own is not None and named != {own}:
        raise Forbidden(f"You administer the school {own} only.")


def _refuse_more_than_own(*roles: Role) -> None:
    """A key that is narrowed to some actions gets at no others by the account of a person."""
    own = principal().actions
    if own is not None and not all(actions_of(role) <= own for role in roles):
        raise Forbidden("Your key is narrowed to some actions; it manages only people who may do no others.")
