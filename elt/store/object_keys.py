"""Where things stand in the store; an upload's bytes: `uploads/<day>/<upload id>/<version>/<file name>`."""

from __future__ import annotations

import re
import secrets
from uuid import UUID

from elt.uploads.events import id_time

PREFIX = "uploads/"

BACKUPS = "backups/"
"""Backups of the databases (`elt.backup`). Nobody is searched in them: they forget by their own cycle."""

OWN_FOLDERS = ("audit/", BACKUPS, "events/", "marts/", "models/", PREFIX)
"""Laurel's own folders. Whatever else is dropped into the store may be a file that somebody hands in."""


def new_object_key(upload_id: UUID, version: int, filename: str) -> str:
    """Where a version's bytes go. Objects are never changed, so two racing versions never share a key."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", filename.replace("\\", "/").rpartition("/")[2]).strip("._")[-100:]
    unique = "" if version == 1 else f"{secrets.token_hex(4)}-"
    return f"{PREFIX}{id_time(upload_id):%Y-%m-%d}/{upload_id}/{version}/{unique}{safe or 'file.csv'}"


def upload_of_key(key: str) -> UUID | None:
    """The upload that an object belongs to; None if the key is not of the form `new_object_key` gives."""
    parts = key.removeprefix(PREFIX).split("/")
    if not key.startswith(PREFIX) or len(parts) != 4:
        return None
    day, identifier, version, _ = parts
    try:
        upload_id = UUID(identifier)
    except ValueError:
        return None
    is_ours = upload_id.version == 7 and str(upload_id) == identifier and version.isdecimal()
    return upload_id if is_ours and day == f"{id_time(upload_id):%Y-%m-%d}" else None
