"""What the live follower leaves in the database, written by hand for tests of what is shown of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from elt.live import CHANNEL
from elt.warehouse import Connection

_COUNT_AGAIN = """
delete from live.countries;
delete from live.hours;
insert into live.countries
select
    source, country, count(*), count(escs), coalesce(sum(escs), 0), count(tmins), coalesce(sum(tmins), 0),
    count(belong), coalesce(sum(belong), 0), count(durecec), coalesce(sum(durecec), 0),
    count(*) filter (where durecec is not null and belong is not null)
from live.responses
group by source, country;
insert into live.hours
select source, country, date_trunc('hour', submitted_at, 'UTC'), count(*)
from live.responses
group by 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Given:
    """What a respondent answered; None: nothing."""

    escs: float | None = None
    tmins: int | None = None
    belong: float | None = None
    durecec: int | None = None
    submitted_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def add_source(connection: Connection, source: str, country: str | None, way: str = "notify") -> int:
    """A country database that was read just now; the new version."""
    with connection.transaction():
        connection.execute(
            """
            insert into live.sources (source, country, way, read_at, lag_seconds)
            values (%s, %s, %s, now(), 0.02)
            """,
            (source, country, way),
        )
        return _publish(connection)


def add_responses(connection: Connection, source: str, country: str, answers: Sequence[Given]) -> int:
    """Add responses as the follower does: one transaction with sums and notice; the new version."""
    with connection.transaction():
        row = connection.execute("select count(*) as n from live.responses").fetchone()
        first = row["n"] if row else 0
        with connection.cursor() as cursor:
            cursor.executemany(
                """
                insert into live.responses (
                    source, id, range_no, row_hash, country, escs, tmins, belong, durecec, submitted_at
                )
                values (%s, %s, 0, 0, %s, %s, %s, %s, %s, %s)
                """,
                [
                    (source, str(first + n), country, a.escs, a.tmins, a.belong, a.durecec, a.submitted_at)
                    for n, a in enumerate(answers)
                ],
            )
        return _publish(connection)


def clear(connection: Connection) -> int:
    """Take all sources away with what they hold; the new version."""
    with connection.transaction():
        connection.execute("delete from live.sources")
        return _publish(connection)


def _publish(connection: Connection) -> int:
    connection.execute(_COUNT_AGAIN)
    [row] = connection.execute(
        "update live.version set version = version + 1, changed_at = now() returning version"
    ).fetchall()
    connection.execute("select pg_notify(%s, %s)", (CHANNEL, str(row["version"])))
    version: int = row["version"]
    return version


def present_hour() -> datetime:
    """The hour that it is, once none ends within the next minute: what comes in next is of the same."""
    while (now := datetime.now(UTC)).minute == 59:
        time.sleep(1)
    return now.replace(minute=0, second=0, microsecond=0)
