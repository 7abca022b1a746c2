"""What schools teach with: rooms, equipment, teachers and their load, as the person who asks may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from elt.serving.students import in_built_marts
from elt.warehouse import Connection

_CHOICES = """
select
    array_agg(distinct school_id order by school_id) as schools,
    array_agg(distinct school_year order by school_year desc) as school_years
from (
    select school_id, school_year from served.mart_school_resources
    union
    select school_id, school_year from served.mart_subject_staffing
) as known
"""
_EQUIPMENT = """
select
    school_id, school_year, student_count, teacher_count, students_per_teacher::float8,
    classroom_count, students_per_classroom::float8, laboratory_count, students_per_laboratory::float8,
    library_count, library_book_count, library_books_per_student::float8,
    computer_count, students_per_computer::float8, toilet_count, students_per_toilet::float8,
    electricity_hours::float8, water_hours::float8, resource_count, poor_resource_count
from served.mart_school_resources
where (%(school_id)s::text is null or school_id = %(school_id)s)
  and (%(school_year)s::text is null or school_year = %(school_year)s)
order by school_id, school_year
"""
# Of each school the newest term of the year: terms are no parts of a load, each has a whole one.
_LOADS = """
with terms as materialized (
    select school_id, teacher_id, term, term_order, is_known_teacher, subject_specialization, student_count,
        load_ratio, periods_per_week, timetable_load_ratio
    from served.mart_teacher_load
    where school_year = %(school_year)s and (%(school_id)s::text is null or school_id = %(school_id)s)
)
select
    school_id, teacher_id, term, subject_specialization, student_count, load_ratio::float8, periods_per_week,
    timetable_load_ratio::float8,
    avg(periods_per_week) over (partition by school_id)::float8 as mean_periods_per_week
from terms
where (school_id, term_order) in (select school_id, max(term_order) from terms group by school_id)
order by school_id, teacher_id
"""
_STAFFING = """
with terms as materialized (
    select * from served.mart_subject_staffing
    where school_year = %(school_year)s and (%(school_id)s::text is null or school_id = %(school_id)s)
)
select
    school_id, term, subject, student_count, class_count, teacher_count, students_per_class::float8,
    students_per_teacher::float8
from terms
where (school_id, term_order) in (select school_id, max(term_order) from terms group by school_id)
order by subject, school_id
"""


@dataclass(frozen=True, slots=True)
class Resources:
    """`equipment`: a school in a school year; `loads`, `staffing`: of the newest term of `school_year`."""

    schools: list[str]
    school_years: list[str]
    """The newest first."""
    school_year: str | None
    """That which was asked for, else the newest; None: nothing is known of any."""
    equipment: list[dict[str, Any]]
    loads: list[dict[str, Any]]
    """One teacher each; none for those who may not see teachers one by one."""
    staffing: list[dict[str, Any]]
    """A subject of a school."""


def read_resources(session: Connection, school_id: str | None, school_year: str | None) -> Resources:
    """Of one school and school year; None: of all schools, and the equipment of all years.

    Raises:
        NotFound: no run has built the marts.
    """
    with in_built_marts():
        choices = session.execute(_CHOICES).fetchone() or {}
        years = choices.get("school_years") or []
        chosen = school_year or (years[0] if years else None)
        asked = {"school_id": school_id, "school_year": school_year}
        of_year = {"school_id": school_id, "school_year": chosen}
        return Resources(
            choices.get("schools") or [],
            years,
            chosen,
            session.execute(_EQUIPMENT, asked).fetchall(),
            session.execute(_LOADS, of_year).fetchall(),
            session.execute(_STAFFING, of_year).fetchall(),
        )
