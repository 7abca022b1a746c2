"""Replay: the ledger and raw again, from the store alone."""

from __future__ import annotations

import threading
import time

import pytest
from pydantic import SecretStr

from elt.errors import Conflict, TransientError
from elt.people.principals import Principal
from elt.uploads.discover import discover
from elt.uploads.lifecycle import amend_upload, approve_upload, withdraw_upload
from elt.uploads.rejects import rejects_csv
from elt.uploads.replay import replay
from elt.warehouse import connect

SECOND = Principal("key:second", "admin")
BAD = "STU{:05},JSS1,Mathematics,First Term,20,40,61"


def _fixed(sender, upload_id):
    text = b"".join(rejects_csv(sender.connection, sender.store, upload_id)).decode()
    return text.replace(",40,61,", ",40,60,")


@pytest.fixture
def lived(sender, history):
    """A store in which everything has happened; times, ids of lines and of runs apart it must come back."""
    researcher, store, connection = sender.researcher, sender.store, sender.connection
    faults = {number: BAD.format(number) for number in (3, 5, 7)}
    parent = sender.hand_in(history(range(100), faults=faults), title="first")
    sender.hand_in(_fixed(sender, parent), fixes=parent)
    overriding = sender.hand_in(history(range(10, 20), exam=50))
    withdraw_upload(connection, store, overriding, researcher)
    never_loaded = sender.send(history(range(300, 310))).upload_id
    withdraw_upload(connection, store, never_loaded, researcher)

    replaced = sender.hand_in(history(range(400, 560), faults={401: BAD.format(401)}))
    sender.hand_in(_fixed(sender, replaced), fixes=replaced)
    sender.replace(replaced, history(range(410, 560)))
    sender.load(replaced, 2)
    sender.replace(replaced, history(range(410, 430)))
    assert sender.load(replaced, 3).status == "held"
    sender.replace(replaced, "Student ID\n")
    assert sender.load(replaced, 4).status == "rejected"

    approved = sender.hand_in(history(range(600, 800)))
    sender.replace(approved, history(range(600, 650)))
    assert sender.load(approved, 2).status == "held"
    approve_upload(connection, store, approved, SECOND)
    sender.load(approved, 2)

    over_limit = sender.hand_in(history(range(900, 920), faults={n: BAD.format(n) for n in range(900, 905)}))
    fix = sender.hand_in(_fixed(sender, over_limit), fixes=over_limit)
    sender.load(over_limit)
    assert sender.upload(over_limit).status == "loaded"
    withdraw_upload(connection, store, fix, researcher)
    amend_upload(connection, store, parent, researcher, "amended", "note")
    sender.store.put("students/broken.csv", [b"PK\x03\x04"])
    return sender


def _state(url):
    """All that must be equal: raw without times, and the ledger without line numbers of its own."""
    queries = {
        "raw": "select to_jsonb(r) - '_loaded_at' as row from raw.academic_history r",
        "uploads": "select to_jsonb(u) - '{withdrawn_at}'::text[] as row from ops.uploads u",
        "versions": "select to_jsonb(v) - '{loading_at,loaded_at,run_id,attempts}'::text[] as row "
        "from ops.upload_versions v",
        "loads": "select to_jsonb(l) - '{load_id,created_at,build_run_id,built_at}'::text[] as row "
        "from ops.loads l",
        "issues": "select to_jsonb(i) as row from ops.row_issues i",
        "events": "select to_jsonb(e) as row from ops.events e",
        "fixed": "select to_jsonb(f) as row from ops.fixed_lines f",
        "inbox": "select to_jsonb(i) - 'seen_at' as row from ops.inbox_objects i",
        "changed": "select to_jsonb(c) - 'load_id' || jsonb_build_object('u', l.upload_id, 'v', l.version) "
        "as row "
        "from raw.academic_history__changed c join ops.loads l using (load_id)",
    }
    with connect(url) as connection:
        return {
            name: sorted(str(row["row"]) for row in connection.execute(query))
            for name, query in queries.items()
        }


def test_an_empty_database_is_rebuilt_from_the_store(lived, empty_database_url):
    before = _state(lived.settings.database_url.get_secret_value())
    assert len(before["raw"]) > 200
    said = []

    elsewhere = lived.settings.model_copy(update={"database_url": SecretStr(empty_database_url)})
    report = replay(elsewhere, lived.store, progress=said.append)

    after = _state(empty_database_url)
    for name, rows in before.items():
        assert after[name] == rows, name
    assert report.rows == len(before["raw"])
    assert report.versions["held"] == 1
    assert said


def test_a_database_that_holds_uploads_is_left_alone(lived):
    with pytest.raises(Conflict, match="holds"):
        replay(lived.settings, lived.store)


def test_wiping_first_gives_the_same_again(lived):
    url = lived.settings.database_url.get_secret_value()
    before = _state(url)
    replay(lived.settings, lived.store, wipe=True)

    assert _state(url) == before


def test_nothing_is_adopted_again_after_a_replay(lived, empty_database_url):
    elsewhere = lived.settings.model_copy(update={"database_url": SecretStr(empty_database_url)})
    discover(lived.settings, lived.store)
    replay(elsewhere, lived.store)

    assert discover(elsewhere, lived.store) == []


def test_nothing_is_discovered_while_a_replay_runs(lived):
    url = lived.settings.database_url.get_secret_value()
    before = _state(url)
    refused = []

    def look_beside(_text):
        with pytest.raises(TransientError, match="A replay is running"):
            discover(lived.settings, lived.store)
        refused.append(True)

    replay(lived.settings, lived.store, progress=look_beside, wipe=True)

    assert refused
    assert _state(url) == before
    assert len(discover(lived.settings, lived.store)) == 1  # students/broken.csv


def test_a_replay_waits_for_a_discovery_that_is_under_way(lived, monkeypatch):
    url = lived.settings.database_url.get_secret_value()
    started = []

    def adopt_while_a_replay_starts(_settings, connection, _store):
        thread = threading.Thread(target=replay, args=(lived.settings, lived.store), kwargs={"wipe": True})
        thread.start()
        started.append(thread)
        waiting = (
            "select from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock' and not granted"
        )
        while thread.is_alive() and not connection.execute(waiting).rowcount:
            time.sleep(0.02)
        assert thread.is_alive()
        assert connection.execute("select from ops.uploads").rowcount
        return 0

    before = _state(url)
    with monkeypatch.context() as patched:
        patched.setattr("elt.uploads.discover.adopt_inbox", adopt_while_a_replay_starts)
        discover(lived.settings, lived.store)
    started[0].join()

    assert _state(url) == before
