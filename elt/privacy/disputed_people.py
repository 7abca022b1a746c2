"""People whom disputed values name by their identifiers: in what the row is known by, or as the value itself.

A guardian's row is one of a student, too, and the dispute about it holds what the guardian's telephone number
was. Identifiers are compared whole, so that also one which any text may hold, such as 17, is found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import cast
from uuid import UUID

from elt.contracts import Identity
from elt.privacy.column_classes import PSEUDONYM_KINDS
from elt.privacy.tombstones import Person, canonical
from elt.warehouse import Connection

_NAMED = """
select dispute.dispute_id, dispute.school_id, named.column_name, named.identifier
from ops.disputes as dispute
cross join lateral (
    select key as column_name, value as identifier from jsonb_each_text(dispute.row_key)
    union all select dispute.column_name, dispute.shown
    union all select dispute.column_name, dispute.should_be
) as named
where dispute.school_id = any(%s) and named.column_name = any(%s) and named.identifier is not null
"""


def people_in_disputes(connection: Connection, schools: Collection[str]) -> Iterator[tuple[UUID, Person]]:
    """All whom disputes of some schools name by identifier, each with the dispute."""
    for row in connection.execute(_NAMED, (list(schools), list(PSEUDONYM_KINDS))):
        kind = cast("Identity", PSEUDONYM_KINDS[row["column_name"]])
        yield row["dispute_id"], (kind, row["school_id"], row["identifier"])


def disputes_that_name(connection: Connection, people: Iterable[Person]) -> set[UUID]:
    """Disputes that name one of some people, in whatever spelling."""
    sought = {_plainly(person) for person in people}
    schools = {school_id for _, school_id, _ in sought}
    return {
        dispute_id
        for dispute_id, person in people_in_disputes(connection, schools)
        if _plainly(person) in sought
    }


def _plainly(person: Person) -> Person:
    kind, school_id, identifier = person
    return kind, school_id, canonical(kind, identifier)
