"""Corrected files of rejected rows: a part of the upload they fix."""

from __future__ import annotations

import csv
import io
from uuid import UUID

import pytest

from elt.errors import Conflict, DatabaseUnavailable, NotFound
from elt.people.principals import Principal
from elt.uploads import acts
from elt.uploads.discover import adopt_recent_events
from elt.uploads.lifecycle import withdraw_upload
from elt.uploads.rejects import rejects_csv

BAD = "STU{:05},JSS1,Mathematics,First Term,20,40,61"  # total ≠ test + exam
GOOD = "STU{:05},JSS1,Mathematics,First Term,20,40,60"


def _rejects(sender, upload_id):
    return b"".join(rejects_csv(sender.connection, sender.store, upload_id)).decode()


def _corrected(text, *, lines=None):
    """The rejects file with the totals put right, on the given lines only."""
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for row in rows:
        if lines is None or int(row["line"]) in lines:
            row["Total Score"] = "60"
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _send_and_lose_the_answer(sender, monkeypatch, content, **request):
    """Hand in while the database goes away after the event was written; returns the upload's id."""

    def away(_connection, event):
        raise DatabaseUnavailable(str(event.upload_id))

    with monkeypatch.context() as patched:
        patched.setattr(acts, "adopt_event", away)
        with pytest.raises(DatabaseUnavailable) as lost:
            sender.send(content, **request)
    return UUID(lost.value.detail)


@pytest.fixture
def parent(sender, history):
    """200 rows of which those of students 10, 20 and 30 (lines 12, 22, 32) are rejected."""
    return sender.hand_in(history(range(200), faults={n: BAD.format(n) for n in (10, 20, 30)}))


def test_a_fix_completes_its_parent_on_the_parents_lines(sender, parent):
    assert sender.upload(parent).remaining_rejects == 3
    fix = sender.hand_in(_corrected(_rejects(sender, parent)), fixes=parent)

    assert sender.upload(parent).remaining_rejects == 0
    assert sender.upload(parent).fixes == [fix]
    assert len(sender.raw()) == 200
    brought = [
        row for row in sender.raw("academic_history", "student_id", "_line", "_upload_id") if row[2] == fix
    ]
    assert brought == [("STU00010", 12, fix), ("STU00020", 22, fix), ("STU00030", 32, fix)]


def test_a_fix_keeps_its_parents_rank_and_school(sender, parent):
    later = sender.hand_in(_corrected(_rejects(sender, parent)), fixes=parent, school_id="elsewhere")

    assert sender.upload(later).current.ranked_at == sender.upload(parent).current.ranked_at
    assert sender.upload(later).school_id == "main"


def test_the_limit_of_rejects_does_not_apply_to_a_fix(sender, parent):
    fix = sender.hand_in(_corrected(_rejects(sender, parent), lines={12}), fixes=parent)

    upload = sender.upload(fix)
    assert (upload.status, upload.counts.accepted, upload.counts.rejected) == ("loaded", 1, 2)
    assert sender.upload(parent).remaining_rejects == 2


def test_a_fix_of_a_fix_belongs_to_the_first_upload(sender, parent):
    first = sender.hand_in(_corrected(_rejects(sender, parent), lines={12}), fixes=parent)
    second = sender.hand_in(_corrected(_rejects(sender, first)), fixes=first)

    assert sender.upload(second).parent_id == parent
    assert sender.upload(parent).remaining_rejects == 0
    assert {row[0] for row in sender.raw("academic_history", "_line") if row[0] in (12, 22, 32)} == {
        12,
        22,
        32,
    }


def test_a_line_is_fixed_once(sender, parent):
    rejects = _rejects(sender, parent)
    sender.hand_in(_corrected(rejects, lines={12}), fixes=parent)
    again = sender.hand_in(_corrected(rejects).replace("20,40,60", "21,39,60"), fixes=parent)

    upload = sender.upload(again)
    assert (upload.status, upload.counts.accepted, upload.counts.rejected) == ("loaded", 2, 1)
    assert len(sender.raw()) == 200


def test_where_no_line_is_open_there_is_nothing_to_fix(sender, parent):
    fixed = _corrected(_rejects(sender, parent))
    first = sender.hand_in(fixed, fixes=parent)

    assert sender.send(fixed, fixes=parent).upload_id == first
    with pytest.raises(Conflict, match="no rejected rows left"):
        sender.send(fixed.replace("20,40,60", "21,39,60"), fixes=parent)


def test_a_fix_without_lines_brings_no_more_rows_than_are_open(sender, parent, history):
    sender.hand_in(history([10]), fixes=parent)
    more = sender.upload(sender.hand_in(history([20, 30, 40]), fixes=parent))

    assert more.status == "rejected"
    assert "3 rows, but only 2" in more.reason
    assert len(sender.raw()) == 198


def test_a_fix_may_not_bring_lines_that_were_not_rejected(sender, parent):
    header = _rejects(sender, parent).splitlines()[0]
    fix = sender.hand_in(f"{header}\n{GOOD.format(777)},13,,,\n{GOOD.format(10)},12,,,\n", fixes=parent)

    assert sender.upload(fix).counts.rejected == 1
    rows = sender.connection.execute(
        "select line, rule from ops.row_issues where upload_id = %s", (fix,)
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [(2, "line")]


def test_rows_without_a_line_column_count_for_one_line_each(sender, parent, history):
    fix = sender.hand_in(history([10, 20]), fixes=parent)

    assert sender.upload(fix).status == "loaded"
    assert sender.upload(parent).remaining_rejects == 1


def test_a_fix_is_withdrawn_alone_and_its_lines_are_open_again(sender, parent):
    fixed = _corrected(_rejects(sender, parent))
    fix = sender.hand_in(fixed, fixes=parent)
    withdraw_upload(sender.connection, sender.store, fix, sender.researcher)

    assert sender.upload(parent).status == "loaded"
    assert sender.upload(parent).remaining_rejects == 3
    assert len(sender.raw()) == 197
    sender.hand_in(fixed, fixes=parent)
    assert len(sender.raw()) == 200


def test_a_fix_is_withdrawn_with_its_parent(sender, parent):
    fix = sender.hand_in(_corrected(_rejects(sender, parent)), fixes=parent)
    withdraw_upload(sender.connection, sender.store, parent, sender.researcher)

    assert sender.upload(fix).status == "withdrawn"
    assert sender.raw() == []


def test_a_new_version_of_the_parent_ends_its_fixes(sender, parent, history):
    fix = sender.hand_in(_corrected(_rejects(sender, parent)), fixes=parent)
    sender.replace(parent, history(range(200)))
    sender.load(parent, 2)

    assert sender.upload(fix).status == "withdrawn"
    assert "replaced" in sender.upload(fix).reason
    assert len(sender.raw()) == 200
    assert {row[0] for row in sender.raw("academic_history", "_upload_id")} == {parent}


def test_a_fix_that_is_found_after_its_parent_was_replaced_ends_as_the_others(
    sender, parent, history, monkeypatch
):
    rejects = _rejects(sender, parent)
    first = sender.hand_in(_corrected(rejects, lines={12}), fixes=parent)
    lost = _send_and_lose_the_answer(sender, monkeypatch, _corrected(rejects), fixes=parent)
    sender.replace(parent, history(range(150)))
    sender.load(parent, 2)

    assert adopt_recent_events(sender.connection, sender.store) == 1
    sender.load(lost)

    found, other = sender.upload(lost), sender.upload(first)
    assert (found.status, found.reason) == (other.status, other.reason)
    assert (found.status, found.withdrawn_by) == ("withdrawn", "system")
    assert len(sender.raw()) == 150


def test_a_fix_that_is_found_after_its_parent_was_withdrawn_is_withdrawn(sender, parent, monkeypatch):
    lost = _send_and_lose_the_answer(
        sender, monkeypatch, _corrected(_rejects(sender, parent)), fixes=parent
    )  # fmt: skip
    withdraw_upload(sender.connection, sender.store, parent, sender.researcher)

    adopt_recent_events(sender.connection, sender.store)
    sender.load(lost)

    assert sender.upload(lost).status == "withdrawn"
    assert sender.upload(lost).withdrawn_by == sender.researcher.id
    assert sender.raw() == []


def test_a_parent_over_the_limit_loads_once_fixes_bring_it_under(sender, history):
    faults = {number: BAD.format(number) for number in range(8)}
    parent = sender.hand_in(history(range(100), faults=faults))
    assert sender.upload(parent).status == "rejected"
    assert sender.raw() == []

    fix = sender.hand_in(_corrected(_rejects(sender, parent), lines={2, 3, 4}), fixes=parent)
    assert sender.upload(fix).status == "loaded"
    assert sender.upload(parent).status == "stored"
    sender.load(parent)

    upload = sender.upload(parent)
    assert (upload.status, upload.counts.rejected, upload.remaining_rejects) == ("loaded", 8, 5)
    assert len(sender.raw()) == 95


def test_what_cannot_be_fixed(sender, parent, history):
    waiting = sender.send(history([1]), school_id="north").upload_id
    with pytest.raises(Conflict, match="stored"):
        sender.send(history([2]), fixes=waiting)
    with pytest.raises(Conflict, match="same dataset"):
        sender.send("x\n1\n", "guardians", fixes=parent)
    with pytest.raises(NotFound):
        sender.send(history([2]), fixes=parent, principal=Principal("key:other", "researcher"))
    withdraw_upload(sender.connection, sender.store, parent, sender.researcher)
    with pytest.raises(Conflict, match="withdrawn"):
        sender.send(history([2]), fixes=parent)
