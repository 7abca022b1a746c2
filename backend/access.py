"""Who calls, and whether they may: every route declares its action, `backend.permissions` says who may do it.

Checked before any view runs and denied by default: a route without an action answers nobody. Programs call
with an API key, people with the cookie of their session; where both are sent the key counts.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from backend.limits import UNLIMITED, limit_address, limit_caller
from backend.permissions import Caller, Scope, scope_of
from backend.services import services
from backend.session_cookie import read_session_token
from elt.errors import LaurelError
from elt.people.keys import is_well_formed, verify_key
from elt.people.principals import Principal
from elt.people.sessions import find_session
from elt.warehouse import Connection

View = TypeVar("View", bound=Callable[..., Any])


def allow(action: str) -> Callable[[View], View]:
    """Declare the action that a view performs."""

    def mark(view: View) -> View:
        view.laurel_action = action  # type: ignore[attr-defined]
        return view

    return mark


def action_of(app: Flask, endpoint: str | None) -> str | None:
    """The action that an endpoint declares; None if it declares none."""
    return getattr(app.view_functions.get(endpoint or ""), "laurel_action", None)


def register_access(app: Flask) -> None:
    """Check every request before its view runs."""
    app.before_request(_check)


def scope(action: str | None = None) -> Scope:
    """How far the action of this request reaches for its caller; or another one that they may do, too."""
    found: Scope | None = g.scope if action is None else scope_of(principal().role, action)
    assert found is not None, f"{principal().role} may not do {action}"  # noqa: S101 - `may` was to be asked first
    return found


def may(action: str) -> bool:
    """Whether who calls may do something else, too: by their role, and by what their key is narrowed to."""
    caller: Principal | None = g.get("principal")
    if caller is None or scope_of(caller.role, action) is None:
        return False
    return caller.actions is None or action in caller.actions


def principal() -> Principal:
    """Who calls; only in views whose action needs a key or a sign-in."""
    caller: Principal = g.principal
    return caller


def secret_sha256() -> bytes:
    """Of the key or the session's cookie that the caller has shown, as the database keeps it."""
    sent = request.authorization
    secret = sent.token if sent is not None else read_session_token()
    return hashlib.sha256((secret or "").encode(errors="replace")).digest()


def _check() -> None:
    g.principal = None
    if request.url_rule is None or request.method == "OPTIONS":
        g.principal = _visitor()
        return  # 404, 405 or the list of methods: nothing to protect
    action = action_of(current_app, request.endpoint)
    g.scope = scope_of(_stranger(), action)
    if g.scope is None:
        g.principal = _authenticate()  # health must answer without a database, so it never comes here
        g.scope = _scope_for(g.principal, action)
    elif action not in UNLIMITED:
        with services().connection() as connection:
            limit_address(connection)


def _scope_for(caller: Principal, action: str | None) -> Scope:
    """How far the action reaches.

    Raises:
        Forbidden: not at all.
    """
    found = scope_of(caller.role, action)
    if found is None:
        raise Forbidden(f"Your role is {caller.role}, which may not do this.")
    if caller.actions is not None and action not in caller.actions:
        raise Forbidden(f"Your key may do no more than: {', '.join(sorted(caller.actions))}.")
    return found


def _authenticate() -> Principal:
    caller = _by_session() if "Authorization" not in request.headers else _by_key()
    if caller is None:
        raise Unauthorized(
            "Sign in, or send a valid API key (`laurel keys create`): `Authorization: Bearer <key>`.",
            www_authenticate=WWWAuthenticate("bearer", {"realm": "laurel"}),
        )
    return caller


def _by_key() -> Principal | None:
    sent = request.authorization
    if sent is None or sent.type != "bearer" or not sent.token or not is_well_formed(sent.token):
        return None
    return _find(verify_key, sent.token)


def _by_session() -> Principal | None:
    token = read_session_token()
    if token is None:
        return None
    return _find(find_session, token)


def _visitor() -> Principal | None:
    """Who has come to an address that is nowhere, so that the page shows the way on; None: unknown."""
    try:
        return _by_session() if request.method == "GET" else None
    except LaurelError:
        return None


def _find(lookup: Callable[[Connection, str], Principal | None], secret: str) -> Principal | None:
    """Who has this key or session, if that has not been asked too often."""
    with services().connection() as connection:
        limit_address(connection)
        caller = lookup(connection, secret)
        if caller is not None:
            limit_caller(connection, caller.id)
    return caller


def _stranger() -> Caller:
    """`local` for a caller on this machine, who did not come through a proxy; else `anonymous`."""
    forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    try:
        near = ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        near = False
    return "local" if near and not forwarded else "anonymous"
