"""The contracts of RosarioSIS's tables take what a source sends: whole rows, and keys of deleted ones."""

from __future__ import annotations

import io

import pytest

from elt.contracts import Contract, guess_dataset, load_contracts, match_header
from elt.privacy.tombstones import person_columns
from elt.reading.reader import read_blocks
from elt.reading.validation import validate

CONTRACTS = [contract for name, contract in load_contracts().items() if name.startswith("rosariosis_")]


def test_each_of_the_seventeen_tables_has_a_contract():
    assert {contract.name.removeprefix("rosariosis_") for contract in CONTRACTS} == {
        "attendance_day", "calendar_events", "courses", "discipline_referrals", "eligibility",
        "eligibility_activities", "marking_periods", "parent", "portal_polls", "school_gradelevels",
        "schools", "student_assessment_grades", "student_sat_reg_numbers", "student_waec_reg_numbers",
        "students", "students_courses", "teachers",
    }  # fmt: skip


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_a_deleted_row_needs_its_key_only(contract: Contract):
    key = contract.primary_key[1:]
    text = ",".join([*key, "is_deleted"]) + "\n" + ",".join(["1"] * len(key)) + ",true\n"

    detected, blocks = read_blocks(io.BytesIO(text.encode()))
    match = match_header(contract, detected.header)
    (checked,) = validate(blocks, contract, match, school_id="main")

    assert match.issues == []
    assert (checked.rejected, checked.accepted.height) == (0, 1)
    assert contract.columns[-1] == "is_deleted"
    assert contract.required_columns == key


def test_people_are_told_apart_by_text_and_not_by_numbers():
    people = {"student_id", "parent_id", "teacher_id", "staff_id", "students_teacher_id"}
    for contract in CONTRACTS:
        for field in contract.fields:
            if field.name in people and field.personal == "identifier":
                assert field.type == "string", (contract.name, field.name)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_only_the_name_of_a_file_says_that_it_is_of_the_table(contract: Contract):
    header = [field.title for field in contract.fields]

    assert guess_dataset(header, f"{contract.name}.csv") == contract.name
    assert guess_dataset(header, f"{contract.name}/batch-1.csv") == contract.name
    assert guess_dataset(header, "data.csv") != contract.name


def test_a_students_file_without_a_required_column_is_not_taken_for_a_table_of_rosariosis():
    assert guess_dataset(["Student ID", "First Name", "Last Name", "Gender"], "data.csv") is None


def test_whoever_is_erased_is_found_in_every_table_that_names_them():
    found = {
        (contract.name.removeprefix("rosariosis_"), *column.names): (column.kind, column.drops_row)
        for contract in CONTRACTS
        for column in person_columns(contract)
    }
    assert found == {
        ("attendance_day", "student_course_id"): ("student_course", True),
        ("courses", "teacher_id"): ("teacher", False),
        ("discipline_referrals", "student_id"): ("student", True),
        ("discipline_referrals", "staff_id"): ("teacher", False),
        ("eligibility", "student_id"): ("student", True),
        ("parent", "parent_id"): ("guardian", True),
        ("portal_polls", "students_teacher_id"): ("teacher", False),
        ("student_assessment_grades", "student_course_id"): ("student_course", True),
        ("student_sat_reg_numbers", "student_id"): ("student", True),
        ("student_waec_reg_numbers", "student_id"): ("student", True),
        ("students", "student_id"): ("student", True),
        ("students", "parent_id"): ("guardian", False),
        ("students_courses", "student_id"): ("student", True),
        ("students_courses", "student_course_id"): ("student_course", True),
        ("teachers", "id"): ("teacher", True),
    }
