"""Who is in the demo school: students with their way through the grades, families, teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo.signal import GUARDIAN_EFFECT, Floats, Ints
from demo.vocabulary import (
    GRADES,
    JUNIOR_GRADES,
    JUNIOR_SUBJECTS,
    LEVELS,
    SCHOOL_PLACES,
    STREAM_SUBJECTS,
)

_SECTION_SIZE = 300
_SIBLINGS = (0.72, 0.22, 0.06)  # share of families with one, two, three children
STREAMS = tuple(STREAM_SUBJECTS)
SENIOR_SUBJECTS = tuple(dict.fromkeys(subject for taken in STREAM_SUBJECTS.values() for subject in taken))
SUBJECTS = tuple(dict.fromkeys((*JUNIOR_SUBJECTS, *SENIOR_SUBJECTS)))


@dataclass(frozen=True, slots=True)
class Roster:
    """One entry per student, in the order of school and number.

    `place` is the grade (0 = JSS1) in the last school year; above 5 the student left that many years ago.
    """

    years: int
    schools: tuple[str, ...]
    school: Ints
    number: Ints
    place: Ints
    stream: Ints
    family: Ints
    engagement: Ints  # of the family, position in LEVELS

    def grade_in(self, year: int) -> Ints:
        """Grade (0 to 5) in a school year counted from 0; outside of that the student was not there."""
        return self.place - (self.years - 1 - year)

    def subjects_in(self, student: int, grade: int) -> tuple[str, ...]:
        """What a student takes in a grade."""
        if GRADES[grade] in JUNIOR_GRADES:
            return JUNIOR_SUBJECTS
        return STREAM_SUBJECTS[STREAMS[self.stream[student]]]

    @property
    def guardian_effect(self) -> Floats:
        """Points that the guardian's engagement adds for each student."""
        return np.array([GUARDIAN_EFFECT[level] for level in LEVELS])[self.engagement]


def draw_roster(rng: np.random.Generator, students: int, schools: int, years: int) -> Roster:
    """Deal students to schools and grades, and siblings to families of one school."""
    school = np.sort(np.arange(students) % schools)
    number = np.concatenate([np.arange(1, count + 1) for count in np.bincount(school, minlength=schools)])
    place = _draw_places(rng, students, years)
    family = _draw_families(rng, school)
    engagement = rng.integers(0, len(LEVELS), family.max() + 1)[family]
    return Roster(
        years=years,
        schools=tuple(school_name(position).lower() for position in range(schools)),
        school=school,
        number=number,
        place=place,
        stream=rng.integers(0, len(STREAMS), students),
        family=family,
        engagement=engagement,
    )


def school_name(position: int) -> str:
    """The place a school is named after; numbered once all places are used."""
    turn, place = divmod(position, len(SCHOOL_PLACES))
    return SCHOOL_PLACES[place] + (f"-{turn + 1}" if turn else "")


def _draw_places(rng: np.random.Generator, students: int, years: int) -> Ints:
    """As many in each grade of the last year as left in each of the years before."""
    places = np.arange(students) * (len(GRADES) + years - 1) // students
    rng.shuffle(places)
    return places


def _draw_families(rng: np.random.Generator, school: Ints) -> Ints:
    """A number per student; siblings share it and never cross schools."""
    family = np.empty(len(school), dtype=np.int64)
    following = 0
    for each in np.unique(school):
        members = rng.permutation(np.flatnonzero(school == each))
        sizes = rng.choice(np.arange(1, len(_SIBLINGS) + 1), size=len(members), p=_SIBLINGS)
        owner = np.repeat(np.arange(len(members)), sizes)[: len(members)]
        family[members] = owner + following
        following += int(owner.max()) + 1
    return family


@dataclass(frozen=True, slots=True)
class Staff:
    """Teachers of all schools: their school, number within it, level, main subject, years of experience."""

    school: Ints
    number: Ints
    is_senior: np.ndarray
    subject: tuple[str, ...]
    experience: Ints
    sections: Ints  # per school: parallel classes of each grade
    _posts: dict[tuple[int, bool, str, int], int]

    def teacher_of(self, school: int, grade: int, subject: str, student_number: int) -> int:
        """The position of the teacher of a student's subject."""
        section = student_number % int(self.sections[school])
        return self._posts[school, GRADES[grade] not in JUNIOR_GRADES, subject, section]


def draw_staff(rng: np.random.Generator, roster: Roster) -> Staff:
    """Fill every post (school, junior or senior, subject, section); every fifth teacher holds two posts."""
    present = roster.school[roster.place < len(GRADES)]
    sections = 1 + np.bincount(present, minlength=len(roster.schools)) // _SECTION_SIZE
    posts: dict[tuple[int, bool, str, int], int] = {}
    school: list[int] = []
    number: list[int] = []
    senior: list[bool] = []
    subject: list[str] = []
    for each in range(len(roster.schools)):
        first = len(school)
        for is_senior in (False, True):
            for name, section in _posts(is_senior, int(sections[each])):
                if len(posts) % 6 != 5 or school[-1] != each or senior[-1] != is_senior:
                    school.append(each)
                    number.append(len(school) - first)
                    senior.append(is_senior)
                    subject.append(name)
                posts[each, is_senior, name, section] = len(school) - 1
    return Staff(
        np.array(school), np.array(number), np.array(senior), tuple(subject),
        rng.integers(1, 31, len(school)), sections, posts,
    )  # fmt: skip


def _posts(is_senior: bool, sections: int) -> list[tuple[str, int]]:
    subjects = SENIOR_SUBJECTS if is_senior else JUNIOR_SUBJECTS
    return [(subject, section) for section in range(sections) for subject in subjects]


def deal_evenly(rng: np.random.Generator, outcome: Floats, levels: Sequence[str]) -> list[str]:
    """Deal levels so that they cannot explain `outcome`: each run of neighbours along it gets them all."""
    order = np.argsort(outcome, kind="stable")
    dealt = np.empty(len(outcome), dtype=np.int64)
    for start in range(0, len(order), len(levels)):
        block = order[start : start + len(levels)]
        dealt[block] = rng.permutation(len(levels))[: len(block)]
    return [levels[int(position)] for position in dealt]
