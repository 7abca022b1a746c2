"""Notes about students. Each is kept with who wrote it and when, also after it was taken back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from uuid6 import uuid7

from elt.audit.trail import person_subject, record
from elt.errors import Conflict, NotFound
from elt.people.principals import Principal
from elt.settings import Settings
from elt.warehouse import Connection


@dataclass(frozen=True, slots=True)
class Note:
    """One note. `taken_back_at`: since when it does not stand; None: it stands."""

    note_id: UUID
    school_id: str
    student_id: str
    note: str
    written_by: str
    created_at: datetime
    taken_back_by: str | None = None
    taken_back_at: datetime | None = None


def add_note(
    connection: Connection,
    settings: Settings,
    principal: Principal,
    school_id: str,
    student_id: str,
    note: str,
) -> Note:
    """Keep a note. That the principal may see the student is known to the caller."""
    with connection.transaction():
        row = connection.execute(
            """
            insert into ops.student_notes (note_id, school_id, student_id, note, written_by)
            values (%s, %s, %s, %s, %s)
            returning *
            """,
            (UUID(int=uuid7().int), school_id, student_id, note, principal.id),
        ).fetchone()
        assert row is not None  # noqa: S101 - an insert that returns
        added = Note(**row)
        subject = person_subject(settings, "student", school_id, student_id)
        record(connection, principal.id, "notes:write", subject, {"note": added.note_id})
    return added


def list_notes(connection: Connection, school_id: str, student_id: str) -> list[Note]:
    """All notes about a student, newest first, those that were taken back too."""
    rows = connection.execute(
        "select * from ops.student_notes where school_id = %s and student_id = %s order by note_id desc",
        (school_id, student_id),
    )
    return [Note(**row) for row in rows]


def read_note(connection: Connection, note_id: UUID) -> Note:
    """One note.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute("select * from ops.student_notes where note_id = %s", (note_id,)).fetchone()
    if row is None:
        raise NotFound(no_note(note_id))
    return Note(**row)


def no_note(note_id: UUID) -> str:
    """What is said of a note that is not there, or not for this person."""
    return f"There is no note {note_id}."


def take_back_note(connection: Connection, settings: Settings, principal: Principal, note_id: UUID) -> Note:
    """Say that a note does not stand any more; its text is kept.

    That the principal may see the student is known to the caller.

    Raises:
        NotFound: there is no such note.
        Conflict: it is somebody else's, or taken back already.
    """
    with connection.transaction():
        note = read_note(connection, note_id)
        if note.written_by != principal.id and principal.role != "admin":
            raise Conflict("Only who wrote a note, or an administrator, takes it back.")
        row = connection.execute(
            """
            update ops.student_notes set taken_back_by = %s, taken_back_at = now()
            where note_id = %s and taken_back_at is null
            returning *
            """,
            (principal.id, note_id),
        ).fetchone()
        if row is None:
            raise Conflict(f"The note {note_id} is taken back already.")
        subject = person_subject(settings, "student", note.school_id, note.student_id)
        record(connection, principal.id, "notes:write", subject, {"note": note_id, "taken_back": True})
    return Note(**row)
