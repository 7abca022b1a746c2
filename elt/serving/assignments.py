"""Who looks after which student. A new assignment ends the one before; all are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.errors import UniqueViolation
from uuid6 import uuid7

from elt.audit.trail import person_subject, record
from elt.errors import Conflict, NotFound
from elt.people.principals import HELPERS, Principal
from elt.people.users import UserRecord, get_user, list_users, principal_of
from elt.serving.sessions import reader
from elt.serving.students import find_school, in_built_marts
from elt.settings import Settings
from elt.warehouse import Connection

_PRESENT = """
select a.school_id, a.student_id, a.user_id, u.name, a.assigned_by, a.assigned_at
from ops.student_assignments as a join ops.users as u using (user_id)
where a.ended_at is null
  and (%(of)s::uuid is null or a.user_id = %(of)s::uuid)
  and (%(schools)s::text[] is null
       or (a.school_id, a.student_id) in (select * from unnest(%(schools)s, %(students)s::text[])))
"""
_CLASSES = """
select school_id, student_id, grade_level from served.mart_student_overview
where school_id = any(%(schools)s) and student_id = any(%(students)s)
"""
_SUBJECTS = """
select distinct school_id, student_id, grade_level, subject from served.mart_student_subjects
where school_id = any(%(schools)s) and student_id = any(%(students)s)
"""

Student = tuple[str, str]
"""School and number."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who looks after a student, who decided so, and since when."""

    school_id: str
    student_id: str
    user_id: UUID
    name: str
    assigned_by: str
    assigned_at: datetime


def assign(
    connection: Connection,
    settings: Settings,
    principal: Principal,
    school_id: str,
    student_id: str,
    user_id: UUID,
) -> Assignment:
    """Let a person look after a student from now on. That the principal may see the student is known.

    Raises:
        Conflict: the person may not see the student, or somebody else has assigned the student just now.
    """
    _refuse_stranger(connection, settings, school_id, student_id, user_id)
    try:
        with connection.transaction():
            present = _present(connection, school_id, student_id)
            if present is None or present.user_id != user_id:
                _end(connection, principal, school_id, student_id)
                connection.execute(
                    """
                    insert into ops.student_assignments
                        (assignment_id, school_id, student_id, user_id, assigned_by)
                    values (%s, %s, %s, %s, %s)
                    """,
                    (UUID(int=uuid7().int), school_id, student_id, user_id, principal.id),
                )
                _write_down(connection, settings, principal, school_id, student_id, f"user:{user_id}")
                present = _present(connection, school_id, student_id)
    except UniqueViolation:
        raise Conflict("Somebody else has assigned this student just now; look again.") from None
    assert present is not None  # noqa: S101 - it was there, or was inserted
    return present


def end_assignment(
    connection: Connection, settings: Settings, principal: Principal, school_id: str, student_id: str
) -> None:
    """Nobody looks after the student any more; nothing changes where nobody did."""
    with connection.transaction():
        if _end(connection, principal, school_id, student_id):
            _write_down(connection, settings, principal, school_id, student_id, None)


def present_assignments(
    connection: Connection,
    session: Connection,
    students: Iterable[Student] | None = None,
    *,
    of: UUID | None = None,
) -> dict[Student, Assignment]:
    """Who looks after whom now, by school and number, of the students whom the session sees.

    Whoever was disabled, or may not see the student any more, does not look after them.

    Args:
        connection: Laurel's own.
        session: of `elt.serving.sessions.reader`.
        students: only these.
        of: only of this person.

    Raises:
        NotFound: no run has built the marts yet.
    """
    keys = None if students is None else list(students)
    rows = connection.execute(_PRESENT, {"of": of, **_columns(keys)})
    found = {(row["school_id"], row["student_id"]): Assignment(**row) for row in rows}
    if not found:
        return {}
    people = {person.user_id: person for person in list_helpers(connection)}
    classes = _classes_of(session, found)
    likely = {
        student: person
        for student, assignment in found.items()
        if student in classes
        and (person := people.get(assignment.user_id))
        and may_look_after(person, student[0], classes[student])
    }
    # Marks are many, and few depend on them: those whose helper teaches one subject in their class.
    by_subject = [
        student
        for student, person in likely.items()
        if not may_look_after(person, student[0], classes[student], ())
    ]
    subjects = _subjects_of(session, by_subject) if by_subject else {}
    return {
        student: found[student]
        for student, person in likely.items()
        if may_look_after(person, student[0], classes[student], subjects.get((student, classes[student]), ()))
    }


def list_helpers(connection: Connection) -> list[UserRecord]:
    """Teachers and administrators who may sign in, by name."""
    found = [user for user in list_users(connection) if user.role in HELPERS and user.state == "active"]
    return sorted(found, key=lambda user: user.name)


def may_look_after(
    person: UserRecord, school_id: str, grade_level: str | None, subjects: Collection[str] | None = None
) -> bool:
    """Whether a helper sees a student of a class, who has marks in these subjects there.

    None: which these are is not asked, so that somebody is offered; `assign` asks what they see in truth.
    """
    if person.school_id not in (None, school_id):
        return False
    return person.role == "admin" or any(
        taught.school_id == school_id
        and taught.grade_level in (None, grade_level)
        and (subjects is None or taught.subject is None or taught.subject in subjects)
        for taught in person.assignments
    )


def _columns(students: Collection[Student] | None) -> dict[str, list[str] | None]:
    """As queries name students."""
    if students is None:
        return {"schools": None, "students": None}
    return {
        "schools": [school for school, _ in students],
        "students": [student for _, student in students],
    }


def _classes_of(session: Connection, students: Collection[Student]) -> dict[Student, str | None]:
    with in_built_marts():
        rows = session.execute(_CLASSES, _columns(students)).fetchall()
    return {(row["school_id"], row["student_id"]): row["grade_level"] for row in rows}


def _subjects_of(
    session: Connection, students: Collection[Student]
) -> dict[tuple[Student, str | None], set[str]]:
    """The subjects that students have marks in, by student and class."""
    subjects = defaultdict(set)
    with in_built_marts():
        for row in session.execute(_SUBJECTS, _columns(students)):
            student = (row["school_id"], row["student_id"])
            subjects[student, row["grade_level"]].add(row["subject"])
    return subjects


def _refuse_stranger(
    connection: Connection, settings: Settings, school_id: str, student_id: str, user_id: UUID
) -> None:
    refused = Conflict("Only a teacher or administrator who may see the student can look after them.")
    try:
        person = get_user(connection, user_id)
        if person.role not in HELPERS or person.state != "active":
            raise refused
        with reader(settings, principal_of(person)) as session:
            find_school(session, student_id, school_id)
    except NotFound:
        raise refused from None


def _present(connection: Connection, school_id: str, student_id: str) -> Assignment | None:
    row = connection.execute(
        """
        select a.school_id, a.student_id, a.user_id, u.name, a.assigned_by, a.assigned_at
        from ops.student_assignments as a join ops.users as u using (user_id)
        where a.school_id = %s and a.student_id = %s and a.ended_at is null for update of a
        """,
        (school_id, student_id),
    ).fetchone()
    return None if row is None else Assignment(**row)


def _end(connection: Connection, principal: Principal, school_id: str, student_id: str) -> bool:
    ended = connection.execute(
        """
        update ops.student_assignments set ended_by = %s, ended_at = now()
        where school_id = %s and student_id = %s and ended_at is null
        """,
        (principal.id, school_id, student_id),
    )
    return ended.rowcount > 0


def _write_down(
    connection: Connection,
    settings: Settings,
    principal: Principal,
    school_id: str,
    student_id: str,
    assigned_to: str | None,
) -> None:
    subject = person_subject(settings, "student", school_id, student_id)
    record(connection, principal.id, "assignments:write", subject, {"assigned_to": assigned_to})


def filter_by(
    connection: Connection, session: Connection, wanted: str, caller: UUID | None
) -> tuple[Sequence[Student] | None, Sequence[Student] | None]:
    """The students that a list is narrowed to, and those that are left out of it; None: no such bound.

    Args:
        connection: Laurel's own.
        session: that the list is read with.
        wanted: `mine`, `nobody` (who nobody looks after) or `all`.
        caller: whose `mine` are; None, a program, has none.

    Raises:
        NotFound: no run has built the marts yet.
    """
    if wanted == "mine":
        return list(present_assignments(connection, session, of=caller)) if caller else [], None
    if wanted == "nobody":
        return None, list(present_assignments(connection, session))
    return None, None
