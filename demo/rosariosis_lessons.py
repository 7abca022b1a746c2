"""RosarioSIS's tables of what happens in lessons: courses, attendance, points, offences, the calendar."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta

from demo.rosariosis_school import NO_DAY, SCHOOL_NUMBER, Cells, OneSchool, Rows, Taken
from demo.roster import SUBJECTS
from demo.vocabulary import (
    GRADES,
    JUNIOR_GRADES,
    OFFENCES,
    SCHOOL_DAYS,
    SENIOR_CORE,
    STREAM_SUBJECTS,
    TERMS,
)

# Kind of assessment and the most points that it brings; they add up to a term's 100.
ASSESSMENTS = (("Principal Test", 10), ("Midterm Test", 20), ("Exams", 70))
FIRST_MARKING_PERIOD = 11
"""Not 1, so that whoever relies on the numbers is found out."""

_CORE_HOURS, _OTHER_HOURS = 5.0, 2.5  # of lessons in a week
_TERM_WEEKS = 16
_PERCENT_ABSENT_PER_OFFENCE = 60  # so often is it expected of a student
_DECIDED_SHARE = 0.85


def marking_period_rows() -> Rows:
    """The tests and the examination of each term."""
    cells: list[Cells] = []
    for term in TERMS:
        for title, points in ASSESSMENTS:
            number = FIRST_MARKING_PERIOD + len(cells)
            cells.append((number, "Manual", SCHOOL_NUMBER, term, title, points, len(cells) + 1))
    columns = ("marking_period_id", "mp_source", "school_id", "mp_type", "title", "points", "sort_order")
    return Rows("marking_periods", columns, cells)


def calendar_rows(school: OneSchool) -> Rows:
    """Days of the school years of the files and of the present one."""
    cells: list[Cells] = []
    for start in (*(int(year[:4]) for year in school.drawn.school_years), school.year):
        for month, day, title, description in SCHOOL_DAYS:
            when = date(start if month >= 9 else start + 1, month, day)
            written = f"{start}-08-20 08:00:00"
            cells.append((len(cells) + 1, start, SCHOOL_NUMBER, when, title, description, written))
    columns = ("id", "syear", "school_id", "school_date", "title", "description", "created_at")
    return Rows("calendar_events", columns, cells)


def course_rows(school: OneSchool) -> Rows:
    """A course is a subject in a class with its teacher; it is the same course every year."""
    first_year = int(school.drawn.school_years[0][:4])
    cells: list[Cells] = []
    for (grade, subject, teacher), number in _course_numbers(school).items():
        title = SUBJECTS[subject]
        cells.append((
            number, subject + 1, SCHOOL_NUMBER, grade + 1, teacher, title, title[:3].upper(),
            _department(GRADES[grade], title), _weekly_hours(title), f"{title} in {GRADES[grade]}.",
            f"{first_year}-08-20 08:00:00",
        ))  # fmt: skip
    columns = (
        "course_id", "subject_id", "school_id", "grade_level", "teacher_id", "title", "short_name",
        "department", "credit_hours", "description", "created_at",
    )  # fmt: skip
    return Rows("courses", columns, cells)


def student_course_rows(school: OneSchool) -> Rows:
    """Which student took which course; the class is that of the year."""
    numbers = _course_numbers(school)
    cells: list[Cells] = [
        (number, taken.student, numbers[taken.offer], taken.grade + 1, *_times(school, taken))
        for number, taken in enumerate(school.taken, 1)
    ]
    columns = ("student_course_id", "student_id", "course_id", "grade_level_id", "created_at", "updated_at")
    return Rows("students_courses", columns, cells)


def attendance_rows(school: OneSchool) -> Rows:
    """Minutes of a whole year; their share is exactly the mean of the three terms' attendance."""
    cells: list[Cells] = []
    for number, taken in enumerate(school.taken, 1):
        term_minutes = round(_weekly_hours(SUBJECTS[taken.subject]) * 60 * _TERM_WEEKS)
        percent_of_terms = int(school.drawn.marks.attendance[taken.course].sum())
        minutes = (len(TERMS) * term_minutes, term_minutes * percent_of_terms // 100)
        cells.append((number, *minutes, *_times(school, taken)))
    columns = ("student_course_id", "total_minutes", "minutes_present", "created_at", "updated_at")
    return Rows("attendance_day", columns, cells)


def grade_rows(school: OneSchool) -> Rows:
    """Points by marking period; those of a term add up to the files' total score."""
    scores = school.scores()
    cells: list[Cells] = []
    for number, taken in enumerate(school.taken, 1):
        period = FIRST_MARKING_PERIOD
        for term in range(len(TERMS)):
            for points in _split(school, *scores[taken.course, term]):
                cells.append((number, period, points))
                period += 1
    columns = ("student_course_id", "marking_period_id", "points")
    return Rows("student_assessment_grades", columns, cells)


def referral_rows(school: OneSchool) -> Rows:
    """Offences, in the order of their days: the less a student attends, the more. Some have several."""
    absence = 100 - school.drawn.marks.student_attendance(len(school.drawn.roster.school))
    lessons: dict[int, list[Taken]] = defaultdict(list)
    for taken in school.taken:
        lessons[taken.student].append(taken)
    found: list[tuple[object, ...]] = []
    for student in school.students:
        theirs = lessons[school.number_of(student)]
        offences = int(school.rng.poisson(absence[student] / _PERCENT_ABSENT_PER_OFFENCE))
        for _ in range(offences + (int(school.rng.poisson(1)) if offences else 0)):
            found.append(_referral(school, theirs[int(school.rng.integers(0, len(theirs)))]))
    found.sort(key=str)
    columns = (
        "id", "entry_date", "referral_date", "syear", "student_id", "school_id", "staff_id", "offence",
        "action_taken", "category_1",
    )  # fmt: skip
    return Rows("discipline_referrals", columns, [(number, *each) for number, each in enumerate(found, 1)])


def _referral(school: OneSchool, lesson: Taken) -> Cells:
    """An offence in a lesson. Where nothing was decided yet, there is no day of a decision."""
    start = int(school.drawn.school_years[lesson.year][:4])
    entered = date(start, 9, 7) + timedelta(days=int(school.rng.integers(0, 300)))
    acted = entered + timedelta(days=int(school.rng.integers(0, 10)))
    offence, kind, action = OFFENCES[int(school.rng.integers(0, len(OFFENCES)))]
    is_decided = school.rng.random() < _DECIDED_SHARE
    return (
        str(entered), str(acted) if is_decided else NO_DAY, start, lesson.student, SCHOOL_NUMBER,
        lesson.teacher, offence, action if is_decided else None, kind,
    )  # fmt: skip


def _course_numbers(school: OneSchool) -> dict[tuple[int, int, int], int]:
    return {offer: number for number, offer in enumerate(sorted({each.offer for each in school.taken}), 1)}


def _times(school: OneSchool, taken: Taken) -> tuple[str, str]:
    """When a student's course was entered and changed last: the first and the last day of its year."""
    start = int(school.drawn.school_years[taken.year][:4])
    return f"{start}-09-01 08:00:00", f"{start + 1}-07-31 12:00:00"


def _split(school: OneSchool, test: int, total: int) -> tuple[float, float, float]:
    """Principal test, midterm test and exams in half points.

    The files' test counts for 40 of 100 points, these two tests together for 30.
    """
    (_, most_principal), (_, most_midterm), _ = ASSESSMENTS
    tests = round(test * 0.75 * 2) / 2
    principal = round((tests / 3 + school.rng.normal(0, 1)) * 2) / 2
    principal = min(max(principal, tests - most_midterm, 0.0), most_principal, tests)
    return principal, tests - principal, total - tests


def _weekly_hours(subject: str) -> float:
    return _CORE_HOURS if subject in (*SENIOR_CORE, "English Studies") else _OTHER_HOURS


def _department(grade: str, subject: str) -> str | None:
    """The stream that alone takes a subject; None where several do."""
    streams = [stream for stream, subjects in STREAM_SUBJECTS.items() if subject in subjects]
    return streams[0] if len(streams) == 1 and grade not in JUNIOR_GRADES else None
