"""Values in marts that somebody says are wrong, until an administrator settles it. Nothing is deleted.

Whoever may see a value may dispute it: it is looked up as that person sees it. Researchers name people by
pseudonyms, which stand for the numbers in what is kept. A pseudonym itself cannot be disputed: kept beside
the number, it would tell whose rows stand in researchers' exports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb
from uuid6 import uuid7

from elt.audit.trail import person_subject, record
from elt.errors import Conflict, NotFound
from elt.people.principals import Principal
from elt.privacy.column_classes import PSEUDONYM_KINDS, MartClasses, mart_classes
from elt.serving.marts import describe_mart
from elt.serving.provenance import read_row
from elt.settings import Settings
from elt.warehouse import Connection

Outcome = Literal["corrected", "stands"]

_OF_A_STUDENT = ("school_id", "student_id")


@dataclass(frozen=True, slots=True)
class Dispute:
    """One value that is said to be wrong.

    `row_key`: what singles out the row of the mart beside school and student; `shown` the value as it was
    then; `outcome` None: nobody has settled it yet.
    """

    dispute_id: UUID
    school_id: str
    student_id: str
    mart: str
    column_name: str
    row_key: dict[str, str | None]
    shown: str | None
    should_be: str | None
    reason: str
    raised_by: str
    created_at: datetime
    outcome: Outcome | None = None
    settled_by: str | None = None
    settled_why: str | None = None
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A cell of a mart's row about one student; `key` holds the columns of its grain, as text."""

    school_id: str
    student_id: str
    mart: str
    column: str
    key: dict[str, str | None]
    value: str | None


def read_figure(
    session: Connection, school_id: str, student_id: str, mart: str, column: str, key: Mapping[str, Any]
) -> Figure:
    """The value as the session sees it.

    Args:
        session: of who asks, `elt.serving.sessions.reader`.
        school_id: the school.
        student_id: the student, as this person names them.
        mart: one with a row or rows per student.
        column: the column of the value.
        key: the columns of the grain beside school and student.

    Raises:
        NotFound: no such mart or row, or the mart is not about single students.
        UploadRejected: an unknown column, a value of the wrong type, or a key of several rows.
    """
    described = describe_mart(session, mart, "served")
    if not set(_OF_A_STUDENT) <= {found.name for found in described.columns}:
        raise NotFound(f"{mart} says nothing about single students.")
    described.column(column)
    row = read_row(session, described, {**key, "school_id": school_id, "student_id": student_id})
    named = row_key_of({name: row[name] for name in (described.grain or key)})
    return Figure(school_id, student_id, mart, column, named, _text(row[column]))


def row_key_of(key: Mapping[str, Any]) -> dict[str, str | None]:
    """What singles out a row beside school and student, as disputes keep it."""
    return {name: _text(value) for name, value in key.items() if name not in _OF_A_STUDENT}


def raise_dispute(
    connection: Connection,
    settings: Settings,
    principal: Principal,
    figure: Figure,
    *,
    should_be: str | None,
    reason: str,
) -> Dispute:
    """Write down that a value is wrong.

    Raises:
        Conflict: a dispute about this value is open already, or it is a pseudonym to the principal.
    """
    classes = mart_classes().get(figure.mart, MartClasses())
    if principal.role == "researcher" and classes.of(figure.column) == "identifier":
        raise Conflict(
            f"You see pseudonyms in {figure.mart}.{figure.column}: Laurel makes them, the school does not."
        )
    kept = _with_numbers(connection, principal, figure)
    with connection.transaction():
        try:
            with connection.transaction():
                row = connection.execute(
                    """
                    insert into ops.disputes
                        (dispute_id, school_id, student_id, mart, column_name, row_key, shown, should_be,
                         reason, raised_by)
                    values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                    returning *
                    """,
                    (
                        UUID(int=uuid7().int), kept.school_id, kept.student_id, kept.mart, kept.column,
                        Jsonb(kept.key), kept.value, should_be, reason, principal.id,
                    ),
                ).fetchone()  # fmt: skip
        except UniqueViolation:
            raise Conflict("This value is disputed already; it waits for an administrator.") from None
        assert row is not None  # noqa: S101 - an insert that returns
        raised = Dispute(**row)
        _note(connection, settings, principal, "disputes:write", raised)
    return replace(raised, student_id=figure.student_id, row_key=figure.key)


def list_disputes(connection: Connection, school_id: str, student_id: str) -> list[Dispute]:
    """All disputes about values of a student, newest first, settled ones too."""
    rows = connection.execute(
        "select * from ops.disputes where school_id = %s and student_id = %s order by dispute_id desc",
        (school_id, student_id),
    )
    return [Dispute(**row) for row in rows]


def list_disputes_of_schools(
    connection: Connection,
    school_id: str | None,
    *,
    is_open: bool = True,
    after: UUID | None = None,
    limit: int = 50,
) -> list[Dispute]:
    """Disputes of a school (None: of all), newest first, behind the dispute `after`."""
    rows = connection.execute(
        """
        select * from ops.disputes
        where (%(school_id)s::text is null or school_id = %(school_id)s)
          and (outcome is null) = %(is_open)s
          and (%(after)s::uuid is null or dispute_id < %(after)s)
        order by dispute_id desc
        limit %(limit)s
        """,
        {"school_id": school_id, "is_open": is_open, "after": after, "limit": limit},
    )
    return [Dispute(**row) for row in rows]


def settle_dispute(
    connection: Connection,
    settings: Settings,
    principal: Principal,
    dispute_id: UUID,
    *,
    outcome: Outcome,
    why: str,
) -> Dispute:
    """Say what came of a dispute in the principal's school, or in any if the principal is bound to none.

    Raises:
        NotFound: there is no such dispute.
        Conflict: it is settled already.
    """
    with connection.transaction():
        known = connection.execute(
            """
            select outcome from ops.disputes
            where dispute_id = %s and school_id = coalesce(%s, school_id)
            for update
            """,
            (dispute_id, principal.school_id),
        ).fetchone()
        if known is None:
            raise NotFound(f"There is no dispute {dispute_id}.")
        if known["outcome"] is not None:
            raise Conflict(f"The dispute {dispute_id} is settled already.")
        row = connection.execute(
            """
            update ops.disputes
            set outcome = %s, settled_by = %s, settled_why = %s, settled_at = now()
            where dispute_id = %s
            returning *
            """,
            (outcome, principal.id, why, dispute_id),
        ).fetchone()
        assert row is not None  # noqa: S101 - the row is locked
        settled = Dispute(**row)
        _note(connection, settings, principal, "disputes:settle", settled)
    return settled


def _note(
    connection: Connection, settings: Settings, principal: Principal, action: str, dispute: Dispute
) -> None:
    subject = person_subject(settings, "student", dispute.school_id, dispute.student_id)
    detail = {"dispute": dispute.dispute_id, "mart": dispute.mart, "column": dispute.column_name}
    outcome = {"outcome": dispute.outcome} if dispute.outcome else {}
    record(connection, principal.id, action, subject, {**detail, **outcome})


def _with_numbers(connection: Connection, principal: Principal, figure: Figure) -> Figure:
    """The figure with the school's own numbers of people where the principal knows pseudonyms."""
    if principal.role != "researcher":
        return figure

    def number(column: str, name: str | None) -> str | None:
        kind = PSEUDONYM_KINDS.get(column)
        row = connection.execute(
            "select source_id from ops.pseudonyms where kind = %s and school_id = %s and pseudonym = %s",
            (kind, figure.school_id, name),
        ).fetchone()
        return name if kind is None or row is None else str(row["source_id"])

    key = {column: number(column, value) for column, value in figure.key.items()}
    return replace(figure, student_id=number("student_id", figure.student_id) or "", key=key)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
