"""The boards' API: pages that stay what they are, refusals that say why, fresh records, faults on request."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from demo.exam_faults import Fault
from demo.exam_server import create_exam_app
from demo.exams import SAT_COLUMNS, WAEC_COLUMNS, write_records
from elt.errors import ConfigurationError

SCHOOL = 4123456
WAEC_PATH = f"/get-waec-records?school_exam_id={SCHOOL}"
SAT_PATH = f"/get-sat-scores?ceeb_code={SCHOOL}"
KEY = "a-key-for-tests"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Two years in which the same numbers were given out again, in no order."""
    grades = [
        (SCHOOL, f"{SCHOOL}{rank:03}", subject, grade, year)
        for year, grade in ((2021, "B3"), (2020, "C5"))
        for rank in (3, 1, 2)
        for subject in ("Physics", "Mathematics", "English")
    ]
    write_records(tmp_path / "waec_records.csv", WAEC_COLUMNS, grades)
    scores = [(SCHOOL, f"{SCHOOL}001", 2021, 1020), (SCHOOL + 1, f"{SCHOOL + 1}001", 2021, 900)]
    write_records(tmp_path / "sat_scores.csv", SAT_COLUMNS, scores)
    return tmp_path


@pytest.fixture
def client(records: Path) -> FlaskClient:
    return create_exam_app(records).test_client()


def test_an_answer_has_the_envelope_and_the_columns_of_the_boards(client: FlaskClient) -> None:
    answer = client.get(f"{SAT_PATH}&exam_year=2021")
    assert answer.json == {
        "status": "success",
        "records": 1,
        "total": 1,
        "data": [
            {
                "ceeb_code": SCHOOL,
                "registration_number": "4123456001",
                "exam_year": 2021,
                "sat_score": 1020,
            }
        ],
    }
    first = client.get(f"{WAEC_PATH}&exam_year=2020").json["data"][0]
    assert first == {
        "school_exam_id": SCHOOL, "exam_number": "4123456001", "subjects": "English", "subject_grade": "C5",
        "exam_year": 2020,
    }  # fmt: skip


def test_pages_together_give_every_record_once_in_one_order(client: FlaskClient) -> None:
    whole = client.get(f"{WAEC_PATH}&exam_year=2021&limit=1000").json
    assert (whole["records"], whole["total"]) == (9, 9)
    found: list[dict[str, Any]] = []
    for skip in itertools.count(0, 4):
        page = client.get(f"{WAEC_PATH}&exam_year=2021&skip={skip}&limit=4").json
        assert page["total"] == 9
        assert page["records"] == len(page["data"])
        if not page["data"]:
            break
        found += page["data"]
    assert found == whole["data"]
    assert len({(each["exam_number"], each["subjects"]) for each in found}) == 9


def test_a_page_has_ten_records_unless_more_are_asked_for(records: Path) -> None:
    grades = [(SCHOOL, f"{SCHOOL}{rank:03}", "English", "A1", 2019) for rank in range(1, 13)]
    write_records(records / "waec_records.csv", WAEC_COLUMNS, grades)
    page = create_exam_app(records).test_client().get(f"{WAEC_PATH}&exam_year=2019").json
    assert (page["records"], page["total"]) == (10, 12)


@pytest.mark.parametrize("query", ["&exam_year=1999", "1&exam_year=2021"])
def test_nothing_found_is_a_404_that_says_what_was_looked_for(client: FlaskClient, query: str) -> None:
    answer = client.get(f"{WAEC_PATH}{query}")
    assert answer.status_code == 404
    assert "no WAEC records of school 4123456" in answer.json["detail"]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("", ["school_exam_id", "exam_year"]),
        ("school_exam_id=one&exam_year=2021", ["school_exam_id"]),
        (f"school_exam_id={SCHOOL}&exam_year=20.5", ["exam_year"]),
        (f"school_exam_id={SCHOOL}&exam_year={'9' * 5000}", ["exam_year"]),
        (f"school_exam_id={SCHOOL}&exam_year=２０２１", ["exam_year"]),
        (f"school_exam_id={SCHOOL}&exam_year=2021&skip=-1&limit=0", ["skip", "limit"]),
        (f"school_exam_id={SCHOOL}&exam_year=2021&limit=1001", ["limit"]),
        (f"school_exam_id={SCHOOL}&exam_year=", ["exam_year"]),
    ],
)
def test_every_wrong_parameter_is_named(client: FlaskClient, query: str, wrong: list[str]) -> None:
    answer = client.get(f"/get-waec-records?{query}")
    assert answer.status_code == 422
    assert [issue["loc"] for issue in answer.json["detail"]] == [["query", name] for name in wrong]


def test_with_a_key_nobody_without_it_is_answered(records: Path) -> None:
    client = create_exam_app(records, api_key=KEY, allow_faults=True).test_client()
    for path in (f"{WAEC_PATH}&exam_year=2021", f"{SAT_PATH}&exam_year=2021", "/faults", "/elsewhere"):
        for headers in ({}, {"X-API-Key": ""}, {"X-API-Key": KEY + "x"}, {"X-API-Key": "clé"}):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 401, path
            assert "X-API-Key" in answer.json["detail"]
    assert client.get(f"{WAEC_PATH}&exam_year=2021", headers={"X-API-Key": KEY}).status_code == 200
    assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 200


def test_what_is_published_later_is_given_out_without_a_restart(client: FlaskClient, records: Path) -> None:
    assert client.get(f"{SAT_PATH}&exam_year=2022").status_code == 404
    write_records(records / "sat_scores.csv", SAT_COLUMNS, [(SCHOOL, f"{SCHOOL}001", 2022, 1100)])
    assert client.get(f"{SAT_PATH}&exam_year=2022").json["data"][0]["sat_score"] == 1100
    write_records(records / "more.csv", SAT_COLUMNS, [(SCHOOL, f"{SCHOOL}002", 2022, 1200)])
    assert client.get(f"{SAT_PATH}&exam_year=2022").json["total"] == 2
    (records / "more.csv").unlink()
    assert client.get(f"{SAT_PATH}&exam_year=2022").json["total"] == 1


def test_a_change_within_one_size_is_seen(client: FlaskClient, records: Path) -> None:
    file = records / "sat_scores.csv"
    before = file.stat()
    file.write_text(file.read_text().replace("1020", "1030"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert client.get(f"{SAT_PATH}&exam_year=2021").json["data"][0]["sat_score"] == 1030


def test_while_a_file_is_wrong_the_answer_says_so_and_nothing_old_is_given_out(
    client: FlaskClient, records: Path
) -> None:
    file = records / "sat_scores.csv"
    good = file.read_text()
    file.write_text(good + f"{SCHOOL},4123456002,2021,high\n")
    for _ in range(2):
        answer = client.get(f"{SAT_PATH}&exam_year=2021")
        assert answer.status_code == 503
        assert "sat_scores.csv, line 4, sat_score: expected a whole number" in answer.json["detail"]
    file.write_text(good)
    assert client.get(f"{SAT_PATH}&exam_year=2021").status_code == 200


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a,b\n1,2\n", "does not begin with the columns school_exam_id"),
        ("", "does not begin with the columns"),
        (f"{','.join(SAT_COLUMNS)}\n1,2\n", "line 2: 2 cells, expected 4"),
        (f"{','.join(SAT_COLUMNS)}\n1,2,２０２１,4\n".encode("utf-16"), "cannot be read as CSV"),
    ],
)
def test_files_that_are_no_records_are_refused_at_the_start(
    tmp_path: Path, content: str | bytes, says: str
) -> None:
    file = tmp_path / "records.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    for source in (file, tmp_path):
        with pytest.raises(ConfigurationError, match=says):
            create_exam_app(source)


def test_no_file_at_all_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no \*\.csv"):
        create_exam_app(tmp_path)
    with pytest.raises(ConfigurationError, match="No such file"):
        create_exam_app(tmp_path / "nowhere.csv")


def test_one_file_alone_can_be_served(records: Path) -> None:
    client = create_exam_app(records / "sat_scores.csv").test_client()
    assert client.get(f"{SAT_PATH}&exam_year=2021").status_code == 200
    assert client.get(f"{WAEC_PATH}&exam_year=2021").status_code == 404


def test_faults_happen_as_often_as_was_said_and_then_all_is_well(records: Path) -> None:
    app = create_exam_app(records, faults=[Fault("too_many_requests", 2, 7), Fault("unavailable")])
    client = app.test_client()
    assert client.get(f"{SAT_PATH}&exam_year=1999").status_code == 404  # no records, no fault
    answers = [client.get(f"{SAT_PATH}&exam_year=2021") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 429, 503, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["7", "7", None, None]
    assert all(answer.json["detail"] for answer in answers[:3])


def test_a_total_can_grow_from_page_to_page(records: Path) -> None:
    client = create_exam_app(records, faults=[Fault("growing")]).test_client()
    first, second = (client.get(f"{WAEC_PATH}&exam_year=2021&skip={skip}&limit=4").json for skip in (0, 4))
    assert (first["total"], second["total"]) == (8, 9)


def test_callers_can_ask_for_faults_only_where_that_is_allowed(records: Path) -> None:
    client = create_exam_app(records).test_client()
    assert client.post("/faults", json={"kind": "unavailable"}).status_code == 404

    client = create_exam_app(records, allow_faults=True).test_client()
    asked = client.post("/faults", json={"kind": "unavailable", "times": 2})
    assert (asked.status_code, asked.json["waiting"][0]["times"]) == (201, 2)
    assert client.get(f"{SAT_PATH}&exam_year=2021").status_code == 503
    assert client.get("/faults").json["waiting"] == [{"kind": "unavailable", "times": 1, "seconds": 1.0}]
    assert client.delete("/faults").json == {"waiting": []}
    assert client.get(f"{SAT_PATH}&exam_year=2021").status_code == 200


@pytest.mark.parametrize(
    "fault", [{}, {"kind": "meteor"}, {"kind": "slow", "seconds": -1}, {"kind": "cut", "times": 0}, []]
)
def test_a_fault_that_there_is_not_is_refused(records: Path, fault: Any) -> None:
    client = create_exam_app(records, allow_faults=True).test_client()
    answer = client.post("/faults", json=fault)
    assert answer.status_code == 422
    assert answer.json["detail"]


def test_the_document_and_the_page_describe_both_requests(records: Path) -> None:
    client = create_exam_app(records, api_key=KEY).test_client()
    document = client.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    for path in ("/get-waec-records", "/get-sat-scores"):
        assert set(document["paths"][path]["get"]["responses"]) == {"200", "401", "404", "422"}
        assert path in client.get("/docs").text


def test_other_addresses_and_methods_have_a_detail_too(client: FlaskClient) -> None:
    assert client.get("/elsewhere").json["detail"]
    assert client.post(f"{WAEC_PATH}&exam_year=2021").status_code == 405
