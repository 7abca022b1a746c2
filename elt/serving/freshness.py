"""How old the figures are that the marts show, and what waits to be in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from elt.warehouse import Connection

# Loads that failed changed nothing, so no build waits for them.
_FRESHNESS = """
select max(built_at) as built_at, count(*) filter (where built_at is null) as waiting from ops.loads
"""


@dataclass(frozen=True, slots=True)
class Freshness:
    """`built_at`: when the marts last took something in; None: never. `waiting`: loads not in them yet."""

    built_at: datetime | None
    waiting: int


def read_freshness(connection: Connection) -> Freshness:
    """Of all marts: a build takes in all that waits."""
    found = connection.execute(_FRESHNESS).fetchone()
    assert found is not None  # noqa: S101 - an aggregate always answers with one row
    return Freshness(found["built_at"], found["waiting"])
