"""What earlier predictions were worth, counted by the marts, against counts by hand."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from elt.settings import Settings
from elt.transforming.dbt_process import run_dbt
from elt.warehouse import Connection
from ml.features import read_current
from ml.target import load_target

pytestmark = pytest.mark.usefixtures("small_school")

EARLIER, LATER = date(2023, 12, 20), date(2024, 4, 10)
# The two terms of `tests.small_school`.
EARLIER_TERM, LATER_TERM = date(2024, 12, 20), date(2025, 4, 10)


def _predict(
    connection: Connection,
    student: str,
    day: date,
    *,
    listed: bool,
    target: str = "at_risk",
    school: str = "south",
) -> None:
    connection.execute(
        "insert into ml.predictions (target, method, school_id, student_id, as_of_date, probability, score,"
        " is_at_risk, reasons, recommendations, data_version)"
        " values (%s, 'model', %s, %s, %s, .5, .5, %s, '[]', '[]', 'v')",
        (target, school, student, day, listed),
    )


def _come(connection: Connection, student: str, day: date, *, came: bool) -> None:
    connection.execute(
        "insert into ml.outcomes (target, school_id, student_id, as_of_date, came, known_at)"
        " values ('at_risk', 'south', %s, %s, %s, %s)",
        (student, day, came, date(2024, 9, 1)),
    )


def _record(connection: Connection) -> list[dict[str, Any]]:
    return connection.execute(
        "select as_of_date, predictions, judged, right_flags, wrong_flags, missed, cleared, precision, recall"
        " from marts.mart_prediction_record where school_id = 'south' order by as_of_date"
    ).fetchall()


def test_flags_are_counted_as_right_wrong_and_missed(connection: Connection) -> None:
    for number, (listed, came) in enumerate([(True, True), (True, True), (True, False), (False, True)]):
        _predict(connection, f"P{number}", EARLIER, listed=listed)
        _come(connection, f"P{number}", EARLIER, came=came)
    _predict(connection, "P4", EARLIER, listed=False)
    _come(connection, "P4", EARLIER, came=False)
    _predict(connection, "P0", LATER, listed=True)  # nothing came yet
    first, second = _record(connection)
    assert (first["predictions"], first["judged"]) == (5, 5)
    assert (first["right_flags"], first["wrong_flags"], first["missed"], first["cleared"]) == (2, 1, 1, 1)
    assert (float(first["precision"]), float(first["recall"])) == (0.6667, 0.6667)
    assert (second["predictions"], second["judged"], second["precision"]) == (1, 0, None)


def test_of_several_lines_for_a_day_the_newest_counts_and_of_corrected_results_the_last(
    connection: Connection,
) -> None:
    _predict(connection, "P0", EARLIER, listed=True)
    _predict(connection, "P0", EARLIER, listed=False)
    _come(connection, "P0", EARLIER, came=False)
    _come(connection, "P0", EARLIER, came=True)
    (only,) = _record(connection)
    assert (only["predictions"], only["right_flags"], only["missed"]) == (1, 0, 1)
    flags = connection.execute(
        "select verdict, is_at_risk from marts.mart_student_flags where school_id = 'south'"
    ).fetchall()
    assert flags == [{"verdict": "missed", "is_at_risk": False}]


def test_grades_that_hand_in_later_stay_on_the_list_and_who_changed_grade_is_there_once(
    settings: Settings, connection: Connection
) -> None:
    """Of the second term `main` has STU003 alone, now in JSS2; before, three were in JSS1 and one in JSS2."""
    connection.execute(
        "delete from intermediate.int_student_features"
        " where school_id = 'main' and term = 'Second Term' and student_id <> 'STU003';"
        " update intermediate.int_student_features set grade_level = 'JSS2', grade_order = 2"
        " where school_id = 'main' and term = 'Second Term';"
        " update intermediate.int_student_features set next_term_average = null, next_known_at = null"
    )
    run_dbt(settings, ["run", "--select", "int_current_terms"])
    for school, student, day in (
        ("main", "STU001", EARLIER_TERM), ("main", "STU/4", EARLIER_TERM), ("main", "STU002", EARLIER_TERM),
        ("main", "STU003", EARLIER_TERM), ("main", "STU003", LATER_TERM), ("north", "STU001", LATER_TERM),
    ):  # fmt: skip
        for target in ("at_risk", "jamb_score"):
            _predict(connection, student, day, listed=True, target=target, school=school)
    # STU002 is missing from the second term of JSS2, and left.
    expected = [
        ("main", "STU/4", EARLIER_TERM), ("main", "STU001", EARLIER_TERM), ("main", "STU003", LATER_TERM),
        ("north", "STU001", LATER_TERM),
    ]  # fmt: skip
    for mart in ("mart_student_risk", "mart_student_predictions"):
        shown = connection.execute(
            f"select school_id, student_id, as_of_date from marts.{mart} order by school_id, student_id"
        ).fetchall()
        assert [tuple(line.values()) for line in shown] == expected, mart
    rows = read_current(connection, load_target("at_risk"))
    scored = zip(rows["school_id"], rows["student_id"], rows["as_of_date"].dt.date, strict=True)
    assert sorted(scored) == expected


def test_the_first_results_of_a_term_make_nobody_leave(settings: Settings, connection: Connection) -> None:
    """Of three students of a grade one has a result in the new term: all are there, as they were."""
    connection.execute(
        "update intermediate.int_student_features set next_term_average = null, next_known_at = null;"
        " delete from intermediate.int_student_features"
        " where school_id = 'main' and term = 'Second Term' and student_id <> 'STU003'"
    )
    run_dbt(settings, ["run", "--select", "int_current_terms"])
    grades = connection.execute(
        "select grade_level, term, count(*) as students from intermediate.int_student_features"
        " where school_id = 'main' group by 1, 2 order by 1, 2"
    ).fetchall()
    assert {"grade_level": "JSS1", "term": "First Term", "students": 3} in grades
    assert {"grade_level": "JSS1", "term": "Second Term", "students": 1} in grades
    found = connection.execute(
        "select student_id, term from intermediate.int_current_terms"
        " where school_id = 'main' and term = 'First Term'"
    ).fetchall()
    rows = read_current(connection, load_target("at_risk"))
    scored = rows[rows["school_id"] == "main"]
    assert sorted(row["student_id"] for row in found) == sorted(scored["student_id"])
    assert len(found) == sum(row["students"] for row in grades if row["term"] == "First Term")
