"""Years of marks: who took what in which term, with which scores; and the term that is not handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demo.files import Table
from demo.outlook import expect_average, find_chance_below, look_ahead
from demo.people import student_id, teacher_id
from demo.roster import STREAMS, SUBJECTS, Roster, Staff
from demo.signal import (
    PASS_MARK,
    Floats,
    Ints,
    Latent,
    Signal,
    draw_latent,
    draw_scores,
    term_level,
)
from demo.vocabulary import CORE_FIVE, GRADES, TERMS

HISTORY_HEADER = (
    "Student ID", "Grade Level", "Subject", "Term", "Teacher ID", "Test Score", "Exam Score", "Total Score",
    "Attendance", "Cumulative Score", "Average Attendance", "JAMB Score", "Passed Core Subjects",
    "Cumulative Attendance Rate", "Academic Year", "School ID",
)  # fmt: skip

# Terms before the first one handed in, so that the first year is like the others.
_BURN_IN = 4


@dataclass(frozen=True, slots=True)
class Courses:
    """What each student takes in each year; one entry per student, year and subject."""

    student: Ints
    year: Ints
    subject: Ints
    teacher: Ints
    offset: Floats  # liking of the subject plus the teacher's effect, in points

    def __len__(self) -> int:
        return len(self.student)


@dataclass(frozen=True, slots=True)
class Marks:
    """Scores and attendance of courses × terms."""

    courses: Courses
    test: Ints
    exam: Ints
    attendance: Ints

    @property
    def total(self) -> Ints:
        """Test plus exam."""
        return self.test + self.exam

    def student_means(self, students: int) -> Floats:
        """Each student's mean total over all rows."""
        return self._means(self.total, students)

    def student_attendance(self, students: int) -> Floats:
        """Each student's mean attendance over all rows."""
        return self._means(self.attendance, students)

    def last_averages(self, students: int) -> Floats:
        """Each student's mean total of the last term in the files; 0 for who was not there."""
        is_last = self.courses.year == self.courses.year.max()
        owner = self.courses.student[is_last]
        rows = np.bincount(owner, minlength=students)
        points = np.bincount(owner, self.total[is_last, -1], minlength=students)
        averages: Floats = points / np.maximum(rows, 1)
        return averages

    def _means(self, values: Ints, students: int) -> Floats:
        owner = np.repeat(self.courses.student, values.shape[1])
        rows = np.bincount(owner, minlength=students)
        return np.bincount(owner, values.ravel(), minlength=students) / np.maximum(rows, 1)


@dataclass(frozen=True, slots=True)
class NextTerm:
    """The term after the last one handed in, for students who are still at school then.

    `chance_below`: the probability of an average below the pass mark, by all that the generator knows. The
    average of their last term is what the plain rule goes by.
    """

    student: Ints
    last_average: Floats
    expected_average: Floats
    chance_below: Floats
    drawn_average: Floats


def draw_marks(
    rng: np.random.Generator, signal: Signal, roster: Roster, staff: Staff
) -> tuple[Marks, NextTerm]:
    """Draw everything that happened, and the hidden term after it."""
    terms = roster.years * len(TERMS)
    latent = draw_latent(rng, signal, roster.guardian_effect, _BURN_IN + terms + 1)
    liking = rng.normal(0, signal.subject_deviation, (len(roster.school), len(SUBJECTS)))
    courses = _list_courses(signal, roster, staff, liking, range(roster.years))
    marks = _draw_courses(rng, signal, latent, courses, len(TERMS), courses.year * len(TERMS))
    following = _list_courses(signal, roster, staff, liking, [roster.years])
    hidden = _draw_courses(rng, signal, latent, following, 1, np.full(len(following), terms))
    return marks, _next_term(signal, latent, marks, hidden)


def _list_courses(
    signal: Signal, roster: Roster, staff: Staff, liking: Floats, years: range | list[int]
) -> Courses:
    position = {subject: index for index, subject in enumerate(SUBJECTS)}
    entries = []
    for year in years:
        grades = roster.grade_in(year)
        for student in map(int, np.flatnonzero((grades >= 0) & (grades < len(GRADES)))):
            grade, number = int(grades[student]), int(roster.number[student])
            for subject in roster.subjects_in(student, grade):
                teacher = staff.teacher_of(int(roster.school[student]), grade, subject, number)
                entries.append((student, year, position[subject], teacher))
    student, year, subjects, teacher = np.array(sorted(entries), dtype=np.int64).T
    experience = staff.experience[teacher] - signal.experience_mean
    offset = liking[student, subjects] + signal.experience_effect * experience
    return Courses(student, year, subjects, teacher, offset)


def _draw_courses(
    rng: np.random.Generator, signal: Signal, latent: Latent, courses: Courses, terms: int, first: Ints
) -> Marks:
    """Draw `terms` terms of each course; `first` is each course's first term, counted without burn-in."""
    shape = (len(courses), terms)
    test, exam = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
    attendance = np.empty(shape, dtype=np.int64)
    for column in range(terms):
        term = first + column + _BURN_IN
        level = term_level(signal, latent, courses.student, term)
        strain = latent.strain[courses.student, term]
        test[:, column], exam[:, column] = draw_scores(rng, signal, level, courses.offset, strain)
        present = latent.attendance[courses.student, term]
        present = present + rng.normal(0, signal.lesson_deviation, len(courses))
        attendance[:, column] = np.clip(np.rint(present), 30, 100)
    return Marks(courses, test, exam, attendance)


def _next_term(signal: Signal, latent: Latent, marks: Marks, hidden: Marks) -> NextTerm:
    students, owner = np.unique(hidden.courses.student, return_inverse=True)
    subjects = np.ones(len(latent.ability), dtype=np.int64)
    subjects[students] = np.bincount(owner)
    offset = np.bincount(hidden.courses.student, hidden.courses.offset, minlength=len(subjects)) / subjects
    outlook = look_ahead(signal, latent, offset, subjects)
    return NextTerm(
        student=students,
        last_average=marks.last_averages(len(subjects))[students],
        expected_average=expect_average(signal, outlook)[students],
        chance_below=find_chance_below(signal, outlook, PASS_MARK)[students],
        drawn_average=np.bincount(owner, hidden.total[:, 0]) / subjects[students],
    )


def build_history(
    roster: Roster, staff: Staff, marks: Marks, jamb: Mapping[int, int], years: list[str]
) -> Table:
    """One row per student, year, subject and term, with the school's own yearly figures beside it.

    Args:
        jamb: the scores of those who have finished SS3, by their position in the roster.
    """
    courses, total = marks.courses, marks.total
    cumulative = np.round(total.mean(axis=1), 2)
    average_attendance = np.round(marks.attendance.mean(axis=1), 2)
    rate = marks.student_attendance(len(roster.school))
    final = roster.grade_in(0)[courses.student] + courses.year == len(GRADES) - 1
    passed = _core_passes(roster, courses, cumulative, final)
    table = Table("academic_history", "academic_history.csv", HISTORY_HEADER)
    for course in range(len(courses)):
        student, teacher = int(courses.student[course]), int(courses.teacher[course])
        grade = GRADES[roster.place[student] - (roster.years - 1 - courses.year[course])]
        subject = SUBJECTS[courses.subject[course]]
        tail = (
            float(cumulative[course]), float(average_attendance[course]),
            float(jamb[student]) if final[course] else None, passed[student] if final[course] else None,
            round(float(rate[student]), 4), years[courses.year[course]],
            roster.schools[roster.school[student]],
        )  # fmt: skip
        for term, name in enumerate(TERMS):
            table.add((
                student_id(int(roster.number[student])), grade, subject, name,
                teacher_id(int(staff.number[teacher])), marks.test[course, term], marks.exam[course, term],
                total[course, term], marks.attendance[course, term], *tail,
            ))  # fmt: skip
    return table


def _core_passes(roster: Roster, courses: Courses, cumulative: Floats, final: np.ndarray) -> list[str]:
    """Whether each student passed the five core subjects by the year's marks; of use for who reached SS3."""
    passed = ["Yes"] * len(roster.school)
    for course in np.flatnonzero(final & (cumulative < PASS_MARK)):
        student = int(courses.student[course])
        if SUBJECTS[courses.subject[course]] in CORE_FIVE[STREAMS[roster.stream[student]]]:
            passed[student] = "No"
    return passed
