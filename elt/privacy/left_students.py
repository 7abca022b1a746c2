"""Students who left so long ago that the school keeps them no longer: found here, erased by whoever decides.

The rule `left_students` of `retention.yaml` is off until a school gives it days. Even then nobody is erased
without a person who says so: the date comes from files and may be wrong, and nothing brings a record back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any
from uuid import UUID

from psycopg import sql

from elt.contracts import get_contract
from elt.loading.raw_tables import raw_table
from elt.people.principals import Principal
from elt.privacy.erasure_requests import request_erasure
from elt.privacy.tombstones import Person, plain
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection

REASON = "retention: left_students"

# What counts of a number is the newest row, as in staging.
_NEWEST = sql.SQL(
    """
    select distinct on (found.school_id, found.student_id)
        found.school_id, found.student_id, found.admission_date, found.graduation_date
    from {} as found
    join ops.uploads as u on u.upload_id = found._upload_id
    join ops.upload_versions as v on v.upload_id = u.upload_id and v.version = u.live_version
    order by found.school_id, found.student_id, v.ranked_at desc, found._line desc, found._upload_id desc
    """
)

# RosarioSIS knows the year in which a class left: dbt reads it from the name. Its last day is late enough.
_OF_ROSARIOSIS = """
select
    students.school_id, students.student_id, null::date as admission_date,
    make_date(classes.leaving_year, 12, 31) as graduation_date
from staging.stg_rosariosis_students as students
left join staging.stg_rosariosis_classes as classes
    on classes.school_id = students.school_id and classes.class_id = students.grade_level_id
where students.is_deleted is not true
"""


@dataclass(frozen=True, slots=True)
class LeftStudent:
    """A student, by one spelling of the number, and the last day at the school."""

    school_id: str
    student_id: str
    left_on: date


@dataclass(frozen=True, slots=True)
class LeftStudents:
    """Who left before a day. `contradictory`: how many more, if they had not left before they came."""

    due: list[LeftStudent]
    contradictory: int


def find_left(connection: Connection, before: date, school_id: str | None = None) -> LeftStudents:
    """Students of a school, or of all, whose graduation date (or the end of that year) lies before a day.

    A student counts as there still where the newest row, in any spelling of the number, has no graduation
    date or a later one. Where one lies before the admission, either may be wrong: the student is left out.
    """
    newest = _NEWEST.format(raw_table(get_contract("students")))
    found = connection.execute(newest).fetchall()
    if _is_built(connection):
        found += connection.execute(_OF_ROSARIOSIS).fetchall()
    rows = [row for row in found if school_id in (None, row["school_id"])]
    due, contradictory = [], 0
    for _, spelled in groupby(sorted(rows, key=_person), _person):
        spellings = list(spelled)
        if not all(row["graduation_date"] and row["graduation_date"] < before for row in spellings):
            continue
        if any(_is_contradictory(row) for row in spellings):
            contradictory += 1
            continue
        last = max(row["graduation_date"] for row in spellings)
        due.append(LeftStudent(spellings[0]["school_id"], spellings[0]["student_id"], last))
    return LeftStudents(due, contradictory)


def request_erasures(
    settings: Settings,
    connection: Connection,
    store: Store,
    students: Sequence[LeftStudent],
    principal: Principal,
) -> dict[UUID, Person]:
    """Ask for the erasure of each; gives who is meant, by erasure. Killed, it is called again for the others.

    Raises:
        UploadRejected: a number stands in the reason, which is kept.
    """
    people: dict[UUID, Person] = {}
    for student in students:
        erasure_id = request_erasure(
            settings, connection, store, kind="student", school_id=student.school_id,
            identifier=student.student_id, reason=REASON, principal=principal,
        )  # fmt: skip
        people[erasure_id] = ("student", student.school_id, student.student_id)
    return people


def _person(row: dict[str, Any]) -> tuple[str, str]:
    return row["school_id"], plain(row["student_id"])


def _is_built(connection: Connection) -> bool:
    row = connection.execute("select to_regclass('staging.stg_rosariosis_classes') as name").fetchone()
    return bool(row and row["name"])


def _is_contradictory(row: dict[str, Any]) -> bool:
    return row["admission_date"] is not None and row["graduation_date"] < row["admission_date"]
