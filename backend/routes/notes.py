"""Notes about students: kept with who wrote them and when; taken back, but never deleted."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint

from backend.access import allow, principal
from backend.operations import Answer, operation
from backend.routes.students import find_seen, seen_school
from backend.schemas.notes import NewNote, NoteList, NoteModel
from backend.schemas.students import SchoolQuery, StudentQuery
from backend.services import services
from elt.errors import NotFound
from elt.serving.notes import Note, add_note, list_notes, no_note, read_note, take_back_note

notes = Blueprint("notes", __name__)


@notes.get("/students/<path:student_id>/notes")
@allow("notes:read")
@operation(
    "List notes about a student",
    {200: Answer("All of them, newest first.", NoteList)},
    query=StudentQuery,
    problems=(409,),
)
def show_notes(student_id: str, query: StudentQuery) -> NoteList:
    """Those that were taken back, too."""
    school_id = seen_school(student_id, query.school, query.reason)
    with services().connection() as connection:
        found = list_notes(connection, school_id, student_id)
    return NoteList(items=[NoteModel.model_validate(note) for note in found])


@notes.post("/students/<path:student_id>/notes")
@allow("notes:write")
@operation(
    "Write a note about a student",
    {201: Answer("It is kept.", NoteModel)},
    query=SchoolQuery,
    body=NewNote,
    problems=(409,),
)
def write_note(student_id: str, query: SchoolQuery, body: NewNote) -> tuple[NoteModel, int]:
    """By whom and when is kept."""
    school_id = seen_school(student_id, query.school)
    with services().connection() as connection:
        added = add_note(connection, services().settings, principal(), school_id, student_id, body.note)
    return NoteModel.model_validate(added), 201


@notes.delete("/notes/<uuid:note_id>")
@allow("notes:write")
@operation(
    "Take a note back",
    {200: Answer("It does not stand any more; its text is kept.", NoteModel)},
    description="By who wrote it, or an administrator.",
    problems=(404, 409),
)
def take_back(note_id: UUID) -> NoteModel:
    """Who took it back and when is kept."""
    return NoteModel.model_validate(take_back_seen(note_id))


def take_back_seen(note_id: UUID) -> Note:
    """Take back a note about a student whom the caller sees."""
    with services().reader(principal()) as session, services().connection() as connection:
        note = read_note(connection, note_id)
        try:
            find_seen(session, note.student_id, note.school_id, None)
        except NotFound:
            raise NotFound(no_note(note_id)) from None
        return take_back_note(connection, services().settings, principal(), note_id)
