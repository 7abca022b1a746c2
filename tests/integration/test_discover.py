"""Finding what waits: events the database does not know, files dropped into the store, killed loaders.

Everything on both kinds of store.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from uuid6 import uuid7

import elt.uploads.discover
from elt.errors import DatabaseUnavailable
from elt.settings import Settings
from elt.store.folder import FolderStore
from elt.uploads.claims import claim_family
from elt.uploads.discover import adopt_recent_events, discover
from elt.uploads.lifecycle import withdraw_upload
from elt.warehouse import connect


@pytest.fixture(params=["folder", "s3"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings with each kind of store, empty."""
    if request.param == "folder":
        return settings
    return settings.model_copy(update={"store_url": f"{request.getfixturevalue('bucket')}/laurel"})


def _file_of(store, key: str) -> Path | None:
    """Where a folder store keeps an object; None for S3."""
    return store.root / key if isinstance(store, FolderStore) else None


def _discover(sender):
    return [(item.upload_id, item.version) for item in discover(sender.settings, sender.store)]


def _forget(sender):
    """Lose all the database knows about uploads, as when the store was ahead of it."""
    sender.connection.execute(
        "truncate ops.uploads, ops.upload_versions, ops.events, ops.inbox_objects, ops.idempotency_keys, "
        "ops.loads, ops.row_issues, ops.fixed_lines, ops.splits, ops.split_parts, ops.split_findings, "
        "raw.academic_history, raw.academic_history__changed"
    )


def test_what_is_stored_waits_oldest_first(sender, history):
    first, second = (sender.send(history([number])).upload_id for number in range(2))
    sender.hand_in(history([3]))

    assert _discover(sender) == [(first, 1), (second, 1)]


def test_nothing_waits_when_all_is_loaded(sender, history):
    sender.hand_in(history([1]))

    assert _discover(sender) == []


def test_events_that_the_database_does_not_know_are_adopted_once(sender, history):
    accepted = sender.send(history([1]), title="kept", idempotency_key="abc").upload_id
    gone = sender.send(history([2])).upload_id
    withdraw_upload(sender.connection, sender.store, gone, sender.researcher)
    _forget(sender)

    assert _discover(sender) == [(accepted, 1)]
    assert sender.upload(accepted).title == "kept"
    assert sender.upload(gone).status == "withdrawn"
    assert sender.send(history([1]), title="kept", idempotency_key="abc").upload_id == accepted
    assert adopt_recent_events(sender.connection, sender.store) == 0


def test_an_upload_whose_answer_was_lost_is_adopted(sender, history, monkeypatch):
    from elt.uploads import acts

    def away(*_):
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(acts, "adopt_event", away)
        with pytest.raises(DatabaseUnavailable):
            sender.send(history([1, 2]))

    [(upload_id, version)] = _discover(sender)
    assert sender.load(upload_id, version).counts.loaded == 2


def test_an_adopted_upload_that_its_sender_has_sent_again_since_is_withdrawn(sender, monkeypatch):
    """Otherwise the rows of a dataset without a key would count twice."""
    from elt.uploads import acts

    content = (
        "gender,race/ethnicity,parental level of education,lunch,test preparation course,"
        "math score,reading score,writing score\nfemale,group B,high school,standard,none,50,70,70\n"
    )

    def away(*_):
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(acts, "adopt_event", away)
        with pytest.raises(DatabaseUnavailable):
            sender.send(content, "student_performance")
    again = sender.send(content, "student_performance").upload_id

    assert _discover(sender) == [(again, 1)]
    _forget(sender)
    assert _discover(sender) == [(again, 1)]


def test_only_recent_events_are_looked_at(sender, history, monkeypatch):
    sender.send(history([1]))
    adopt_recent_events(sender.connection, sender.store)
    long_ago = uuid7().int - (int(timedelta(days=9).total_seconds() * 1000) << 80)
    day = datetime.now(UTC) - timedelta(days=9)
    old = f"events/{day:%Y-%m-%d}/{UUID(int=long_ago)}.json"
    sender.store.put(old, [b"{}"])
    opened = []
    monkeypatch.setattr(
        sender.store, "open", lambda key, original=sender.store.open: opened.append(key) or original(key)
    )
    adopt_recent_events(sender.connection, sender.store)

    assert opened == []


def test_an_event_stranded_before_a_long_outage_is_adopted_although_a_newer_one_is_known(
    sender, history, monkeypatch
):
    from elt.uploads import acts, events

    def away(*_):
        raise DatabaseUnavailable("away")

    def of_days_ago(days):
        return UUID(int=uuid7().int - (int(timedelta(days=days).total_seconds() * 1000) << 80))

    with monkeypatch.context() as patched:
        patched.setattr(events, "uuid7", lambda: of_days_ago(3))
        sender.hand_in(history([3]))
    assert _discover(sender) == []
    with monkeypatch.context() as patched:
        patched.setattr(acts, "adopt_event", away)
        patched.setattr(events, "uuid7", lambda: of_days_ago(2))
        with pytest.raises(DatabaseUnavailable):
            sender.send(history([1]))
    newer = sender.send(history([2])).upload_id

    found = _discover(sender)
    assert len(found) == 2
    assert (newer, 1) in found
    assert adopt_recent_events(sender.connection, sender.store) == 0


def test_an_object_that_is_no_event_stops_nobody(sender, history):
    today = datetime.now(UTC)
    sender.store.put(f"events/{today:%Y-%m-%d}/{UUID(int=uuid7().int)}.json", [b"not json"])
    sender.store.put(f"events/{today:%Y-%m-%d}/readme.txt", [b"hello"])
    upload_id = sender.send(history([1])).upload_id
    _forget(sender)

    assert _discover(sender) == [(upload_id, 1)]


def test_an_event_about_an_unknown_upload_stops_nobody(sender, history):
    upload_id = sender.send(history([1])).upload_id
    event = {
        "format": 1, "event_id": str(UUID(int=uuid7().int)), "kind": "withdrawn", "principal": "key:1",
        "upload_id": str(UUID(int=uuid7().int)), "occurred_at": "2026-11-20T10:00:00+00:00", "body": {},
    }  # fmt: skip
    sender.store.put(
        f"events/{datetime.now(UTC):%Y-%m-%d}/{event['event_id']}.json", [json.dumps(event).encode()]
    )

    assert _discover(sender) == [(upload_id, 1)]


def test_more_than_a_batch_of_events_is_adopted(sender, history, monkeypatch):
    monkeypatch.setattr(elt.uploads.discover, "_BATCH", 20)
    first = sender.send(history([1])).upload_id
    [event] = sender.connection.execute("select * from ops.events").fetchall()
    for number in range(45):
        event_id, upload_id = UUID(int=uuid7().int), UUID(int=uuid7().int)
        body = {
            **event["body"],
            "object": {**event["body"]["object"], "key": f"uploads/{number}", "sha256": str(number)},
        }
        document = {
            "format": 1, "event_id": str(event_id), "kind": "accepted", "principal": "key:1",
            "upload_id": str(upload_id), "occurred_at": event["occurred_at"].isoformat(), "body": body,
        }  # fmt: skip
        sender.store.put(
            f"events/{datetime.now(UTC):%Y-%m-%d}/{event_id}.json", [json.dumps(document).encode()]
        )

    found = _discover(sender)
    assert len(found) == 46
    assert (first, 1) in found


def test_a_version_left_by_a_killed_loader_waits_again_but_not_one_that_is_being_loaded(sender, history):
    left, busy = (sender.send(history([number])).upload_id for number in range(2))
    sender.connection.execute("update ops.upload_versions set status = 'loading'")

    with (
        connect(sender.settings.database_url.get_secret_value()) as loader,
        claim_family(loader, busy) as is_mine,
    ):
        assert is_mine
        assert _discover(sender) == [(left, 1)]
    assert _discover(sender) == [(left, 1), (busy, 1)]


@pytest.mark.parametrize(
    "key", ["academic_history/x.csv", "2026/academic_history_data.csv", "drop/Scores.CSV"]
)
def test_a_file_dropped_into_the_store_becomes_an_upload(sender, history, key):
    sender.store.put(key, [history([1, 2]).encode()])

    [(upload_id, version)] = _discover(sender)
    assert sender.load(upload_id, version).counts.loaded == 2
    upload = sender.upload(upload_id)
    assert (upload.uploader, upload.origin, upload.dataset) == ("inbox", "inbox", "academic_history")
    assert upload.current.filename == key.rpartition("/")[2]
    assert sender.store.exists(key)
    assert _discover(sender) == []


def test_the_same_name_with_other_bytes_is_a_new_version(sender, history):
    sender.store.put("drop/history.csv", [history([1]).encode()])
    [(upload_id, _)] = _discover(sender)
    sender.load(upload_id)
    sender.store.put("drop/history.csv", [history([1, 2]).encode()], replace=True)

    assert _discover(sender) == [(upload_id, 2)]


def test_the_same_bytes_under_another_name_are_one_upload_that_only_the_first_name_replaces(sender, history):
    sender.store.put("a/history.csv", [history([1]).encode()])
    [(first, _)] = _discover(sender)
    sender.load(first)
    sender.store.put("b/history.csv", [history([1]).encode()])
    assert _discover(sender) == []

    sender.store.put("b/history.csv", [history([2]).encode()], replace=True)
    [(second, version)] = _discover(sender)
    assert second != first
    assert version == 1


def test_a_file_of_no_known_dataset_is_reported_once(sender):
    sender.store.put("notes/shopping.csv", [b"item,price\nmilk,2\n"])

    assert _discover(sender) == []
    [row] = sender.connection.execute("select * from ops.inbox_objects").fetchall()
    assert row["object_key"] == "notes/shopping.csv"
    assert "folder of the dataset's name" in row["reason"]
    assert _discover(sender) == []
    assert len(sender.connection.execute("select * from ops.inbox_objects").fetchall()) == 1


def test_a_broken_file_in_a_datasets_folder_is_an_upload_that_is_rejected(sender):
    sender.store.put("students/broken.csv", [b"PK\x03\x04"])

    [(upload_id, _)] = _discover(sender)
    assert sender.load(upload_id).status == "rejected"


def test_what_laurel_itself_wrote_is_no_inbox(sender):
    for key in ("marts/mart_risk.csv", "uploads/2026-01-01/x.csv", "models/a.csv", "events/b.csv"):
        sender.store.put(key, [b"a\n1\n"])

    assert _discover(sender) == []
    assert sender.connection.execute("select * from ops.inbox_objects").fetchall() == []


def test_files_around_our_own_folders_are_found(sender, history):
    for number, key in enumerate(
        ("aaa.csv", "eventsx/a.csv", "marts2.csv", "nnn/b.csv", "uploadsx.csv", "zzz/z.csv")
    ):
        sender.store.put(key, [history([number]).encode()])
    sender.send(history([99]))

    assert len(_discover(sender)) == 7


def test_a_dropped_file_that_is_still_growing_waits(sender, history, monkeypatch):
    sender.store.put("drop/history.csv", [history([1]).encode()])
    path = _file_of(sender.store, "drop/history.csv")
    put = sender.store.put

    def put_while_it_grows(key, chunks, **options):
        stored = put(key, chunks, **options)
        if path is None:
            put("drop/history.csv", [history([1, 2]).encode()], replace=True)
        else:
            with path.open("ab") as file:
                file.write(b"STU00002,JSS1,Mathematics,First Term,20,40,60\n")
        return stored

    with monkeypatch.context() as patched:
        patched.setattr(sender.store, "put", put_while_it_grows)
        assert _discover(sender) == []
    assert list(sender.store.list("uploads/")) == []

    [(upload_id, _)] = _discover(sender)
    assert sender.load(upload_id).counts.loaded == 2


def test_a_withdrawn_file_does_not_come_back_when_only_its_time_changes(sender, history):
    """As after the store's folder was copied, or after a replay that does not know the newer time."""
    sender.store.put("drop/history.csv", [history([1]).encode()])
    [(upload_id, _)] = _discover(sender)
    sender.load(upload_id)
    withdraw_upload(sender.connection, sender.store, upload_id, sender.admin)
    before = {item.key for item in sender.store.list("uploads/")}
    if path := _file_of(sender.store, "drop/history.csv"):
        os.utime(path, (1, 1))
    else:
        sender.store.put("drop/history.csv", [history([1]).encode()], replace=True)

    assert _discover(sender) == []
    assert sender.connection.execute("select * from ops.uploads").rowcount == 1
    assert {item.key for item in sender.store.list("uploads/")} == before


def test_a_dropped_file_that_is_set_back_to_earlier_bytes_is_a_new_version(sender, history):
    for version, students in enumerate(([1], [1, 2], [1]), start=1):
        sender.store.put("drop/history.csv", [history(students).encode()], replace=True)
        [(upload_id, found)] = _discover(sender)
        assert found == version
        sender.load(upload_id, version)
