"""Carry a file from the request into the store, and make it an upload there.

The order is what the platform promises: bytes whole in the store, event in the store, database, answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Generic
from uuid import UUID

from flask import request

from backend.bodies import open_submission
from backend.errors import InvalidRequest
from backend.metrics import count_upload
from backend.operations import Model, parse_fields
from backend.services import services
from elt.errors import DatabaseUnavailable
from elt.log import get_logger
from elt.store.base import StoredObject
from elt.store.object_keys import new_object_key
from elt.uploads.events import Event, list_event_keys, read_event

_log = get_logger(__name__)


class Arrival(Generic[Model]):
    """A file on its way into the store, with what its sender says about it."""

    def __init__(self, model: type[Model]) -> None:
        """Begin to read the request. Nothing is read if the store is away or the file is announced too large.

        Raises:
            LaurelError: any of `open_submission`, or what was said about the file is wrong.
        """
        self._model = model
        services().store.check()
        self._submission = open_submission(services().settings.max_upload_bytes)
        self.said: Model | None = self._said_so_far()

    @property
    def media_type(self) -> str | None:
        """What the sender calls the file's kind; nothing is concluded from it."""
        return self._submission.media_type

    @property
    def filename(self) -> str:
        """The name that the form or the query gives the file."""
        named = self._submission.filename or request.args.get("filename")
        plain = (named or "").replace("\x00", "").replace("\\", "/").rpartition("/")[2]
        return plain[-200:] or "upload.csv"

    def store(
        self, upload_id: UUID, version: int, check: Callable[[Model], object] | None = None
    ) -> tuple[StoredObject, Model]:
        """Stream the file into the store. What is wrong with it or its form leaves nothing there.

        Args:
            upload_id: the upload it will be.
            version: and which version of it.
            check: gets all that was said; what it raises refuses the file like any other fault.

        Returns:
            The object, and all that was said about it.
        """
        key = new_object_key(upload_id, version, self.filename)
        said: list[Model] = []
        stored = services().store.put(
            key,
            self._blocks(said.append, check),
            media_type="text/csv",
            expected_sha256=self._submission.expected_sha256,
        )
        count_upload(stored.size)
        _log.info("upload_stored", upload_id=str(upload_id), version=version, size_bytes=stored.size)
        return stored, said[0]

    def _blocks(
        self, when_whole: Callable[[Model], None], check: Callable[[Model], object] | None
    ) -> Iterator[bytes]:
        yield from self._submission.blocks()
        said = parse_fields(self._model, self._submission.fields)
        if check is not None:
            check(said)
        when_whole(said)

    def _said_so_far(self) -> Model | None:
        """What is known before the file begins; None if a form may still say the rest behind it.

        Raises:
            InvalidRequest: it is wrong already.
        """
        try:
            return parse_fields(self._model, self._submission.fields)
        except InvalidRequest as error:
            is_form = request.mimetype == "multipart/form-data"
            if is_form and all(issue.rule == "missing" for issue in error.issues):
                return None
            raise


def find_event(stored: StoredObject) -> Event | None:
    """The event that records this object, if it was written before the database went away."""
    store = services().store
    newest = sorted(list_event_keys(store, since=datetime.now(UTC) - timedelta(days=1)), reverse=True)
    for _event_id, key in newest[:200]:
        event = read_event(store, key)
        if event.body.get("object", {}).get("key") == stored.key:
            return event
    return None


def survived(error: DatabaseUnavailable, upload_id: UUID, stored: StoredObject) -> Event:
    """The database went away after the bytes were stored: return the event that will be adopted later.

    Raises:
        DatabaseUnavailable: there is no event yet; the object is removed, and the sender must try again.
    """
    event = find_event(stored)
    if event is None:
        services().store.delete(stored.key)
        raise error
    _log.warning("database_lost_after_event", upload_id=str(upload_id), event_id=str(event.event_id))
    return event
