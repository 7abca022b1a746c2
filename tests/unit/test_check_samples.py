"""Awkward files, each named after its defect, and exactly what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from elt.contracts import get_contract
from elt.errors import UploadRejected
from elt.loading.check import CheckReport, check_file
from elt.reading.dialect import ReadOptions

SAMPLES = Path(__file__).parents[1] / "samples"


@dataclass(frozen=True)
class Outcome:
    """Counts are read, accepted, rejected, repeated, warnings; issues are line, column, rule, found."""

    counts: tuple[int, int, int, int, int]
    issues: list[tuple[int | None, str | None, str, str | None]] = field(default_factory=list)
    encoding: str = "utf-8"
    delimiter: str = ","
    dataset: str = "academic_history"


ALL_THREE = (3, 3, 0, 0, 0)
ONE_BAD = (3, 2, 1, 0, 0)

READ = {
    "sound": Outcome(ALL_THREE),
    "utf8_bom": Outcome(ALL_THREE),
    "utf16_le": Outcome(ALL_THREE, encoding="utf-16-le"),
    "utf16_be": Outcome(ALL_THREE, encoding="utf-16-be"),
    "cp1252": Outcome(ALL_THREE, [(2, None, "encoding", None)], encoding="cp1252"),
    "semicolons": Outcome(ALL_THREE, delimiter=";"),
    "tabs": Outcome(ALL_THREE, delimiter="\t"),
    "pipes": Outcome(ALL_THREE, delimiter="|"),
    "crlf": Outcome(ALL_THREE),
    "cr_only": Outcome(ALL_THREE),
    "no_last_newline": Outcome(ALL_THREE),
    "blank_lines": Outcome(ALL_THREE),
    "quoted_newline": Outcome((2, 1, 1, 0, 0), [(4, None, "total_is_test_plus_exam", None)]),
    "quoted_crlf": Outcome((2, 1, 1, 0, 0), [(4, None, "total_is_test_plus_exam", None)]),
    "quoted_delimiter": Outcome((1, 1, 0, 0, 0)),
    "quote_within_cell": Outcome(ALL_THREE),
    "header_spelled_otherwise": Outcome(ALL_THREE),
    "columns_in_another_order": Outcome((1, 1, 0, 0, 0)),
    "unknown_column": Outcome(ALL_THREE, [(1, None, "extra_column", "Favourite Colour")]),
    "missing_required_column": Outcome(
        (0, 0, 0, 0, 0), [(1, "total_score", "missing_column", None), (1, None, "extra_column", "Sum")]
    ),
    "duplicate_header": Outcome((0, 0, 0, 0, 0), [(1, "test_score", "duplicate_column", None)]),
    "extra_cells": Outcome(ONE_BAD, [(3, None, "extra_cells", None)]),
    "missing_cells": Outcome(ONE_BAD, [(3, None, "missing_cells", None)]),
    "nul_bytes": Outcome(ONE_BAD, [(3, None, "nul_byte", None)]),
    "text_after_closing_quote": Outcome(ONE_BAD, [(3, None, "malformed_quote", None)]),
    "ten_thousand_characters": Outcome(ONE_BAD, [(3, "subject", "max_length", "x" * 80 + "…")]),
    "nineteen_digit_ids": Outcome((2, 2, 0, 0, 0), dataset="teachers"),
    "none_na_empty": Outcome((2, 1, 1, 0, 0), [(3, "gender", "enum", "NA")], dataset="students"),
    "score_101": Outcome(
        (2, 1, 1, 0, 0), [(2, "total_score", "maximum", "101"), (2, None, "total_is_test_plus_exam", None)]
    ),
    "total_not_test_plus_exam": Outcome(ONE_BAD, [(3, None, "total_is_test_plus_exam", None)]),
    "late_text_in_numeric_column": Outcome((4, 3, 1, 0, 0), [(5, "test_score", "type", "absent")]),
    "beyond_bigint": Outcome((2, 1, 1, 0, 0), [(2, "test_score", "type", "9223372036854775808")]),
    "thousands_separators": Outcome((2, 1, 1, 0, 0), [(2, "salary", "type", None)], dataset="teachers"),
    "day_first_dates": Outcome(
        (2, 0, 2, 0, 0),
        [(2, "date_of_birth", "type", None), (3, "admission_date", "type", "25/09/2019")],
        dataset="students",
    ),
    "impossible_date": Outcome((1, 0, 1, 0, 0), [(2, "date_of_birth", "type", None)], dataset="students"),
    "graduation_before_admission": Outcome(
        (1, 1, 0, 0, 1), [(2, None, "graduation_after_admission", None)], dataset="students"
    ),
    "contradictory_guardian": Outcome((2, 2, 0, 0, 0), dataset="guardians"),
    "wassce_without_grade": Outcome(ONE_BAD, [(3, None, "wassce_has_a_grade", None)], dataset="exam_results"),
    "exam_scores_out_of_range": Outcome(
        (6, 2, 4, 0, 0),
        [
            (3, None, "score_within_the_exams_range", None),
            (4, None, "score_within_the_exams_range", None),
            (6, "score", "maximum", "1601"),
            (7, None, "jamb_and_sat_have_a_score", None),
        ],
        dataset="exam_results",
    ),
    "jamb_by_subject": Outcome(
        (2, 1, 1, 0, 0), [(2, None, "only_jamb_and_sat_are_overall", None)], dataset="exam_results"
    ),
    "tombstones_of_results": Outcome(ONE_BAD, [(4, "exam_number", "required", None)], dataset="exam_results"),
    "present_longer_than_expected": Outcome(
        ONE_BAD, [(3, None, "present_within_expected", None)], dataset="attendance"
    ),
    "absent_with_minutes": Outcome(
        (2, 2, 0, 0, 1), [(2, None, "absent_has_no_minutes", None)], dataset="attendance"
    ),
    "country_code_na": Outcome(ONE_BAD, [(4, "cnt", "enum", "alb")], dataset="pisa_responses"),
    "electricity_of_25_hours": Outcome(
        (3, 1, 2, 0, 0),
        [(2, None, "hours_of_supply_within_a_day", None), (4, None, "whole_pieces", None)],
        dataset="school_resources",
    ),
    "exact_repeats": Outcome((6, 4, 0, 2, 0)),
}

REJECTED: dict[str, tuple[str, int | None]] = {
    "empty": ("empty_file", None),
    "only_line_ends": ("empty_file", None),
    "header_only": ("no_rows", 1),
    "unclosed_quote": ("unclosed_quote", 3),
    "two_delimiters": ("delimiter", 1),
    "two_encodings": ("encoding", 3),
    "cp1252_undefined_byte": ("encoding", 2),
    "not_utf8_though_marked": ("encoding", 2),
    "utf16_without_bom": ("encoding", None),
    "utf16_cut_short": ("encoding", 4),
    "workbook": ("not_csv", None),
    "web_page": ("not_csv", None),
}


def check(name: str, dataset: str, **options: str) -> CheckReport:
    with (SAMPLES / f"{name}.csv").open("rb") as stream:
        return check_file(get_contract(dataset), stream, ReadOptions(**options))


def test_every_sample_has_an_outcome() -> None:
    assert {path.stem for path in SAMPLES.glob("*.csv")} == READ.keys() | REJECTED.keys()


@pytest.mark.parametrize("name", READ)
def test_an_awkward_file_is_read_as_it_should_be(name: str) -> None:
    wanted = READ[name]
    report = check(name, wanted.dataset)
    # Columns that a sample leaves out are no part of its defect.
    issues = [
        (issue.line, issue.column, issue.rule, issue.found)
        for issue in report.issues
        if (issue.rule, issue.severity) != ("missing_column", "warning")
    ]
    assert issues == wanted.issues
    counts = (report.read, report.accepted, report.rejected, report.repeated, report.warnings)
    assert counts == wanted.counts
    assert (report.detected.encoding, report.detected.delimiter) == (wanted.encoding, wanted.delimiter)
    is_too_bad = report.read == 0 or report.rejected > 0.05 * report.read
    assert report.would_load is not is_too_bad
    assert (report.reason is None) is report.would_load


@pytest.mark.parametrize("name", REJECTED)
def test_a_file_that_cannot_be_read_is_rejected_with_rule_and_line(name: str) -> None:
    with pytest.raises(UploadRejected) as caught:
        check(name, "academic_history")
    assert [(issue.rule, issue.line) for issue in caught.value.issues] == [REJECTED[name]]


@pytest.mark.parametrize(
    ("name", "dataset", "options"),
    [
        ("day_first_dates", "students", {"date_format": "DD/MM/YYYY"}),
        ("utf16_without_bom", "academic_history", {"encoding": "utf-16-le"}),
        ("cp1252", "academic_history", {"encoding": "cp1252"}),
    ],
)
def test_what_the_sender_states_settles_the_doubt(name: str, dataset: str, options: dict[str, str]) -> None:
    report = check(name, dataset, **options)
    assert report.would_load
    assert report.rejected == 0
    assert {issue.rule for issue in report.issues} <= {"missing_column"}


def test_the_report_shows_mapping_and_first_rows_as_read() -> None:
    with (SAMPLES / "quoted_newline.csv").open("rb") as stream:
        report = check_file(get_contract("academic_history"), stream, rows=1).to_dict()
    subject = {"position": 3, "header": "Subject", "column": "subject", "type": "string"}
    assert report["mapping"][2] == subject
    assert [(row["line"], row["cells"][2]) for row in report["rows"]] == [(2, "Further\nMathematics")]
    assert report["counts"]["read"] == 2
    assert report["issue_counts"]["total_is_test_plus_exam"] == 1


def test_cells_of_personal_columns_are_never_in_the_issues() -> None:
    report = check("day_first_dates", "students")
    found = {issue.column: issue.found for issue in report.issues if issue.rule == "type"}
    assert found == {"date_of_birth": None, "admission_date": "25/09/2019"}
