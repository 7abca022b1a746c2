"""Signing in and out, for programs that act for a person and for our own pages."""

from __future__ import annotations

from flask import Blueprint, Response, request

from backend.access import allow, principal
from backend.auditing import note_for_audit
from backend.csrf import SIGN_IN
from backend.limits import turn_to_sign_in
from backend.operations import JSON_TYPE, Answer, operation
from backend.schemas.people import AssignmentModel, Session, SignIn
from backend.services import services
from backend.session_cookie import (
    clear_session_cookie,
    csrf_token,
    read_session_token,
    set_session_cookie,
)
from elt.errors import Conflict, SignInRefused
from elt.people.principals import Principal
from elt.people.sessions import describe_session, end_session, find_session
from elt.people.sign_in import sign_in, sign_out
from elt.warehouse import Connection

session = Blueprint("session", __name__)

_COOKIE = {"Set-Cookie": "The session: HttpOnly, SameSite=Lax, Secure behind TLS."}


@session.post("/session")
@allow(SIGN_IN)
@operation(
    "Sign in",
    {201: Answer("You are signed in.", Session, headers=_COOKIE)},
    description=(
        "Answers with a cookie. Whatever changes something must then send `csrf_token` as `X-CSRF-Token`, "
        "from the same site. A password that an admin made is good for nothing but choosing another one "
        "(`new_password`); the answer is a 403 until then."
    ),
    body=SignIn,
    problems=(401, 403, 429, 503),
)
def begin_session(body: SignIn) -> Response:
    """By e-mail and password."""
    token = enter(body.email, body.password, body.new_password)
    with services().connection() as connection:
        caller = find_session(connection, token)
        if caller is None:  # disabled in this very moment
            raise SignInRefused
        shown = _describe(connection, caller, token)
    response = Response(shown.model_dump_json(), status=201, content_type=JSON_TYPE)
    set_session_cookie(response, token)
    return response


@session.get("/session")
@allow("session:read")
@operation("Show who calls", {200: Answer("You.", Session)})
def show_session() -> Session:
    """By session or by key."""
    with services().connection() as connection:
        token = read_session_token() if is_person(principal()) else None
        return _describe(connection, principal(), token)


@session.delete("/session")
@allow("session:end")
@operation(
    "Sign out", {204: Answer("The session is ended, on the server too.", headers=_COOKIE)}, problems=(409,)
)
def finish_session() -> Response:
    """Keys cannot: they are revoked."""
    token = read_session_token()
    if token is None or not is_person(principal()):
        raise Conflict("This is an API key, which has no session. DELETE /api/v1/keys/{key_id} revokes one.")
    with services().connection() as connection:
        sign_out(connection, token)
    response = Response(status=204)
    clear_session_cookie(response)
    return response


def is_person(caller: Principal) -> bool:
    """Whether somebody has signed in; otherwise it is a key."""
    return caller.id.startswith("user:")


def enter(email: str, password: str, new_password: str | None) -> str:
    """Sign in by password; returns the cookie's value. Raises as `sign_in`, and when too many do it."""
    try:
        with turn_to_sign_in(), services().connection() as connection:
            token = sign_in(connection, email, password, request.remote_addr or "", new_password)
            replace_session(connection)
    except SignInRefused as refused:
        note_for_audit(refused.subject)
        raise
    return token


def replace_session(connection: Connection) -> None:
    """End the session that the browser came with, now that it gets another one."""
    if token := read_session_token():
        end_session(connection, token)


def _describe(connection: Connection, caller: Principal, token: str | None) -> Session:
    found = describe_session(connection, token) if token else None
    return Session(
        id=caller.id,
        kind="user" if is_person(caller) else "key",
        name=caller.name,
        role=caller.role,
        school_id=caller.school_id,
        assignments=[AssignmentModel.model_validate(each) for each in caller.assignments],
        email=found.email if found else None,
        expires_at=found.expires_at if found else None,
        csrf_token=csrf_token(token) if token and found else None,
    )
