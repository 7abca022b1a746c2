"""Who was erased, by keyed hashes: a person is recognised in rows without it being kept who that is.

A tombstone is the HMAC of kind, school and identifier, with a key of its own that derives from the newest key
in `LAUREL_PSEUDONYM_KEY`; older ones are known by the older keys there. Without the key nobody can try
identifiers one by one. Identifiers that differ in case and white space only are one person's.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from elt.contracts import Contract, fold
from elt.settings import Settings
from elt.warehouse import Connection

Kind = Literal["student", "guardian", "teacher"]

HOMES: dict[Kind, tuple[str, str]] = {
    "student": ("students", "student_id"),
    "guardian": ("guardians", "parent_id"),
    "teacher": ("teachers", "teacher_id"),
}
"""The dataset that says who people of a kind are, and the column that names them."""

_HOMES_IN_ROSARIOSIS: dict[Kind, tuple[str, str]] = {
    "student": ("rosariosis_students", "student_id"),
    "guardian": ("rosariosis_parent", "parent_id"),
    "teacher": ("rosariosis_teachers", "id"),
}
"""The same where a school's own database says who they are."""

_REMEMBERED = 1 << 17
_PURPOSE = b"laurel erasure tombstone 1"


@dataclass(frozen=True, slots=True)
class PersonColumn:
    """A column that names a person. `drops_row`: the row is about them, and goes when they are erased.

    Elsewhere only the reference goes: the scores of a class stay when its teacher is erased.
    """

    kind: Kind
    name: str
    drops_row: bool


def person_columns(contract: Contract) -> list[PersonColumn]:
    """The columns of a dataset that name people, by its own key and its foreign keys."""
    found: dict[str, Kind] = {}
    for kind, (home, identifier) in (*HOMES.items(), *_HOMES_IN_ROSARIOSIS.items()):
        if contract.name == home:
            found[identifier] = kind
        for key in contract.foreign_keys:
            if key.reference.resource == home and identifier in key.reference.fields:
                found[key.fields[key.reference.fields.index(identifier)]] = kind
    return [
        PersonColumn(
            kind,
            name,
            kind == "student" or name in contract.primary_key or contract.field(name).constraints.required,
        )
        for name, kind in found.items()
    ]


def plain(identifier: str) -> str:
    """An identifier without regard to how it is written: what all spellings of one person share."""
    return "".join(identifier.split()).lower()


def is_distinctive(identifier: str) -> bool:
    """Whether a text is hardly anything but this identifier, which is `plain`."""
    if identifier.isdecimal():
        return len(identifier) >= 8
    return len(identifier) >= 4 and any(char.isdigit() for char in identifier)


class Tombstones:
    """Some erasures, and whether somebody is one of those erased."""

    def __init__(self, settings: Settings, erasures: Iterable[Mapping[str, Any]]) -> None:
        """`erasures`: rows of ops.erasures."""
        rows = list(erasures)
        self._known: dict[str, UUID] = {row["tombstone"]: row["erasure_id"] for row in rows}
        self._groups = {(row["kind"], row["school_id"]) for row in rows}
        self._keys = _derive(settings) if rows else []
        self._seen: dict[tuple[Kind, str, str], UUID | None] = {}
        self.kinds = {row["kind"] for row in rows}
        self.schools = {row["school_id"] for row in rows}
        self.erasure_ids = {row["erasure_id"] for row in rows}

    @classmethod
    def load(cls, connection: Connection, settings: Settings, contract: Contract | None = None) -> Tombstones:
        """All erasures; of those kinds only that a dataset names, where one is given."""
        kinds = [column.kind for column in person_columns(contract)] if contract else list(HOMES)
        return cls(settings, connection.execute("select * from ops.erasures where kind = any(%s)", (kinds,)))

    def __bool__(self) -> bool:
        return bool(self._known)

    def find(self, kind: Kind, school_id: str, identifier: str) -> UUID | None:
        """The erasure of this person; None if they were not erased."""
        if (kind, school_id) not in self._groups:
            return None
        who = (kind, school_id, identifier)
        if who not in self._seen:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            marks = (_hash(key, kind, school_id, plain(identifier)) for key in self._keys)
            self._seen[who] = next((self._known[mark] for mark in marks if mark in self._known), None)
        return self._seen[who]

    def find_any(self, school_id: str, identifier: str) -> UUID | None:
        """The erasure of a person of any kind with this identifier."""
        found = (self.find(kind, school_id, identifier) for kind in HOMES)
        return next((erasure_id for erasure_id in found if erasure_id), None)


def tombstones_of(settings: Settings, kind: Kind, school_id: str, identifier: str) -> list[str]:
    """The keyed hashes that stand for a person, that of the newest key first."""
    return [_hash(key, kind, school_id, plain(identifier)) for key in _derive(settings)]


def person_tombstones_of(settings: Settings, first_name: str, last_name: str, birth_date: str) -> list[str]:
    """The keyed hashes of name (without regard to case and spaces) and ISO birth date, newest key first."""
    return [_hash(key, "person", fold(first_name), fold(last_name), birth_date) for key in _derive(settings)]


def _derive(settings: Settings) -> list[bytes]:
    return [hmac.digest(key.encode(), _PURPOSE, hashlib.sha256) for key in settings.pseudonym_keys]


def _hash(key: bytes, *parts: str) -> str:
    # Each part with its length, so that no two lists of parts are the same text.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()
