"""Bytes that never became an upload are removed, and nothing else ever is."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from uuid6 import uuid7

from elt.errors import DatabaseUnavailable, LoadError, TransientError
from elt.store.object_keys import new_object_key, upload_of_key
from elt.uploads import acts
from elt.uploads.claims import claim_replay
from elt.uploads.sweep import sweep
from elt.warehouse import connect

DAY = timedelta(days=1)


def _sweep(sender, after=3 * DAY):
    """Sweep as if so much time had gone by."""
    return sweep(sender.settings, sender.store, now=datetime.now(UTC) + after)


def _keys(sender):
    return {item.key for item in sender.store.list()}


def _id_of(age):
    return UUID(int=uuid7().int - (int(age.total_seconds() * 1000) << 80))


def _put(sender, key, age=timedelta()):
    sender.store.put(key, [b"Student ID\n1\n"])
    moment = (datetime.now(UTC) - age).timestamp()
    os.utime(sender.store.root / key, (moment, moment))
    return key


def _leftover(sender, *, upload_age, object_age):
    """What a receiver leaves that was killed between the last byte and the event."""
    return _put(sender, new_object_key(_id_of(upload_age), 1, "students.csv"), object_age)


def test_an_object_that_nothing_names_is_removed(sender, history):
    kept = sender.hand_in(history([1]))
    leftover = _leftover(sender, upload_age=3 * DAY, object_age=3 * DAY)

    assert _sweep(sender, timedelta()) == 1
    assert leftover not in _keys(sender)
    assert sender.upload(kept).current.object_key in _keys(sender)
    assert _sweep(sender, timedelta()) == 0


@pytest.mark.parametrize(
    ("upload_age", "object_age"),
    [
        pytest.param(timedelta(), timedelta(), id="just now"),
        pytest.param(9 * DAY, timedelta(), id="a new version of an old upload, or a body that came slowly"),
        pytest.param(timedelta(), 9 * DAY, id="a file system with a wrong clock"),
        pytest.param(1.5 * DAY, 1.5 * DAY, id="a body that came in parts for a day"),
    ],
)
def test_what_may_still_become_an_upload_is_left(sender, upload_age, object_age):
    key = _leftover(sender, upload_age=upload_age, object_age=object_age)

    assert _sweep(sender, timedelta()) == 0
    assert key in _keys(sender)


def test_whatever_is_in_the_ledger_stays_in_every_state(sender, history):
    upload = sender.hand_in(history([1, 2]))
    sender.replace(upload, history([1]))
    rejected = sender.hand_in("Student ID\n1\n")
    waiting = sender.send(history([3])).upload_id
    before = _keys(sender)

    assert sender.upload(rejected).status == "rejected"
    assert sender.upload(waiting).status == "stored"
    assert _sweep(sender) == 0
    assert _keys(sender) == before


def test_what_only_an_event_in_the_store_names_stays(sender, history, monkeypatch):
    def away(*_):
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(acts, "adopt_event", away)
        with pytest.raises(DatabaseUnavailable):
            sender.send(history([1]))
    before = _keys(sender)

    assert _sweep(sender) == 0
    assert _keys(sender) == before


def test_nothing_is_lost_where_the_database_is_new(sender, history):
    sender.hand_in(history([1]))
    sender.connection.execute("truncate ops.uploads, ops.upload_versions, ops.loads, ops.events cascade")
    before = _keys(sender)

    assert _sweep(sender) == 0
    assert _keys(sender) == before


@pytest.mark.parametrize(
    "key",
    [
        "students.csv",
        "students/students.csv",
        "marts/mart_student_risk.csv",
        "models/at_risk/1.skops",
        "uploads/students.csv",
        "uploads/2020-01-01/notes/1/students.csv",
        "uploads/2020-01-01/6f9619ff-8b86-4d01-b42d-00cf4fc964ff/1/students.csv",
    ],
)
def test_what_is_no_uploads_object_is_left(sender, key):
    _put(sender, key, 9 * DAY)

    assert _sweep(sender) == 0
    assert key in _keys(sender)


def test_where_an_event_cannot_be_read_nothing_is_removed(sender):
    key = _leftover(sender, upload_age=3 * DAY, object_age=3 * DAY)
    event = f"events/{datetime.now(UTC):%Y-%m-%d}/{uuid7()}.json"
    sender.store.put(event, [b"{}"])

    with pytest.raises(LoadError, match=event):
        _sweep(sender)
    assert key in _keys(sender)


def test_nothing_is_swept_while_a_replay_runs(sender):
    key = _leftover(sender, upload_age=3 * DAY, object_age=3 * DAY)
    with (
        connect(sender.settings.database_url.get_secret_value()) as other,
        claim_replay(other),
        pytest.raises(TransientError, match="replay"),
    ):
        _sweep(sender)
    assert key in _keys(sender)


def test_the_key_of_an_object_names_its_upload():
    upload_id = UUID(int=uuid7().int)
    assert upload_of_key(new_object_key(upload_id, 2, "a b.csv")) == upload_id
