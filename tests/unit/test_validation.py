"""Validation: what is accepted, what is rejected and why, and that cells stay as they are."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from elt.contracts import Contract, get_contract, guess_dataset, match_header, parse_contract
from elt.errors import ContractError
from elt.loading.rows import to_copy_csv
from elt.reading.reader import ReadOptions, read_blocks
from elt.reading.validation import CheckedBlock, validate

REAL_FILES = {
    "laurel_high/students_bio_data.csv": ("students", 600, {"graduation_after_admission": 114}),
    "laurel_high/parents_bio_data.csv": ("guardians", 600, {}),
    "laurel_high/Teachers_bio_data.csv": ("teachers", 50, {"experience_below_age": 1}),
    "laurel_high/academic_history_data.csv": ("academic_history", 89_499, {}),
    "laurel_high/survey_student_data.csv": ("survey_responses", 1_000, {}),
    "student_performance/StudentsPerformance.csv": ("student_performance", 1_000, {}),
}


def contract_of(*fields: dict[str, Any], **others: Any) -> Contract:
    """A contract with the given fields behind school_id."""
    school = {
        "name": "school_id",
        "title": "School ID",
        "description": "-",
        "personal": "none",
        "optional": True,
    }
    full = [{"title": field["name"], "description": "-", "personal": "none"} | field for field in fields]
    content = {
        "name": "things",
        "title": "Things",
        "description": "-",
        "grain": "row",
        "fields": [school, *full],
    }
    return parse_contract(content | others)


def check(
    contract: Contract, text: str, *, keep_lines: bool = False, received_at: datetime | None = None,
    **options: str,
) -> CheckedBlock:  # fmt: skip
    """The one block of a small file."""
    detected, blocks = read_blocks(io.BytesIO(text.encode()), ReadOptions(encoding="utf-8", **options))
    match = match_header(contract, detected.header)
    assert not match.is_rejected
    (checked,) = validate(
        blocks, contract, match, school_id="main", keep_lines=keep_lines, received_at=received_at
    )
    assert checked.read == checked.accepted.height + checked.rejected
    return checked


def issues(checked: CheckedBlock) -> list[tuple[int, str | None, str]]:
    return checked.issues.select("line", "column_name", "rule").rows()


@pytest.mark.parametrize("path", REAL_FILES)
def test_the_real_files_are_accepted_cell_by_cell(shared_data: Path, path: str) -> None:
    dataset, rows, warnings = REAL_FILES[path]
    contract = get_contract(dataset)
    found: dict[str, int] = {}
    accepted = 0
    with (shared_data / path).open("rb") as stream, (shared_data / path).open("rb") as again:
        detected, blocks = read_blocks(stream)
        _, cells = read_blocks(again)
        assert guess_dataset(detected.header, path) == dataset
        match = match_header(contract, detected.header)
        assert not match.issues
        for checked, block in zip(validate(blocks, contract, match, school_id="main"), cells, strict=True):
            accepted += checked.accepted.height
            assert checked.rejected == 0
            for rule in checked.issues["rule"]:
                found[rule] = found.get(rule, 0) + 1
            assert checked.accepted["school_id"].unique().to_list() == ["main"]
            same = checked.accepted.select([name for name in match.columns if name])
            same.columns = [f"c{position}" for position in range(len(match.columns))]
            assert same.equals(block.frame.drop("_line"))
    assert accepted == rows
    assert found == warnings


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (
            "integer",
            ["0", "-3", "+5", "007", "9223372036854775807", "-9223372036854775808"],
            [
                "1.0",
                "1,000",
                " 5",
                "5 ",
                "9223372036854775808",
                "1e3",
                "None",
                "NA",
                "٣",
                "1_0",
                "0x1f",
                "--1",
            ],
        ),
        (
            "number",
            ["0", "339.0", "-.5", "3.", "1e5", "1.5E-3", "0.000", "83.40350877192982", "1e-300", "00.10"],
            [
                "NaN",
                "inf",
                "-Infinity",
                "1e400",
                "1e-5000",
                "1,5",
                "1 000",
                "1.2.3",
                ".",
                "0x1p3",
                "9" * 101,
                "-",
            ],
        ),
        (
            "date",
            ["2024-02-29", "0001-01-01", "9999-12-31"],
            [
                "2023-02-29",
                "2024-1-5",
                "01/02/2024",
                "0000-01-01",
                "2024-01-01T00:00:00",
                "+2024-1-05",
                "now",
            ],
        ),
        (
            "datetime",
            [
                "2024-02-29T23:59:59Z",
                "2024-02-29T23:59:59.123456+01:00",
                "2024-02-29T23:59:59.5-03:30",
                "0001-01-01T00:00:00+00:00",
                "9999-12-31T23:59:59.999999Z",
            ],
            [
                "2024-02-29T23:59:59",
                "2024-02-29",
                "2024-02-29 23:59:59Z",
                "2023-02-29T00:00:00Z",
                "2024-02-29T24:00:00Z",
                "2024-02-29T23:59:60Z",
                "2024-02-29T23:59:59+15:00",
                "2024-02-29T23:59:59.1234567Z",
                "0001-01-01T00:00:00+01:00",
                "9999-12-31T23:59:59-01:00",
                "now",
            ],
        ),
        ("year", ["2024", "0001"], ["24", "0000", "20240", "-024", "2024.0"]),
        ("boolean", ["true", "FALSE", "Yes", "no", "1", "0"], ["2", "wahr", "T"]),
    ],
)
def test_a_cell_that_is_not_of_its_type_is_named(type_: str, good: list[str], bad: list[str]) -> None:
    contract = contract_of({"name": "value", "type": type_})
    text = "value\n" + "".join(f'"{cell}"\n' for cell in good + bad)
    checked = check(contract, text, delimiter=",")
    assert checked.accepted["value"].to_list() == good
    assert issues(checked) == [(len(good) + 2 + i, "value", "type") for i in range(len(bad))]


def test_a_time_may_lie_a_little_after_the_file_was_handed_in_and_no_more() -> None:
    limits = {"minutesAhead": 10}
    contract = contract_of({"name": "at", "type": "datetime", "constraints": limits}, {"name": "other"})
    times = [
        "2026-01-01T12:10:00Z",
        "2026-01-01T13:10:00+01:00",
        "",
        "2026-01-01T12:10:01Z",
        "2027-01-01T00:00:00Z",
    ]
    text = "at,other\n" + "".join(f"{time},1\n" for time in times)
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert issues(check(contract, text, received_at=noon, delimiter=",")) == [
        (5, "at", "ahead"),
        (6, "at", "ahead"),
    ]
    assert issues(check(contract, text, delimiter=",")) == []


@pytest.mark.parametrize(
    ("constraints", "good", "bad", "rule"),
    [
        ({"required": True}, ["a", " "], ["", '""'], "required"),
        ({"enum": ["Yes", "No"]}, ["Yes", "No", ""], ["yes", "No ", "None"], "enum"),
        ({"pattern": "[0-9]{2}|x"}, ["12", "x", ""], ["123", "1", "xx", "12\n"], "pattern"),
        ({"maxLength": 3}, ["é€ö", "abc", ""], ["abcd", "éééé"], "max_length"),
    ],
)
def test_a_text_that_breaks_its_constraint_is_named(
    constraints: dict[str, Any], good: list[str], bad: list[str], rule: str
) -> None:
    contract = contract_of({"name": "value", "constraints": constraints}, {"name": "other"})
    quoted = [cell if cell.startswith('"') else f'"{cell}"' if cell else "" for cell in good + bad]
    checked = check(contract, "value,other\n" + "".join(f"{cell},1\n" for cell in quoted), delimiter=",")
    assert [cell or "" for cell in checked.accepted["value"]] == good
    assert {(column, found) for _, column, found in issues(checked)} == {("value", rule)}
    assert checked.rejected == len(bad)


@pytest.mark.parametrize(
    ("type_", "minimum", "maximum", "good", "low", "high"),
    [
        ("integer", 0, 100, ["0", "100"], ["-1"], ["101", "9223372036854775807"]),
        ("number", 0, 100, ["0.0", "100.00"], ["-0.1"], ["100.01"]),
        ("date", "2020-01-01", "2020-12-31", ["2020-01-01", "2020-12-31"], ["2019-12-31"], ["2021-01-01"]),
        ("year", 1990, 2020, ["1990", "2020"], ["1989"], ["2021"]),
    ],
)
def test_both_ends_of_a_range_belong_to_it(
    type_: str, minimum: Any, maximum: Any, good: list[str], low: list[str], high: list[str]
) -> None:
    limits = {"minimum": minimum, "maximum": maximum}
    if type_ == "date":
        from datetime import date

        limits = {name: date.fromisoformat(value) for name, value in limits.items()}
    contract = contract_of({"name": "value", "type": type_, "constraints": limits})
    checked = check(contract, "value\n" + "\n".join(good + low + high) + "\n")
    assert checked.accepted["value"].to_list() == good
    first = len(good) + 2
    assert issues(checked) == [
        *((first + i, "value", "minimum") for i in range(len(low))),
        *((first + len(low) + i, "value", "maximum") for i in range(len(high))),
    ]


def test_a_rule_across_columns_holds_where_a_cell_is_empty_or_no_number() -> None:
    rule = {"name": "sum", "severity": "error", "columns": ["a", "b", "c"], "check": "c = a + b", "hint": "-"}
    contract = contract_of(*({"name": name, "type": "integer"} for name in "abc"), rules=[rule])
    checked = check(contract, "a,b,c\n1,2,3\n1,,3\n1,2,4\nx,2,3\n")
    assert checked.accepted["_line"].to_list() == [2, 3]
    assert issues(checked) == [(4, None, "sum"), (5, "a", "type")]


def test_a_rule_about_a_column_that_the_file_lacks_holds() -> None:
    rule = {"name": "sum", "severity": "error", "columns": ["a", "b"], "check": "b > a", "hint": "-"}
    contract = contract_of({"name": "a", "type": "integer"}, {"name": "b", "type": "integer"}, rules=[rule])
    assert check(contract, "a\n1\n").rejected == 0


def test_a_warning_is_recorded_and_its_row_loaded_unless_an_error_rejects_it() -> None:
    rule = {"name": "order", "severity": "warning", "columns": ["a", "b"], "check": "a < b", "hint": "-"}
    fields = [
        {"name": "a", "type": "integer"},
        {"name": "b", "type": "integer", "constraints": {"maximum": 9}},
    ]
    checked = check(contract_of(*fields, rules=[rule]), "a,b\n5,1\n99,10\n1,2\n")
    assert checked.accepted["_line"].to_list() == [2, 4]
    assert checked.issues.rows() == [(2, None, "order", "warning"), (3, "b", "maximum", "error")]


def test_all_faults_of_a_row_are_named_and_the_row_is_rejected_once() -> None:
    contract = contract_of(
        {"name": "a", "constraints": {"required": True}}, {"name": "b", "type": "integer"}, {"name": "c"}
    )
    checked = check(contract, "a,b,c\n,x,1\n1,2\n1,2,3,4\n1,2,3\n")
    assert checked.rejected == 3
    assert issues(checked) == [
        (2, "a", "required"),
        (2, "b", "type"),
        (3, None, "missing_cells"),
        (4, None, "extra_cells"),
    ]


def test_missing_values_are_those_of_the_contract_and_no_others() -> None:
    contract = contract_of(
        {"name": "standard"},
        {"name": "own", "missingValues": ["", "NA", "-"]},
        {"name": "kept", "missingValues": []},
        {"name": "count", "type": "integer", "missingValues": ["None"]},
    )
    checked = check(contract, 'standard,own,kept,count\nNone,NA,,None\nNA,-,"",5\n,x,NA,7\n')
    assert checked.accepted.select("standard", "own", "kept", "count").rows() == [
        ("None", None, "", None),
        ("NA", None, "", "5"),
        (None, "x", "NA", "7"),
    ]
    empty = check(contract, "standard,own,kept,count\na,b,c,\n")
    assert issues(empty) == [(2, "count", "type")]


def test_the_pisa_extract_is_accepted_and_belongs_to_the_school_of_the_upload(shared_data: Path) -> None:
    text = (shared_data / "pisa2018/student_subset_2018.csv").read_text("utf-8")
    checked = check(get_contract("pisa_responses"), text)
    assert (checked.accepted.height, checked.rejected) == (1_900, 0)
    assert checked.accepted["school_id"].unique().to_list() == ["main"]
    assert checked.accepted.select("cnt", "id", "pisa_school_id", "escs", "w_fstuwt").row(0) == (
        "AUS", "3606824", "3600310", "1.21", "3.11283",
    )  # fmt: skip


def test_a_country_called_na_keeps_its_code_where_na_means_no_number() -> None:
    checked = check(get_contract("pisa_responses"), "CNT,ID,ESCS\nNA,1,NA\nNAM,1,0.5\n")
    assert checked.accepted.select("school_id", "cnt", "id", "escs").rows() == [
        ("main", "NA", "1", None),
        ("main", "NAM", "1", "0.5"),
    ]


def test_null_and_empty_text_differ_in_what_is_copied() -> None:
    contract = contract_of({"name": "kept", "missingValues": ["NA"]}, {"name": "plain"})
    checked = check(contract, 'kept,plain\n,\nNA,"a,""b"""\n')
    assert to_copy_csv(checked.accepted) == b'main,"",,2\nmain,,"a,""b""",3\n'


def test_identifiers_and_phone_numbers_arrive_digit_for_digit() -> None:
    header = "Teacher ID,LASRRA ID,First Name,Last Name,Phone Number,Age\n"
    checked = check(get_contract("teachers"), header + "007,9706887689756299490,Ada,Eze,+2348012345678,030\n")
    row = checked.accepted.row(0, named=True)
    assert (row["teacher_id"], row["lasrra_id"], row["phone_number"]) == (
        "007",
        "9706887689756299490",
        "+2348012345678",
    )


def test_the_school_of_the_upload_fills_rows_that_name_none() -> None:
    contract = contract_of({"name": "a"})
    checked = check(contract, "a,School-ID\n1,north\n2,\n")
    assert checked.accepted["school_id"].to_list() == ["north", "main"]


@pytest.mark.parametrize(
    ("date_format", "cell", "loaded"),
    [
        ("DD/MM/YYYY", "03/04/2024", "2024-04-03"),
        ("MM/DD/YYYY", "03/04/2024", "2024-03-04"),
        ("DD.MM.YYYY", "3.4.2024", "2024-04-03"),
        ("DD-MM-YYYY", "03-04-2024", "2024-04-03"),
        ("YYYY/MM/DD", "2024/04/03", "2024-04-03"),
        ("DD/MM/YYYY", "2024-04-03", "2024-04-03"),
    ],
)
def test_a_stated_date_format_is_loaded_as_iso(date_format: str, cell: str, loaded: str) -> None:
    contract = contract_of({"name": "day", "type": "date"}, {"name": "a"})
    checked = check(contract, f"day,a\n{cell},1\n,2\n", date_format=date_format)
    assert checked.accepted["day"].to_list() == [loaded, None]


@pytest.mark.parametrize("cell", ["13/13/2024", "03.04.2024", "03/04/24", "2024/04/03"])
def test_a_date_in_another_form_than_stated_is_rejected(cell: str) -> None:
    contract = contract_of({"name": "day", "type": "date"}, {"name": "a"})
    checked = check(contract, f"day,a\n{cell},1\n", date_format="DD/MM/YYYY")
    assert issues(checked) == [(2, "day", "type")]


def test_a_corrected_file_keeps_the_lines_of_its_parent() -> None:
    contract = contract_of({"name": "a"})
    text = "a,line,column,rule,hint\nx,17,a,required,-\ny,oops,a,required,-\n"
    checked = check(contract, text, keep_lines=True)
    assert checked.accepted.select("a", "_line").rows() == [("x", 17)]
    assert issues(checked) == [(3, None, "line")]
    assert check(contract, text).accepted["_line"].to_list() == [2, 3]


def test_a_rule_that_cannot_be_evaluated_is_our_fault_and_named() -> None:
    rule = {"name": "odd", "severity": "error", "columns": ["a"], "check": "a +", "hint": "-"}
    with pytest.raises(ContractError, match="things"):
        check(contract_of({"name": "a"}, rules=[rule]), "a\n1\n")


def test_a_late_text_in_a_numeric_column_rejects_that_row_only() -> None:
    contract = contract_of({"name": "score", "type": "integer"}, {"name": "a"})
    rows = ["1,x"] * 5000 + ["absent,x"] + ["2,x"] * 10
    detected, blocks = read_blocks(io.BytesIO(("score,a\n" + "\n".join(rows)).encode()), block_bytes=500)
    checked = list(validate(blocks, contract, match_header(contract, detected.header), school_id="main"))
    assert sum(block.accepted.height for block in checked) == 5010
    assert [issue for block in checked for issue in issues(block)] == [(5002, "score", "type")]
