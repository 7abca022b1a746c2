"""Uploads that the caller may know of: own ones, or those of the caller's school for who may see more."""

from __future__ import annotations

from uuid import UUID

from backend.access import principal, scope
from elt.contracts import get_contract, match_header
from elt.errors import NotFound
from elt.uploads.ledger import UploadRecord, VersionRecord, get_upload
from elt.warehouse import Connection


def find_visible(connection: Connection, upload_id: UUID) -> UploadRecord:
    """The upload, if the caller may know that it exists.

    Raises:
        NotFound: there is none, or it is another's; which of the two is not told.
    """
    record = get_upload(connection, upload_id)
    school = principal().school_id
    if record.uploader != principal().id and (
        scope() == "own" or (school is not None and record.school_id != school)
    ):
        raise NotFound(f"There is no upload {upload_id}.")
    return record


def find_own(connection: Connection, upload_id: UUID) -> UploadRecord:
    """The upload, if the caller may read its file and change it.

    A file may hold rows of several schools. One who is bound to a school gets those that others sent, also as
    a new version of the caller's own upload, only where nothing in them can be another school's.

    Raises:
        NotFound: there is none, or it is another's; which of the two is not told.
    """
    record = find_visible(connection, upload_id)
    if not is_whole(record):
        raise NotFound(f"There is no upload {upload_id}.")
    return record


def is_whole(record: UploadRecord) -> bool:
    """Whether all of a visible upload's rows are for the caller."""
    caller = principal()
    return caller.school_id is None or all(
        version.uploader == caller.id or _is_of_one_school(record, version, caller.school_id)
        for version in record.versions
    )


def _is_of_one_school(record: UploadRecord, version: VersionRecord, school: str) -> bool:
    """Handed in by somebody bound to the school, or known to have no column that names schools."""
    if version.bound_school_id == school:
        return True
    if version.detected is None:
        return False
    return "school_id" not in match_header(get_contract(record.dataset), version.detected["header"]).columns
