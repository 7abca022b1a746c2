"""The students, guardians and teachers of the demo school as rows. All invented.

Mail addresses end in `.example`, which nobody can own; telephone numbers have the area 000, which nobody has.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np

from demo.files import Table
from demo.roster import STREAMS, Roster, Staff, deal_evenly
from demo.signal import Floats
from demo.vocabulary import (
    ACTIVITIES,
    EDUCATION,
    FIRST_NAMES,
    GRADES,
    INCOMES,
    JUNIOR_GRADES,
    LAST_NAMES,
    LEVELS,
    LGAS,
    OCCUPATIONS,
    QUALIFICATIONS,
    STATES,
)

NO_EFFECT_FACTORS = ("gender", "state_of_origin", "living_arrangement", "health_status", "disorder")
NO_EFFECT_GUARDIAN_FACTORS = ("occupation", "financial_status", "education_level")

_STUDENT_HEADER = (
    "Student ID", "First Name", "Last Name", "Gender", "Age", "Date of Birth", "Health Status", "Disorder",
    "State of Origin", "LGA of residence", "Home Address", "Living Arrangement", "Email", "Grade Level",
    "Stream", "Extracurricular Activities", "Admission Date", "Graduation Date", "School ID",
)  # fmt: skip
_GUARDIAN_HEADER = (
    "Parent ID", "LASRRA ID", "Student ID", "First Name", "Last Name", "Gender", "State of Origin", "Title",
    "Age", "Date of Birth", "Email", "Phone Number", "Home Address", "Occupation", "Financial Status",
    "Education Level", "Engagement in School Activities", "LGA of residence", "School ID",
)  # fmt: skip
_TEACHER_HEADER = (
    "Teacher ID", "LASRRA ID", "First Name", "Last Name", "Gender", "Age", "Date of Birth", "State of Origin",
    "Years of Experience", "Qualification", "Home Address", "Email", "Phone Number", "Residence Type",
    "LGA of residence", "Digital Literacy", "Salary ₦", "Teaching Level", "Subject Specialization",
    "School ID",
)  # fmt: skip
_SECOND_GUARDIAN_SHARE = 0.08


def student_id(number: int) -> str:
    """A student's number within the school; schools use the same numbers."""
    return f"STU{number:04d}"


def teacher_id(number: int) -> str:
    """A teacher's number within the school."""
    return f"TCH{number:03d}"


def build_students(
    rng: np.random.Generator, roster: Roster, means: Floats, last_year: int, today: date
) -> Table:
    """One row per student, saved as an office program does: with BOM and CRLF.

    Args:
        means: each student's mean total score; the factors without effect are dealt evenly along it.
        last_year: the calendar year in which the last school year of the data ended.
        today: the day on which ages are counted.
    """
    gender = deal_evenly(rng, means, ("Female", "Male"))
    state = deal_evenly(rng, means, STATES)
    living = deal_evenly(rng, means, ("Day", "Boarding"))
    health = deal_evenly(rng, means, ("Good", "Average", "Poor"))
    disorder = deal_evenly(rng, means, ("Yes", *["No"] * 9))
    activities = deal_evenly(rng, means, ACTIVITIES)
    family_name = _family_names(rng, roster)
    table = Table("students", "students.csv", _STUDENT_HEADER, newline="\r\n", has_bom=True)
    for student, place in enumerate(roster.place):
        grade = GRADES[min(place, 5)]
        entered = last_year - 1 - int(place)
        born = _birth_date(rng, entered - 10)
        first = _pick(rng, FIRST_NAMES[gender[student]])
        last = family_name[student]
        lga = _pick(rng, LGAS)
        table.add((
            student_id(int(roster.number[student])), first, last, gender[student], _age(born, today), born,
            health[student], disorder[student], state[student], lga, _address(rng, lga), living[student],
            _mail(first, last, roster.schools[roster.school[student]]), grade,
            "General" if grade in JUNIOR_GRADES else STREAMS[roster.stream[student]], activities[student],
            date(entered, 9, 1), date(entered + 6, 7, 31), roster.schools[roster.school[student]],
        ))  # fmt: skip
    return table


def build_guardians(
    rng: np.random.Generator, roster: Roster, means: Floats, students: Table, today: date
) -> Table:
    """One row per guardian and student; some families have two guardians of the same engagement."""
    families = int(roster.family.max()) + 1
    family_mean = np.bincount(roster.family, means) / np.bincount(roster.family)
    occupation = deal_evenly(rng, family_mean, OCCUPATIONS)
    income = deal_evenly(rng, family_mean, INCOMES)
    education = deal_evenly(rng, family_mean, EDUCATION)
    members: list[list[int]] = [[] for _ in range(families)]
    for student, family in enumerate(roster.family):
        members[family].append(student)
    table = Table("guardians", "guardians.csv", _GUARDIAN_HEADER)
    numbers = [0] * len(roster.schools)
    for family, children in enumerate(members):
        school = int(roster.school[children[0]])
        adults = 2 if rng.random() < _SECOND_GUARDIAN_SHARE else 1
        genders = rng.permutation(["Female", "Male"])[:adults]
        lga = _pick(rng, LGAS)
        address = _address(rng, lga)
        last = students.rows[children[0]].cells[_STUDENT_HEADER.index("Last Name")]
        for gender in genders:
            numbers[school] += 1
            first = _pick(rng, FIRST_NAMES[gender])
            born = _birth_date(rng, today.year - 35 - int(rng.integers(0, 25)))
            person = (
                first, last, gender, _pick(rng, STATES), _title(rng, gender), _age(born, today), born,
                _mail(first, last, roster.schools[school]) if rng.random() > 0.06 else None, _phone(rng),
                address, occupation[family], income[family], education[family],
                LEVELS[roster.engagement[children[0]]], lga, roster.schools[school],
            )  # fmt: skip
            identity = (f"PAR{numbers[school]:04d}", _register_number(rng))
            for child in children:
                table.add((*identity, student_id(int(roster.number[child])), *person))
    return table


def build_teachers(rng: np.random.Generator, roster: Roster, staff: Staff, today: date) -> Table:
    """One row per teacher."""
    table = Table("teachers", "teachers.csv", _TEACHER_HEADER)
    for teacher, experience in enumerate(staff.experience):
        gender = _pick(rng, ("Female", "Male"))
        first, last = _pick(rng, FIRST_NAMES[gender]), _pick(rng, LAST_NAMES)
        born = _birth_date(rng, today.year - 24 - int(experience) - int(rng.integers(0, 4)))
        school = roster.schools[staff.school[teacher]]
        lga = _pick(rng, LGAS)
        table.add((
            teacher_id(int(staff.number[teacher])), _register_number(rng), first, last, gender,
            _age(born, today), born, _pick(rng, STATES), experience, _pick(rng, QUALIFICATIONS),
            _address(rng, lga), _mail(first, last, school), _phone(rng),
            _pick(rng, ("Lives in School", "Lives Outside School")), lga, _pick(rng, LEVELS),
            int(rng.integers(70, 260)) * 1_000, "Senior" if staff.is_senior[teacher] else "Junior",
            staff.subject[teacher], school,
        ))  # fmt: skip
    return table


def _family_names(rng: np.random.Generator, roster: Roster) -> list[str]:
    names = rng.integers(0, len(LAST_NAMES), int(roster.family.max()) + 1)
    return [LAST_NAMES[name] for name in names[roster.family]]


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(0, len(words)))]


def _birth_date(rng: np.random.Generator, year: int) -> date:
    return date(year, 1, 1) + timedelta(days=int(rng.integers(0, 365)))


def _age(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _address(rng: np.random.Generator, lga: str) -> str:
    """One cell with commas, now and then with a line break inside."""
    street = f"{rng.integers(1, 99)}, {_pick(rng, ('Street', 'Road', 'Avenue'))} in {lga},"
    return f"{street}{chr(10) if rng.random() < 0.03 else ' '}Lagos State"


def _mail(first: str, last: str, school: str) -> str:
    name = f"{first}.{last}".lower().replace("'", "")
    return f"{name}@{school}.example"


def _phone(rng: np.random.Generator) -> str:
    return f"+234000{rng.integers(0, 10_000_000):07d}"


def _register_number(rng: np.random.Generator) -> str:
    """19 digits; about half of them are beyond what a signed 64-bit integer holds."""
    if rng.random() < 0.5:
        return f"9{rng.integers(223_372_036_854_775_808, 10**18)}"
    return f"{rng.integers(1, 9)}{rng.integers(0, 10**18):018d}"


def _title(rng: np.random.Generator, gender: str) -> str:
    return _pick(rng, ("Mrs." if gender == "Female" else "Mr.", "Dr.", "Prof.", "Chief"))
