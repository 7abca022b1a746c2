"""Who calls, and whether they may: every route declares its action, `backend.permissions` says who may do it.

Checked before any view runs and denied by default: a route without an action answers nobody.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from backend.permissions import Caller, Scope, scope_of
from backend.services import services
from elt.keys import is_well_formed, verify_key
from elt.principals import Principal

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


def scope() -> Scope:
    """How far the action of this request reaches for its caller."""
    found: Scope = g.scope
    return found


def principal() -> Principal:
    """Who calls; only in views whose action needs a key or a sign-in."""
    caller: Principal = g.principal
    return caller


def _check() -> None:
    g.principal = None
    if request.url_rule is None or request.method == "OPTIONS":
        return  # 404, 405 or the list of methods: nothing to protect
    action = action_of(current_app, request.endpoint)
    g.scope = scope_of(_stranger(), action)
    if g.scope is None:
        g.principal = _authenticate()  # health must answer without a database, so it never comes here
        g.scope = _scope_for(g.principal, action)


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
    sent = request.authorization
    caller = None
    if sent is not None and sent.type == "bearer" and sent.token and is_well_formed(sent.token):
        with services().connection() as connection:
            caller = verify_key(connection, sent.token)
    if caller is None:
        raise Unauthorized(
            "Send a valid API key: `Authorization: Bearer <key>`. `laurel keys create` makes one.",
            www_authenticate=WWWAuthenticate("bearer", {"realm": "laurel"}),
        )
    return caller


def _stranger() -> Caller:
    """`local` for a caller on this machine, who did not come through a proxy; else `anonymous`."""
    forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    try:
        near = ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        near = False
    return "local" if near and not forwarded else "anonymous"
