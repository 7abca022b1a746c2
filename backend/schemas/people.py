"""Models of people and their sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StrictBool, StringConstraints

from backend.schemas.common import Answered, Name, PageQuery, Sent
from elt.people.passwords import LONGEST, SHORTEST
from elt.people.principals import Assignment, Role

# No `=?`: with that a word begins that is read as another one in the header of an e-mail.
Email = Annotated[
    str,
    StringConstraints(
        pattern=r"^(\?|=*[A-Za-z0-9.!#$%&'*+/^_{|}~-])+=*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$",
        min_length=3,
        max_length=254,
    ),
]
Password = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)]


class AssignmentModel(Answered, Sent):
    """A class or subject that a teacher teaches."""

    school_id: Name
    grade_level: Name | None = Field(default=None, description="Default: every class of the school.")
    subject: Name | None = Field(default=None, description="Default: every subject.")

    def to_assignment(self) -> Assignment:
        """The same for elt."""
        return Assignment(self.school_id, self.grade_level, self.subject)


class SignIn(Sent):
    """Who signs in."""

    email: Email
    password: Password
    new_password: Annotated[str, StringConstraints(min_length=SHORTEST, max_length=LONGEST)] | None = Field(
        default=None,
        description="Replaces the password, ends all other sessions. Needed where an admin made the old one.",
    )


class Session(Answered):
    """Who calls."""

    id: str = Field(description="`user:…` or `key:…`, as the audit trail calls them.")
    kind: Literal["user", "key"]
    name: str
    role: Role
    school_id: str | None = Field(description="null: any school.")
    assignments: list[AssignmentModel] = Field(description="What a teacher teaches.")
    email: str | None = Field(description="null: it is a key that calls.")
    expires_at: datetime | None = Field(description="When the session ends at the latest; null: it is a key.")
    csrf_token: str | None = Field(
        description="Send it as `X-CSRF-Token` with whatever changes something; null: a key needs none."
    )


class NewUser(Sent):
    """An account to be made."""

    email: Email = Field(description="The name to sign in with.")
    name: Name
    role: Role
    school_id: Name | None = Field(default=None, description="Limit the person to one school; default: any.")
    assignments: list[AssignmentModel] = Field(
        default=[], max_length=200, description="Classes and subjects of a teacher."
    )
    with_password: StrictBool = Field(
        default=True, description="Make a password; false: the person signs in by OpenID Connect."
    )


class UserListQuery(PageQuery):
    """Which people."""

    q: Name | None = Field(default=None, description="A part of the name or e-mail.")
    role: Role | None = None
    state: Literal["active", "disabled"] | None = None


class UserChange(Sent):
    """What to change; what is left out stays."""

    email: Email | None = None
    name: Name | None = None
    role: Role | None = None
    school_id: Name | None = Field(default=None, description="null: any school.")
    assignments: list[AssignmentModel] | None = Field(
        default=None, max_length=200, description="Replaces all that there were."
    )
    disabled: StrictBool | None = Field(default=None, description="true: may not sign in; false: may again.")


class User(Answered):
    """What is known about a person; never the password."""

    id: UUID = Field(validation_alias="user_id")
    email: str
    name: str
    role: Role
    school_id: str | None
    assignments: list[AssignmentModel]
    state: Literal["active", "disabled"]
    has_password: bool
    password_expires_at: datetime | None = Field(
        description="Of a password that was made for the person and not changed yet."
    )
    has_oidc: bool = Field(description="Has signed in by OpenID Connect.")
    created_at: datetime
    created_by: str
    last_sign_in_at: datetime | None
    disabled_at: datetime | None


class PasswordMade(Answered):
    """A password that its owner must change at the first sign-in."""

    password: str = Field(description="It is shown this once.")
    expires_at: datetime


class UserMade(Answered):
    """A new account."""

    user: User
    password: str | None = Field(description="Shown this once; null: the person signs in by OpenID Connect.")


class UserPage(Answered):
    """A page of people, newest first."""

    items: list[User]
    next: str | None = Field(description="Give it as `after` to get the next page; null: this is the last.")
