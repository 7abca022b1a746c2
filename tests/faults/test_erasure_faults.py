"""An erasure may be killed anywhere: the next call finishes it, and nothing of the person is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from elt.errors import StoreUnavailable
from elt.privacy.erasure import erase_pending
from elt.privacy.erasure_requests import list_erasures, request_erasure
from elt.uploads.discover import discover
from elt.uploads.replay import replay

# Asks and erases in a process of its own, which kills itself at one point on its way.
_ERASER = """
import json, os, signal, sys
from pathlib import Path
from elt.privacy import erase_versions, erasure, erasure_requests
from elt.people.principals import Principal
from elt.settings import load_settings
from elt.store.base import open_store
from elt.store.folder import FolderStore
from elt.warehouse import connect

point = json.loads(sys.argv[1])["point"]

def dies(owner, name, *, after, calls=1):
    original = getattr(owner, name)
    left = [calls]
    def replacement(*args, **options):
        left[0] -= 1
        if not after and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **options)
        if after and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, replacement)

match point:
    case "before raw": dies(erasure_requests, "erase_from_raw", after=False)
    case "after raw": dies(erasure_requests, "erase_from_raw", after=True)
    case "after the event": dies(erase_versions, "record_act", after=True)
    case "before the bytes": dies(FolderStore, "put", after=False, calls=3)  # after two events
    case "between two objects": dies(erase_versions.ObjectEraser, "_rewrite", after=True)
    case "before the search": dies(erasure, "search", after=False)
    case "after the search": dies(erasure, "search", after=True)
settings = load_settings()
store = open_store(settings.resolved_store_url)
with connect(settings.database_url.get_secret_value()) as connection:
    erasure_requests.request_erasure(
        settings, connection, store, kind="student", school_id="main", identifier="STU00001",
        reason="asked for", principal=Principal("key:admin", "admin"),
    )
erasure.erase_pending(settings, store, rebuild=lambda: None)
"""

_POINTS = [
    "before raw", "after raw", "after the event", "before the bytes", "between two objects",
    "before the search", "after the search",
]  # fmt: skip


@pytest.fixture
def uploads(sender, history):
    """Two files with the student."""
    return sender.hand_in(history(range(1, 30))), sender.hand_in(history(range(1, 20), exam=41))


def _ask(sender):
    request_erasure(
        sender.settings, sender.connection, sender.store, kind="student", school_id="main",
        identifier="STU00001", reason="asked for", principal=sender.admin,
    )  # fmt: skip


def _kill_at(sender, point):
    settings = sender.settings
    environment = {
        **os.environ,
        "LAUREL_HOME": str(settings.home),
        "LAUREL_DATABASE_URL": settings.database_url.get_secret_value(),
        "LAUREL_SECRET_KEY": settings.secret_key.get_secret_value(),
        "LAUREL_PSEUDONYM_KEY": settings.pseudonym_key.get_secret_value(),
        "LAUREL_STORE_URL": settings.store_url,
    }
    done = subprocess.run(
        [sys.executable, "-c", _ERASER, json.dumps({"point": point})],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr


def _require_gone(sender):
    for item in sender.store.list():
        with sender.store.open(item.key) as stream:
            assert b"STU00001" not in stream.read(), item.key
    assert "STU00001" not in {row[0] for row in sender.raw("academic_history", "student_id")}
    rows = sender.connection.execute("select to_jsonb(e)::text as row from ops.events e").fetchall()
    assert not [row for row in rows if "STU00001" in row["row"]]


def _figures(sender, uploads):
    """What must not depend on how often an erasure was begun."""
    rows = sender.connection.execute(
        "select upload_id, status, rows_read, rows_accepted, rows_loaded, rows_erased, sha256, erased "
        "from ops.upload_versions where upload_id = any(%s) order by upload_id",
        (list(uploads),),
    )
    return [tuple(row.values())[1:] for row in rows]


@pytest.mark.parametrize("point", _POINTS)
def test_a_killed_erasure_is_finished_by_the_next_one(sender, uploads, point):
    _kill_at(sender, point)
    assert [row["finished_at"] for row in list_erasures(sender.connection)] == [None]
    discover(sender.settings, sender.store)  # what a run would do meanwhile

    report = erase_pending(sender.settings, sender.store, rebuild=lambda: None)
    assert report.problems == []
    assert report.finished == report.erasures != []
    _require_gone(sender)
    assert [row[:5] for row in _figures(sender, uploads)] == [
        ("loaded", 29, 29, 28, 1), ("loaded", 19, 19, 18, 1),
    ]  # fmt: skip

    raw = sender.raw()
    before = _figures(sender, uploads)
    replay(sender.settings, sender.store, wipe=True)
    assert sender.raw() == raw
    assert _figures(sender, uploads) == before


@pytest.mark.parametrize("point", ["after the event", "before the bytes", "between two objects"])
def test_a_database_lost_in_the_middle_is_put_right_from_the_store(sender, uploads, point):
    _kill_at(sender, point)
    sender.connection.execute("truncate ops.erasures cascade")
    replay(sender.settings, sender.store, wipe=True)

    report = erase_pending(sender.settings, sender.store, rebuild=lambda: None)
    assert report.finished == report.erasures != []
    for pending in discover(sender.settings, sender.store):
        sender.load(pending.upload_id, pending.version)
    _require_gone(sender)
    # What replay met before it was rewritten, it had never accepted.
    assert [(row[0], row[1], row[3], row[4]) for row in _figures(sender, uploads)] == [
        ("loaded", 29, 28, 1), ("loaded", 19, 18, 1),
    ]  # fmt: skip


def test_a_store_that_goes_away_leaves_the_erasure_open(sender, uploads, monkeypatch):
    put = sender.store.put
    calls = []

    def failing(key, chunks, **options):
        calls.append(key)
        if len(calls) == 2:
            raise StoreUnavailable("away")
        return put(key, chunks, **options)

    _ask(sender)
    monkeypatch.setattr(sender.store, "put", failing)
    with pytest.raises(StoreUnavailable):
        erase_pending(sender.settings, sender.store, rebuild=lambda: None)
    assert [row["finished_at"] for row in list_erasures(sender.connection)] == [None]
    monkeypatch.undo()
    assert erase_pending(sender.settings, sender.store, rebuild=lambda: None).finished
    _require_gone(sender)


def test_a_load_that_was_under_way_brings_nobody_back(sender, history):
    """It had looked for the erased before there was one; the erasure waits for it."""
    from elt.loading import loader
    from elt.loading.loader import load_version

    waiting = sender.send(history(range(1, 5))).upload_id
    copy_rows = loader.copy_rows

    def request_first(*arguments):
        _ask(sender)
        copy_rows(*arguments)

    loader.copy_rows = request_first
    try:
        load_version(sender.settings, sender.store, waiting, 1)
    finally:
        loader.copy_rows = copy_rows
    assert "STU00001" in {row[0] for row in sender.raw("academic_history", "student_id")}

    assert erase_pending(sender.settings, sender.store, rebuild=lambda: None).finished
    _require_gone(sender)
