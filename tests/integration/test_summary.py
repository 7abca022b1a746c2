"""The summary's figures lead to the students whom they count."""

from __future__ import annotations

import html
import re

import pytest
from flask.testing import FlaskClient

from elt.warehouse import Connection

_LISTED = re.compile(r'<th scope="row"><a href="/student\?')


@pytest.fixture(autouse=True)
def _left(small_school: None, connection: Connection) -> None:
    """One of the three in JSS1 is not in the newest term any more."""
    connection.execute("delete from intermediate.int_current_terms where student_id = 'STU003'")


@pytest.mark.parametrize(
    ("status", "counted"), [("current", {"all": 4, "JSS1": 3, "JSS2": 1}), ("left", {"all": 1, "JSS1": 1}),
                            ("all", {"all": 5, "JSS1": 4, "JSS2": 1})],
)  # fmt: skip
def test_figures_lead_to_those_who_are_counted(
    admin: FlaskClient, status: str, counted: dict[str, int]
) -> None:
    page = admin.get(f"/summary?status={status}").text
    ((whole, number),) = re.findall(
        r'<dd><a href="(/students[^"]*)">(\d+)<span class="unseen">: Students', page
    )
    found = {"all": (whole, number)}
    for link, name, size in re.findall(
        r'<a href="(/students[^"]*)">(\w+)</a></th><td class="number" data-value="(\d+)"', page
    ):
        found[name] = (link, size)
    assert {name: int(size) for name, (_link, size) in found.items()} == counted
    for name, (link, _size) in found.items():
        listed = admin.get(html.unescape(link)).text
        assert len(_LISTED.findall(listed)) == counted[name], name


def test_the_api_lists_students_by_status_page_by_page(admin: FlaskClient) -> None:
    seen, following = [], ""
    while following is not None:
        page = admin.get(f"/api/v1/students?status=current&limit=2{following}").json
        seen += [(item["school_id"], item["student_id"]) for item in page["items"]]
        following = page["next"] and f"&after={page['next']}"
    everybody = [
        (item["school_id"], item["student_id"]) for item in admin.get("/api/v1/students").json["items"]
    ]
    assert seen == [student for student in everybody if student != ("main", "STU003")]
    assert admin.get("/api/v1/students?status=left&grade_level=JSS2").json["items"] == []
    assert admin.get("/api/v1/students?status=gone").status_code == 422


def test_the_badge_on_a_students_page_says_that_it_goes_by_the_record(admin: FlaskClient) -> None:
    """The summary counts the same student as left, by results."""
    page = admin.get("/student?school=main&id=STU003").text
    assert re.search(r'<span class="badge" title="[^"]+">By the record: at school</span>', page)
    assert "have left by the record" in admin.get("/summary?status=left").text


def test_a_past_term_is_read_without_the_ranks_that_it_does_not_show(connection: Connection) -> None:
    def plan(columns: str) -> str:
        query = f"explain select {columns} from marts.mart_student_terms"
        return "".join(row["QUERY PLAN"] for row in connection.execute(query))  # type: ignore[call-overload]

    assert "int_class_scores" in plan("student_id, class_rank")
    assert "int_class_scores" not in plan("student_id, average_score")
