"""Who gets the report of which class by e-mail each week."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from uuid6 import uuid7

from elt.errors import NotFound
from elt.outbox import put_mail
from elt.warehouse import Connection

_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One person's wish for one class. `due_on`: the day of the next report."""

    subscription_id: UUID
    school_id: str
    grade_level: str
    due_on: date


def subscribe(connection: Connection, user_id: UUID, school_id: str, grade_level: str, today: date) -> None:
    """From now on weekly, first with the next daily run; whoever has it already keeps their day.

    That the person may see the class is known to the caller.
    """
    connection.execute(
        """
        insert into ops.report_subscriptions (subscription_id, user_id, school_id, grade_level, due_on)
        values (%s, %s, %s, %s, %s) on conflict (user_id, school_id, grade_level) do nothing
        """,
        (UUID(int=uuid7().int), user_id, school_id, grade_level, today),
    )


def list_subscriptions(connection: Connection, user_id: UUID) -> list[Subscription]:
    """A person's, by school and class."""
    rows = connection.execute(
        """
        select subscription_id, school_id, grade_level, due_on from ops.report_subscriptions
        where user_id = %s order by school_id, grade_level
        """,
        (user_id,),
    )
    return [Subscription(**row) for row in rows]


def unsubscribe(connection: Connection, user_id: UUID, subscription_id: UUID) -> None:
    """End one.

    Raises:
        NotFound: the person has no such subscription.
    """
    ended = connection.execute(
        "delete from ops.report_subscriptions where subscription_id = %s and user_id = %s",
        (subscription_id, user_id),
    )
    if ended.rowcount == 0:
        raise NotFound("There is no such subscription of yours; it may have ended already.")


def queue_due(connection: Connection, today: date) -> int:
    """Note the reports that are due to be sent, once each, and when each is due next.

    Days on which nothing ran are not made up for: one report says all.

    Returns:
        How many were noted.
    """
    with connection.transaction():
        due = connection.execute(
            """
            select * from ops.report_subscriptions where due_on <= %s
            order by due_on for update skip locked
            """,
            (today,),
        ).fetchall()
        for each in due:
            about = f"report:{each['subscription_id']}:{each['due_on']}"
            detail = {
                "subscription_id": str(each["subscription_id"]),
                "school_id": each["school_id"],
                "grade_level": each["grade_level"],
            }
            put_mail(connection, about, "report", each["user_id"], detail)
            connection.execute(
                "update ops.report_subscriptions set due_on = %s where subscription_id = %s",
                (today + _WEEK, each["subscription_id"]),
            )
    return len(due)
