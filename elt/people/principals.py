"""Who acts: people who sign in, programs by their keys, and Laurel itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

Role = Literal["researcher", "teacher", "analyst", "admin"]
HELPERS: tuple[Role, ...] = ("teacher", "admin")
"""Who looks after students: reads reports of them and what was done. `backend.permissions` says the same."""
SENDERS: tuple[Role, ...] = ("researcher", "admin")
"""Who hands in files, and sees what became of them. `backend.permissions` says the same."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a teacher teaches. `grade_level` None: every class of the school; `subject` None: every one."""

    school_id: str
    grade_level: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts: `id` is what the ledger keeps, `key:<key_id>` or `user:<user_id>`.

    `school_id` None means any school. `assignments` are what a teacher may see; others have none. `actions`
    None: whatever the role may do; else no more than these of it.
    """

    id: str
    role: Role
    school_id: str | None = None
    name: str = ""
    assignments: tuple[Assignment, ...] = ()
    actions: frozenset[str] | None = None


def user_id_of(principal_id: str) -> UUID | None:
    """Whose account a principal is; None: it is a program, or Laurel itself."""
    kind, _, identifier = principal_id.partition(":")
    return UUID(identifier) if kind == "user" else None


INBOX = Principal("inbox", "researcher", name="Found in the store")
"""Stands for files that were put into the store by other means than the API."""

SYSTEM = Principal("system", "admin", name="Laurel")
"""Stands for what Laurel does by itself."""
