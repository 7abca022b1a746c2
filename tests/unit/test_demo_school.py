"""The demo school keeps its word: same seed same bytes, faults where the key says, signal as documented."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from demo.answers import AnswerKey
from demo.school import list_school_years, write_demo_school
from elt.contracts import Field, get_contract, match_header

STUDENTS = 240
Rows = dict[int, dict[str, str]]


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AnswerKey]:
    """One small demo school for the tests of this module, and its key."""
    folder = tmp_path_factory.mktemp("school")
    return folder, write_demo_school(folder, seed=3, students=STUDENTS)


def read_rows(path: Path) -> Rows:
    """The rows of a CSV file by the line on which each begins, header text as keys."""
    return dict(iterate_rows(path))


def iterate_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        line = reader.line_num + 1
        for cells in reader:
            yield line, dict(zip(header, cells, strict=True))
            line = reader.line_num + 1


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = b"".join(path.name.encode() + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("first", 5), ("second", 5), ("third", 6)):
        write_demo_school(tmp_path / name, seed=seed, students=80)
        digests.append(digest(tmp_path / name))
    assert digests[0] == digests[1] != digests[2]


def test_every_header_is_known_to_its_contract(school: tuple[Path, AnswerKey]) -> None:
    folder, key = school
    for filename, answer in key.files.items():
        with (folder / filename).open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file))
        match = match_header(get_contract(answer.dataset), header)
        assert match.issues == [], filename
        assert set(match.columns) == set(get_contract(answer.dataset).columns), filename


def test_the_key_counts_every_row_below_the_header(school: tuple[Path, AnswerKey]) -> None:
    folder, key = school
    for filename, answer in key.files.items():
        assert answer.read == len(read_rows(folder / filename)), filename
        assert answer.read == answer.accepted + answer.rejected + answer.repeated, filename
        assert 0 < answer.rejected < answer.read * get_contract(answer.dataset).reject_limit, filename


def test_identical_rows_of_keyed_files_are_those_the_key_counts_as_repeated(
    school: tuple[Path, AnswerKey],
) -> None:
    folder, key = school
    for filename, answer in key.files.items():
        rows = [tuple(row.values()) for row in read_rows(folder / filename).values()]
        if get_contract(answer.dataset).is_keyed:
            assert len(rows) - len(set(rows)) == answer.repeated, filename
        else:
            assert answer.repeated == 0, filename


def test_each_planted_defect_stands_on_its_line_and_no_other_row_breaks_its_rule(
    school: tuple[Path, AnswerKey],
) -> None:
    folder, key = school
    for filename, answer in key.files.items():
        fields = {field.title: field for field in get_contract(answer.dataset).fields}
        found = {
            (line, fields[title].name, rule)
            for line, row in iterate_rows(folder / filename)
            for title, cell in row.items()
            if (rule := broken_rule(fields[title], cell))
        }
        planted = {
            (defect.line, defect.column, defect.rule)
            for defect in key.defects
            if defect.file == filename and defect.rule in FIELD_RULES
        }
        assert found == planted, filename


FIELD_RULES = ("required", "enum", "pattern", "type", "minimum", "maximum")


def broken_rule(field: Field, cell: str) -> str | None:
    """The field's rule that a cell breaks, told without the platform's own validation."""
    limits = field.constraints
    if cell == "":
        return "required" if limits.required else None
    if limits.enum and cell not in limits.enum:
        return "enum"
    if limits.pattern and not re.search(limits.pattern, cell):
        return "pattern"
    if field.type == "string":
        return None
    try:
        value = {"integer": int, "number": float, "year": int, "date": date.fromisoformat}[field.type](cell)
    except ValueError:
        return "type"
    if limits.minimum is not None and value < limits.minimum:
        return "minimum"
    return "maximum" if limits.maximum is not None and value > limits.maximum else None


def test_the_total_is_test_plus_exam_except_where_the_key_says(school: tuple[Path, AnswerKey]) -> None:
    folder, key = school
    wrong = {
        line
        for line, row in iterate_rows(folder / "academic_history.csv")
        if row["Test Score"].isdigit()
        and row["Exam Score"].isdigit()
        and int(row["Test Score"]) + int(row["Exam Score"]) != int(row["Total Score"])
    }
    assert wrong == {d.line for d in key.defects if d.rule == "total_is_test_plus_exam"} != set()


def test_schools_share_student_numbers_so_that_only_school_and_number_name_a_student(
    school: tuple[Path, AnswerKey],
) -> None:
    rows = read_rows(school[0] / "students.csv").values()
    pairs = {(row["School ID"], row["Student ID"]) for row in rows if row["Student ID"]}
    assert len({school_id for school_id, _ in pairs}) == 3
    assert len({number for _, number in pairs}) < len(pairs) / 2


def test_students_move_up_one_grade_each_year(school: tuple[Path, AnswerKey]) -> None:
    grades = ["JSS1", "JSS2", "JSS3", "SS1", "SS2", "SS3"]
    seen: dict[tuple[str, str], set[int]] = {}
    bad_lines = {d.line for d in school[1].defects if d.file == "academic_history.csv"}
    for line, row in iterate_rows(school[0] / "academic_history.csv"):
        if line not in bad_lines:
            entry = int(row["Academic Year"][:4]) - grades.index(row["Grade Level"])
            seen.setdefault((row["School ID"], row["Student ID"]), set()).add(entry)
    assert {len(entries) for entries in seen.values()} == {1}


def test_nobody_can_be_reached_under_what_the_files_say(school: tuple[Path, AnswerKey]) -> None:
    for filename in ("students.csv", "teachers.csv", "guardians.csv"):
        for row in read_rows(school[0] / filename).values():
            assert row["Email"] in ("", "not given") or row["Email"].endswith(".example")
            assert row.get("Phone Number", "+234000").startswith("+234000")


def test_identity_numbers_exceed_a_signed_64_bit_integer(school: tuple[Path, AnswerKey]) -> None:
    numbers = [row["LASRRA ID"] for row in read_rows(school[0] / "teachers.csv").values()]
    assert {len(number) for number in numbers} == {19}
    assert any(int(number) >= 2**63 for number in numbers)


def test_messy_spots_are_there(school: tuple[Path, AnswerKey]) -> None:
    students = (school[0] / "students.csv").read_bytes()
    assert students.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in students
    guardians = read_rows(school[0] / "guardians.csv").values()
    assert any("\n" in row["Home Address"] for row in guardians)
    assert any(row["Email"] == "" for row in guardians)
    assert any(
        row["Extracurricular Activities"] == "None" for row in read_rows(school[0] / "students.csv").values()
    )


def test_figures_follow_from_the_rows_in_force(school: tuple[Path, AnswerKey]) -> None:
    folder, key = school
    rejected = {d.line for d in key.defects if d.file == "academic_history.csv"}
    newest: dict[tuple[str, ...], int] = {}
    for line, row in iterate_rows(folder / "academic_history.csv"):
        if line not in rejected:
            place = ("School ID", "Student ID", "Academic Year", "Term", "Subject")
            newest[tuple(row[name] for name in place)] = int(row["Total Score"])
    totals: dict[tuple[str, ...], list[int]] = {}
    for place, total in newest.items():
        totals.setdefault(place[:4], []).append(total)
    (terms,) = [figure for figure in key.figures if figure.mart == "mart_student_terms"]
    shown = {
        tuple(row[name] for name in terms.key): (row["subject_count"], row["average_score"])
        for row in terms.rows.to_dict("records")
    }
    assert shown.keys() == totals.keys()
    for place, scores in totals.items():
        count, average = shown[place]
        assert count == len(scores)
        assert abs(float(average) - sum(scores) / count) <= 0.005 + 1e-9


def test_corrected_scores_override_the_earlier_line(school: tuple[Path, AnswerKey]) -> None:
    history = school[1].files["academic_history.csv"]
    assert history.accepted - history.in_force == 6


def test_truly_at_risk_are_those_expected_below_the_pass_mark(school: tuple[Path, AnswerKey]) -> None:
    key = school[1]
    content = json.loads((school[0] / "answer_key.json").read_text("utf-8"))
    assert content["truly_at_risk"] == [
        {
            "school_id": s.school_id,
            "student_id": s.student_id,
            "expected_average": s.expected_average,
            "chance_below": s.chance_below,
            "drawn_average": s.drawn_average,
        }
        for s in sorted(key.next_term, key=lambda s: s.expected_average)
        if s.expected_average < 50
    ]
    assert "Synthetic" in content["note"]
    assert 0.05 < key.base_rate < 0.25


def test_the_drawn_term_scatters_around_what_was_expected(tmp_path: Path) -> None:
    key = write_demo_school(tmp_path, seed=11, students=1_500)
    gap = np.array([s.drawn_average - s.expected_average for s in key.next_term])
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))
    assert 3 < gap.std() < 7


def test_students_who_left_are_not_in_the_hidden_term(school: tuple[Path, AnswerKey]) -> None:
    left = {
        (row["School ID"], row["Student ID"])
        for row in read_rows(school[0] / "students.csv").values()
        if "2010" < row["Graduation Date"] < "2026-09"
    }
    present = {(s.school_id, s.student_id) for s in school[1].next_term}
    assert left
    assert not left & present


@pytest.mark.parametrize("column", ["Gender", "State of Origin", "Living Arrangement", "Health Status"])
def test_factors_without_effect_explain_nothing(school: tuple[Path, AnswerKey], column: str) -> None:
    means = mean_scores(school[0])
    groups: dict[str, list[float]] = {}
    for row in read_rows(school[0] / "students.csv").values():
        student = (row["School ID"], row["Student ID"])
        if student in means:
            groups.setdefault(row[column], []).append(means[student])
    values = np.concatenate([np.array(group) for group in groups.values()])
    between = sum(len(group) * (np.mean(group) - values.mean()) ** 2 for group in groups.values())
    explained = between / ((values - values.mean()) ** 2).sum()
    by_chance = (len(groups) - 1) / (len(values) - 1)
    assert explained < by_chance


def test_guardian_engagement_has_its_documented_effect(tmp_path: Path) -> None:
    write_demo_school(tmp_path, seed=1, students=1_500)
    means = mean_scores(tmp_path)
    by_level: dict[str, list[float]] = {}
    for row in read_rows(tmp_path / "guardians.csv").values():
        student = (row["School ID"], row["Student ID"])
        if student in means:
            by_level.setdefault(row["Engagement in School Activities"], []).append(means[student])
    assert 4.5 < np.mean(by_level["High"]) - np.mean(by_level["Low"]) < 7.5


def mean_scores(folder: Path) -> dict[tuple[str, str], float]:
    """Mean total score of each student in a folder's academic history."""
    points: dict[tuple[str, str], list[int]] = {}
    for _, row in iterate_rows(folder / "academic_history.csv"):
        points.setdefault((row["School ID"], row["Student ID"]), []).append(int(row["Total Score"]))
    return {student: float(np.mean(scores)) for student, scores in points.items() if student[1]}


@pytest.mark.parametrize(
    ("today", "last"),
    [(date(2026, 11, 20), "2025/2026"), (date(2026, 7, 31), "2024/2025"), (date(2027, 1, 5), "2025/2026")],
)
def test_only_school_years_that_have_ended_are_handed_in(today: date, last: str) -> None:
    assert list_school_years(today, 2)[-1] == last


@pytest.mark.parametrize("wrong", [{"students": 59}, {"years": 1}, {"students": 100, "schools": 6}])
def test_a_school_too_small_for_its_purpose_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 60 students"):
        write_demo_school(tmp_path, **wrong)
