"""People who sign in by OpenID Connect: which account is meant by what the provider says.

An account is known by issuer and subject. The first time it is found by its e-mail, if the provider has
verified that; whoever can make a provider say so would get in, so an admin must also be signed in by password
then. Nobody gets an account, a role or a school from what a provider says.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from elt.audit.trail import record
from elt.errors import SignInRefused
from elt.warehouse import Connection


@dataclass(frozen=True, slots=True)
class Identity:
    """What a provider says about a person. `verified_email` None: it says none, or has not verified it."""

    issuer: str
    subject: str
    verified_email: str | None


def find_account(connection: Connection, identity: Identity, signed_in: UUID | None) -> UUID:
    """The account of a person, linked from now on.

    Args:
        signed_in: who has a session in the same browser already.

    Raises:
        SignInRefused: there is no such account, it is disabled, or an admin's that is not linked yet.
    """
    known = connection.execute(
        "select user_id, disabled_at from ops.users where oidc_issuer = %s and oidc_subject = %s",
        (identity.issuer, identity.subject),
    ).fetchone()
    if known is None:
        return _link(connection, identity, signed_in)
    if known["disabled_at"] is not None:
        raise SignInRefused(f"user:{known['user_id']}", "Your account is disabled.")
    user_id: UUID = known["user_id"]
    return user_id


def _link(connection: Connection, identity: Identity, signed_in: UUID | None) -> UUID:
    if identity.verified_email is None:
        raise SignInRefused(
            detail="Your provider has not verified your e-mail, so we cannot tell who you are."
        )
    with connection.transaction():
        found = connection.execute(
            """
            select user_id, role from ops.users
            where lower(email) = lower(%s) and oidc_subject is null and disabled_at is null
            for update
            """,
            (identity.verified_email,),
        ).fetchone()
        if found is None:
            raise SignInRefused(detail="There is no account for you here. An administrator can make one.")
        user_id: UUID = found["user_id"]
        if found["role"] == "admin" and signed_in != user_id:
            raise SignInRefused(
                f"user:{user_id}",
                "The first time, administrators sign in by password and then come here again.",
            )
        connection.execute(
            "update ops.users set oidc_issuer = %s, oidc_subject = %s where user_id = %s",
            (identity.issuer, identity.subject, user_id),
        )
        record(connection, f"user:{user_id}", "users:link", f"user:{user_id}", {"issuer": identity.issuer})
    return user_id
