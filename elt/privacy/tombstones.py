"""Who was erased, by keyed hashes: a person is recognised in rows without it being kept who that is.

A tombstone is the HMAC of kind, school and identifier, with a key of its own that derives from the newest key
in `LAUREL_PSEUDONYM_KEY`; older ones are known by the older keys there. Without the key nobody can try
identifiers one by one. Identifiers that differ in case and white space only are one person's.

Rows that name no student may still be one's: they name a course that the student took, or the number under
which they sat an exam. Such a **trace** has a tombstone of its own, kept with the student's erasure.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args
from uuid import UUID

from elt.contracts import Contract, Identity, fold, load_contracts
from elt.settings import Settings
from elt.warehouse import Connection

Kind = Literal["student", "guardian", "teacher"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds of people who can be erased."""

TRACES: tuple[Identity, ...] = ("student_course", "candidate")
"""What leads to a student and to nobody else."""

Person = tuple[Identity, str, str]
"""Kind, school and identifier, in one of its spellings; a trace is one as well."""

BETWEEN = "/"
"""Stands between the parts of an identifier that is in several columns."""

_REMEMBERED = 1 << 17
_PURPOSE = b"laurel erasure tombstone 1"


@dataclass(frozen=True, slots=True)
class PersonColumn:
    """Columns, mostly one, that name a person or a trace. `drops_row`: the row goes when they are erased.

    Elsewhere only the reference goes: the scores of a class stay when its teacher is erased. Where the column
    `owner` has a value, the row is of the student whom that names, whatever the trace says.
    """

    kind: Identity
    names: tuple[str, ...]
    drops_row: bool
    owner: str | None = None


def person_columns(contract: Contract) -> list[PersonColumn]:
    """The columns of a dataset that name people and traces, by what it describes and by its foreign keys."""
    found = dict(_named(contract))
    owner = next((names[0] for names, kind in found.items() if kind == "student"), None)
    return [
        PersonColumn(
            kind,
            names,
            kind in ("student", *TRACES) or any(_is_essential(contract, name) for name in names),
            owner if kind in TRACES else None,
        )
        for names, kind in found.items()
    ]


def has_traces(contract: Contract) -> bool:
    """Whether rows of a dataset may be a student's though they name none."""
    return any(column.kind in TRACES for column in person_columns(contract))


def _named(contract: Contract) -> Iterator[tuple[tuple[str, ...], Identity]]:
    for home in load_contracts().values():
        for kind, names in home.identities.items():
            if contract.name == home.name:
                yield names, kind
            for key in contract.foreign_keys:
                theirs = key.reference.fields
                if key.reference.resource == home.name and set(names) <= set(theirs):
                    yield tuple(key.fields[theirs.index(name)] for name in names), kind


def _is_essential(contract: Contract, name: str) -> bool:
    return name in contract.primary_key or contract.field(name).constraints.required


def identifier_of(cells: Sequence[str | None]) -> str | None:
    """The identifier in some cells; None where a part of it is missing."""
    return None if None in cells else BETWEEN.join(map(str, cells))


def plain(identifier: str) -> str:
    """An identifier without regard to how it is written: what all spellings of one person share."""
    return "".join(identifier.split()).lower()


def is_distinctive(identifier: str) -> bool:
    """Whether a text is hardly anything but this identifier, which is `plain`."""
    if identifier.isdecimal():
        return len(identifier) >= 8
    return len(identifier) >= 4 and any(char.isdigit() for char in identifier)


def canonical(kind: Identity, identifier: str) -> str:
    """What is hashed of an identifier. Courses are numbers: 007 is 7."""
    if kind == "student_course":
        with suppress(ValueError):
            return str(int(identifier))
    return plain(identifier)


class Tombstones:
    """Some erasures, and whether somebody is one of those erased."""

    def __init__(self, settings: Settings, erasures: Iterable[Mapping[str, Any]]) -> None:
        """`erasures`: rows of ops.erasures."""
        rows = list(erasures)
        self._known: dict[str, UUID] = {row["tombstone"]: row["erasure_id"] for row in rows}
        self._groups: set[tuple[Identity, str]] = {(row["kind"], row["school_id"]) for row in rows}
        for row in rows:
            if row["traces"]:
                self._known |= dict.fromkeys(row["traces"], row["erasure_id"])
                self._groups |= {(kind, row["school_id"]) for kind in TRACES}
        self._keys = _derive(settings) if rows else []
        self._seen: dict[Person, UUID | None] = {}
        self.kinds: set[Identity] = {kind for kind, _ in self._groups}
        self.schools = {row["school_id"] for row in rows}
        self.erasure_ids = {row["erasure_id"] for row in rows}

    @classmethod
    def load(cls, connection: Connection, settings: Settings, contract: Contract | None = None) -> Tombstones:
        """All erasures; of those kinds only that a dataset names, where one is given."""
        named = {column.kind for column in person_columns(contract)} if contract else {*KINDS, *TRACES}
        has_traces = not named.isdisjoint(TRACES)
        kinds = named | {"student"} if has_traces else named
        rows = connection.execute(
            """
            select erasure_id, kind, school_id, tombstone, case when %s then traces else '{}' end as traces
            from ops.erasures where kind = any(%s)
            """,
            (has_traces, list(kinds)),
        )
        return cls(settings, rows)

    @property
    def digest(self) -> str:
        """A mark of who is among them."""
        return hashlib.sha256("\n".join(sorted(self._known)).encode()).hexdigest()

    def __bool__(self) -> bool:
        return bool(self._known)

    def find(self, kind: Identity, school_id: str, identifier: str) -> UUID | None:
        """The erasure of this person, or of whom this trace leads to; None if they were not erased."""
        if (kind, school_id) not in self._groups:
            return None
        who = (kind, school_id, identifier)
        if who not in self._seen:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            marks = (_hash(key, kind, school_id, canonical(kind, identifier)) for key in self._keys)
            self._seen[who] = next((self._known[mark] for mark in marks if mark in self._known), None)
        return self._seen[who]

    def find_any(self, school_id: str, identifier: str) -> UUID | None:
        """The erasure of a person of any kind with this identifier."""
        found = (self.find(kind, school_id, identifier) for kind in KINDS)
        return next((erasure_id for erasure_id in found if erasure_id), None)


def tombstones_of(settings: Settings, kind: Identity, school_id: str, identifier: str) -> list[str]:
    """The keyed hashes that stand for a person or a trace, that of the newest key first."""
    return [_hash(key, kind, school_id, canonical(kind, identifier)) for key in _derive(settings)]


def person_tombstones_of(settings: Settings, first_name: str, last_name: str, birth_date: str) -> list[str]:
    """The keyed hashes of name (without regard to case and spaces) and ISO birth date, newest key first."""
    return [_hash(key, "person", fold(first_name), fold(last_name), birth_date) for key in _derive(settings)]


def _derive(settings: Settings) -> list[bytes]:
    return [hmac.digest(key.encode(), _PURPOSE, hashlib.sha256) for key in settings.pseudonym_keys]


def _hash(key: bytes, *parts: str) -> str:
    # Each part with its length, so that no two lists of parts are the same text.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()
