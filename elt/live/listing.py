"""What is known of the country databases that are followed, for people to look at; never a value of a row."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from elt.live import LOCK_KEY
from elt.live.changes import Way
from elt.warehouse import Connection


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """A source. `age_seconds`: since it was last known that nothing newer is there; None: never read.

    `lag_seconds`: how long its last canary took from commit to viewers; None where none may be set.
    `problem`: why it is not followed now, for administrators: it may name host, port and role.
    """

    source: str
    country: str | None
    way: Way
    responses: int
    rejects: int
    age_seconds: float | None
    lag_seconds: float | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class RejectCount:
    """How many rows of a source broke a rule; `column` is None where the whole row did."""

    source: str
    column: str | None
    rule: str
    rows: int


def list_live(connection: Connection) -> list[LiveStatus]:
    """All sources by name."""
    with connection.cursor(row_factory=class_row(LiveStatus)) as cursor:
        return cursor.execute(
            """
            select
                source, country, way,
                coalesce(
                    (select sum(responses) from live.countries where countries.source = known.source), 0
                )::bigint as responses,
                (select count(*) from live.rejects where rejects.source = known.source) as rejects,
                extract(epoch from now() - read_at)::float8 as age_seconds, lag_seconds,
                coalesce(problem_detail, problem) as problem
            from live.sources as known order by source
            """
        ).fetchall()


def is_followed(connection: Connection) -> bool:
    """Whether a follower runs."""
    found = connection.execute(
        """
        select exists (
            select from pg_locks where locktype = 'advisory' and granted and objsubid = 1
                and database = (select oid from pg_database where datname = current_database())
                and (classid::bigint << 32 | objid::bigint) = %s
        ) as is_held
        """,
        (LOCK_KEY,),
    ).fetchone()
    return bool(found and found["is_held"])


def list_rejects(connection: Connection, source: str | None = None) -> list[RejectCount]:
    """How often each rule was broken, of one source or of all."""
    with connection.cursor(row_factory=class_row(RejectCount)) as cursor:
        return cursor.execute(
            """
            select source, issue ->> 'column' as "column", issue ->> 'rule' as rule, count(*) as rows
            from live.rejects cross join lateral jsonb_array_elements(issues) as issue
            where %(source)s::text is null or source = %(source)s
            group by 1, 2, 3 order by 1, 4 desc, 2, 3
            """,
            {"source": source},
        ).fetchall()
