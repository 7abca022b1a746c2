"""Academic history of any size, for benchmarks and tests of the loader. No signal, only rows.

Every key occurs once, every value keeps the contract, except the share of bad rows that was asked for. A
million rows take about a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from demo.vocabulary import GRADES, JUNIOR_SUBJECTS, TERMS

COLUMNS = (
    "School ID", "Student ID", "Academic Year", "Grade Level", "Subject", "Term", "Teacher ID", "Test Score",
    "Exam Score", "Total Score", "Attendance", "Cumulative Score", "Average Attendance", "JAMB Score",
    "Passed Core Subjects", "Cumulative Attendance Rate",
)  # fmt: skip
FIRST_YEAR = 2020
_SUBJECT_ROWS = len(TERMS)
_YEAR_ROWS = _SUBJECT_ROWS * len(JUNIOR_SUBJECTS)
_STUDENT_ROWS = _YEAR_ROWS * len(GRADES)
_STUDENTS_PER_SCHOOL = 1_000
# Whole students per block, so that no average is cut in two.
_BLOCK_ROWS = 1_400 * _STUDENT_ROWS


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that breaks the contract on purpose: its line in the file, the column, and what is wrong."""

    line: int
    column: str
    kind: str


# What is written into a bad row, in turn: column, cell (None empties it), kind.
_BREAKAGES: tuple[tuple[str, str | None, str], ...] = (
    ("Attendance", "130", "out_of_range"),
    ("Test Score", "twelve", "not_a_number"),
    ("Student ID", None, "missing"),
    ("Term", "Fourth Term", "unknown_value"),
    ("Total Score", "0", "wrong_sum"),
)


def write_academic_history(
    path: Path,
    rows: int,
    seed: int = 7,
    bad_share: float = 0.0,
    first_student: int = 0,
) -> list[BadRow]:
    """Write `rows` rows of academic history as CSV and return the bad rows among them, in order of line.

    Args:
        path: the file; overwritten.
        rows: number of rows below the header.
        seed: same seed and arguments, same bytes.
        bad_share: share of rows (0 to 1) that break the contract, one cell each, five kinds in turn.
        first_student: number of the first student; files of disjoint students share no key.
    """
    rng = np.random.default_rng(seed)
    bad = np.sort(rng.choice(rows, size=round(rows * bad_share), replace=False))
    with path.open("wb") as file:
        file.write((",".join(COLUMNS) + "\n").encode())
        for start in range(0, rows, _BLOCK_ROWS):
            stop = min(start + _BLOCK_ROWS, rows)
            block = _block(rng, start, stop, first_student)
            inside = (bad >= start) & (bad < stop)
            if inside.any():
                block = _break_rows(block, bad[inside] - start, np.flatnonzero(inside))
            block.write_csv(file, include_header=False)
    first_line = 2  # the header is line 1
    return [BadRow(first_line + int(row), *_kind(position)) for position, row in enumerate(bad)]


def _kind(position: int) -> tuple[str, str]:
    column, _, kind = _BREAKAGES[position % len(_BREAKAGES)]
    return column, kind


def _block(rng: np.random.Generator, start: int, stop: int, first_student: int) -> pl.DataFrame:
    index = np.arange(start, stop)
    student = index // _STUDENT_ROWS + first_student
    grade = index // _YEAR_ROWS % len(GRADES)
    subject = index // _SUBJECT_ROWS % len(JUNIOR_SUBJECTS)
    test = rng.integers(10, 41, len(index), dtype=np.int16)
    exam = rng.integers(15, 61, len(index), dtype=np.int16)
    total = test + exam
    attendance = rng.integers(60, 101, len(index), dtype=np.int16)
    is_last_grade = pl.Series(grade == len(GRADES) - 1)
    jamb = (150 + student * 7919 % 191).astype(np.int16)
    school = student // _STUDENTS_PER_SCHOOL
    columns = {
        "School ID": _numbered("S", school, 3),
        "Student ID": _numbered("STU", student, 7),
        "Academic Year": _words([f"{y}/{y + 1}" for y in range(FIRST_YEAR, FIRST_YEAR + len(GRADES))], grade),
        "Grade Level": _words(GRADES, grade),
        "Subject": _words(JUNIOR_SUBJECTS, subject),
        "Term": _words(TERMS, index % _SUBJECT_ROWS),
        "Teacher ID": _numbered("TCH", school * len(JUNIOR_SUBJECTS) + subject, 4),
        "Test Score": test,
        "Exam Score": exam,
        "Total Score": total,
        "Attendance": attendance,
        "Cumulative Score": _group_means(total, _SUBJECT_ROWS),
        "Average Attendance": _group_means(attendance, _SUBJECT_ROWS),
        "JAMB Score": pl.Series(jamb).to_frame("j").select(pl.when(is_last_grade).then("j"))["j"],
        "Passed Core Subjects": _words(("No", "Yes"), student % 3 % 2).to_frame("p").select(
            pl.when(is_last_grade).then("p"))["p"],
        "Cumulative Attendance Rate": _group_means(attendance, _STUDENT_ROWS),
    }  # fmt: skip
    return pl.DataFrame(columns)


def _words(words: list[str] | tuple[str, ...], positions: np.ndarray) -> pl.Series:
    return pl.Series(words).gather(positions)


def _numbered(prefix: str, numbers: np.ndarray, width: int) -> pl.Series:
    """Ids such as `STU0000012`; each distinct number is formatted once."""
    first = int(numbers.min())
    names = [f"{prefix}{number:0{width}d}" for number in range(first, int(numbers.max()) + 1)]
    return _words(names, numbers - first)


def _group_means(values: np.ndarray, size: int) -> np.ndarray:
    """The mean of each run of `size` values, rounded to 2 places, at each of them."""
    starts = np.arange(0, len(values), size)
    sums = np.add.reduceat(values.astype(np.int64), starts)
    counts = np.diff(np.append(starts, len(values)))
    means: np.ndarray = np.repeat(np.round(sums / counts, 2), counts)
    return means


def _break_rows(block: pl.DataFrame, rows: np.ndarray, positions: np.ndarray) -> pl.DataFrame:
    """Put one wrong cell into each of `rows`; `positions` number the bad rows through the whole file."""
    broken = block.cast(pl.String)
    for turn, (column, cell, _) in enumerate(_BREAKAGES):
        chosen = rows[positions % len(_BREAKAGES) == turn]
        if len(chosen):
            values = broken[column].scatter(chosen, cell)
            broken = broken.with_columns(values.alias(column))
    return broken
