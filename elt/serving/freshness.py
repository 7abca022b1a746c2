"""How old the figures are that the marts show, and what waits to be in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

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


@dataclass(frozen=True, slots=True)
class DatasetFreshness:
    """A dataset, and what of it waits. `last_build_at`: when the marts took it in; None: never."""

    dataset: str
    last_upload_at: datetime | None
    last_build_at: datetime | None
    waiting_upload_count: int
    held_upload_count: int
    unbuilt_load_count: int


def read_dataset_freshness(session: Connection) -> list[DatasetFreshness]:
    """Every dataset by name, for a session of `elt.serving.sessions`; none before the first build."""
    try:
        rows = session.execute(
            """
            select dataset, last_upload_at, last_build_at, waiting_upload_count, held_upload_count,
                   unbuilt_load_count
            from served.mart_freshness order by dataset
            """
        ).fetchall()
    except psycopg.errors.UndefinedTable:
        return []
    return [DatasetFreshness(**row) for row in rows]
