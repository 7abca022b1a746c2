"""Whatever a loader needs may go away or be damaged: every upload loads exactly once.

Deaths at named points are in `test_process_death`, of the database in `test_postgres_faults`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.copy import LibpqWriter

from elt.errors import DatabaseUnavailable, DiskFull
from elt.loading import rows as load_rows
from elt.loading.loader import load_version
from elt.uploads.discover import discover
from elt.uploads.lifecycle import withdraw_upload
from elt.warehouse import connect

# Runs a load in a process of its own.
_LOADER = """
import sys
from uuid import UUID
from elt.loading.loader import load_version
from elt.settings import load_settings
from elt.store.base import open_store

settings = load_settings()
print("ready", flush=True)
load_version(settings, open_store(settings.resolved_store_url), UUID(sys.argv[1]), 1)
"""

ROWS = 60_000


def _start(sender, upload_id):
    environment = os.environ | {
        "LAUREL_HOME": str(sender.settings.home),
        "LAUREL_DATABASE_URL": sender.settings.database_url.get_secret_value(),
        "LAUREL_SECRET_KEY": sender.settings.secret_key.get_secret_value(),
        "LAUREL_PSEUDONYM_KEY": sender.settings.pseudonym_key.get_secret_value(),
        "LAUREL_STORE_URL": sender.settings.store_url,
    }
    return subprocess.Popen(
        [sys.executable, "-c", _LOADER, str(upload_id)], env=environment, stdout=subprocess.PIPE
    )


def _sessions(sender):
    return sender.connection.execute(
        "select pid, state from pg_stat_activity "
        "where datname = current_database() and application_name = 'laurel-loader'"
    ).fetchall()


def _wait_until_gone(sender):
    """A server process notices its dead client when it next reads or writes."""
    deadline = time.monotonic() + 120
    while _sessions(sender):
        assert time.monotonic() < deadline, "a loader's session lives on"
        time.sleep(0.02)


def _recover(sender):
    """What the next run does."""
    for item in discover(sender.settings, sender.store):
        load_version(sender.settings, sender.store, item.upload_id, item.version)


def _assert_sound(sender, upload_id, rows):
    """The oracle: all rows once, one outcome, one line in the ledger, nothing left over."""
    [found] = sender.connection.execute(
        "select count(*) as rows, count(distinct _line) as lines, count(distinct _upload_id) as uploads "
        "from raw.academic_history"
    ).fetchall()
    assert tuple(found.values()) == (rows, rows, 1)
    assert sender.upload(upload_id).status == "loaded"
    loads = sender.connection.execute("select upload_id, kind, rows from ops.loads").fetchall()
    assert [tuple(row.values()) for row in loads] == [(upload_id, "load", rows)]
    _wait_until_gone(sender)
    temporary = sender.connection.execute(
        "select relname from pg_class where relpersistence = 't'"
    ).fetchall()
    assert temporary == []


def test_loaders_killed_at_random_moments_of_a_long_load_load_once_in_the_end(sender, history):
    chance = random.Random(20261120)
    upload_id = sender.send(history(range(ROWS))).upload_id
    for _ in range(4):
        loader = _start(sender, upload_id)
        assert loader.stdout is not None
        assert loader.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0, 0.5))
        loader.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
        loader.wait(timeout=60)
        _wait_until_gone(sender)
        if sender.upload(upload_id).status == "loaded":
            break

    _recover(sender)
    _assert_sound(sender, upload_id, ROWS)


def test_eight_racing_loaders_commit_once(sender, history):
    upload_id = sender.send(history(range(5000))).upload_id
    barrier = threading.Barrier(8)

    def load(_):
        barrier.wait()
        return load_version(sender.settings, sender.store, upload_id, 1).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(load, range(8)))

    assert statuses.count("loaded") >= 1
    assert set(statuses) <= {"loaded", "loading", "stored"}
    _assert_sound(sender, upload_id, 5000)


def test_a_load_delivered_twice_is_one_load(sender, history):
    upload_id = sender.hand_in(history(range(10)))

    again = sender.load(upload_id)
    assert (again.status, again.counts.loaded) == ("loaded", 10)
    _assert_sound(sender, upload_id, 10)


def _at_piece(monkeypatch, number, action):
    """Do something in the middle of the COPY: when the given piece has been made."""
    original, made = load_rows.to_copy_csv, []

    def to_csv(*args, **options):
        made.append(1)
        if len(made) == number:
            action()
        return original(*args, **options)

    monkeypatch.setattr(load_rows, "to_copy_csv", to_csv)


def _terminate(sender):
    with connect(sender.settings.database_url.get_secret_value()) as other:
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and application_name = 'laurel-loader'"
        )


def test_a_terminated_backend_leaves_the_version_for_the_next_run(sender, history, monkeypatch):
    upload_id = sender.send(history(range(ROWS))).upload_id
    with monkeypatch.context() as patched:
        _at_piece(patched, 3, lambda: _terminate(sender))
        with pytest.raises(DatabaseUnavailable):
            sender.load(upload_id)

    upload = sender.upload(upload_id)
    assert (upload.status, upload.current.attempts) == ("stored", 1)
    assert "went away" in upload.reason
    assert sender.raw() == []
    _recover(sender)
    _assert_sound(sender, upload_id, ROWS)
    assert sender.upload(upload_id).reason is None


def test_an_upload_withdrawn_while_it_is_loaded_never_shows(sender, history, monkeypatch):
    upload_id = sender.send(history(range(ROWS))).upload_id

    def withdraw():
        with connect(sender.settings.database_url.get_secret_value()) as other:
            withdraw_upload(other, sender.store, upload_id, sender.researcher)

    _at_piece(monkeypatch, 3, withdraw)
    assert sender.load(upload_id).status == "withdrawn"

    assert sender.raw() == []
    assert sender.connection.execute("select * from ops.loads").fetchall() == []


def _path(sender, upload_id):
    return sender.store.root / sender.upload(upload_id).current.object_key


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_bytes_that_are_not_those_accepted_are_never_loaded(sender, history, damage):
    upload_id = sender.send(history(range(100))).upload_id
    path = _path(sender, upload_id)
    sound = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(sound.replace(b"40,60", b"39,59", 1) if damage == "flipped" else sound[:-30])

    outcome = sender.load(upload_id)
    assert outcome.status == "stored"
    assert outcome.reason
    assert sender.raw() == []
    path.write_bytes(sound)
    _recover(sender)
    _assert_sound(sender, upload_id, 100)


def test_a_damaged_version_that_is_readable_again_never_replaces_a_newer_one(sender, history):
    upload_id = sender.send(history(range(5))).upload_id
    path = _path(sender, upload_id)
    sound = path.read_bytes()
    path.unlink()
    sender.replace(upload_id, history(range(3), exam=41))
    assert sender.load(upload_id, 2).status == "loaded"
    path.write_bytes(sound)

    assert sender.load(upload_id, 1).status == "withdrawn"
    assert sender.raw("academic_history", "exam_score") == [(41,)] * 3
    assert sender.upload(upload_id).live_version == 2


def test_a_full_disk_leaves_the_version_for_the_next_run(sender, history, monkeypatch):
    upload_id = sender.send(history(range(100))).upload_id

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(load_rows.IssueSpool, "add", full)
        with pytest.raises(DiskFull):
            sender.load(upload_id)

    assert sender.upload(upload_id).status == "stored"
    _recover(sender)
    _assert_sound(sender, upload_id, 100)


def test_a_file_we_cannot_load_fails_without_its_cells_and_stops_no_other(sender, history, monkeypatch):
    poison = sender.send(history([1])).upload_id
    other = sender.send(history([2])).upload_id

    def broken(*_, **__):
        raise ValueError("cell of Ada Obi")

    with monkeypatch.context() as patched:
        patched.setattr(load_rows, "validate", broken)
        assert sender.load(poison).status == "failed"
    _recover(sender)

    assert sender.upload(other).status == "loaded"
    assert "ValueError" in sender.upload(poison).reason
    assert "Ada" not in sender.upload(poison).reason


def test_what_the_database_refuses_is_told_without_its_cells(sender, history):
    sender.connection.execute("alter table raw.academic_history add check (student_id <> 'STU00001')")
    upload_id = sender.send(history([1])).upload_id

    outcome = sender.load(upload_id)
    assert outcome.status == "failed"
    assert "CheckViolation" in outcome.reason
    assert "STU00001" not in outcome.reason


def test_a_database_that_is_away_is_said_to_be_away(sender, history):
    upload_id = sender.send(history([1])).upload_id
    away = sender.settings.model_copy(
        update={"database_url": type(sender.settings.database_url)("postgresql://nobody@127.0.0.1:1/none")}
    )

    with pytest.raises(DatabaseUnavailable):
        load_version(away, sender.store, upload_id, 1)


def test_no_cell_reaches_the_servers_log_when_reading_stops_in_the_middle(sender, history, monkeypatch):
    """The driver would tell the server the text of the exception that ended a COPY."""
    sent, finish = [], LibpqWriter.finish

    def noting(writer, error=None):
        sent.append(str(error))
        finish(writer, error)

    monkeypatch.setattr(LibpqWriter, "finish", noting)
    upload_id = sender.send(history(range(ROWS))).upload_id
    _at_piece(monkeypatch, 3, lambda: 1 / int("Ada Obi"))

    assert sender.load(upload_id).status == "failed"
    assert sent == [""]
