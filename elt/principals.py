"""Who acts: people and programs by their keys, and Laurel itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["researcher", "teacher", "analyst", "admin"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts: `id` is what the ledger keeps, such as `key:<key_id>`; `school_id` None means any school."""

    id: str
    role: Role
    school_id: str | None = None
    name: str = ""


INBOX = Principal("inbox", "researcher", name="Found in the store")
"""Stands for files that were put into the store by other means than the API."""

SYSTEM = Principal("system", "admin", name="Laurel")
"""Stands for what Laurel does by itself."""
