"""What earlier predictions were worth, counted by the marts, against counts by hand."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from elt.warehouse import Connection

pytestmark = pytest.mark.usefixtures("small_school")

EARLIER, LATER = date(2023, 12, 20), date(2024, 4, 10)


def _predict(
    connection: Connection, student: str, day: date, *, listed: bool, target: str = "at_risk"
) -> None:
    connection.execute(
        "insert into ml.predictions (target, method, school_id, student_id, as_of_date, probability, score,"
        " is_at_risk, reasons, recommendations, data_version)"
        " values (%s, 'model', 'south', %s, %s, .5, .5, %s, '[]', '[]', 'v')",
        (target, student, day, listed),
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
