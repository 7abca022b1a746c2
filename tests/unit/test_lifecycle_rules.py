"""Pure parts of loading and of an upload's life."""

from __future__ import annotations

from uuid import UUID

import polars as pl
import pytest

from elt.ahead import work_ahead
from elt.contracts import get_contract
from elt.loading.outcome import decide
from elt.loading.rows import Tally, only_open_lines
from elt.reading.reader import Block
from elt.store.object_keys import new_object_key
from elt.uploads.discover import without_superseded
from elt.uploads.events import Event, next_id
from elt.uploads.impact import HoldPolicy

UPLOAD = UUID("01930f4a-0000-7abc-8def-0123456789ab")


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("students.csv", "students.csv"),
        ("../../etc/passwd", "passwd"),
        (r"C:\files\Ergebnisse März (2).csv", "Ergebnisse_M_rz_2_.csv"),
        ("...", "file.csv"),
        ("", "file.csv"),
        ("x" * 300 + ".csv", "x" * 96 + ".csv"),
    ],
)
def test_an_object_key_is_safe_whatever_the_file_is_called(filename, name):
    assert new_object_key(UPLOAD, 1, filename) == f"uploads/2024-11-09/{UPLOAD}/1/{name}"


def test_two_replacements_at_once_never_share_a_key():
    assert new_object_key(UPLOAD, 2, "a.csv") != new_object_key(UPLOAD, 2, "a.csv")


@pytest.mark.parametrize(
    ("rejected", "brought", "is_fix", "status"),
    [
        (50, 0, False, "loaded"),
        (51, 0, False, "rejected"),
        (80, 30, False, "loaded"),
        (999, 0, True, "loaded"),
        (1000, 0, True, "rejected"),
        (1000, 1000, False, "rejected"),
    ],
)
def test_more_than_the_limit_is_rejected(rejected, brought, is_fix, status):
    tally = Tally(read=1000, accepted=1000 - rejected, rejected=rejected)

    assert decide(get_contract("students"), tally, brought=brought, is_limited=not is_fix).status == status


@pytest.mark.parametrize(
    ("touched", "existing", "held"), [(31, 100, True), (30, 100, False), (99, 99, False)]
)
def test_the_share_counts_only_from_a_number_of_rows_on(touched, existing, held):
    assert HoldPolicy(0.3, 100).is_exceeded(touched, existing) is held


def test_rows_of_a_fix_stand_only_for_lines_that_are_open():
    frame = pl.DataFrame(
        {"c0": ["a", "b", "c", "d", "e"], "c1": ["7", "8", "7", None, "9x"], "_line": [2, 3, 4, 5, 6]}
    )
    faults = pl.DataFrame(schema={"line": pl.Int64, "rule": pl.String})
    second = Block(pl.DataFrame({"c0": ["f", "g"], "c1": ["8", "11"], "_line": [7, 8]}), faults)
    kept = list(only_open_lines(iter([Block(frame, faults), second]), 1, pl.Series([7, 8, 11])))

    assert [block.frame["c0"].to_list() for block in kept] == [["a", "b"], ["g"]]
    assert [block.faults.rows() for block in kept] == [[(4, "line"), (5, "line"), (6, "line")], [(7, "line")]]
    assert [block.read for block in kept] == [5, 2]


def test_of_replacements_with_one_number_the_last_counts():
    ids = [next_id(None)]
    for _ in range(3):
        ids.append(next_id(ids[-1]))
    facts = [
        ("accepted", {}),
        ("replaced", {"version": 2}),
        ("replaced", {"version": 2}),
        ("replaced", {"version": 3}),
    ]
    events = [
        Event(event_id, kind, UPLOAD, None, "key:1", body)
        for event_id, (kind, body) in zip(ids, facts, strict=True)
    ]

    assert [event.event_id for event in without_superseded(reversed(events))] == [ids[0], ids[2], ids[3]]


def test_work_ahead_gives_all_items_in_order():
    with work_ahead(iter(range(100)), depth=2) as items:
        assert list(items) == list(range(100))


def test_work_ahead_raises_where_the_item_would_have_come():
    def failing():
        yield 1
        raise ValueError("broken")

    with work_ahead(failing(), depth=5) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="broken"):
            next(items)


def test_work_ahead_stops_when_its_items_are_no_longer_wanted():
    made = []

    def endless():
        while True:
            made.append(1)
            yield 1

    with work_ahead(endless(), depth=3) as items:
        next(items)
    assert len(made) <= 6
