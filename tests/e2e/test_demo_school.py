"""The demo school, handed in by `./start.sh demo`, against its answer key: the platform shows what is true.

The demo school is made again here. The same seed gives the same bytes, so its key is the key of what the demo
handed in; the first test makes sure of it.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from dotenv import dotenv_values

from demo.answers import AnswerKey
from demo.pisa import COUNTRIES
from demo.school import write_demo_school
from local import mariadb
from tests.e2e.comparing import comparable, differences
from tests.e2e.conftest import DEMO_SECONDS, SPLIT_BYTES, Platform, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2_400)]

# Which factors of mart_insights are the key's, by the dataset whose column they come from.
INSIGHT_FACTORS = {
    "students": {
        "living_arrangement": "boarding",
        "health_status": "health_status",
        "disorder": "disorder",
    },
    "guardians": {
        "financial_status": "guardian_financial_status",
        "education_level": "guardian_education",
        "engagement_in_school_activities": "guardian_engagement",
    },
    "survey_responses": {
        "study_habits": "study_habits",
        "weekly_hours_spent_reading": "weekly_reading_hours",
        "private_tutors": "private_tutors",
        "mentor": "mentor",
        "do_you_have_a_library_in_your_school": "school_library",
        "library_visit": "library_visits",
        "digital_methods_in_school": "digital_methods",
        "access_to_online_learning_platform": "online_platform",
        "supportive_home_environment": "supportive_home",
        "parental_engagement_in_school_life": "parental_engagement",
        "qualified_teachers": "qualified_teachers",
        "anxiety_before_exam": "exam_anxiety",
        "do_you_understand_english": "understands_english",
        "access_to_practice_exams": "practice_exams",
        "learning_environment": "learning_environment",
        "financial_status": "financial_status",
    },
}
MARTS = (
    "mart_student_terms", "mart_student_overview", "mart_class_summary", "mart_subject_performance",
    "mart_teacher_load", "mart_student_attendance", "mart_school_resources", "mart_student_scores",
    "mart_data_quality",
)  # fmt: skip


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AnswerKey]:
    """The demo school as the demo command makes it, and its key."""
    folder = tmp_path_factory.mktemp("demo-school")
    return folder, write_demo_school(folder)


@pytest.fixture(scope="module")
def key(school: tuple[Path, AnswerKey]) -> AnswerKey:
    """The answers."""
    return school[1]


@pytest.fixture(scope="module")
def uploads(platform: Platform, school: tuple[Path, AnswerKey]) -> dict[str, dict[str, Any]]:
    """The upload of each file of the demo school, found by its bytes."""
    by_digest = {upload["sha256"]: upload for upload in platform.pages("/uploads", limit=200)}
    folder, answers = school
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in answers.files}
    missing = [name for name, digest in digests.items() if digest not in by_digest]
    assert missing == [], "not handed in, or with other bytes"
    return {name: by_digest[digest] for name, digest in digests.items()}


def test_the_demo_hands_in_each_file_once_and_all_are_loaded(
    platform: Platform, uploads: dict[str, dict[str, Any]], key: AnswerKey
) -> None:
    assert {name: upload["status"] for name, upload in uploads.items()} == dict.fromkeys(key.files, "loaded")
    assert len(platform.pages("/uploads")) == len(key.files)
    assert {upload["origin"] for upload in uploads.values()} == {"api"}


def test_the_demo_prints_the_students_at_risk_and_where_to_go_on(platform: Platform) -> None:
    worklist = platform.pages("/risk", only_at_risk=True, limit=1_000)
    first = worklist[0]
    assert re.search(rf"\b{first['student_id']}\b", platform.output), platform.output
    named = [item for item in worklist if item["student_id"] in platform.output]
    assert len(named) >= 5
    for port in ("LAUREL_PORT", "LAUREL_AIRFLOW_PORT"):
        assert f":{platform.environment[port]}" in platform.output


def test_the_first_admin_signs_in_with_the_password_that_was_shown_once(platform: Platform) -> None:
    shown = re.findall(r"user (admin@laurel\.local), password (\S+)$", platform.output, re.MULTILINE)
    assert len(shown) == 1
    email, password = shown[0]
    sent = {"email": email, "password": password, "new_password": "violin tractor ninety"}
    answer = httpx.post(f"{platform.client.base_url}session", json=sent, timeout=60, trust_env=False)
    assert answer.status_code == 201, answer.text
    assert answer.json()["role"] == "admin"
    assert password not in platform.laurel("logs", "--lines", "100000").stdout


def test_status_says_that_all_is_healthy(platform: Platform) -> None:
    def all_are() -> bool:
        services = platform.laurel("services", "--json")
        said = {service["healthy"] for service in json.loads(services.stdout)}
        assert (services.returncode == 0) == (said == {True}), services.stdout
        return said == {True}

    _until(all_are, "a platform of which all is healthy")  # a heartbeat may be late on a busy machine


def test_airflow_carried_the_files(platform: Platform, uploads: dict[str, dict[str, Any]]) -> None:
    runs = {run["id"]: run for run in platform.pages("/runs", limit=200)}
    assert {run["status"] for run in runs.values()} <= {"succeeded", "running"}
    for name, upload in uploads.items():
        assert upload["runs"], name
        assert all(runs[run]["airflow_run"] for run in upload["runs"]), name


def test_the_largest_file_was_loaded_in_parts(
    platform: Platform, school: tuple[Path, AnswerKey], uploads: dict[str, dict[str, Any]]
) -> None:
    folder, answers = school
    large = [name for name in answers.files if (folder / name).stat().st_size > SPLIT_BYTES]
    query = (
        "select distinct r._upload_id from raw.academic_history r "
        "join pg_inherits i on i.inhrelid = r.tableoid"
    )
    found = platform.laurel("psql", "--tuples-only", "--no-align", "--command", query)
    assert found.stdout.split() == [uploads[name]["id"] for name in large], found.stderr
    assert len(large) == 1


def test_every_row_is_counted_as_the_key_says(uploads: dict[str, dict[str, Any]], key: AnswerKey) -> None:
    for name, answer in key.files.items():
        assert uploads[name]["counts"] == {
            "read": answer.read,
            "accepted": answer.accepted,
            "rejected": answer.rejected,
            "repeated": answer.repeated,
            "loaded": answer.accepted,
            "warnings": answer.warnings,
            "erased": 0,
        }, name


def test_every_planted_defect_is_found_and_nothing_else(
    platform: Platform, uploads: dict[str, dict[str, Any]], key: AnswerKey
) -> None:
    for name, upload in uploads.items():
        found = [
            (issue["line"], issue["column"], issue["rule"], issue["severity"])
            for issue in platform.pages(f"/uploads/{upload['id']}/issues", limit=1_000)
            if issue["line"] != 1
        ]
        planted = [
            (defect.line, defect.column, defect.rule, defect.severity)
            for defect in key.defects
            if defect.file == name
        ]
        assert sorted(found, key=str) == sorted(planted, key=str), name


def test_rejected_rows_come_back_with_their_cells_line_column_rule_and_hint(
    platform: Platform, school: tuple[Path, AnswerKey], uploads: dict[str, dict[str, Any]]
) -> None:
    folder, key = school
    for name, upload in uploads.items():
        rows = platform.csv(f"/uploads/{upload['id']}/rejects.csv")
        planted = {d.line: d for d in key.defects if d.file == name and d.severity == "error"}
        assert sorted(int(row["line"]) for row in rows) == sorted(planted), name
        text = (folder / name).read_text(encoding="utf-8-sig")
        for row in rows:
            defect = planted[int(row["line"])]
            assert row["rule"] == defect.rule
            assert row["hint"]
            if defect.column:
                assert row["column"] == defect.column
            start = text.split("\n")[defect.line - 1]
            assert row[next(iter(row))] == start.split(",")[0].strip('"')


@pytest.mark.parametrize("mart", MARTS)
def test_a_mart_shows_the_keys_figures(platform: Platform, key: AnswerKey, mart: str) -> None:
    (figure,) = [figure for figure in key.figures if figure.mart == mart]
    columns = [*figure.key, *(name for name in figure.rows if name not in figure.key)]
    shown = platform.csv(f"/marts/{mart}", columns=",".join(columns), format="csv")
    assert differences(figure, shown) == []


def test_json_csv_and_parquet_of_a_mart_agree(platform: Platform, key: AnswerKey) -> None:
    import io

    import polars as pl

    query = {"columns": "school_id,grade_level,term,student_count,average_score", "school_year": "2025/2026"}
    rows = platform.csv("/marts/mart_class_summary", format="csv", **query)
    as_json = platform.get("/marts/mart_class_summary", format="json", **query)
    items = as_json["items"] if isinstance(as_json, dict) else as_json
    parquet = pl.read_parquet(
        io.BytesIO(platform.ask("/marts/mart_class_summary", format="parquet", **query).content)
    )
    plain = [[comparable(value) for value in row.values()] for row in rows]
    assert len(plain) == len(key.schools) * 6 * 3
    assert [[comparable(value) for value in item.values()] for item in items] == plain
    assert [[comparable(value) for value in row] for row in parquet.rows()] == plain


def test_freshness_shows_all_rows_and_nothing_waiting(platform: Platform, key: AnswerKey) -> None:
    shown = {row["dataset"]: row for row in platform.csv("/marts/mart_freshness", format="csv")}
    for answer in key.files.values():
        row = shown[answer.dataset]
        assert int(row["live_row_count"]) == answer.accepted
        assert comparable(row["is_current"]) == "true"


def test_insights_find_no_effect_where_there_is_none(platform: Platform, key: AnswerKey) -> None:
    found = insights(platform)
    checked = 0
    for dataset, factors in key.no_effect_factors.items():
        for factor in factors:
            for row in found.get((dataset, factor), []):
                assert row["is_effect_found"] == "false", row
                assert row["verdict"].startswith("no effect found"), row
                assert float(row["low"]) <= float(row["effect"]) <= float(row["high"])
                checked += 1
    assert checked >= 20


def test_insights_find_the_effects_that_are_there(platform: Platform, key: AnswerKey) -> None:
    found = insights(platform)
    for dataset, factors in key.effect_factors.items():
        for factor in factors:
            if (dataset, factor) in found:
                verdicts = {
                    row["outcome"]: comparable(row["is_effect_found"]) for row in found[dataset, factor]
                }
                verdicts.pop("attendance_pct", None)  # planted in the marks, not in attendance
                assert "true" in verdicts.values(), (dataset, factor, verdicts)
    assert ("guardians", "engagement_in_school_activities") in found
    assert ("survey_responses", "study_habits") in found


def test_the_model_is_published_and_its_worklist_is_right(platform: Platform, key: AnswerKey) -> None:
    assert platform.get("/models/at_risk")["published_version"] is not None
    worklist = platform.pages("/risk", only_at_risk=False, limit=1_000)
    current = {(student.school_id, student.student_id) for student in key.next_term}
    at_risk = {(student.school_id, student.student_id) for student in key.truly_at_risk}
    below = {(s.school_id, s.student_id) for s in key.next_term if s.drawn_average < key.pass_mark}
    ranked = [(item["school_id"], item["student_id"]) for item in worklist]
    assert {item["method"] for item in worklist} == {"model"}
    assert sorted(ranked) == sorted(current)
    probabilities = [item["probability"] for item in worklist]
    assert worklist == sorted(worklist, key=lambda item: (not item["is_at_risk"], -item["probability"]))
    top = ranked[: len(ranked) // 10]
    assert precision(top, at_risk) > 3 * key.base_rate
    assert precision(top, at_risk) > 0.6
    assert precision(top, below) > 2.5 * len(below) / len(current)
    # Probabilities mean what they say: their sum is about the number who did fall below.
    assert 0.7 < sum(probabilities) / len(below) < 1.4


def test_each_student_at_risk_has_reasons_and_steps(platform: Platform) -> None:
    for item in platform.pages("/risk", only_at_risk=True, limit=1_000):
        assert item["is_at_risk"] is True
        assert item["reasons"], item["student_id"]
        assert item["recommendations"], item["student_id"]


def test_a_student_term_recomputes_from_the_lines_behind_it(
    platform: Platform, school: tuple[Path, AnswerKey], uploads: dict[str, dict[str, Any]]
) -> None:
    lines = (school[0] / "academic_history.csv").read_text("utf-8").split("\n")
    header = lines[0].split(",")
    for row in sample(school[1], "mart_student_terms", 8):
        answer = provenance(platform, "mart_student_terms", row, "average_score")
        scores = []
        for source in answer["lines"]:
            assert source["upload_id"] == uploads["academic_history.csv"]["id"]
            cells = dict(zip(header, lines[source["line"] - 1].split(","), strict=True))
            assert cells["Student ID"] == row["student_id"]
            scores.append(Decimal(cells["Total Score"]))
        assert answer["total"] == len(scores) == row["subject_count"]
        assert comparable(answer["value"]) == comparable(rounded(scores)) == comparable(row["average_score"])


def test_a_class_average_recomputes_from_the_lines_behind_it(
    platform: Platform, school: tuple[Path, AnswerKey]
) -> None:
    students = [
        line.split(",")[0] for line in (school[0] / "academic_history.csv").read_text("utf-8").split("\n")
    ]
    for row in sample(school[1], "mart_class_summary", 2):
        answer = provenance(platform, "mart_class_summary", row, "average_score")
        totals: dict[str, list[Decimal]] = {}
        for source in answer["lines"]:
            total = Decimal(str(source["values"]["total_score"]))
            totals.setdefault(students[source["line"] - 1], []).append(total)
        assert len(totals) == row["student_count"]
        averages = [rounded(scores) for scores in totals.values()]
        assert (
            comparable(answer["value"]) == comparable(rounded(averages)) == comparable(row["average_score"])
        )


def test_a_subjects_pass_rate_recomputes_from_the_lines_behind_it(platform: Platform, key: AnswerKey) -> None:
    for row in sample(key, "mart_subject_performance", 5):
        answer = provenance(platform, "mart_subject_performance", row, "passed_count")
        totals = [Decimal(str(source["values"]["total_score"])) for source in answer["lines"]]
        assert len(totals) == row["student_count"]
        assert answer["value"] == sum(total >= 50 for total in totals) == row["passed_count"]


def insights(platform: Platform) -> dict[tuple[str, str], list[dict[str, str]]]:
    """The rows of mart_insights by the key's dataset and factor."""
    shown = platform.csv("/marts/mart_insights", format="csv")
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for dataset, names in INSIGHT_FACTORS.items():
        source = "survey_responses" if dataset == "survey_responses" else "academic_history"
        for factor, name in names.items():
            rows = [row for row in shown if (row["dataset"], row["factor"]) == (source, name)]
            assert rows, f"mart_insights has no factor {name}"
            found[dataset, factor] = [
                {**row, "is_effect_found": comparable(row["is_effect_found"])} for row in rows
            ]
    return found


def rounded(scores: list[Decimal]) -> Decimal:
    """The mean as people see it."""
    return (sum(scores, Decimal(0)) / len(scores)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def precision(listed: list[tuple[str, str]], true: set[tuple[str, str]]) -> float:
    return sum(student in true for student in listed) / len(listed)


def sample(key: AnswerKey, mart: str, count: int) -> list[dict[str, Any]]:
    """Some rows of a figure, always the same."""
    (figure,) = [figure for figure in key.figures if figure.mart == mart]
    rows: list[dict[str, Any]] = figure.rows.to_dict("records")
    return [{"_key": figure.key, **row} for row in random.Random(5).sample(rows, count)]


def provenance(platform: Platform, mart: str, row: dict[str, Any], column: str) -> dict[str, Any]:
    """The answer of GET /provenance about one cell."""
    names = json.dumps({name: row[name] for name in row["_key"]})
    answer: dict[str, Any] = platform.get("/provenance", mart=mart, key=names, column=column, limit=1_000)
    return answer


def test_a_second_demo_also_reads_a_school_database_exam_boards_and_countries(platform: Platform) -> None:
    """The last test here: it brings rows that are not in the key."""
    done = run(["./start.sh", "demo"], platform.environment, DEMO_SECONDS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    listed = {source["name"]: source for source in platform.get("/sources")["items"]}
    has_mysql = mariadb.find_program() is not None
    countries = {f"demo-pisa-{country.lower()}" for country in COUNTRIES}
    expected = {"demo-exams", *countries}
    assert set(listed) == expected | ({"demo-school"} if has_mysql else set())
    assert {source["status"] for source in listed.values()} == {"succeeded"}, listed
    assert all(listed[name]["rows"] > 350 for name in countries)  # 400, and what came and went since
    for name in listed:
        assert name in done.stdout
    _check_that_countries_are_live(platform)
    if not has_mysql:
        assert "skipped: MariaDB is not installed" in done.stdout
        return
    assert len(listed["demo-school"]["tables"]) == 17
    terms = platform.csv("/marts/mart_student_terms", school_id="demo-rosariosis", format="csv")
    assert len({row["student_id"] for row in terms}) > 60
    grades = platform.csv("/marts/mart_waec_performance", school_id="demo-rosariosis", format="csv")
    assert sum(row["waec_grade"] != "" for row in grades) > 100
    assert _run_of_airflow(platform, "sources") == "success"


def _check_that_countries_are_live(platform: Platform) -> None:
    """All twenty are in the live picture, and the responses of the service `demo-pisa` arrive there."""
    first = _until(lambda: _picture_of_all(platform), "twenty countries")
    _until(lambda: _picture_of_all(platform)["responses"] != first["responses"], "new responses")
    shown = platform.csv("/marts/mart_pisa_countries", format="csv")
    assert {row["country_code"] for row in shown} == set(COUNTRIES)
    assert all(row["escs_weighted_mean"] for row in shown)
    with _airflow(platform) as airflow:
        airflow.patch("/api/v2/dags/pisa", json={"is_paused": False}).raise_for_status()
        runs = "/api/v2/dags/pisa/dagRuns"
        states = _until(
            lambda: (
                {run["state"] for run in airflow.get(runs).raise_for_status().json()["dag_runs"]}
                & {"success", "failed"}
            ),
            "a run of the DAG pisa, every 30 seconds",
        )
        airflow.patch("/api/v2/dags/pisa", json={"is_paused": True}).raise_for_status()
    assert states == {"success"}


def _picture_of_all(platform: Platform) -> dict[str, Any]:
    """The live picture, empty while countries are missing."""
    picture: dict[str, Any] = platform.get("/live/pisa")
    return picture if {each["country"] for each in picture["countries"]} == set(COUNTRIES) else {}


def _until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 300
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(1)
    return found


@contextmanager
def _airflow(platform: Platform) -> Iterator[httpx.Client]:
    """Airflow's own API, signed in."""
    secrets = dotenv_values(platform.home / "laurel.env")
    url = f"http://127.0.0.1:{platform.environment['LAUREL_AIRFLOW_PORT']}"
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as airflow:
        sign_in = {"username": "admin", "password": secrets["LAUREL_AIRFLOW_PASSWORD"]}
        token = airflow.post("/auth/token", json=sign_in).raise_for_status().json()["access_token"]
        airflow.headers["Authorization"] = f"Bearer {token}"
        yield airflow


def _run_of_airflow(platform: Platform, dag: str) -> str:
    """Let Airflow run a DAG now; the state in which that ends."""
    with _airflow(platform) as airflow:
        started = airflow.post(f"/api/v2/dags/{dag}/dagRuns", json={"logical_date": None}).raise_for_status()
        path = f"/api/v2/dags/{dag}/dagRuns/{started.json()['dag_run_id']}"
        return str(_until(lambda: _ended(airflow, path), dag))


def _ended(airflow: httpx.Client, path: str) -> str | None:
    """How a run ended; None while it runs."""
    state = airflow.get(path).raise_for_status().json()["state"]
    return state if state in ("success", "failed") else None
