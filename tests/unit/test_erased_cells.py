"""Rows of a source without people who were erased."""

from __future__ import annotations

from uuid import UUID

import pytest
from pydantic import SecretStr

from elt.contracts import get_contract
from elt.privacy.erased_cells import Cells, ErasedCells
from elt.privacy.tombstones import Person, Tombstones, tombstones_of
from elt.settings import Settings

SETTINGS = Settings(
    database_url=SecretStr("postgresql://nowhere"),
    secret_key=SecretStr("x" * 32),
    pseudonym_key=SecretStr("y" * 32),
)
ERASURE = UUID(int=1)
RESULTS = ("exam", "exam_year", "exam_number", "subject", "student_id")
COURSES = ("student_course_id", "student_id", "course_id")


def erased(dataset: str, columns: tuple[str, ...], person: Person, *traces: Person) -> ErasedCells:
    kind, school_id, _ = person
    row = {
        "tombstone": tombstones_of(SETTINGS, *person)[0], "erasure_id": ERASURE, "kind": kind,
        "school_id": school_id, "traces": [tombstones_of(SETTINGS, *trace)[0] for trace in traces],
    }  # fmt: skip
    return ErasedCells(get_contract(dataset), columns, "main", Tombstones(SETTINGS, [row]))


def test_rows_of_the_person_go_in_every_spelling_and_tell_what_leads_to_them() -> None:
    cells = erased("rosariosis_students_courses", COURSES, ("student", "main", "a17"))
    lines: list[Cells] = [("1", "A 17", "3", None), ("2", "a18", "3", None), ("3", None, None, "true")]
    assert list(cells.apply(iter(lines))) == lines[1:]
    assert cells.traces == {ERASURE: {("student_course", "main", "1")}}


@pytest.mark.parametrize("number", ["7", "007"])
def test_rows_that_only_lead_to_the_student_go_unless_they_name_another(number: str) -> None:
    who = ("student", "main", "17"), ("student_course", "main", "7")
    grades = erased("rosariosis_student_assessment_grades", ("student_course_id", "points"), *who)
    assert list(grades.apply(iter([(number, "61", None), ("70", "62", None)]))) == [("70", "62", None)]
    courses = erased("rosariosis_students_courses", COURSES, *who)
    lines: list[Cells] = [(number, "18", "3", None)]
    assert list(courses.apply(iter([*lines, (number, None, None, "true")]))) == lines


def test_a_number_of_an_exam_counts_within_its_exam_and_year() -> None:
    who = ("student", "main", "17"), ("candidate", "main", "WASSCE/2021/4123")
    cells = erased("exam_results", RESULTS, *who)
    kept: list[Cells] = [
        ("WASSCE", "2020", "4123", "Biology", None, None), ("SAT", "2021", "4123", "Overall", None, None),
        ("WASSCE", "2021", "4123", "Biology", "18", None),
    ]  # fmt: skip
    gone: Cells = ("WASSCE", "2021", "4123", "Biology", None, None)
    assert list(cells.apply(iter([gone, *kept]))) == kept
    assert cells.traces == {}


def test_a_reference_is_emptied_and_the_row_stays() -> None:
    cells = erased("rosariosis_courses", ("course_id", "teacher_id", "title"), ("teacher", "main", "t5"))
    assert list(cells.apply(iter([("1", "T5", "Biology", None)]))) == [("1", None, "Biology", None)]


def test_people_of_other_schools_stay_and_where_nobody_was_erased_nothing_is_looked_at() -> None:
    lines: list[Cells] = [("1", "17", "3", None)]
    elsewhere = erased("rosariosis_students_courses", COURSES, ("student", "north", "17"))
    assert list(elsewhere.apply(iter(lines))) == lines
    nobody = ErasedCells(elsewhere.contract, COURSES, "main", Tombstones(SETTINGS, []))
    rows = iter(lines)
    assert nobody.apply(rows) is rows
