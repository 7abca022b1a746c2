"""Uploads that the caller may know of: own ones, or all for those who may see any."""

from __future__ import annotations

from uuid import UUID

from backend.access import may, principal
from elt.errors import NotFound
from elt.ledger import UploadRecord, get_upload
from elt.warehouse import Connection


def find_own(connection: Connection, upload_id: UUID) -> UploadRecord:
    """The upload, if the caller may know that it exists.

    Raises:
        NotFound: there is none, or it is another's; which of the two is not told.
    """
    record = get_upload(connection, upload_id)
    if record.uploader != principal().id and not may("uploads:any"):
        raise NotFound(f"There is no upload {upload_id}.")
    return record
