"""What a report says of a student or a class, as the person who asks may see it.

A report of a student may be handed to a guardian, so it names no other student, and of notes that people
wrote it says only what was done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elt.audit.trail import record
from elt.errors import NotFound
from elt.people.users import names_of_principals
from elt.serving.interventions import list_interventions, newest_interventions
from elt.serving.students import in_built_marts, read_record, read_risk
from elt.serving.worklist import RiskFilter, read_worklist, with_names_and_days
from elt.warehouse import Connection

TERMS_SHOWN = 6
_DONE_SHOWN = 5
_ALL = 1000

_SUBJECTS_OF_STUDENT = """
select subject, total_score, is_pass, attendance_pct, class_average_score
from served.mart_student_subjects
where school_id = %(school)s and student_id = %(student)s and school_year = %(year)s and term = %(term)s
order by subject
"""
_TERMS_OF_CLASS = """
select school_year, term, term_order, student_count, average_score, attendance_pct, pass_rate,
       failing_student_count, chronically_absent_count
from served.mart_class_summary
where school_id = %(school)s and grade_level = %(grade)s
order by school_year desc, term_order desc limit %(limit)s
"""
_SUBJECTS_OF_CLASS = """
select subject, student_count, average_score, attendance_pct, pass_rate
from served.mart_subject_performance
where school_id = %(school)s and grade_level = %(grade)s and school_year = %(year)s and term = %(term)s
order by subject
"""


def read_student_report(
    session: Connection, connection: Connection | None, school_id: str, student_id: str
) -> dict[str, Any]:
    """A student's latest term beside the class, the terms so far, what is foretold, and what was done.

    Args:
        session: of `elt.serving.sessions.reader`; it sees the student (`find_school`).
        connection: Laurel's own, for what was done; None: the reader may not see that.
        school_id: the school.
        student_id: its number of the student.

    Raises:
        NotFound: no run has built the marts yet.
    """
    known, risk = read_record(session, school_id, student_id), read_risk(session, school_id, student_id)
    latest = known["terms"][-1] if known["terms"] else None
    asked = {"school": school_id, "student": student_id}
    subjects: list[dict[str, Any]] = []
    if latest:
        place = {"year": latest["school_year"], "term": latest["term"]}
        with in_built_marts():
            subjects = session.execute(_SUBJECTS_OF_STUDENT, asked | place).fetchall()
    return {
        "school_id": school_id,
        "student_id": student_id,
        "full_name": (known["profile"] or {}).get("full_name"),
        "grade_level": (known["overview"] or {}).get("grade_level"),
        "stream": (known["overview"] or {}).get("stream"),
        "latest": latest,
        "subjects": subjects,
        "terms": known["terms"][-TERMS_SHOWN:],
        "risk": risk["current"],
        "done": None if connection is None else _done(connection, school_id, student_id),
    }


def read_class_report(
    session: Connection, connection: Connection | None, school_id: str, grade_level: str
) -> dict[str, Any]:
    """The latest term of a class: its figures, subjects and worklist, and the terms so far.

    Args:
        session: of `elt.serving.sessions.reader`.
        connection: Laurel's own, for what was done; None: the reader may not see that.
        school_id: the school.
        grade_level: the class.

    Raises:
        NotFound: the session sees no such class, or no run has built the marts yet.
    """
    asked = {"school": school_id, "grade": grade_level, "limit": TERMS_SHOWN}
    with in_built_marts():
        terms = session.execute(_TERMS_OF_CLASS, asked).fetchall()[::-1]
        if not terms:
            raise NotFound(f"There is no such class in school {school_id}.")
        place = {"year": terms[-1]["school_year"], "term": terms[-1]["term"]}
        subjects = session.execute(_SUBJECTS_OF_CLASS, asked | place).fetchall()
    found = read_worklist(session, RiskFilter(school_id, grade_level), limit=_ALL)
    worklist = with_names_and_days(session, found)
    keys = [(student["school_id"], student["student_id"]) for student in worklist]
    done = {} if connection is None else newest_interventions(connection, keys)
    return {
        "school_id": school_id,
        "grade_level": grade_level,
        "latest": terms[-1],
        "subjects": subjects,
        "terms": terms,
        "worklist": [{**student, "done": done.get(key)} for student, key in zip(worklist, keys, strict=True)],
        "may_see_done": connection is not None,
    }


def sees_class(session: Connection, school_id: str, grade_level: str) -> bool:
    """Whether the session sees a class.

    Raises:
        NotFound: no run has built the marts yet.
    """
    with in_built_marts():
        found = session.execute(
            "select from served.mart_class_summary where school_id = %s and grade_level = %s limit 1",
            (school_id, grade_level),
        )
        return found.rowcount > 0


def record_report(connection: Connection, actor: str, subject: str, detail: Mapping[str, Any]) -> None:
    """Write down that somebody was given a report that says what was done, too; pages do it themselves."""
    with connection.transaction():
        for action in ("reports:read", "interventions:read"):
            record(connection, actor, action, subject, detail)


def _done(connection: Connection, school_id: str, student_id: str) -> list[dict[str, Any]]:
    """The newest lines that stand, with the name of who wrote each."""
    lines = [line for line in list_interventions(connection, school_id, student_id) if line.stands]
    newest = sorted(lines, key=lambda line: line.done_on, reverse=True)[:_DONE_SHOWN]
    names = names_of_principals(connection, [line.done_by for line in newest])
    return [
        {"done_on": line.done_on, "action": line.action, "name": names.get(line.done_by)} for line in newest
    ]
