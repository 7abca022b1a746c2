"""What teachers and researchers are shown by the routes that read marts."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pyarrow.parquet
import pytest
from flask import Flask
from flask.testing import FlaskClient

from elt.people.principals import Assignment
from elt.people.sessions import start_session
from elt.people.users import create_user
from elt.warehouse import Connection

BASE = "/api/v1"

pytestmark = pytest.mark.usefixtures("small_school")


@pytest.fixture
def teacher(api: Flask, connection: Connection) -> FlaskClient:
    """The teacher of JSS2 of `main`, whose only student is STU002."""
    user_id = create_user(
        connection, "t@example.org", "T", "teacher", "test", assignments=[Assignment("main", "JSS2")]
    )
    client = api.test_client()
    client.set_cookie("laurel_session", start_session(connection, user_id))
    return client


def test_a_teacher_reads_the_marts_of_their_class_with_names(teacher: FlaskClient) -> None:
    [student] = teacher.get(f"{BASE}/marts/mart_students").json
    assert (student["student_id"], student["full_name"]) == ("STU002", "Bola Ade")
    terms = teacher.get(f"{BASE}/marts/mart_student_terms?format=csv").text.splitlines()
    assert len(terms) == 3
    assert all(line.startswith("main,STU002,") for line in terms[1:])
    classes = teacher.get(f"{BASE}/marts/mart_class_summary").json
    assert {(row["school_id"], row["grade_level"]) for row in classes} == {("main", "JSS2")}


def test_a_teachers_worklist_is_their_class(teacher: FlaskClient) -> None:
    found = teacher.get(f"{BASE}/risk?only_at_risk=false").json["items"]
    assert [(item["school_id"], item["student_id"]) for item in found] == [("main", "STU002")]


def test_a_teacher_traces_figures_of_own_students_only(teacher: FlaskClient, admin: FlaskClient) -> None:
    def ask(client: FlaskClient, mart: str, column: str, key: str) -> tuple[int, int | None]:
        answer = client.get(f"{BASE}/provenance", query_string={"mart": mart, "column": column, "key": key})
        return answer.status_code, answer.json.get("total")

    own = "school_id=main,student_id=STU002"
    assert ask(teacher, "mart_student_overview", "average_score", own) == (200, 2)
    other = "school_id=main,student_id=STU001"
    assert ask(teacher, "mart_student_overview", "average_score", other) == (404, None)
    assert ask(admin, "mart_student_overview", "average_score", other) == (200, 4)
    term = "school_id=main,student_id=STU002,school_year=2024/2025,term=First Term"
    assert ask(teacher, "mart_student_terms", "class_rank", term) == (404, None)
    assert ask(admin, "mart_student_terms", "class_rank", term) == (200, 1)
    summary = "school_id=main,school_year=2024/2025,grade_level=JSS2,term=First Term"
    assert ask(teacher, "mart_class_summary", "average_score", summary) == (404, None)


def test_an_admin_of_a_school_traces_no_figure_of_another(client_of: Callable[..., FlaskClient]) -> None:
    asked = {"mart": "mart_student_overview", "column": "average_score"}
    for school, status in (("north", 200), ("main", 404)):
        key = f"school_id={school},student_id=STU001"
        answer = client_of("admin", "north").get(f"{BASE}/provenance", query_string={**asked, "key": key})
        assert answer.status_code == status


def test_a_researcher_reads_and_finds_students_by_pseudonym(researcher: FlaskClient) -> None:
    address = f"{BASE}/marts/mart_student_overview"
    rows = researcher.get(address).json
    names = [row["student_id"] for row in rows]
    assert len(set(names)) == 5
    assert all(name.startswith("s_") for name in names)
    assert researcher.get(f"{address}?student_id={names[0]}").json == rows[:1]
    assert researcher.get(f"{address}?student_id=STU001").json == []


@pytest.mark.parametrize(
    "mart", ["mart_students", "mart_guardians", "mart_student_terms", "mart_student_flags"]
)
def test_no_export_gives_a_researcher_an_identifier_or_a_name(researcher: FlaskClient, mart: str) -> None:
    address = f"{BASE}/marts/{mart}"
    table = pyarrow.parquet.read_table(BytesIO(researcher.get(f"{address}?format=parquet").data))
    texts = [
        researcher.get(address).text,
        researcher.get(f"{address}?format=csv").text,
        str(table.to_pylist()),
    ]
    assert table.num_rows > 0
    for text in texts:
        for planted in ("STU", "PAR00", "Okafor", "Ngozi", "Amara", "example.org", "+234", "Palm", "2012-"):
            assert planted not in text, planted
