"""What going back takes away for good: each revision says so of itself in `LOSES`.

Not named there is what the code finds again by itself: what was read from sources, counts of tries, a state
that the next run notes anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows of one table that go, or that lose something. `table` and `where` are SQL of ours.

    `what` says for people what goes: "rows", "values of found".
    """

    table: str
    what: str = "rows"
    where: str = "true"


def losses(*tables: str) -> tuple[Loss, ...]:
    """Tables that go with all their rows."""
    return tuple(Loss(table) for table in tables)


def count_losses(connection: Connection, candidates: Iterable[Loss]) -> list[str]:
    """What would really be lost now, in words: "ops.disputes: rows (3)".

    Locks the tables until the end of the transaction, so that nothing is added after it was counted.
    """
    candidates = list(candidates)
    tables = sorted({loss.table for loss in candidates})
    if tables:
        connection.execute(text(f"lock table {', '.join(tables)} in access exclusive mode"))
    found = []
    for loss in candidates:
        count: int = connection.execute(
            text(f"select count(*) from {loss.table} where {loss.where}")  # noqa: S608 - written in a migration
        ).scalar_one()
        if count:
            found.append(f"{loss.table}: {loss.what} ({count})")
    return found
