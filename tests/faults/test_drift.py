"""A source that changes its files: what can be understood is loaded as before, anything else refused whole.

The eight cells of this group, each as the next version of an upload that is live: a column added, removed,
renamed, reordered; another type; a column twice; another encoding; another delimiter. Single files of these
and other kinds are in `unit/test_check_samples`, `unit/test_contracts` and `unit/test_reader`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

Rows = list[dict[str, str]]

STUDENTS = 30


EMPTY = (
    "Cumulative Score", "Average Attendance", "JAMB Score", "Passed Core Subjects",
    "Cumulative Attendance Rate",
)  # fmt: skip


def _rows() -> Rows:
    return [
        {
            "Student ID": f"STU{number:05}", "Grade Level": "JSS1", "Subject": "Français",
            "Term": "First Term", "Teacher ID": "TCH1", "Test Score": "20", "Exam Score": "40",
            "Total Score": "60", **dict.fromkeys(EMPTY, ""), "Attendance": "70",
        }
        for number in range(STUDENTS)
    ]  # fmt: skip


def _write(rows: Rows, *, header: list[str] | None = None, delimiter: str = ",") -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(header or list(rows[0]))
    writer.writerows(row.values() for row in rows)
    return out.getvalue()


def _changed(change: Callable[[dict[str, str]], dict[str, str]]) -> str:
    return _write([change(row) for row in _rows()])


def _without(name: str) -> str:
    return _changed(lambda row: {key: value for key, value in row.items() if key != name})


def _renamed(name: str, new: str) -> str:
    return _changed(lambda row: {new if key == name else key: value for key, value in row.items()})


def _with(**cells: str) -> str:
    return _changed(lambda row: {**row, **{name.replace("_", " "): value for name, value in cells.items()}})


def _of_first(count: int, **cells: str) -> str:
    named = {name.replace("_", " "): value for name, value in cells.items()}
    return _write([{**row, **named} if number < count else row for number, row in enumerate(_rows())])


UNDERSTOOD: dict[str, tuple[str | bytes, set[str]]] = {
    "a column added": (_with(Remark="good"), {"extra_column"}),
    "a column added in front": (_changed(lambda row: {"No": "1", **row}), {"extra_column"}),
    "a column spelled otherwise": (_renamed("Student ID", "STUDENT_ID"), set()),
    "a column renamed to one of its other names": (_renamed("Grade Level", "Class Level"), set()),
    "columns reordered": (_changed(lambda row: dict(reversed(row.items()))), set()),
    "UTF-8 with a mark": (_write(_rows()).encode("utf-8-sig"), set()),
    "UTF-16": (_write(_rows()).encode("utf-16"), set()),
    "Windows-1252": (_write(_rows()).encode("cp1252"), {"encoding"}),
    "semicolons": (_write(_rows(), delimiter=";"), set()),
    "tabs": (_write(_rows(), delimiter="\t"), set()),
    "numbers in quotes": (_write(_rows()).replace(",60,", ',"60",'), set()),
}

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "a needed column removed": (_without("Grade Level"), "add a column 'Grade Level'"),
    "a needed column renamed": (_renamed("Total Score", "Points"), "add a column 'Total Score'"),
    "a column twice": (
        _write(_rows(), header=[*list(_rows()[0])[:-1], "Total Score"]), "'Total Score' stands 2 times",
    ),
    "one column under two of its names": (_with(Class_Level="JSS2"), "'Grade Level' stands 2 times"),
    "another type throughout": (_with(Total_Score="sixty"), "30 of 30 rows were rejected"),
    "another type in too many rows": (_of_first(2, Total_Score="sixty"), "more than the limit"),
    "numbers with a comma": (
        _write([{**row, "Test Score": "20,0"} for row in _rows()]), "30 of 30 rows were rejected",
    ),
    "Windows-1252 after UTF-8": (
        _write(_rows()).encode() + _write(_rows()).encode("cp1252").split(b"\r\n", 1)[1],
        "Line 32: This line is not UTF-8",
    ),
    "two delimiters": (
        _write(_rows()[:15]) + _write(_rows()[15:], delimiter=";").split("\r\n", 1)[1], "rows were rejected",
    ),
}  # fmt: skip


@pytest.fixture
def live(sender):
    """An upload whose first version is live."""
    return sender.hand_in(_write(_rows()))


def _loaded(sender) -> list[tuple[Any, ...]]:
    return sender.raw(
        "academic_history", "student_id", "grade_level", "subject", "teacher_id", "total_score", "attendance"
    )


@pytest.mark.parametrize("drift", UNDERSTOOD)
def test_what_can_be_understood_is_loaded_as_before(sender, live, drift):
    content, warnings = UNDERSTOOD[drift]
    before = _loaded(sender)
    sender.replace(live, content)

    assert sender.load(live, 2).status == "loaded"
    upload = sender.upload(live)
    assert (upload.live_version, upload.counts.rejected) == (2, 0)
    assert _loaded(sender) == before
    assert {issue["rule"] for issue in upload.current.issues} == warnings


@pytest.mark.parametrize("drift", REFUSED)
def test_anything_else_is_refused_with_the_reason_and_changes_nothing(sender, live, drift):
    content, reason = REFUSED[drift]
    before = _loaded(sender)
    sender.replace(live, content)

    assert sender.load(live, 2).status == "rejected"
    upload = sender.upload(live)
    assert upload.reason
    assert reason in upload.reason
    assert upload.live_version == 1
    assert _loaded(sender) == before


def test_a_column_that_may_be_empty_is_missed_with_a_warning(sender, live):
    """The file says nothing of it any more, so the rows hold nothing there."""
    sender.replace(live, _without("Attendance"))

    assert sender.load(live, 2).status == "loaded"
    [issue] = sender.upload(live).current.issues
    assert (issue["rule"], issue["column"], issue["severity"]) == ("missing_column", "attendance", "warning")
    assert sender.raw("academic_history", "attendance") == [(None,)] * STUDENTS


def test_another_type_in_a_few_rows_rejects_those_only(sender, live):
    sender.replace(live, _of_first(1, Total_Score="sixty"))

    assert sender.load(live, 2).status == "loaded"
    assert sender.upload(live).counts.rejected == 1
    assert len(_loaded(sender)) == STUDENTS - 1
    [issue] = sender.connection.execute("select line, column_name, rule from ops.row_issues").fetchall()
    assert tuple(issue.values()) == (2, "total_score", "type")
