"""Three schools with classes and subjects of all sizes, also very small ones: what analysts must not find.

`main` has a class of 6 beside larger ones, and subjects that 1 to 9 students of a class take; `north` has one
class only; in `south` every class is large but one subject, in one term, is small.
"""

from __future__ import annotations

import random

TERMS = ("First Term", "Second Term", "Third Term")
YEAR = "2024/2025"

# school → grade → subject → students who take it. The first number of a class is its size.
SIZES = {
    "main": {
        "JSS1": {"Mathematics": 34, "English Language": 34, "Yoruba": 4, "Civic Education": 21, "Music": 13},
        "JSS2": {"Mathematics": 14, "English Language": 14, "Yoruba": 9, "Music": 1},
        "JSS3": {"Mathematics": 6, "English Language": 6, "Yoruba": 3},
        "SS1": {"Mathematics": 12, "English Language": 12},
        "SS2": {"Mathematics": 26, "English Language": 26, "Physics": 11, "Government": 15},
    },
    "north": {"JSS1": {"Mathematics": 7, "English Language": 7}},
    "south": {
        "JSS1": {"Mathematics": 22, "English Language": 22, "Yoruba": 12},
        "JSS2": {"Mathematics": 19, "English Language": 19, "Yoruba": 12},
    },
}
# Who leaves after the first term, so that a subject is small in some terms only.
LEAVERS = {("south", "JSS1", "Yoruba"): 5}


def files(seed: int = 5) -> dict[str, str]:
    """The content of one file per dataset."""
    dice = random.Random(seed)
    students = [
        "School ID,Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level,Health Status,Disorder"
    ]
    guardians = ["School ID,Parent ID,Student ID,First Name,Last Name,Engagement in School Activities"]
    teachers = ["School ID,Teacher ID,First Name,Last Name,Age,Years of Experience"]
    history = [
        "School ID,Student ID,Academic Year,Grade Level,Subject,Term,Teacher ID,Test Score,Exam Score,"
        "Total Score,Attendance"
    ]
    for school, grades in SIZES.items():
        for number in range(1, 8):
            teachers.append(f"{school},T{number},Teacher{number},Of{school},40,{dice.randint(1, 20)}")
        for grade, subjects in grades.items():
            for number in range(1, max(subjects.values()) + 1):
                student = f"{grade}-{number:02}"
                health = dice.choice(["Good", "Good", "Good", "Average", "Poor"])
                disorder = "Yes" if dice.random() < 0.03 else "No"
                students.append(
                    f"{school},{student},Pupil{number},Of{school}{grade},{dice.choice(['Male', 'Female'])},"
                    f"2011-0{dice.randint(1, 9)}-11,{grade},{health},{disorder}"
                )
                guardians.append(
                    f"{school},P{grade}{number},{student},Parent{number},Of{school},"
                    f"{dice.choice(['High', 'Low'])}"
                )
            history += _history(dice, school, grade, subjects)
    named = {"students": students, "guardians": guardians, "teachers": teachers, "academic_history": history}
    return {dataset: "\n".join(lines) + "\n" for dataset, lines in named.items()}


def _history(dice: random.Random, school: str, grade: str, subjects: dict[str, int]) -> list[str]:
    lines = []
    for place, (subject, size) in enumerate(subjects.items()):
        for term_number, term in enumerate(TERMS):
            leavers = LEAVERS.get((school, grade, subject), 0) if term_number else 0
            for number in range(1, size - leavers + 1):
                test, exam = dice.randint(8, 38), dice.randint(15, 58)
                attendance = dice.choice(["", str(dice.randint(60, 100))])
                # Large subjects are shared by two teachers.
                teacher = f"T{place + 1 if number > 5 else place + 2}"
                lines.append(
                    f"{school},{grade}-{number:02},{YEAR},{grade},{subject},{term},{teacher},{test},{exam},"
                    f"{test + exam},{attendance}"
                )
    return lines
