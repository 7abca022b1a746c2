"""The demo school: CSV files with a planted signal, and the key with the true answers.

Synthetic through and through: nobody in it exists. `docs/demo-school.md` describes files, formulas and key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from demo.answers import AnswerKey, build_answer_key
from demo.background import build_performance, build_survey
from demo.defaults import SCHOOLS, SEED, STUDENTS, YEARS
from demo.defects import correct_scores, repeat_rows, spoil_table
from demo.exams import Candidate, draw_candidates, write_exam_records
from demo.files import Table
from demo.marks import Marks, NextTerm, build_history, draw_marks
from demo.people import build_guardians, build_students, build_teachers
from demo.registers import Background, build_registers
from demo.roster import Roster, Staff, draw_roster, draw_staff
from demo.signal import Signal

TODAY = date(2026, 11, 20)
"""The day on which the default demo school was drawn up; ages and the last full school year follow."""

_REPEATS = {"students": 3, "guardians": 2, "teachers": 1, "academic_history": 25}
_CORRECTIONS = 6


@dataclass(frozen=True, slots=True)
class DemoSchool:
    """All that was drawn, for one or several schools.

    `tables` hold every row as it is true, `handed_in` the same rows with the planted faults, in the same
    order of datasets.
    """

    seed: int
    today: date
    school_years: list[str]
    roster: Roster
    staff: Staff
    marks: Marks
    next_term: NextTerm
    candidates: list[Candidate]
    tables: list[Table]
    handed_in: list[Table]

    @property
    def last_year(self) -> int:
        """The calendar year in which the last school year of the files ended."""
        return int(self.school_years[-1][-4:])

    def table(self, dataset: str) -> Table:
        """The true rows of a dataset."""
        return _find_table(self.tables, dataset)


def draw_demo_school(
    *,
    seed: int = SEED,
    students: int = STUDENTS,
    schools: int = SCHOOLS,
    years: int = YEARS,
    today: date = TODAY,
) -> DemoSchool:
    """Draw a demo school. The same arguments give the same school.

    Args:
        seed: of all that is drawn.
        students: students in all, those who have left included; at least 60.
        schools: number of schools; their students, guardians and teachers share the same numbers.
        years: school years of history, of three terms each; at least 2.
        today: the last school year handed in is the last one that ended before this day.

    Raises:
        ValueError: too few students or years.
    """
    if students < 60 or years < 2 or not 0 < schools <= students // 20:
        raise ValueError("a demo school needs at least 60 students, 20 per school, and 2 years")
    rng = np.random.default_rng(seed)
    school_years = list_school_years(today, years)
    roster = draw_roster(rng, students, schools, years)
    staff = draw_staff(rng, roster)
    marks, next_term = draw_marks(rng, Signal(), roster, staff)
    candidates = draw_candidates(seed, roster, marks, int(school_years[-1][-4:]))
    tables = _build_tables(rng, roster, staff, marks, candidates, school_years, today)
    handed_in = [table.copy() for table in tables]
    _spoil(rng, handed_in)
    # Apart from what draws the files above, whose bytes stay as they are.
    rng = np.random.default_rng([seed, 3])
    registers = build_registers(rng, Background(roster, staff, marks, candidates, school_years))
    spoilt = [table.copy() for table in registers]
    _spoil(rng, spoilt)
    return DemoSchool(
        seed, today, school_years, roster, staff, marks, next_term, candidates,
        [*tables, *registers], [*handed_in, *spoilt],
    )  # fmt: skip


def write_demo_school(
    directory: Path,
    *,
    seed: int = SEED,
    students: int = STUDENTS,
    schools: int = SCHOOLS,
    years: int = YEARS,
    today: date = TODAY,
) -> AnswerKey:
    """Draw a demo school and write it; see `draw_demo_school` and `write_files`."""
    school = draw_demo_school(seed=seed, students=students, schools=schools, years=years, today=today)
    return write_files(school, directory)


def write_files(school: DemoSchool, directory: Path) -> AnswerKey:
    """Write the files, their answer key (`answer_key.json`, `answers/`) and what the exam boards know.

    Args:
        directory: made where it does not exist. Existing files of these names are overwritten.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for table in school.handed_in:
        table.write(directory)
    key = build_answer_key(
        school.handed_in, school.roster, school.next_term, seed=school.seed,
        students=len(school.roster.school), school_years=school.school_years, today=school.today,
    )  # fmt: skip
    key.write(directory)
    write_exam_records(directory / "exam_board", school.roster, school.candidates)
    return key


def _build_tables(
    rng: np.random.Generator,
    roster: Roster,
    staff: Staff,
    marks: Marks,
    candidates: list[Candidate],
    school_years: list[str],
    today: date,
) -> list[Table]:
    means = marks.student_means(len(roster.school))
    attendance = marks.student_attendance(len(roster.school))
    jamb = {each.student: each.jamb_score for each in candidates}
    bio = build_students(rng, roster, means, int(school_years[-1][-4:]), today)
    return [
        bio,
        build_teachers(rng, roster, staff, today),
        build_guardians(rng, roster, means, bio, today),
        build_history(roster, staff, marks, jamb, school_years),
        build_survey(rng, roster, means, attendance, candidates, bio),
        build_performance(rng, roster),
    ]


def _find_table(tables: list[Table], dataset: str) -> Table:
    return next(table for table in tables if table.dataset == dataset)


def _spoil(rng: np.random.Generator, tables: list[Table]) -> None:
    """Plant what the platform must find: broken rows, repeats, later corrections."""
    for table in tables:
        spoil_table(rng, table)
        repeat_rows(rng, table, _REPEATS.get(table.dataset, 0))
        if table.dataset == "academic_history":
            correct_scores(rng, table, _CORRECTIONS)


def list_school_years(today: date, years: int) -> list[str]:
    """The last school years that ended (on 31 July) before a day, oldest first, as `2025/2026`."""
    last = today.year if (today.month, today.day) > (7, 31) else today.year - 1
    return [f"{year - 1}/{year}" for year in range(last - years + 1, last + 1)]
