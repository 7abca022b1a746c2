"""Who may do what to what: the one table of actions, roles and scopes.

Every route names its action (`backend.access.allow`); what is not in the table nobody may do. The scope says
to which things an action reaches:

- `own`: what the caller handed in;
- `assigned`: students of the classes that the caller is assigned to;
- `school`: things of the caller's school; of every school for a caller who is bound to none;
- `any`: things that belong to no school, or the caller's own person.

Which rows of the marts a scope comes to is decided in the database (`elt.serving.sessions`), from the same
role, school and assignments.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from elt.people.principals import Role

Scope = Literal["own", "assigned", "school", "any"]
Caller = Literal["anonymous", "local"] | Role
"""`local` is somebody on this machine, without key or sign-in, who did not come through a proxy."""

ROLES: tuple[Role, ...] = get_args(Role)

_SIGNED_IN: dict[Caller, Scope] = dict.fromkeys(ROLES, "any")
_ANYONE: dict[Caller, Scope] = {"anonymous": "any", "local": "any", **_SIGNED_IN}
_HANDS_IN: dict[Caller, Scope] = {"researcher": "own", "admin": "school"}
_ADMIN: dict[Caller, Scope] = {"admin": "school"}
_HELPS: dict[Caller, Scope] = {"teacher": "assigned", "admin": "school"}
_OPERATES: dict[Caller, Scope] = {"analyst": "any", "admin": "any"}
_STUDENTS: dict[Caller, Scope] = {**_HELPS, "researcher": "school"}

PERMISSIONS: dict[str, dict[Caller, Scope]] = {
    "health:read": _ANYONE,
    "docs:read": _ANYONE,
    "metrics:read": {"local": "any", "admin": "any"},
    "datasets:read": _SIGNED_IN,
    "datasets:check": _SIGNED_IN,
    "datasets:propose": {"researcher": "any", "admin": "any"},
    "uploads:create": _HANDS_IN,
    "uploads:read": _HANDS_IN,
    "uploads:content": _HANDS_IN,
    "uploads:replace": _HANDS_IN,
    "uploads:retry": _HANDS_IN,
    "uploads:amend": _HANDS_IN,
    "uploads:withdraw": _HANDS_IN,
    "uploads:approve": _ADMIN,
    "marts:list": _SIGNED_IN,
    "marts:read": {"researcher": "school", "teacher": "assigned", "analyst": "school", "admin": "school"},
    "query:run": {"analyst": "school", "admin": "school"},
    "resources:read": {"analyst": "school", "admin": "school"},
    "insights:read": {"analyst": "school", "admin": "school"},
    "query:form": {"analyst": "any", "admin": "any"},
    "lineage:read": {"analyst": "any", "admin": "any"},
    "provenance:read": _HELPS,
    "risk:read": _HELPS,
    "reports:read": _HELPS,
    "assignments:write": _HELPS,
    "mails:choose": _SIGNED_IN,
    "summary:read": _HELPS,
    "students:list": _STUDENTS,
    "students:read": _STUDENTS,
    "students:export": _ADMIN,
    "interventions:read": _HELPS,
    "interventions:write": _HELPS,
    "notes:read": _HELPS,
    "notes:write": _HELPS,
    "disputes:read": _HELPS,
    "disputes:write": _STUDENTS,
    "disputes:list": _ADMIN,
    "disputes:settle": _ADMIN,
    "models:read": _SIGNED_IN,
    "runs:read": {"researcher": "own", "analyst": "any", "admin": "any"},
    "runs:start": {"admin": "any"},
    "administration:read": _OPERATES,
    "quality:read": _ADMIN,
    "sources:read": _ADMIN,
    "live:read": _SIGNED_IN,
    "live:public": _ANYONE,
    "keys:manage": _ADMIN,
    "users:manage": _ADMIN,
    "session:create": _ANYONE,
    "session:forms": _ANYONE,
    "session:read": _SIGNED_IN,
    "session:end": _SIGNED_IN,
    "audit:read": _ADMIN,
    "erasures:manage": _ADMIN,
}


def scope_of(role: Caller, action: str | None) -> Scope | None:
    """How far the action reaches for the role; None if the role may not do it."""
    return PERMISSIONS.get(action or "", {}).get(role)


def actions_of(role: Caller) -> frozenset[str]:
    """All that the role may do."""
    return frozenset(action for action, scopes in PERMISSIONS.items() if role in scopes)


def foreign_actions(role: Caller, actions: Iterable[str]) -> list[str]:
    """Those of the actions that a key of the role cannot be narrowed to, because the role may not do them."""
    return sorted(set(actions) - actions_of(role))
