"""One school of the demo school, seen as RosarioSIS sees it: people by number, and what each took when.

It is the school year after the last one that the files hold: students have moved up, and who finished SS3 is
in a class of former students.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from demo.exams import Candidate
from demo.files import Table
from demo.school import DemoSchool
from demo.vocabulary import GRADES, TERMS

SCHOOL_NUMBER = 1
"""RosarioSIS's number of the school."""

NO_DAY = "0000-00-00"
"""How MySQL writes a day that is not known yet."""

Cells = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, with the columns that they fill."""

    table: str
    columns: tuple[str, ...]
    cells: list[Cells]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a student took in a year: `course` is its position in the marks, grade and year count from 0."""

    course: int
    student: int
    year: int
    grade: int
    subject: int
    teacher: int

    @property
    def offer(self) -> tuple[int, int, int]:
        """What tells RosarioSIS's courses apart: class, subject, teacher."""
        return self.grade, self.subject, self.teacher


class OneSchool:
    """One school, and the random numbers for what the files do not tell of it."""

    def __init__(self, drawn: DemoSchool, school_id: str) -> None:
        """`school_id`: the school's name in the files."""
        self.drawn = drawn
        self.school_id = school_id
        self.position = drawn.roster.schools.index(school_id)
        self.year = drawn.last_year  # in which the present school year has begun
        self.rng = np.random.default_rng([drawn.seed, 2, self.position])  # apart from what draws the files

    @cached_property
    def students(self) -> list[int]:
        """Its students by their position in the roster, in the order of the file."""
        return [int(each) for each in np.flatnonzero(self.drawn.roster.school == self.position)]

    def number_of(self, student: int) -> int:
        """RosarioSIS's number of a student."""
        return int(self.drawn.roster.number[student])

    def class_of(self, student: int) -> int:
        """The number of the student's present class: 1 to 6 are JSS1 to SS3, in 7 are those who left last."""
        return int(self.drawn.roster.place[student]) + 2

    def leaving_year(self, class_number: int) -> int:
        """The calendar year in which a class of former students left."""
        return self.year - (class_number - len(GRADES) - 1)

    def bios(self, dataset: str) -> list[dict[str, str]]:
        """The school's rows of one of the files as they are true, by header, in the order of the file."""
        table = self.drawn.table(dataset)
        place = table.position("School ID")
        return [
            dict(zip(table.header, row.cells, strict=True))
            for row in table.rows
            if row.cells[place] == self.school_id
        ]

    def pick(self, words: Sequence[str]) -> str:
        """One of some words, by chance."""
        return words[int(self.rng.integers(0, len(words)))]

    @cached_property
    def taken(self) -> list[Taken]:
        """What its students took in the years of the files; a student-course's number is its place here."""
        roster, courses, staff = self.drawn.roster, self.drawn.marks.courses, self.drawn.staff
        found = []
        for course in map(int, np.flatnonzero(roster.school[courses.student] == self.position)):
            student, year = int(courses.student[course]), int(courses.year[course])
            found.append(
                Taken(
                    course, self.number_of(student), year, int(roster.grade_in(year)[student]),
                    int(courses.subject[course]), int(staff.number[courses.teacher[course]]),
                )
            )  # fmt: skip
        return sorted(found, key=lambda taken: (taken.year, taken.course))

    @cached_property
    def candidates(self) -> list[Candidate]:
        """Its former students with their examination numbers."""
        school = self.drawn.roster.school
        return [each for each in self.drawn.candidates if school[each.student] == self.position]

    def scores(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Test (of 40) and total (of 100) by course and term, corrected as the files correct them later."""
        marks = self.drawn.marks
        found = {
            (taken.course, term): (int(marks.test[taken.course, term]), int(marks.total[taken.course, term]))
            for taken in self.taken
            for term in range(len(TERMS))
        }
        history = self.drawn.table("academic_history")
        place = {_result(history, row.cells): divmod(n, len(TERMS)) for n, row in enumerate(history.rows)}
        handed_in = next(table for table in self.drawn.handed_in if table.dataset == history.dataset)
        for row in handed_in.rows:
            result = _result(history, row.cells)
            if row.fate == "accepted" and result[0] == self.school_id:
                test, total = (row.cells[history.position(name)] for name in ("Test Score", "Total Score"))
                found[place[result]] = int(test), int(total)
        return found


def _result(history: Table, cells: Sequence[str]) -> tuple[str, ...]:
    """What tells the rows of the history apart, the school first."""
    key = ("School ID", "Student ID", "Academic Year", "Subject", "Term")
    return tuple(cells[history.position(name)] for name in key)
