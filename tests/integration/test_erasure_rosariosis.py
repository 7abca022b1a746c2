"""A pupil of RosarioSIS, down to the marts: pseudonyms, the record for the family, and erasure."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from elt.people.principals import Principal
from elt.privacy.column_classes import PSEUDONYM_KINDS
from elt.privacy.erasure import ErasureReport, erase_pending
from elt.privacy.erasure_requests import request_erasure
from elt.privacy.left_students import LeftStudent, find_left
from elt.privacy.subject_access import StudentExport, export_student
from elt.serving.sessions import reader
from elt.settings import Settings
from elt.transforming.transform import transform
from elt.uploads.replay import replay
from tests.conftest import Sender
from tests.integration.test_rosariosis import rosariosis_template, template
from tests.rosariosis_school import EXAM_RESULTS

__all__ = ["rosariosis_template", "template"]

TUNDE = "11"
"""A former student, with courses, grades, offences, and results under a number that another one has too."""


@pytest.fixture
def settings(settings: Settings, rosariosis_template: tuple[str, Path], tmp_path: Path) -> Settings:
    """With a copy of the school's files."""
    copied = tmp_path / "store"
    shutil.copytree(rosariosis_template[1] / "store", copied)
    return settings.model_copy(update={"store_url": copied.as_uri()})


def erase(sender: Sender, student: str = TUNDE) -> ErasureReport:
    """Erase a student, marts and all."""
    request_erasure(
        sender.settings, sender.connection, sender.store, principal=sender.admin, kind="student",
        school_id="main", identifier=student, reason="asked for",
    )  # fmt: skip
    return erase_pending(sender.settings, sender.store, rebuild=lambda: transform(sender.settings, uuid4()))


def record_of(sender: Sender, student: str) -> StudentExport:
    """What a family is given."""
    admin = Principal("key:admin", "admin")
    with reader(sender.settings, admin) as session:
        return export_student(sender.settings, sender.connection, session, sender.store, "main", student)


def places_of(sender: Sender, text: str) -> list[str]:
    """Tables, views and uploads in which a text stands."""
    tables = sender.connection.execute(
        "select table_schema, table_name from information_schema.tables "
        "where table_schema !~ '^pg_|^information_schema|^served'"
    ).fetchall()
    found = []
    for table in tables:
        query = sql.SQL("select exists (select from {} t where t::text like %s) as found").format(
            sql.Identifier(*table.values())
        )
        row = sender.connection.execute(query, (f"%{text}%",)).fetchone()
        found += [".".join(table.values())] if row and row["found"] else []
    for item in sender.store.list("uploads/"):
        with sender.store.open(item.key) as stream:
            found += [item.key] if text.encode() in stream.read() else []
    return found


def results(sender: Sender) -> list[tuple[Any, ...]]:
    """Exam, year and subject of all results in raw."""
    return sender.raw("exam_results", "exam", "exam_year", "subject")


def test_everybody_whom_a_mart_names_has_a_pseudonym(sender: Sender) -> None:
    columns = sender.connection.execute(
        "select table_name, column_name from information_schema.columns "
        "where table_schema = 'marts' and column_name = any(%s)",
        (list(PSEUDONYM_KINDS),),
    ).fetchall()
    assert {column["column_name"] for column in columns} >= {"student_id", "teacher_id", "parent_id"}
    for column in columns:
        name = sql.Identifier("m", column["column_name"])
        query = sql.SQL(
            "select distinct {name} as name from {mart} m where {name} <> '' and not exists ("
            "select from ops.pseudonyms p where p.kind = %s and p.school_id = m.school_id "
            "and p.source_id = {name})"
        ).format(name=name, mart=sql.Identifier("marts", column["table_name"]))
        kind = PSEUDONYM_KINDS[column["column_name"]]
        assert sender.connection.execute(query, (kind,)).fetchall() == [], column


def test_the_record_holds_what_names_the_student_and_what_only_leads_to_them(sender: Sender) -> None:
    tables = record_of(sender, TUNDE).tables
    assert {name: len(rows) for name, rows in tables.items() if name.startswith("raw.")} == {
        "raw.rosariosis_students": 1, "raw.rosariosis_students_courses": 2,
        "raw.rosariosis_student_assessment_grades": 5, "raw.rosariosis_attendance_day": 2,
        "raw.rosariosis_eligibility": 1, "raw.rosariosis_discipline_referrals": 3,
        "raw.rosariosis_student_sat_reg_numbers": 1, "raw.rosariosis_student_waec_reg_numbers": 1,
        "raw.exam_results": 4,
    }  # fmt: skip
    assert {row["exam_year"] for row in tables["raw.exam_results"]} == {2020}
    assert tables["marts.mart_waec_performance"]


def test_the_student_is_gone_from_every_table_and_file(sender: Sender) -> None:
    assert "marts.mart_waec_performance" in places_of(sender, "Tunde")
    report = erase(sender)

    assert report.findings == []
    assert report.finished == report.erasures != []
    assert places_of(sender, "Tunde") == []
    for schema in ("staging", "core", "marts"):
        tables = sender.connection.execute(
            "select table_name as name from information_schema.columns "
            "where table_schema = %s and column_name = 'student_id'",
            (schema,),
        ).fetchall()
        for table in tables:
            query = sql.SQL("select from {} where student_id = %s").format(
                sql.Identifier(schema, table["name"])
            )
            assert sender.connection.execute(query, (TUNDE,)).rowcount == 0, table
    assert sender.raw("rosariosis_attendance_day", "student_course_id") == [(100,), (120,)]
    # The other student with the number sat the exams in another year; nobody sat them in 2019.
    assert results(sender) == [
        ("SAT", 2019, "Overall"), ("SAT", 2021, "Overall"), ("WASSCE", 2021, "Mathematics"),
    ]  # fmt: skip


def test_results_that_come_later_stay_out_after_a_replay_too(sender: Sender) -> None:
    """That the number was his stands in the store, since no row is left that says so."""
    erase(sender)
    kept = results(sender)
    sender.connection.execute("delete from ops.erasures")
    replay(sender.settings, sender.store, wipe=True)
    assert results(sender) == kept

    late = EXAM_RESULTS.replace("Biology", "Physics")
    assert sender.upload(sender.hand_in(late, "exam_results")).status == "loaded"
    assert {year for _, year, _ in results(sender)} == {2019, 2021}


def test_former_students_left_with_their_class(sender: Sender) -> None:
    left = [LeftStudent("main", "11", date(2020, 12, 31)), LeftStudent("main", "12", date(2021, 12, 31))]
    assert find_left(sender.connection, date(2022, 1, 1)).due == left
    assert find_left(sender.connection, date(2021, 12, 31)).due == left[:1]
