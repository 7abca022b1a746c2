"""What happens to uploads, one JSON object per event, in the store before the database hears of it.

An event is written once and never changed. All of an upload's life can be told again from its events and
its bytes alone, so the database may be lost at any point: `elt.uploads.discover` adopts what it does not
know, `elt.uploads.replay` adopts everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args
from uuid import UUID

from uuid6 import uuid7

from elt.errors import LoadError
from elt.store.base import Store

PREFIX = "events/"
FORMAT = 1

EventKind = Literal[
    "accepted", "adopted", "fixed", "replaced", "amended", "held", "approved", "withdrawn",
    "erasing", "erased",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `event_id` is a UUID version 7 that sorts after all events known when it was made.

    `upload_id` is the erasure's id where a person is to be erased (`erasing`). `principal` is who did it.
    `body` holds plain JSON values only; what it holds depends on the kind and is documented where the kind is
    applied (`elt.uploads.apply`).
    """

    event_id: UUID
    kind: EventKind
    upload_id: UUID
    occurred_at: datetime
    principal: str
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """The name of the event's object; keys sort in the order of the events."""
        return f"{PREFIX}{id_time(self.event_id):%Y-%m-%d}/{self.event_id}.json"

    def to_bytes(self) -> bytes:
        """The content of the event's object."""
        document = {
            "format": FORMAT,
            "event_id": str(self.event_id),
            "kind": self.kind,
            "upload_id": str(self.upload_id),
            "occurred_at": self.occurred_at.isoformat(),
            "principal": self.principal,
            "body": self.body,
        }
        return json.dumps(document, ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Event:
        """Read an event's object.

        Raises:
            LoadError: the object is not an event that this version of the code can read.
        """
        try:
            document = json.loads(content)
            if document["format"] != FORMAT or document["kind"] not in get_args(EventKind):
                raise ValueError("unknown format or kind")
            return cls(
                event_id=UUID(document["event_id"]),
                kind=document["kind"],
                upload_id=UUID(document["upload_id"]),
                occurred_at=datetime.fromisoformat(document["occurred_at"]),
                principal=document["principal"],
                body=document["body"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise LoadError("An object under events/ is not an event this version can read.") from error


def id_time(identifier: UUID) -> datetime:
    """The moment inside a UUID version 7, to the millisecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=identifier.int >> 80)


def next_id(after: UUID | None) -> UUID:
    """A new UUID version 7 that sorts after `after`, also when the clock has been set back."""
    fresh = UUID(int=uuid7().int)
    if after is None or fresh > after:
        return fresh
    # One millisecond later than `after`, with the fresh random part: version and variant bits stay.
    return UUID(int=(((after.int >> 80) + 1) << 80) | (fresh.int & ((1 << 80) - 1)))


def write_event(store: Store, event: Event) -> None:
    """Put the event into the store. Writing the same event twice is one event."""
    store.put(event.key, [event.to_bytes()], media_type="application/json")


def read_event(store: Store, key: str) -> Event:
    """Read one event by its object's key."""
    with store.open(key) as stream:
        return Event.from_bytes(stream.read())


def list_event_keys(store: Store, since: datetime | None = None) -> Iterator[tuple[UUID, str]]:
    """Ids and keys of the events from the day of `since` on, oldest first. Other objects are left out."""
    after = None if since is None else f"{PREFIX}{since:%Y-%m-%d}"
    for item in store.list(PREFIX, after=after):
        name = item.key.rpartition("/")[2]
        if name.endswith(".json"):
            try:
                yield UUID(name.removesuffix(".json")), item.key
            except ValueError:
                continue
