"""What the demo school's former students reached: WASSCE grades, JAMB scores, and SAT scores of most.

Numbers are a school's number at the board and the candidate's rank within the year, so they start again every
year. Results follow the marks of the last class before the exams, with the luck of the day.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.marks import Marks
from demo.roster import SUBJECTS, Roster
from demo.vocabulary import GRADES

FIRST_SCHOOL_EXAM_ID = 4_123_456
"""Number of the first school at the boards, of WASSCE and SAT alike; each further school has the next one."""

WAEC_COLUMNS = ("school_exam_id", "exam_number", "subjects", "subject_grade", "exam_year")
SAT_COLUMNS = ("ceeb_code", "registration_number", "exam_year", "sat_score")

# Least percentage of each grade; below the last it is F9.
_WASSCE_SCALE = (
    ("A1", 75), ("B2", 70), ("B3", 65), ("C4", 60), ("C5", 55), ("C6", 50), ("D7", 45), ("E8", 40),
)  # fmt: skip
_WASSCE_DEVIATION = 5.0
_EXPECTED_TO_PASS = 55  # the mean mark at which the score needed for university is expected
_JAMB_PASS = 200
_JAMB_POINTS_PER_MARK = 3.5
_JAMB_DEVIATION = 15.0
_SAT_SHARE = 0.9
_SAT_PASS = 900
_SAT_POINTS_PER_MARK = 14
_SAT_DEVIATION = 60.0
_TERMS_BEFORE_EXAMS = 2  # of the last class; the exams are sat in its third term
_CREDITS = frozenset({"A1", "B2", "B3", "C4", "C5", "C6"})
_LEAST_CREDITS = 5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A former student's results. `student`: position in the roster. Who took no SAT has None there."""

    student: int
    year: int
    waec_number: str
    grades: dict[str, str]
    jamb_score: int
    sat_number: str | None
    sat_score: int | None

    @property
    def has_core_credits(self) -> bool:
        """Five credits with English and Mathematics among them."""
        credits = {subject for subject, grade in self.grades.items() if grade in _CREDITS}
        return len(credits) >= _LEAST_CREDITS and {"English", "Mathematics"} <= credits


def school_exam_id(school: int) -> int:
    """The number at the exam boards of the school at this position."""
    return FIRST_SCHOOL_EXAM_ID + school


def draw_candidates(seed: int, roster: Roster, marks: Marks, last_year: int) -> list[Candidate]:
    """Everybody who has finished SS3, in the order of the roster. They sat their exams when they left.

    Args:
        last_year: the calendar year in which the last school year of the data ended.
    """
    rng = np.random.default_rng([seed, 1])
    last_marks = _marks_of_last_class(roster, marks)
    waec_ranks: Counter[tuple[int, int]] = Counter()
    sat_ranks: Counter[tuple[int, int]] = Counter()
    found = []
    for student in sorted(last_marks):
        school = int(roster.school[student])
        year = last_year - (int(roster.place[student]) - (len(GRADES) - 1))
        subjects = last_marks[student]
        grades = {
            subject: _wassce_grade(mark + rng.normal(0, _WASSCE_DEVIATION))
            for subject, mark in subjects.items()
        }
        mean = float(np.mean(list(subjects.values())))
        jamb, sat = _draw_jamb(rng, mean), _draw_sat(rng, mean)
        waec_ranks[school, year] += 1
        sat_ranks[school, year] += sat is not None
        found.append(
            Candidate(
                student, year, _number(school, waec_ranks[school, year]), grades, jamb,
                None if sat is None else _number(school, sat_ranks[school, year]), sat,
            )
        )  # fmt: skip
    return found


def _marks_of_last_class(roster: Roster, marks: Marks) -> dict[int, dict[str, float]]:
    """By student and subject the mean total of the terms in SS3 before the exams."""
    courses = marks.courses
    is_last = roster.grade_in(0)[courses.student] + courses.year == len(GRADES) - 1
    means = marks.total[:, :_TERMS_BEFORE_EXAMS].mean(axis=1)
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for course in np.flatnonzero(is_last):
        found[int(courses.student[course])][SUBJECTS[courses.subject[course]]] = float(means[course])
    return found


def _wassce_grade(mark: float) -> str:
    return next((grade for grade, least in _WASSCE_SCALE if mark >= least), "F9")


def _draw_jamb(rng: np.random.Generator, mean: float) -> int:
    drawn = _JAMB_PASS + _JAMB_POINTS_PER_MARK * (mean - _EXPECTED_TO_PASS) + rng.normal(0, _JAMB_DEVIATION)
    return int(np.clip(round(drawn), 100, 380))


def _draw_sat(rng: np.random.Generator, mean: float) -> int | None:
    """A score in steps of ten, for most."""
    takes_it = rng.random() < _SAT_SHARE
    drawn = _SAT_PASS + _SAT_POINTS_PER_MARK * (mean - _EXPECTED_TO_PASS) + rng.normal(0, _SAT_DEVIATION)
    return int(np.clip(round(drawn / 10) * 10, 400, 1600)) if takes_it else None


def _number(school: int, rank: int) -> str:
    return f"{school_exam_id(school)}{rank:03d}"


def write_exam_records(directory: Path, roster: Roster, candidates: Sequence[Candidate]) -> None:
    """Write `waec_records.csv` (a row per candidate and subject) and `sat_scores.csv` (one per candidate).

    The columns are those of the boards' API, which `demo.exam_server` gives out.
    """
    directory.mkdir(parents=True, exist_ok=True)
    waec = [
        (school_exam_id(int(roster.school[each.student])), each.waec_number, subject, grade, each.year)
        for each in candidates
        for subject, grade in each.grades.items()
    ]
    sat = [
        (school_exam_id(int(roster.school[each.student])), each.sat_number, each.year, each.sat_score)
        for each in candidates
        if each.sat_number is not None
    ]
    write_records(directory / "waec_records.csv", WAEC_COLUMNS, waec)
    write_records(directory / "sat_scores.csv", SAT_COLUMNS, sat)


def write_records(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write records as `demo.exam_server` reads them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
