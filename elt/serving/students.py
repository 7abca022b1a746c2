"""Students as the person who asks may see them: all is read from the views of schema `served`.

A student is known by school and identifier. Researchers get and give pseudonyms in place of identifiers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from elt.errors import Conflict, NoFiguresYet, NotFound
from elt.warehouse import Connection

_ONE_ROW = {
    "profile": "mart_students",
    "standing": "mart_student_profiles",
    "overview": "mart_student_overview",
}
_MANY_ROWS = {
    "terms": "mart_student_terms",
    "subjects": "mart_student_subjects",
    "jamb": "mart_jamb_performance",
    "sat": "mart_sat_performance",
    "wassce": "mart_waec_performance",
    "guardians": "mart_guardians",
}
_ORDERS = {
    "mart_student_terms": "school_year, term_order",
    "mart_student_subjects": "school_year, term_order, grade_level, subject",
    "mart_jamb_performance": "jamb_exam_year desc, registration_number",
    "mart_sat_performance": "sat_exam_year desc, registration_number",
    "mart_waec_performance": "waec_exam_year desc, exam_number, waec_course, course, course_class",
    "mart_guardians": "parent_id",
    "mart_student_flags": "as_of_date desc",
    "mart_student_predictions": "target, subject",
}

# One view at a time: PostgreSQL cannot tell how few rows a view leaves, and would join them row by row.
_LIST = """
select school_id, student_id, grade_level, stream, gender, latest_average_score::float8,
       latest_attendance_pct::float8
from served.mart_student_overview
where (%(keys)s::text[] is null or school_id || chr(31) || student_id = any(%(keys)s))
"""
_OF_STATUS = """
select school_id || chr(31) || student_id as key
from served.mart_student_summary
where enrollment_status = %(status)s
"""
_NARROWED = """
  and (%(school_id)s::text is null or school_id = %(school_id)s)
  and (%(grade_level)s::text is null or grade_level = %(grade_level)s)
  and (%(prefix)s::text is null or student_id ilike %(prefix)s
       or school_id || chr(31) || student_id = any(%(named)s))
  and (%(after_school)s::text is null or school_id > %(after_school)s
       or (school_id = %(after_school)s and student_id > %(after_student)s))
order by school_id, student_id
limit %(limit)s
"""
_BY_NAME = (
    "select school_id || chr(31) || student_id as key from served.mart_students where full_name ilike %s"
)
_NAMES = """
select school_id, student_id, full_name from served.mart_students
where school_id = any(%s) and student_id = any(%s)
"""


@dataclass(frozen=True, slots=True)
class StudentFilter:
    """Which students; None: all. `search` is the beginning of an identifier or any part of a name.

    `status` is a value of `enrollment_status` in `mart_student_summary`.
    """

    school_id: str | None = None
    grade_level: str | None = None
    search: str | None = None
    status: str | None = None


def list_students(
    session: Connection, wanted: StudentFilter, *, after: tuple[str, str] | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Students in the order of school and identifier, from behind the student `after`."""
    with in_built_marts():
        pattern = None if wanted.search is None else _escape(wanted.search)
        named = session.execute(_BY_NAME, (f"%{pattern}%",)).fetchall() if pattern else []
        asked = {
            "school_id": wanted.school_id,
            "grade_level": wanted.grade_level,
            "prefix": pattern and f"{pattern}%",
            "named": [row["key"] for row in named],
            "after_school": after[0] if after else None,
            "after_student": after[1] if after else None,
            "limit": limit,
            "status": wanted.status,
            "keys": None,
        }
        if wanted.status is not None:
            asked["keys"] = [row["key"] for row in session.execute(_OF_STATUS + _NARROWED, asked)]
        found = session.execute(_LIST + _NARROWED, asked).fetchall()
        names = names_of(session, found)
    return [{**row, "full_name": names.get((row["school_id"], row["student_id"]))} for row in found]


def names_of(session: Connection, students: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str | None]:
    """Full names by school and number, of those students whose names the session may see."""
    if not students:
        return {}
    rows = session.execute(
        _NAMES, ([row["school_id"] for row in students], [row["student_id"] for row in students])
    )
    return {(row["school_id"], row["student_id"]): row["full_name"] for row in rows}


def find_school(session: Connection, student_id: str, school_id: str | None) -> str:
    """The school of a student whom the session may see.

    Raises:
        NotFound: there is none, or not for this person; which of the two is not told.
        Conflict: several schools have one, and none was named.
    """
    if "\0" in f"{student_id}{school_id}":
        raise NotFound("There is no such student.")
    with in_built_marts():
        found = session.execute(
            """
            select distinct school_id from served.mart_student_overview
            where student_id = %(student)s and (%(school)s::text is null or school_id = %(school)s)
            order by school_id limit 20
            """,
            {"student": student_id, "school": school_id},
        ).fetchall()
    if not found:
        raise NotFound("There is no such student.")
    if len(found) > 1:
        schools = ", ".join(row["school_id"] for row in found)
        raise Conflict(f"Several schools have a student of this number ({schools}). Name one as `school`.")
    school: str = found[0]["school_id"]
    return school


def read_record(session: Connection, school_id: str, student_id: str) -> dict[str, Any]:
    """Who the student is, the figures, each term and subject, results of exams, and the guardians."""
    rows = {part: _read(session, mart, school_id, student_id) for part, mart in _ONE_ROW.items()}
    lists = {part: _read(session, mart, school_id, student_id) for part, mart in _MANY_ROWS.items()}
    return {
        "school_id": school_id,
        "student_id": student_id,
        **{part: next(iter(found), None) for part, found in rows.items()},
        **lists,
    }


def read_risk(session: Connection, school_id: str, student_id: str) -> dict[str, Any]:
    """What is predicted now, with reasons, of exams too, and what was predicted before, the newest first."""
    current = _read(session, "mart_student_risk", school_id, student_id)
    return {
        "school_id": school_id,
        "student_id": student_id,
        "current": next(iter(current), None),
        "exams": _read(session, "mart_student_predictions", school_id, student_id),
        "flags": _read(session, "mart_student_flags", school_id, student_id),
    }


def _read(session: Connection, mart: str, school_id: str, student_id: str) -> list[dict[str, Any]]:
    """Rows as plain JSON values; none of a mart that no run has built yet."""
    query = sql.SQL(
        "select to_jsonb(found) as found from served.{} as found where school_id = %s and student_id = %s "
        "order by {}"
    ).format(sql.Identifier(mart), sql.SQL(_ORDERS.get(mart, "school_id")))
    try:
        return [row["found"] for row in session.execute(query, (school_id, student_id))]
    except psycopg.errors.UndefinedTable:
        return []


@contextmanager
def in_built_marts() -> Iterator[None]:
    """Say so where the marts are not there yet.

    Raises:
        NoFiguresYet: no run has built them.
    """
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise NoFiguresYet(
            "No figures have been made yet. The first run makes them, once files have been handed in; look "
            "again then."
        ) from None


def _escape(text: str) -> str:
    """The text as a pattern of `like` that stands for itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
