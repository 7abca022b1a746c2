"""What is delivered twice, at the same time, or changed on the way: every file counts once, and whole.

The six cells of this group, and where they are tested:

- duplicate: here; a load delivered twice in `test_loader_faults`; the same bytes again in
  `integration/test_lifecycle`, `integration/test_discover` and `test_upload_state_machine`
- eight loaders on one object: `test_loader_faults`
- same key, same bytes; same key, other bytes: here (Idempotency-Key, dropped file); a key of the store in
  `integration/test_store_contract`
- overwritten while it is read: here; on S3 in `test_store_s3_faults`; a dropped file in
  `integration/test_discover`
- overlapping runs: here up to the load; two builds at once in `integration/test_transform`
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from elt import pipeline
from elt.errors import Conflict
from elt.uploads.discover import discover
from elt.uploads.rejects import rejects_csv
from elt.warehouse import connect
from tests.conftest import Sender

BAD = "STU{:05},JSS1,Mathematics,First Term,20,40,61"  # total ≠ test + exam


def _at_once(count, act):
    """Do something in several threads at the same moment; its results or errors."""
    barrier = threading.Barrier(count)

    def wait_and_act(number):
        barrier.wait()
        try:
            return act(number)
        except Conflict as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_act, range(count)))


def _send(sender, content, **request):
    """Hand in on a connection of its own."""
    with connect(sender.settings.database_url.get_secret_value()) as connection:
        return Sender(sender.settings, connection, sender.store).send(content, **request)


def _objects(sender, prefix):
    return [item.key for item in sender.store.list(prefix)]


def _rows(sender):
    return sender.connection.execute("select count(*) as rows from raw.academic_history").fetchone()["rows"]


class _Joined:
    """A start that was read already, and the rest."""

    def __init__(self, start, rest):
        self._start, self._rest = io.BytesIO(start), rest

    def read(self, size):
        return self._start.read(size) or self._rest.read(size)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._rest.close()


@pytest.mark.parametrize("key", ["abc", None])
def test_of_equal_requests_at_once_one_becomes_an_upload(sender, history, key):
    answers = _at_once(8, lambda _: _send(sender, history(range(10)), idempotency_key=key))

    assert len({answer.upload_id for answer in answers}) == 1
    assert [answer.created for answer in answers].count(True) == 1
    assert (len(_objects(sender, "uploads/")), len(_objects(sender, "events/"))) == (1, 1)
    sender.load(answers[0].upload_id)
    assert _rows(sender) == 10


def test_of_other_requests_at_once_under_one_key_one_is_accepted_and_the_others_leave_nothing(
    sender, history
):
    answers = _at_once(8, lambda number: _send(sender, history([number]), idempotency_key="abc"))

    refused = [answer for answer in answers if isinstance(answer, Conflict)]
    assert len(refused) == 7
    assert (len(_objects(sender, "uploads/")), len(_objects(sender, "events/"))) == (1, 1)


def test_a_dropped_file_that_several_runs_find_at_once_is_one_upload_and_one_version(sender, history):
    for version, students in enumerate(([1, 2], [1, 2], [2, 3]), start=1):
        sender.store.put("drop/history.csv", [history(students).encode()], replace=True)
        found = _at_once(4, lambda _: discover(sender.settings, sender.store))
        waiting = {(item.upload_id, item.version) for items in found for item in items}
        for upload_id, number in waiting:
            sender.load(upload_id, number)
        assert len(waiting) == (0 if version == 2 else 1)

    assert sender.raw("academic_history", "student_id") == [("STU00002",), ("STU00003",)]
    assert len(_objects(sender, "uploads/")) == 2
    assert sender.connection.execute("select from ops.uploads").rowcount == 1


def test_the_same_correction_of_a_later_version_is_a_fix_of_that_version(sender, history):
    """The line that the first fix brought belongs to the version that was replaced."""
    parent = sender.hand_in(history(range(100), faults={3: BAD.format(3)}))
    rejects = b"".join(rejects_csv(sender.connection, sender.store, parent)).decode()
    fixed = rejects.replace(",40,61,", ",40,60,")
    first = sender.hand_in(fixed, fixes=parent)
    faults = {number: BAD.format(number) for number in (3, 93, 94, 95, 96, 97)}
    sender.replace(parent, history(range(100), faults=faults))
    assert sender.load(parent, 2).status == "rejected"

    again = sender.send(fixed, fixes=parent)
    assert again.created
    assert again.upload_id != first
    sender.load(again.upload_id)
    sender.load(parent, 2)
    assert sender.upload(parent).status == "loaded"
    assert _rows(sender) == 95


def test_an_object_overwritten_while_it_is_read_is_not_loaded(sender, history, monkeypatch):
    """By whoever has access to the folder: neither the mixture nor what stands there instead."""
    upload_id = sender.send(history(range(60_000))).upload_id
    path = sender.store.root / sender.upload(upload_id).current.object_key
    sound = path.read_bytes()

    def open_and_overwrite(key):
        stream = open_object(key)
        start = stream.read(1_500_000)
        with path.open("r+b") as file:
            file.write(sound.replace(b",40,60", b",39,59"))
        return _Joined(start, stream)

    open_object = sender.store.open
    with monkeypatch.context() as patched:
        patched.setattr(sender.store, "open", open_and_overwrite)
        outcome = sender.load(upload_id)
    assert outcome.status == "stored"
    assert "digest" in (outcome.reason or "")
    assert _rows(sender) == 0

    path.write_bytes(sound)
    assert sender.load(upload_id).counts.loaded == 60_000


def test_runs_that_overlap_load_everything_once(sender, history):
    """Uploads, a new version and a fix, found by four runs at once."""
    faults = {number: BAD.format(number) for number in (0, 1)}
    uploads = [
        sender.send(history(range(start, start + 100), faults=faults)).upload_id for start in (0, 100, 200)
    ]
    sender.replace(uploads[1], history(range(100, 220)))
    sender.load(uploads[0])
    rejects = b"".join(rejects_csv(sender.connection, sender.store, uploads[0])).decode()
    fix = sender.send(rejects.replace(",40,61,", ",40,60,"), fixes=uploads[0]).upload_id

    def run(_):
        plan = pipeline.begin(sender.settings, trigger="cli")
        for group in plan.groups:
            pipeline.load(sender.settings, plan.run_id, group)

    _at_once(4, run)
    _at_once(1, run)  # what another run was at when all looked

    assert [sender.upload(each).status for each in [*uploads, fix]] == ["loaded"] * 4
    loads = sender.connection.execute("select upload_id, version from ops.loads").fetchall()
    assert set(Counter(tuple(row.values()) for row in loads).values()) == {1}
    assert len(loads) == 5
    assert _rows(sender) == 100 + 120 + 100
