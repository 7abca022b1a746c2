"""The worklist: students who may need help, the most urgent first, as the person who asks may see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from elt.serving.students import in_built_marts, names_of
from elt.warehouse import Connection

_WORKLIST = """
select * from served.mart_student_risk
where (%(school_id)s::text is null or school_id = %(school_id)s)
  and (%(grade_level)s::text is null or grade_level = %(grade_level)s)
  and (is_at_risk or not %(only_at_risk)s)
  and (%(only)s::text[] is null or school_id || chr(31) || student_id = any(%(only)s))
  and (%(but)s::text[] is null or school_id || chr(31) || student_id <> all(%(but)s))
  and (%(after_student)s::text is null
       or (not is_at_risk, -score, school_id, student_id)
        > (not %(after_at_risk)s::boolean, -%(after_score)s::float8, %(after_school)s::text,
           %(after_student)s::text))
order by not is_at_risk, -score, school_id, student_id
limit %(limit)s
"""
# The first of the days in a row, up to the newest, on which the student was on the list. The two lists stand
# apart, so that PostgreSQL brings them into the view and to its index.
_SINCE = """
with flags as materialized (
    select school_id, student_id, as_of_date, is_at_risk from served.mart_student_flags
    where school_id = any(%(schools)s) and student_id = any(%(students)s)
),
off as (
    select school_id, student_id, max(as_of_date) as last_day from flags
    where not is_at_risk group by school_id, student_id
)
select flags.school_id, flags.student_id, min(flags.as_of_date) as since
from flags left join off on off.school_id = flags.school_id and off.student_id = flags.student_id
where flags.is_at_risk and (off.last_day is null or flags.as_of_date > off.last_day)
group by flags.school_id, flags.student_id
"""
_CHOICES = """
select
    array_agg(distinct school_id order by school_id) as schools,
    array_agg(distinct grade_level order by grade_level) filter (where grade_level is not null) as grades
from served.mart_student_overview
"""


@dataclass(frozen=True, slots=True)
class RiskFilter:
    """Which students; None: all. `only` and `but` name them by school and number."""

    school_id: str | None = None
    grade_level: str | None = None
    only_at_risk: bool = True
    only: Sequence[tuple[str, str]] | None = None
    but: Sequence[tuple[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a student stands in the worklist, which stays the same when others come and go."""

    is_at_risk: bool
    score: float
    school_id: str
    student_id: str


@dataclass(frozen=True, slots=True)
class Choices:
    """The schools and classes that somebody may choose among."""

    schools: Sequence[str]
    grades: Sequence[str]


def read_worklist(
    session: Connection, wanted: RiskFilter, *, after: Place | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Rows of `mart_student_risk`, from behind a place.

    Raises:
        NotFound: no run has built the marts yet.
    """
    sent = {
        "school_id": wanted.school_id,
        "grade_level": wanted.grade_level,
        "only_at_risk": wanted.only_at_risk,
        "only": _joined(wanted.only),
        "but": _joined(wanted.but),
        "after_at_risk": after and after.is_at_risk,
        "after_score": after and after.score,
        "after_school": after and after.school_id,
        "after_student": after and after.student_id,
        "limit": limit,
    }
    with in_built_marts():
        return session.execute(_WORKLIST, sent).fetchall()


def _joined(students: Sequence[tuple[str, str]] | None) -> list[str] | None:
    """As the query names them."""
    return None if students is None else ["\x1f".join(student) for student in students]


def with_names_and_days(session: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `full_name`, and `since`: the day from which on the student was on the list each time."""
    sent = {
        "schools": [row["school_id"] for row in rows],
        "students": [row["student_id"] for row in rows],
    }
    with in_built_marts():
        names = names_of(session, rows)
        since = {
            (row["school_id"], row["student_id"]): row["since"]
            for row in session.execute(_SINCE, sent).fetchall()
        }
    keys = [(row["school_id"], row["student_id"]) for row in rows]
    return [
        {**row, "full_name": names.get(key), "since": since.get(key)}
        for key, row in zip(keys, rows, strict=True)
    ]


def count_at_risk(session: Connection) -> int:
    """How many students at risk the session may see; none where no run has built the marts yet."""
    try:
        found = session.execute(
            "select count(*) as number from served.mart_student_summary where is_at_risk"
        ).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return 0
    assert found is not None  # noqa: S101 - an aggregate always answers with one row
    return int(found["number"])


def read_choices(session: Connection) -> Choices:
    """Of all students whom the session may see.

    Raises:
        NotFound: no run has built the marts yet.
    """
    with in_built_marts():
        found = session.execute(_CHOICES).fetchone()
    assert found is not None  # noqa: S101 - an aggregate always answers with one row
    return Choices(found["schools"] or [], found["grades"] or [])
