"""Clocks that are wrong and files that come in another order than they were made: the last handed in wins.

What depends on which clock:

- the API's: ids of uploads and events (UUID version 7), `occurred_at`, and from it the rank of rows; all of
  it later than every event that the database knows (`elt.uploads.apply.new_event`)
- the day in an event's key: from its id, in UTC
- discover's: the day from which on it lists events, at the latest the one before the newest that it knows
- the database's: `_loaded_at`, which tells rows of one transaction from others; times for people to read

The six cells of this group: a clock a day ahead; a clock a day behind; daylight saving; an older file after a
newer one (also `integration/test_transform`, `integration/test_lifecycle_held`, `test_upload_state_machine`);
back-dated; the same second.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import uuid6

from elt.errors import DatabaseUnavailable
from elt.uploads import acts, apply
from elt.uploads import discover as discovery
from elt.uploads.discover import adopt_recent_events, discover
from elt.uploads.replay import replay
from elt.warehouse import connect
from tests.conftest import Sender

DAY = timedelta(days=1)
Clock = Callable[[Callable[[datetime], datetime]], AbstractContextManager[None]]

# The winner per student, as dbt/macros/newest_rows.sql chooses it.
WINNERS = """
    select distinct on (r.student_id) r.student_id, r.exam_score
    from raw.academic_history r
    join ops.uploads u on u.upload_id = r._upload_id
    join ops.upload_versions v on v.upload_id = u.upload_id and v.version = u.live_version
    order by r.student_id, v.ranked_at desc, r._line desc, r._upload_id desc
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replaces the clock of this process, but not the database's, by a function of the true time."""

    @contextmanager
    def showing(shown: Callable[[datetime], datetime]) -> Iterator[None]:
        class Shown(datetime):
            @classmethod
            def now(cls, tz=None):
                return shown(datetime.now(UTC)).astimezone(tz)

        def shown_ns() -> int:
            return int(shown(datetime.now(UTC)).timestamp() * 1000) * 1_000_000

        with monkeypatch.context() as patched:
            for module in (apply, discovery):
                patched.setattr(module, "datetime", Shown)
            patched.setattr(uuid6, "time", type("Time", (), {"time_ns": staticmethod(shown_ns)}))
            patched.setattr(uuid6, "_last_v7_timestamp", None)
            yield

    return showing


def _ahead(offset: timedelta) -> Callable[[datetime], datetime]:
    return lambda true: true + offset


def _stopped(moment: datetime) -> Callable[[datetime], datetime]:
    return lambda _true: moment


def _winners(sender) -> set[int]:
    return {row["exam_score"] for row in sender.connection.execute(WINNERS)}


def _run(sender) -> list:
    """What the next run does."""
    found = [item.upload_id for item in discover(sender.settings, sender.store)]
    for upload_id in found:
        sender.load(upload_id)
    return found


def _lose_answer(sender, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand in where the database goes away between the event and its own transaction."""

    def away(*_):
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(acts, "adopt_event", away)
        with pytest.raises(DatabaseUnavailable):
            sender.send(content)


@pytest.mark.parametrize("offset", [DAY, -DAY], ids=["ahead", "behind"])
def test_the_last_file_wins_whether_the_clock_was_wrong_before_or_is_now(sender, history, clock, offset):
    with clock(_ahead(offset)):
        wrong = sender.hand_in(history([1], exam=40))
    assert _winners(sender) == {40}
    right = sender.hand_in(history([1], exam=41))
    assert _winners(sender) == {41}
    with clock(_ahead(offset)):
        again = sender.hand_in(history([1], exam=42))

    assert _winners(sender) == {42}
    ranks = [sender.upload(each).current.ranked_at for each in (wrong, right, again)]
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize("whose", ["the API's", "discover's"])
@pytest.mark.parametrize("days", [1, -1, 3, -3])
def test_an_event_that_was_never_answered_is_found_whoevers_clock_is_wrong(
    sender, history, clock, monkeypatch, days, whose
):
    """Also where it is wrong by more than the day that discover looks back."""
    api, looking = (days, 0) if whose == "the API's" else (0, days)
    sender.hand_in(history([1]))
    with clock(_ahead(DAY * looking)):
        assert _run(sender) == []
    with clock(_ahead(DAY * api)):
        _lose_answer(sender, history([2]), monkeypatch)
    sender.hand_in(history([3]))

    with clock(_ahead(DAY * looking)):
        assert len(_run(sender)) == 1
        assert adopt_recent_events(sender.connection, sender.store) == 0
    # Also when the clock is right again, and what is newest seems to come from tomorrow.
    _lose_answer(sender, history([4]), monkeypatch)
    assert len(_run(sender)) == 1
    assert [row[0] for row in sender.raw("academic_history", "student_id")] == [
        f"STU0000{number}" for number in range(1, 5)
    ]


@pytest.mark.parametrize("offset", [DAY, -DAY], ids=["ahead", "behind"])
def test_a_version_replaces_the_one_before_whatever_the_clock_says(sender, history, clock, offset):
    upload_id = sender.hand_in(history(range(3), exam=40))
    with clock(_ahead(offset)):
        sender.replace(upload_id, history(range(3), exam=41))
        sender.load(upload_id, 2)
    sender.replace(upload_id, history(range(3), exam=42))
    sender.load(upload_id, 3)

    assert _winners(sender) == {42}
    received = [version.received_at for version in sender.upload(upload_id).versions]
    assert received == sorted(received, reverse=True)


# In Berlin the hour before this moment comes twice; in Auckland an hour is missing, and it is the next day.
CHANGES = {
    "Europe/Berlin": datetime(2026, 10, 25, 1, tzinfo=UTC),
    "Pacific/Auckland": datetime(2026, 9, 26, 14, tzinfo=UTC),
}


@pytest.mark.parametrize(("zone", "change"), CHANGES.items(), ids=CHANGES)
def test_daylight_saving_changes_nothing(sender, history, clock, monkeypatch, zone, change):
    name = sender.connection.info.dbname
    sender.connection.execute(f"alter database {name} set timezone = '{zone}'".encode())
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        steps = [timedelta(minutes=minutes) for minutes in (-61, -31, -1, 1, 31, 61)]
        with connect(sender.settings.database_url.get_secret_value()) as connection:
            local = Sender(sender.settings, connection, sender.store)
            for number, step in enumerate(steps):
                with clock(_stopped(change + step)):
                    local.hand_in(history([1], exam=40 + number))
                    assert _winners(local) == {40 + number}
            with clock(_stopped(change + timedelta(hours=2))):
                _lose_answer(local, history([2]), monkeypatch)
            with clock(_stopped(change + timedelta(hours=3))):
                assert len(_run(local)) == 1
            ranks = [row["ranked_at"] for row in connection.execute(
                "select ranked_at from ops.upload_versions order by upload_id"
            )]  # fmt: skip
            assert ranks == [change + step for step in [*steps, timedelta(hours=2)]]
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_files_win_in_the_order_they_were_handed_in_not_in_that_of_loading(sender, history, order):
    uploads = [sender.send(history([1], exam=40 + number)).upload_id for number in range(3)]
    for number in order:
        sender.load(uploads[number])

    assert _winners(sender) == {42}


def test_a_dropped_file_with_an_old_date_counts_from_when_it_was_found(sender, history):
    sender.hand_in(history([1], exam=40))
    sender.store.put("drop/history.csv", [history([1], exam=41).encode()])
    os.utime(sender.store.root / "drop" / "history.csv", (1_000_000_000, 1_000_000_000))

    assert len(_run(sender)) == 1
    assert _winners(sender) == {41}


def test_a_file_found_late_ranks_by_when_it_was_handed_in(sender, history, clock, monkeypatch):
    """It was never acknowledged, and its sender has since handed in a newer one."""
    with clock(_ahead(-DAY * 2)):
        sender.hand_in(history([9]))
        _lose_answer(sender, history([1, 2], exam=40), monkeypatch)
    sender.hand_in(history([1], exam=41))

    assert len(_run(sender)) == 1
    assert {row["student_id"]: row["exam_score"] for row in sender.connection.execute(WINNERS)} == {
        "STU00001": 41, "STU00002": 40, "STU00009": 40
    }  # fmt: skip


def test_files_of_the_same_moment_win_in_their_order(sender, history, clock):
    with clock(_stopped(datetime.now(UTC))):
        uploads = [sender.send(history([1], exam=40 + number)).upload_id for number in range(10)]

    assert _run(sender) == uploads
    assert _winners(sender) == {49}
    ranks = [sender.upload(each).current.ranked_at for each in uploads]
    assert ranks == sorted(set(ranks))


def test_of_files_handed_in_at_once_one_wins_for_good_and_the_other_can_be_sent_again(
    sender, history, clock, monkeypatch
):
    """Two requests that know the same newest event, and a clock that does not tell them apart."""
    both = threading.Barrier(2)
    make_event = acts.new_event

    def make_together(*args):
        event = make_event(*args)
        both.wait(timeout=30)
        return event

    def send(exam):
        with connect(sender.settings.database_url.get_secret_value()) as connection:
            return Sender(sender.settings, connection, sender.store).send(history([1], exam=exam)).upload_id

    with clock(_stopped(datetime.now(UTC))), monkeypatch.context() as patched, ThreadPoolExecutor(2) as pool:
        patched.setattr(acts, "new_event", make_together)
        uploads = list(pool.map(send, [41, 42]))
    assert len({sender.upload(each).current.ranked_at for each in uploads}) == 1

    _run(sender)
    [winner] = _winners(sender)
    replay(sender.settings, sender.store, wipe=True)
    assert _winners(sender) == {winner}
    [loser] = {41, 42} - {winner}
    assert sender.send(history([1], exam=loser)).created
    _run(sender)
    assert _winners(sender) == {loser}
