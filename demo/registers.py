"""What the demo school hands in beside marks: register, incidents, activities, resources, timetable, exams.

Small on purpose: the register of the last weeks, the timetable of the last school year.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from demo.exams import Candidate, school_exam_id
from demo.files import Table
from demo.marks import Marks
from demo.people import student_id, teacher_id
from demo.roster import SENIOR_SUBJECTS, Roster, Staff
from demo.vocabulary import GRADES, JUNIOR_GRADES, JUNIOR_SUBJECTS, TERMS

REGISTER_DAYS = 20
DAY_MINUTES = 360

_CLUBS = ("Debate", "Chess", "Football", "Choir", "Press Club", "Drama")
_OFFENCES = ("Class disruption", "Test misconduct", "Unauthorised absence", "Lateness")
_ACTIONS = ("Verbal warning", "Letter to the guardian", "Detention", "")
_CONDITIONS = ("Good", "Fair", "Poor")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_DOUBLE_LESSONS = 3  # of each class the first subjects have lessons of twice the length
_LESSON_MINUTES = 40


@dataclass(frozen=True, slots=True)
class Background:
    """What was drawn before: who is there, what they did, and how it ended."""

    roster: Roster
    staff: Staff
    marks: Marks
    candidates: Sequence[Candidate]
    school_years: Sequence[str]

    @property
    def last_year(self) -> int:
        """The calendar year in which the last school year ended."""
        return int(self.school_years[-1][-4:])

    @property
    def present(self) -> list[int]:
        """Students who were at school in the last school year."""
        return [int(student) for student in np.flatnonzero(self.roster.place < len(GRADES))]

    def names(self, student: int) -> tuple[str, str]:
        """School and number of a student."""
        school = self.roster.schools[self.roster.school[student]]
        return school, student_id(int(self.roster.number[student]))


def build_registers(rng: np.random.Generator, known: Background) -> list[Table]:
    """The tables, each with its rows as they are true."""
    return [
        _build_attendance(rng, known),
        _build_discipline(rng, known),
        _build_activities(rng, known),
        _build_resources(rng, known),
        _build_timetables(known),
        _build_exam_results(rng, known),
    ]


def _build_attendance(rng: np.random.Generator, known: Background) -> Table:
    """The last school days of the last school year; who misses lessons misses days as often."""
    header = ("School ID", "Student ID", "Attendance Date", "Attendance Status", "Minutes Present",
              "Minutes Expected")  # fmt: skip
    table = Table("attendance", "attendance.csv", header)
    days = _last_school_days(date(known.last_year, 7, 31), REGISTER_DAYS)
    presence = known.marks.student_attendance(len(known.roster.school)) / 100
    for student in known.present:
        for day, luck in zip(days, rng.random((len(days), 2)), strict=True):
            if luck[0] < presence[student]:
                status, minutes = ("Late", DAY_MINUTES - 40) if luck[1] < 0.05 else ("Present", DAY_MINUTES)
            else:
                status, minutes = "Excused" if luck[1] < 0.3 else "Absent", 0
            table.add((*known.names(student), day, status, minutes, DAY_MINUTES))
    return table


def _last_school_days(last: date, count: int) -> list[date]:
    days = [last - timedelta(days=back) for back in range(2 * count)]
    return sorted([day for day in days if day.weekday() < len(_WEEKDAYS)][:count])


def _build_discipline(rng: np.random.Generator, known: Background) -> Table:
    """About one incident for every three students; some have several."""
    header = ("School ID", "Incident ID", "Student ID", "Teacher ID", "Incident Date", "Offence",
              "Action Taken")  # fmt: skip
    table = Table("discipline", "discipline.csv", header)
    days = _last_school_days(date(known.last_year, 7, 31), 200)
    for student in known.present:
        for _ in range(int(rng.poisson(1 / 3))):
            school, number = known.names(student)
            reporters = np.flatnonzero(known.staff.school == known.roster.school[student])
            reporter = teacher_id(int(known.staff.number[rng.choice(reporters)]))
            table.add((
                school, f"INC{len(table.rows) + 1:04d}", number, reporter, days[int(rng.integers(len(days)))],
                rng.choice(_OFFENCES), rng.choice(_ACTIONS),
            ))  # fmt: skip
    return table


def _build_activities(rng: np.random.Generator, known: Background) -> Table:
    header = ("School ID", "Student ID", "Academic Year", "Activity", "Activity Status")
    table = Table("activities", "activities.csv", header)
    for student in known.present:
        for activity in rng.choice(_CLUBS, size=int(rng.integers(0, 3)), replace=False):
            status = "Active" if rng.random() < 0.8 else "Not active"
            table.add((*known.names(student), known.school_years[-1], activity, status))
    return table


def _build_resources(rng: np.random.Generator, known: Background) -> Table:
    """What each school has in each year; it grows a little."""
    header = ("School ID", "Academic Year", "Resource", "Quantity", "Condition", "Note")
    table = Table("school_resources", "school_resources.csv", header)
    for school in known.roster.schools:
        rooms, computers = int(rng.integers(8, 14)), int(rng.integers(10, 30))
        for grown, year in enumerate(known.school_years):
            quantities = {
                "Classrooms": rooms + grown, "Laboratories": int(rng.integers(1, 4)), "Libraries": 1,
                "Library Books": 400 + 50 * grown, "Computers": computers + 5 * grown,
                "Toilets": int(rng.integers(6, 12)), "Electricity": 4.5 + grown, "Water": 8,
            }  # fmt: skip
            for resource, quantity in quantities.items():
                condition = _CONDITIONS[int(rng.integers(len(_CONDITIONS)))]
                table.add((school, year, resource, quantity, condition, None))
    return table


def _build_timetables(known: Background) -> Table:
    """One lesson a week of each class and subject, so placed that no teacher is in two classes at once."""
    header = ("School ID", "Academic Year", "Term", "Class Name", "Weekday", "Period", "Subject",
              "Teacher ID", "Minutes")  # fmt: skip
    table = Table("timetables", "timetables.csv", header)
    stage = len(JUNIOR_GRADES)
    for position, school in enumerate(known.roster.schools):
        for section in range(int(known.staff.sections[position])):
            for grade, level in enumerate(GRADES):
                subjects = JUNIOR_SUBJECTS if grade < stage else SENIOR_SUBJECTS
                for place, subject in enumerate(subjects):
                    teacher = known.staff.teacher_of(position, grade, subject, section)
                    slot = place * stage + grade % stage
                    minutes = _LESSON_MINUTES * (2 if place < _DOUBLE_LESSONS else 1)
                    lesson = (
                        f"{level} {chr(ord('A') + section)}", _WEEKDAYS[slot % len(_WEEKDAYS)],
                        slot // len(_WEEKDAYS) + 1, subject, teacher_id(int(known.staff.number[teacher])),
                        minutes,
                    )  # fmt: skip
                    for term in TERMS:
                        table.add((school, known.school_years[-1], term, *lesson))
    return table


def _build_exam_results(rng: np.random.Generator, known: Background) -> Table:
    """What those who left brought home: WASSCE by subject, JAMB, and SAT of most.

    One line of the file names another student than the others of its number, as a typing error would: then
    the number is nobody's, and its results are in no mart.
    """
    header = ("School ID", "Exam", "Exam Year", "Exam Number", "Subject", "Grade", "Score", "Student ID",
              "Is Deleted")  # fmt: skip
    table = Table("exam_results", "exam_results.csv", header)
    mistaken = int(rng.choice(_followers(known)))
    for rank, each in enumerate(known.candidates):
        school, number = known.names(each.student)
        for place, (subject, grade) in enumerate(each.grades.items()):
            is_typed_wrong = rank == mistaken and place == 0
            named = known.names(known.candidates[rank - 1].student)[1] if is_typed_wrong else number
            table.add((school, "WASSCE", each.year, each.waec_number, subject, grade, None, named, None))
        jamb_number = f"{school_exam_id(int(known.roster.school[each.student]))}J{rank:04d}"
        table.add((school, "JAMB", each.year, jamb_number, "Overall", None, each.jamb_score, number, None))
        if each.sat_number is not None:
            table.add(
                (school, "SAT", each.year, each.sat_number, "Overall", None, each.sat_score, number, None)
            )
    return table


def _followers(known: Background) -> list[int]:
    """Places of candidates before whom another one of their school stands."""
    schools = [int(known.roster.school[each.student]) for each in known.candidates]
    return [place for place in range(1, len(schools)) if schools[place] == schools[place - 1]]
