"""Who may do what: every route declares its action, one table says which role may do which.

Checked before any view runs and denied by default: a route without an action answers nobody.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from backend.services import services
from elt.keys import is_well_formed, verify_key
from elt.principals import Principal

View = TypeVar("View", bound=Callable[..., Any])

_ANYONE = {"health:read", "docs:read"}
_EVERY_ROLE = _ANYONE | {"datasets:read", "datasets:check", "marts:list", "models:read"}
_HANDS_IN = {
    "datasets:propose",
    "uploads:create",
    "uploads:read",
    "uploads:content",
    "uploads:replace",
    "uploads:retry",
    "uploads:amend",
    "uploads:withdraw",
    "runs:read",
}

# Marts show students by name until pseudonyms and suppression exist, so for now only admins read them.
ROLE_ACTIONS: dict[str, frozenset[str]] = {
    "anonymous": frozenset(_ANYONE),
    "local": frozenset(_ANYONE | {"metrics:read"}),
    "researcher": frozenset(_EVERY_ROLE | _HANDS_IN),
    "teacher": frozenset(_EVERY_ROLE),
    "analyst": frozenset(_EVERY_ROLE | {"runs:read"}),
    "admin": frozenset(
        _EVERY_ROLE
        | _HANDS_IN
        | {
            "keys:manage",
            "marts:read",
            "metrics:read",
            "provenance:read",
            "risk:read",
            "runs:start",
            "uploads:any",  # not only one's own
            "uploads:approve",
        }
    ),
}


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


def may(action: str) -> bool:
    """Whether the caller of this request may do this too."""
    return action in ROLE_ACTIONS[_role()]


def principal() -> Principal:
    """Who calls; only in views whose action needs a key."""
    caller: Principal = g.principal
    return caller


def _check() -> None:
    g.principal = None
    if request.url_rule is None or request.method == "OPTIONS":
        return  # 404, 405 or the list of methods: nothing to protect
    action = action_of(current_app, request.endpoint)
    if action not in ROLE_ACTIONS[_anonymous_role()]:
        g.principal = _authenticate()  # health must answer without a database, so it never comes here
    if action not in ROLE_ACTIONS[_role()]:
        raise Forbidden(f"Your key has the role {_role()}, which may not do this.")


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


def _role() -> str:
    return g.principal.role if g.principal is not None else _anonymous_role()


def _anonymous_role() -> str:
    """`local` for a caller on this machine, who did not come through a proxy."""
    forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    try:
        near = ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        near = False
    return "local" if near and not forwarded else "anonymous"
