"""The demo school through the pipeline in one process, without API or Airflow, against its key."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from uuid6 import uuid7

from demo.answers import AnswerKey
from demo.school import write_demo_school
from elt import pipeline
from elt.people.principals import Principal
from elt.serving.marts import stream_mart
from elt.settings import Settings
from elt.store.base import open_store
from elt.store.object_keys import new_object_key
from elt.uploads.accept import NewUpload, accept_upload
from elt.uploads.ledger import get_upload
from elt.warehouse import connect
from ml.scoring import score_all
from tests.e2e.comparing import differences

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Outcome:
    """The key, and what one run made of its files."""

    key: AnswerKey
    settings: Settings
    report: pipeline.RunReport
    uploads: dict[str, UUID]


@pytest.fixture(scope="module")
def outcome(postgres_server, _template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """The demo school handed in and carried to the marts, once for all tests here."""
    home = tmp_path_factory.mktemp("home")
    key = write_demo_school(home / "school")
    settings = Settings(
        home=home,
        database_url=SecretStr(postgres_server.create_database("demo_in_process", _template)),
        secret_key=SecretStr("a-key-for-tests-only-0123456789abcdef"),
        pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
        store_url=(home / "store").as_uri(),
    )
    uploads = {name: hand_in(settings, home / "school" / name, key) for name in key.files}
    yield Outcome(key, settings, pipeline.run(settings, trigger="cli", score=score_students), uploads)
    postgres_server.drop_database("demo_in_process")


def score_students(settings: Settings, run_id: UUID) -> dict[str, Any]:
    return score_all(settings, run_id)


def hand_in(settings: Settings, path: Path, key: AnswerKey) -> UUID:
    store = open_store(settings.resolved_store_url)
    upload_id = UUID(int=uuid7().int)
    stored = store.put(new_object_key(upload_id, 1, path.name), [path.read_bytes()], media_type="text/csv")
    request = NewUpload(dataset=key.files[path.name].dataset, filename=path.name, school_id="main")
    principal = Principal(id="key:demo", role="admin", school_id=None, name="demo")
    with connect(settings.database_url.get_secret_value()) as connection:
        accept_upload(connection, store, upload_id, request, stored, principal)
    return upload_id


def test_counts_are_the_keys(outcome: Outcome) -> None:
    with connect(outcome.settings.database_url.get_secret_value()) as connection:
        for name, answer in outcome.key.files.items():
            upload = get_upload(connection, outcome.uploads[name])
            counts = upload.counts
            assert (upload.status, counts.read, counts.accepted, counts.rejected, counts.repeated) == (
                "loaded", answer.read, answer.accepted, answer.rejected, answer.repeated,
            ), name  # fmt: skip


@pytest.mark.parametrize(
    "mart",
    [
        "mart_student_terms", "mart_student_overview", "mart_class_summary", "mart_subject_performance",
        "mart_teacher_load", "mart_student_attendance", "mart_school_resources", "mart_student_scores",
        "mart_data_quality",
    ],
)  # fmt: skip
def test_a_mart_shows_the_keys_figures(outcome: Outcome, mart: str) -> None:
    (figure,) = [figure for figure in outcome.key.figures if figure.mart == mart]
    with connect(outcome.settings.database_url.get_secret_value()) as connection:
        text = b"".join(stream_mart(connection, mart, list(figure.rows), format="csv")).decode()
    assert differences(figure, list(csv.DictReader(io.StringIO(text, newline="")))) == []


def test_the_model_passes_its_gate_and_finds_those_truly_at_risk(outcome: Outcome) -> None:
    assert outcome.report.scored["by_rule"] == 0
    with connect(outcome.settings.database_url.get_secret_value()) as connection:
        ranked = connection.execute(
            "select school_id, student_id from ml.predictions where target = 'at_risk'"
            " order by probability desc"
        ).fetchall()
    at_risk = {(student.school_id, student.student_id) for student in outcome.key.truly_at_risk}
    assert len(ranked) == len(outcome.key.next_term)
    top = [(row["school_id"], row["student_id"]) for row in ranked[: len(ranked) // 10]]
    assert sum(student in at_risk for student in top) / len(top) > 3 * outcome.key.base_rate


def test_a_second_run_has_nothing_to_do(outcome: Outcome) -> None:
    assert pipeline.run(outcome.settings, trigger="cli", score=score_students).idle
