"""An upload's whole life as its sender sees it: loaded, corrected, replaced, withdrawn, approved."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from elt.loading.loader import load_version
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.discover import discover
from elt.warehouse import Connection

BASE = "/api/v1/uploads"
HEADER = "Student ID,Grade Level,Subject,Term,Test Score,Exam Score,Total Score\r\n"


def history(students: range, faulty: dict[int, str] | None = None) -> str:
    """One line per student; `faulty` replaces the end of a student's line."""
    faulty = faulty or {}
    lines = [
        f"STU{number:05d},JSS1,Mathematics,First Term,{faulty.get(number, '20,40,60')}\r\n"
        for number in students
    ]
    return HEADER + "".join(lines)


@pytest.fixture
def load_all(settings: Settings, store: Store) -> Callable[[], None]:
    """Load whatever waits, as a run would."""

    def load() -> None:
        for waiting in discover(settings, store):
            load_version(settings, store, waiting.upload_id, waiting.version)

    return load


def hand_in(client: FlaskClient, content: str, **said: str) -> Any:
    query = {"dataset": "academic_history", "filename": "history.csv", **said}
    answer = client.post(BASE, query_string=query, data=content.encode(), content_type="text/csv")
    assert answer.status_code == 201, answer.text
    return answer.json


def total_of(connection: Connection, student: str) -> list[Any]:
    rows = connection.execute(
        "select total_score from raw.academic_history where student_id = %s order by total_score", (student,)
    )
    return [int(row["total_score"]) for row in rows]


def test_rejected_rows_come_back_are_corrected_and_complete_the_upload(
    researcher: FlaskClient, load_all: Callable[[], None], connection: Connection
) -> None:
    faulty = {3: "20,101,121", 7: "20,,", 12: "x,40,60", 20: "20,40,61"}
    made = hand_in(researcher, history(range(100), faulty))
    load_all()
    shown = researcher.get(f"{BASE}/{made['id']}").json
    assert shown["status"] == "loaded"
    counts = shown["counts"]
    assert counts["read"] == counts["accepted"] + counts["rejected"] + counts["repeated"] == 100
    errors = [issue for issue in shown["issues"] if issue["severity"] == "error"]
    assert {issue["line"] for issue in errors} == {number + 2 for number in faulty} - (
        set() if counts["rejected"] == 4 else {9}
    )
    score = next(issue for issue in errors if issue["column"] == "exam_score" and issue["rule"] == "maximum")
    assert (score["line"], score["found"]) == (5, "101")
    assert score["hint"]
    assert shown["detected"]["encoding"] == "utf-8"
    assert shown["remaining_rejects"] == counts["rejected"]

    rejects = researcher.get(f"{BASE}/{made['id']}/rejects.csv")
    rows = list(csv.DictReader(io.StringIO(rejects.data.decode())))
    assert list(rows[0])[-4:] == ["line", "column", "rule", "hint"]
    for row in rows:
        row |= {"Test Score": "30", "Exam Score": "50", "Total Score": "80"}
    corrected = io.StringIO(newline="")
    writer = csv.DictWriter(corrected, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    fix = hand_in(researcher, corrected.getvalue(), fixes=made["id"])
    load_all()
    shown = researcher.get(f"{BASE}/{made['id']}").json
    assert shown["remaining_rejects"] == 0
    assert shown["fixes"] == [fix["id"]]
    assert total_of(connection, "STU00003") == [80]

    assert researcher.delete(f"{BASE}/{made['id']}").status_code == 200
    assert researcher.get(f"{BASE}/{fix['id']}").json["status"] == "withdrawn"
    assert total_of(connection, "STU00003") == []


def test_issues_come_in_pages_and_leave_nothing_out(
    researcher: FlaskClient, load_all: Callable[[], None]
) -> None:
    faulty = dict.fromkeys(range(35), "20,101,121")
    made = hand_in(researcher, history(range(1000), faulty))
    load_all()
    first = researcher.get(f"{BASE}/{made['id']}").json
    assert first["more_issues"]
    found, address = list(first["issues"]), first["more_issues"]
    while address:
        page = researcher.get(address).json
        found += page["items"]
        address = f"{BASE}/{made['id']}/issues?after={page['next']}" if page["next"] else None
    lines = [
        issue["line"] for issue in found if issue["column"] == "exam_score" and issue["severity"] == "error"
    ]
    assert lines == [number + 2 for number in range(35)]
    again = researcher.get(f"{BASE}/{made['id']}/issues?limit=1000").json
    assert [issue["line"] for issue in again["items"]] == [
        issue["line"] for issue in found if issue["line"] != 1
    ]


def test_a_file_with_too_many_faults_is_rejected_with_the_reason(
    researcher: FlaskClient, load_all: Callable[[], None], connection: Connection
) -> None:
    made = hand_in(researcher, history(range(10), {1: "20,101,121", 2: "20,101,121"}))
    load_all()
    shown = researcher.get(f"{BASE}/{made['id']}").json
    assert shown["status"] == "rejected"
    assert shown["reason"]
    assert connection.execute("select count(*) as n from raw.academic_history").fetchone() == {"n": 0}


def test_rejects_are_not_there_before_the_file_was_read(researcher: FlaskClient) -> None:
    made = hand_in(researcher, history(range(3)))
    assert researcher.get(f"{BASE}/{made['id']}/rejects.csv").status_code == 409


def test_a_new_version_takes_the_place_of_the_old_one_once_it_is_loaded(
    researcher: FlaskClient, load_all: Callable[[], None], connection: Connection
) -> None:
    made = hand_in(researcher, history(range(5)))
    load_all()
    replaced = researcher.put(f"{BASE}/{made['id']}", data=history(range(5), {2: "10,20,30"}).encode()).json
    assert (replaced["status"], replaced["version"], replaced["live_version"]) == ("stored", 2, 1)
    assert total_of(connection, "STU00002") == [60]
    load_all()
    assert researcher.get(f"{BASE}/{made['id']}").json["live_version"] == 2
    assert total_of(connection, "STU00002") == [30]


def test_a_held_upload_waits_for_a_second_person(
    client_of: Callable[..., FlaskClient], load_all: Callable[[], None]
) -> None:
    sender, second = client_of("admin"), client_of("admin")
    address = f"{BASE}/{hand_in(sender, history(range(200)))['id']}"
    load_all()
    changed = history(range(200), dict.fromkeys(range(200), "10,20,30"))
    assert sender.put(address, data=changed.encode()).status_code == 200
    load_all()
    assert sender.get(address).json["status"] == "held"
    assert sender.post(f"{address}/approve").status_code == 409
    assert second.post(f"{address}/approve").json["status"] == "stored"
    load_all()
    assert sender.get(address).json["status"] == "loaded"


def test_a_failed_upload_is_loaded_after_it_was_retried(
    researcher: FlaskClient, load_all: Callable[[], None], connection: Connection
) -> None:
    connection.execute("alter table raw.academic_history rename column term to elsewhere")
    address = f"{BASE}/{hand_in(researcher, history(range(2)))['id']}"
    load_all()
    connection.execute("alter table raw.academic_history rename column elsewhere to term")
    assert researcher.get(address).json["status"] == "failed"
    assert researcher.post(f"{address}/retry").json["status"] == "stored"
    load_all()
    assert researcher.get(address).json["status"] == "loaded"
    assert researcher.post(f"{address}/retry").status_code == 409
