"""Loading: what a file becomes in raw and in the ledger."""

from __future__ import annotations

import pytest


def test_sound_rows_are_loaded_with_their_lines(sender, history):
    upload_id = sender.hand_in(history(range(3)))

    upload = sender.upload(upload_id)
    assert upload.status == "loaded"
    assert upload.live_version == 1
    assert (upload.counts.read, upload.counts.accepted, upload.counts.loaded) == (3, 3, 3)
    assert sender.raw("academic_history", "student_id", "total_score", "_line", "_upload_id") == [
        (f"STU0000{number}", 60, number + 2, upload_id) for number in range(3)
    ]


def test_rows_that_break_a_rule_are_kept_out_with_line_column_and_rule(sender, history):
    faults = {
        7: "STU00007,JSS1,Mathematics,First Term,20,101,121",
        30: "STU00030,JSS9,Mathematics,First Term,1,1,2",
    }
    upload_id = sender.hand_in(history(range(100), faults=faults))

    counts = sender.upload(upload_id).counts
    assert (counts.read, counts.accepted, counts.rejected, counts.repeated) == (100, 98, 2, 0)
    rows = sender.connection.execute(
        "select line, column_name, rule from ops.row_issues order by 1, 2"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        (9, "exam_score", "maximum"),
        (9, "total_score", "maximum"),
        (32, "grade_level", "enum"),
    ]


def test_identical_rows_of_a_keyed_dataset_are_counted_once(sender, history):
    upload_id = sender.hand_in(history([1, 2, 1, 3, 1]))

    counts = sender.upload(upload_id).counts
    assert (counts.read, counts.accepted, counts.repeated, counts.loaded) == (5, 3, 2, 3)
    assert sender.raw("academic_history", "student_id", "_line") == [
        ("STU00001", 2),
        ("STU00002", 3),
        ("STU00003", 5),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty"),
        ("Student ID,Grade Level,Subject,Term,Total Score\n", "no rows"),
        ("Student ID,Subject,Term,Total Score\nS1,Maths,First Term,50\n", "Grade Level"),
    ],
)
def test_a_file_without_rows_or_required_column_is_rejected_with_the_reason(sender, content, reason):
    upload_id = sender.hand_in(content)

    upload = sender.upload(upload_id)
    assert upload.status == "rejected"
    assert reason in upload.reason
    assert sender.raw() == []
