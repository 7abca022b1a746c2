"""Rejected rows as they go back to their sender."""

from __future__ import annotations

import csv
import io

import pytest

from elt.errors import Conflict
from elt.uploads.rejects import rejects_csv, row_issues


def _rejects(sender, upload_id):
    text = b"".join(rejects_csv(sender.connection, sender.store, upload_id)).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


HEADER = "Student ID,Grade Level,Subject,Term,Test Score,Exam Score,Total Score"
SOUND = "".join(f"STU{number},JSS1,Mathematics,First Term,20,40,60\n" for number in range(100))


def test_the_uploaders_columns_come_first_as_they_were_sent(sender):
    content = f"﻿{HEADER},Remark\r\n".replace("Total Score", "total SCORE") + "".join(
        f"STU{number},JSS1,Mathematics,First Term,20,40,60,\r\n" for number in range(100)
    )
    awkward = '"=1+1","JSS7","Maths, ""new""",First Term,-1,040, 39 ,"two\nlines"\r\n'
    upload_id = sender.hand_in(content + awkward)

    header, row = _rejects(sender, upload_id)
    assert header == [
        "Student ID", "Grade Level", "Subject", "Term", "Test Score", "Exam Score", "total SCORE", "Remark",
        "line", "column", "rule", "hint",
    ]  # fmt: skip
    assert row[:8] == ["'=1+1", "JSS7", 'Maths, "new"', "First Term", "-1", "040", " 39 ", "two\nlines"]
    assert row[8] == "102"
    assert row[9].split("; ")[:1] == ["grade_level"]
    assert "enum" in row[10].split("; ")
    assert "one of: JSS1" in row[11]


def test_one_row_per_line_however_many_rules_it_breaks(sender):
    upload_id = sender.hand_in(f"{HEADER}\n{SOUND},JSS9,Mathematics,First Term,50,70,100\n")

    [_, row] = _rejects(sender, upload_id)
    columns, rules = row[8].split("; "), row[9].split("; ")
    assert dict(zip(columns, rules, strict=True))["student_id"] == "required"
    assert {"enum", "maximum", "required", "total_is_test_plus_exam"} <= set(rules)


def test_rows_of_another_width_keep_all_their_cells(sender):
    upload_id = sender.hand_in(f"{HEADER}\n{SOUND}A,JSS1,Maths, part two,First Term,20,40,60\nB,JSS1\n")

    [_, surplus, short] = _rejects(sender, upload_id)
    assert surplus[:7] == ["A", "JSS1", "Maths", " part two", "First Term", "20", "40,60"]
    assert surplus[7:10] == ["102", "", "extra_cells"]
    assert short[:7] == ["B", "JSS1", "", "", "", "", ""]
    assert short[7:10] == ["103", "", "missing_cells"]


def test_rejects_of_a_rejected_upload_can_be_had(sender, history):
    bad = "STU{:05},JSS1,Mathematics,First Term,20,40,61"
    upload_id = sender.hand_in(history(range(10), faults={number: bad.format(number) for number in range(9)}))

    assert sender.upload(upload_id).status == "rejected"
    assert [row[7] for row in _rejects(sender, upload_id)[1:]] == [str(line) for line in range(2, 11)]


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_cells_are_read_in_the_files_own_encoding(sender, encoding):
    text = f"{HEADER}\n{SOUND}Zoë,JSS1,Français,First Term,20,40,61\n".replace(",", ";")
    upload_id = sender.hand_in(text.encode(encoding))

    [_, row] = _rejects(sender, upload_id)
    assert (row[0], row[2]) == ("Zoë", "Français")


def test_a_file_that_cannot_be_read_has_no_rows_to_return(sender):
    upload_id = sender.hand_in(b"PK\x03\x04 not a CSV file")

    assert sender.upload(upload_id).status == "rejected"
    assert _rejects(sender, upload_id) == [["line", "column", "rule", "hint"]]


def test_there_are_no_rejects_before_the_file_has_been_read(sender, history):
    upload_id = sender.send(history([1])).upload_id

    with pytest.raises(Conflict, match="not been read"):
        rejects_csv(sender.connection, sender.store, upload_id)


def test_many_rejects_come_in_pieces_and_in_order(sender):
    bad = "".join(f"S{number},JSS1,Mathematics,First Term,20,40,61\n" for number in range(5000))
    upload_id = sender.hand_in(f"{HEADER}\n{bad}")

    pieces = list(rejects_csv(sender.connection, sender.store, upload_id))
    assert len(pieces) > 3
    rows = list(csv.reader(io.StringIO(b"".join(pieces).decode(), newline="")))[1:]
    assert [row[0] for row in rows] == [f"S{number}" for number in range(5000)]


def test_issues_show_what_was_found_but_not_in_personal_columns(sender, history):
    faults = {7: "STU00007,JSS9,Mathematics,First Term,20,40,60", 30: ",JSS1,Mathematics,First Term,20,40,60"}
    upload_id = sender.hand_in(history(range(100), faults=faults))

    issues = row_issues(sender.connection, sender.store, upload_id)
    assert [(item.line, item.column, item.rule, item.found) for item in issues] == [
        (9, "grade_level", "enum", "JSS9"), (32, "student_id", "required", None)
    ]  # fmt: skip
    assert issues[0].hint.startswith("Grade Level: expected one of")
    assert row_issues(sender.connection, sender.store, upload_id, after=1) == issues[1:]
    assert row_issues(sender.connection, sender.store, upload_id, limit=1) == issues[:1]


def test_a_line_end_that_two_blocks_share_is_one(sender, history):
    """CR ends the first megabyte that is read, LF begins the second."""
    header, *rows = history(
        range(1, 9), columns=",Remark", faults={8: "STU00008,JSS9,X,First Term,20,40,60"}
    ).splitlines()
    lines = [header, *(f"{row}," for row in rows)]
    rest = (1 << 20) - 1 - len("\r\n".join(lines[:3]).encode())
    lines[1] += "x" * (rest // 2)
    lines[2] += "x" * (rest - rest // 2)
    content = "\r\n".join([*lines, ""]).encode()
    assert content[(1 << 20) - 1 : (1 << 20) + 1] == b"\r\n"
    upload = sender.hand_in(content)

    returned = b"".join(rejects_csv(sender.connection, sender.store, upload)).decode().splitlines()
    assert len(returned) == 2
    assert returned[1].startswith("STU00008")
