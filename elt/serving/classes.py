"""Which schools, classes and subjects the marts know, to choose from where one is assigned to a teacher."""

from __future__ import annotations

from dataclasses import dataclass

from elt.serving.students import in_built_marts
from elt.warehouse import Connection

_CLASSES = """
select
    array(select distinct school_id from served.mart_student_overview order by school_id) as schools,
    array(
        select distinct grade_level from served.mart_student_overview
        where grade_level is not null order by grade_level
    ) as grades,
    array(select distinct subject from served.mart_subject_performance order by subject) as subjects
"""


@dataclass(frozen=True, slots=True)
class Classes:
    """Their names, in order."""

    schools: list[str]
    grades: list[str]
    subjects: list[str]


def read_classes(session: Connection) -> Classes:
    """What a session of `elt.serving.sessions` may see.

    Raises:
        NotFound: no run has built the marts yet.
    """
    with in_built_marts():
        found = session.execute(_CLASSES).fetchone()
    assert found is not None  # noqa: S101 - a select without a from answers with one row
    return Classes(**found)
