"""Contracts: what is a sound one, and how headers find their columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from elt.contracts import (
    CONTRACTS_DIR,
    Contract,
    column_name,
    fold,
    get_contract,
    guess_dataset,
    load_contracts,
    match_header,
    parse_contract,
    read_contract,
    rule_hint,
)
from elt.errors import ContractError, UnknownDataset

DATASETS = {
    "students": ["school_id", "student_id"],
    "teachers": ["school_id", "teacher_id"],
    "guardians": ["school_id", "parent_id", "student_id"],
    "academic_history": ["school_id", "student_id", "academic_year", "grade_level", "subject", "term"],
    "survey_responses": [],
    "student_performance": [],
    "attendance": ["school_id", "student_id", "attendance_date"],
    "discipline": ["school_id", "incident_id"],
    "activities": ["school_id", "student_id", "academic_year", "activity"],
    "school_resources": ["school_id", "academic_year", "resource"],
    "timetables": [
        "school_id",
        "academic_year",
        "term",
        "class_name",
        "weekday",
        "period",
        "subject",
    ],
    "exam_results": ["school_id", "exam", "exam_year", "exam_number", "subject"],
    "pisa_responses": ["school_id", "cnt", "id"],
}
HEADERS = {
    "laurel_high/students_bio_data.csv": "students",
    "laurel_high/parents_bio_data.csv": "guardians",
    "laurel_high/Teachers_bio_data.csv": "teachers",
    "laurel_high/academic_history_data.csv": "academic_history",
    "laurel_high/survey_student_data.csv": "survey_responses",
    "student_performance/StudentsPerformance.csv": "student_performance",
}
FIELDS = [(contract, field) for contract in load_contracts().values() for field in contract.fields]


def content(**changes: Any) -> dict[str, Any]:
    school = {"name": "school_id", "title": "School ID", "description": "-", "personal": "none"}
    value = {"name": "value", "title": "Value", "description": "-", "personal": "none"}
    return {
        "name": "t",
        "title": "T",
        "description": "-",
        "grain": "row",
        "fields": [school, value],
    } | changes


def with_field(**changes: Any) -> dict[str, Any]:
    base = content()
    base["fields"][1] |= changes
    return base


def test_the_datasets_and_their_keys_are_as_agreed() -> None:
    known = load_contracts()
    assert DATASETS.items() <= {name: contract.primary_key for name, contract in known.items()}.items()
    for contract in known.values():
        assert contract.columns[0] == "school_id"
        assert contract.is_keyed is bool(contract.primary_key)
        assert contract.reject_limit == 0.05


@pytest.mark.parametrize(("contract", "field"), FIELDS, ids=lambda value: value.name)
def test_every_field_is_described_named_by_its_header_and_fit_for_polars(
    contract: Contract, field: Any
) -> None:
    assert field.description.strip().endswith((".", ")"))
    assert field.example is not None or field.constraints.enum
    if field.name != "school_id":
        assert column_name(field.title) == field.name
    if field.constraints.pattern:
        # Python and Polars speak slightly different dialects.
        pl.Series(["x"]).str.contains(field.constraints.pattern)
        assert re.fullmatch(field.constraints.pattern, field.example)
    if field.constraints.enum and field.example:
        assert field.example in field.constraints.enum


@pytest.mark.parametrize("path", HEADERS)
def test_the_headers_of_the_real_files_are_matched_without_a_word(shared_data: Path, path: str) -> None:
    header = (shared_data / path).read_text("utf-8").splitlines()[0].split(",")
    contract = get_contract(HEADERS[path])
    match = match_header(contract, header)
    assert match.columns == [column_name(cell) for cell in header]
    assert match.issues == []
    assert guess_dataset(header, "data.csv") == contract.name
    assert guess_dataset(header, path) == contract.name


def test_an_unknown_dataset_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownDataset, match=r"academic_history, .*guardians"):
        get_contract("grades")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (content(colour="red"), "colour"),
        (content(fields=[]), "fields"),
        (content(fields=content()["fields"][1:]), "school_id"),
        (content(fields=content()["fields"] + [content()["fields"][1]]), "named twice: value"),
        (content(primaryKey=["school_id", "missing"]), "no such field: missing"),
        (content(rejectLimit=5), "rejectLimit"),
        (with_field(name="Value"), "snake_case"),
        (with_field(name="_line"), "snake_case"),
        (with_field(type="text"), "type"),
        (with_field(personal="maybe"), "personal"),
        (with_field(aliases=["school id"]), "headers that mean two fields: schoolid"),
        (with_field(constraints={"unique": True}), "unique"),
        (with_field(constraints={"minimum": 1}), "no minimum"),
        (with_field(type="integer", constraints={"enum": ["1"]}), "enum and pattern"),
        (with_field(constraints={"enum": [True, False]}), "enum"),
        (with_field(constraints={"pattern": "["}), "pattern: unterminated"),
        (with_field(constraints={"minutesAhead": 5}), "minutesAhead is for type datetime"),
        (with_field(fromUpload=True), "only school_id can come from the upload"),
    ],
)
def test_a_contract_that_is_wrong_is_refused_by_the_key(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(ContractError, match=named):
        parse_contract(changed)


def test_a_contract_file_is_named_in_its_error(tmp_path: Path) -> None:
    path = tmp_path / "grades.yaml"
    path.write_text(yaml.safe_dump(content()))
    with pytest.raises(ContractError, match=r"grades.yaml: name is 't'"):
        read_contract(path)
    path.write_text("name: [")
    with pytest.raises(ContractError, match=r"grades.yaml"):
        read_contract(path)


def test_yes_and_no_in_contract_files_are_texts() -> None:
    for path in CONTRACTS_DIR.glob("*.yaml"):
        for field in yaml.safe_load(path.read_text())["fields"]:
            assert all(isinstance(value, str) for value in field.get("constraints", {}).get("enum", []))


def test_the_digest_changes_with_any_part_of_a_contract() -> None:
    assert parse_contract(content()).digest == parse_contract(content()).digest
    assert parse_contract(content()).digest != parse_contract(with_field(description="other")).digest


@pytest.mark.parametrize(
    "header",
    ["Total Score", " total score ", "TOTAL_SCORE", "\ufeffTotal-Score:", "Total\u00a0Score", "totalscore"],
)
def test_a_header_is_matched_whatever_its_case_spaces_and_punctuation(header: str) -> None:
    columns = match_header(get_contract("academic_history"), [header]).columns
    assert columns == ["total_score"]


def test_an_alias_finds_its_column() -> None:
    assert match_header(get_contract("students"), ["Surname", "D.O.B."]).columns == [
        "last_name",
        "date_of_birth",
    ]


def test_in_pisa_the_column_school_id_is_the_number_of_a_school_there_and_never_a_school_of_ours(
    shared_data: Path,
) -> None:
    header = (shared_data / "pisa2018/student_subset_2018.csv").read_text("utf-8").splitlines()[0].split(",")
    match = match_header(get_contract("pisa_responses"), header)
    assert not match.is_rejected
    assert {cell: name for cell, name in zip(header, match.columns, strict=True) if name} == {
        "country": "cnt", "school_id": "pisa_school_id", "student_id": "id", "stu_wgt": "w_fstuwt",
        "escs": "escs",
    }  # fmt: skip
    assert {issue.rule for issue in match.issues} == {"extra_column"}
    assert guess_dataset(header, "data.csv") == "pisa_responses"


@pytest.mark.parametrize("name", sorted(name for name, c in load_contracts().items() if not c.named_only))
def test_a_file_with_the_columns_of_a_dataset_is_taken_for_it(name: str) -> None:
    contract = get_contract(name)
    assert guess_dataset([field.title for field in contract.file_fields], "data.csv") == name
    required = [field.title for field in contract.fields if field.constraints.required]
    assert guess_dataset(required, f"{name}.csv") == name


def test_headers_that_do_not_fit_are_named_and_only_required_or_doubled_ones_reject() -> None:
    contract = get_contract("student_performance")
    header = [field.title for field in contract.fields[1:]]
    unknown = match_header(contract, [*header, "shoe size"])
    assert [(issue.rule, issue.severity, issue.found) for issue in unknown.issues] == [
        ("extra_column", "warning", "shoe size")
    ]
    assert not unknown.is_rejected
    doubled = match_header(contract, [*header, "Math-Score"])
    assert doubled.is_rejected
    assert [(issue.rule, issue.column) for issue in doubled.issues] == [("duplicate_column", "math_score")]
    missing = match_header(contract, header[1:])
    assert missing.is_rejected
    assert [(issue.rule, issue.column, issue.severity) for issue in missing.issues] == [
        ("missing_column", "gender", "error")
    ]


def test_a_column_that_may_be_empty_is_missed_with_a_warning_and_an_optional_one_without() -> None:
    contract = get_contract("academic_history")
    header = [field.title for field in contract.fields if field.name not in ("academic_year", "attendance")]
    match = match_header(contract, header)
    assert [(issue.rule, issue.column, issue.severity) for issue in match.issues] == [
        ("missing_column", "attendance", "warning")
    ]


def test_the_columns_that_rejects_csv_adds_are_left_aside() -> None:
    contract = get_contract("student_performance")
    header = [*(field.title for field in contract.fields), "line", "column", "rule", "hint"]
    match = match_header(contract, header)
    assert match.issues == []
    assert match.line_position == len(header) - 4
    assert match.columns[-4:] == [None] * 4


@pytest.mark.parametrize(
    ("header", "filename", "dataset"),
    [
        (["Student ID", "Colour"], "students.csv", None),
        (["a", "b"], "x.csv", None),
        ([field.title for field in get_contract("students").fields], "whatever.csv", "students"),
        ([field.title for field in get_contract("teachers").fields], "students/x.csv", "teachers"),
    ],
)
def test_the_dataset_is_guessed_by_the_header(header: list[str], filename: str, dataset: str | None) -> None:
    assert guess_dataset(header, filename) == dataset


@pytest.mark.parametrize(("contract", "field"), FIELDS, ids=lambda value: value.name)
def test_every_rule_of_a_field_has_a_hint_in_words(contract: Contract, field: Any) -> None:
    for rule in ("required", "type", "minimum", "maximum", "enum", "pattern", "max_length"):
        hint = rule_hint(contract, rule, field.name)
        assert hint.startswith(f"{field.title}: expected ")


@pytest.mark.parametrize("rule", ["extra_cells", "missing_cells", "nul_byte", "malformed_quote", "line"])
def test_rules_about_the_form_of_a_row_have_a_hint(rule: str) -> None:
    assert " " in rule_hint(get_contract("students"), rule, None)


def test_a_long_list_of_choices_is_not_repeated_in_a_hint() -> None:
    hint = rule_hint(get_contract("pisa_responses"), "enum", "cnt")
    assert hint == "CNT: expected one of 270 values such as ABW; the data dictionary lists them"


def test_a_row_rule_speaks_for_itself() -> None:
    hint = rule_hint(get_contract("academic_history"), "total_is_test_plus_exam", None)
    assert hint == "The total score must be the test score plus the exam score."


def test_folding_keeps_what_tells_headers_apart() -> None:
    assert fold("Salary ₦") == "salary"
    assert fold("Größe") == fold("GRÖSSE")
    assert fold("Score 1") != fold("Score 2")
