"""Events: their form, their names and their order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from uuid6 import uuid7

from elt.errors import LoadError
from elt.uploads.events import Event, id_time, next_id


def _event(**changes):
    values = {
        "event_id": UUID("01930f4a-1234-7abc-8def-0123456789ab"),
        "kind": "accepted",
        "upload_id": UUID("01930f4a-0000-7abc-8def-0123456789ab"),
        "occurred_at": datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC),
        "principal": "key:1",
        "body": {"title": "Größe ₦", "before": {}},
    }
    return Event(**{**values, **changes})


def test_an_event_survives_its_object():
    assert Event.from_bytes(_event().to_bytes()) == _event()


def test_the_key_names_the_day_and_the_event():
    assert _event().key == "events/2024-11-09/01930f4a-1234-7abc-8def-0123456789ab.json"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", _event().to_bytes().replace(b'"accepted"', b'"exploded"')]
)
def test_what_is_no_event_is_refused(content):
    with pytest.raises(LoadError, match="not an event"):
        Event.from_bytes(content)


def test_an_id_tells_its_time():
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    made = uuid7()  # one millisecond after the last one at least, so perhaps ahead of the clock
    assert before <= id_time(UUID(int=made.int)) == datetime.fromtimestamp(made.time / 1000, UTC)


def test_a_new_id_sorts_after_the_last_one_even_when_the_clock_was_set_back():
    tomorrow = int((datetime.now(UTC) + timedelta(days=1)).timestamp() * 1000)
    last = UUID(int=(tomorrow << 80) | (uuid7().int & ((1 << 80) - 1)))

    following = next_id(last)
    assert following > last
    assert (following.version, following.variant) == (7, last.variant)
    assert next_id(None) < last
