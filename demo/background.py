"""The two datasets without student numbers: the survey, and the three test scores with background."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from demo.exams import Candidate
from demo.files import Table
from demo.roster import STREAMS, Roster, deal_evenly
from demo.signal import PASS_MARK, Floats, Ints
from demo.vocabulary import INCOMES, LEVELS, LGAS, OCCUPATIONS, STATES, ZONES

_SURVEY_HEADER = (
    "Last Name", "First Name", "Date of Birth", "Gender", "Address LGA", "State of Origin",
    "Geopolitical Zone", "School Type", "Schools LGA", "Secondary School Living Arrangement",
    "Digital methods in school", "Weekly Hours Spent Reading", "Mentor", "Parents Occupation",
    "Financial status", "Future Ambition", "Digital literacy", "Extra Extracurricular Activities",
    "Do you have a library in your school?", "Library visit", "Academic Stream", "Attendance Rate",
    "Study Habits", "Behavioral Condition in School", "Learning Environment", "Private Tutors",
    "Access to online Learning Platform", "Supportive Home Environment",
    "Parental Engagement in School Life", "Qualified Teachers", "Anxiety Before Exam",
    "Do you understand English", "Access to Practice Exams", "Past Jamb Score",
    "Credit pass in core five subjects", "School ID",
)  # fmt: skip
_YES_NO = ("Yes", "No")
# Answers that follow nothing: dealt evenly along the exam result.
_FREE_ANSWERS: dict[str, tuple[str, ...]] = {
    "State of Origin": STATES,
    "Geopolitical Zone": ZONES,
    "School Type": ("Private", "Public"),
    "Secondary School Living Arrangement": ("Day", "Boarding"),
    "Digital methods in school": _YES_NO,
    "Weekly Hours Spent Reading": ("1 hour", "3 hours", "5 hours", "10 hours", "32 hours"),
    "Mentor": _YES_NO,
    "Parents Occupation": OCCUPATIONS,
    "Financial status": INCOMES,
    "Future Ambition": ("Artist", "Businessperson", "Developer", "Doctor", "Engineer", "Lawyer", "Teacher"),
    "Digital literacy": LEVELS,
    "Extra Extracurricular Activities": ("Clubs", "Drama", "Music", "None", "Sports"),
    "Do you have a library in your school?": _YES_NO,
    "Library visit": ("Often", "Sometimes", "Rarely"),
    "Behavioral Condition in School": ("Excellent", "Good", "Average", "Minor Issues", "Major Issues"),
    "Learning Environment": ("Good", "Average", "Poor"),
    "Private Tutors": _YES_NO,
    "Access to online Learning Platform": _YES_NO,
    "Supportive Home Environment": _YES_NO,
    "Parental Engagement in School Life": (
        "Strongly Agree", "Agree", "Neutral", "Disagree", "Strongly Disagree",
    ),
    "Qualified Teachers": _YES_NO,
    "Anxiety Before Exam": LEVELS,
    "Do you understand English": _YES_NO,
    "Access to Practice Exams": _YES_NO,
}  # fmt: skip
SURVEY_NO_EFFECT = tuple(
    sorted(re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") for title in ("Gender", *_FREE_ANSWERS))
)
_STREAM_WORDS = {"Art": "Arts", "Commercial": "Commerce", "Pure Science": "Science", "Engineering": "Science"}
_SURVEYED_SHARE = 0.7
_NO_GAP = 0.5

_PERFORMANCE_HEADER = (
    "gender", "race/ethnicity", "parental level of education", "lunch", "test preparation course",
    "math score", "reading score", "writing score", "School ID",
)  # fmt: skip
_PARENTAL_EDUCATION = (
    "some high school", "high school", "some college", "associate's degree", "bachelor's degree",
    "master's degree",
)  # fmt: skip
PREPARATION_POINTS = 6.0
STANDARD_LUNCH_POINTS = 7.0
EDUCATION_STEP_POINTS = 1.5


def build_survey(
    rng: np.random.Generator,
    roster: Roster,
    means: Floats,
    attendance: Floats,
    candidates: Sequence[Candidate],
    students: Table,
) -> Table:
    """What some of the students answered. Study habits and attendance go with results, the rest does not.

    Who has sat the exams says what came of them; the others tell of an earlier sitting.
    """
    chosen = np.sort(rng.permutation(len(means))[: round(len(means) * _SURVEYED_SHARE)])
    mean = means[chosen]
    gender = students.position("Gender")
    is_female = np.array([students.rows[student].cells[gender] == "Female" for student in chosen])
    sat = {each.student: each for each in candidates}
    credit, jamb = _draw_results(rng, mean, is_female, [sat.get(int(student)) for student in chosen])
    habit = np.searchsorted((52, 60), mean + rng.normal(0, 8, len(chosen)))
    rate = np.clip(np.rint((attendance[chosen] - 50) / 5 + rng.normal(0, 0.7, len(chosen))), 1, 10)
    free = {
        question: deal_evenly(rng, credit * 1_000 + jamb, answers)
        for question, answers in _FREE_ANSWERS.items()
    }
    table = Table("survey_responses", "survey_responses.csv", _SURVEY_HEADER)
    for respondent, student in enumerate(chosen):
        bio = dict(zip(students.header, students.rows[student].cells, strict=True))
        answers = {question: given[respondent] for question, given in free.items()} | {
            "Last Name": bio["Last Name"],
            "First Name": bio["First Name"],
            "Date of Birth": bio["Date of Birth"],
            "Gender": bio["Gender"],
            "Address LGA": bio["LGA of residence"],
            "Schools LGA": LGAS[roster.school[student] % len(LGAS)],
            "Academic Stream": _STREAM_WORDS[STREAMS[roster.stream[student]]],
            "Attendance Rate": str(int(rate[respondent])),
            "Study Habits": ("Rarely", "Occasional", "Daily")[habit[respondent]],
            "Past Jamb Score": str(jamb[respondent]),
            "Credit pass in core five subjects": _YES_NO[0] if credit[respondent] else _YES_NO[1],
            "School ID": bio["School ID"],
        }
        table.add([answers[question] for question in _SURVEY_HEADER])
    return table


def _draw_results(
    rng: np.random.Generator, mean: Floats, is_female: np.ndarray, known: Sequence[Candidate | None]
) -> tuple[np.ndarray, Ints]:
    """Credit pass and past JAMB score; drawn again while chance gives gender an effect on either."""
    has_sat = np.array([candidate is not None for candidate in known])
    true_credit = [candidate.has_core_credits for candidate in known if candidate]
    true_jamb = [candidate.jamb_score for candidate in known if candidate]
    while True:
        credit = mean + rng.normal(0, 5, len(mean)) >= PASS_MARK + 5
        jamb = np.clip(np.rint(3.4 * mean + rng.normal(0, 15, len(mean))), 100, 380).astype(np.int64)
        credit[has_sat], jamb[has_sat] = true_credit, true_jamb
        if all(_standardised_gap(result, is_female) < _NO_GAP for result in (credit.astype(float), jamb)):
            return credit, jamb


def _standardised_gap(result: Floats | Ints, is_female: np.ndarray) -> float:
    """Distance of the two means, in standard errors."""
    one, other = result[is_female], result[~is_female]
    error = np.sqrt(one.var() / len(one) + other.var() / len(other))
    return float(abs(one.mean() - other.mean()) / error)


def build_performance(rng: np.random.Generator, roster: Roster) -> Table:
    """Test scores, half as many rows as students. Preparation, lunch, parents' schooling have an effect."""
    rows = max(len(roster.school) // 2, 30)
    level = 62 + rng.normal(0, 11, rows)
    gender = deal_evenly(rng, level, ("female", "male"))
    group = deal_evenly(rng, level, tuple(f"group {letter}" for letter in "ABCDE"))
    education = rng.integers(0, len(_PARENTAL_EDUCATION), rows)
    lunch = rng.random(rows) < 0.65
    prepared = rng.random(rows) < 0.36
    level = (
        level + EDUCATION_STEP_POINTS * (education - 2.5) + STANDARD_LUNCH_POINTS * (lunch - 0.65)
        + PREPARATION_POINTS * (prepared - 0.36)
    )  # fmt: skip
    scores = np.clip(np.rint(level[:, None] + rng.normal(0, 5, (rows, 3))), 0, 100).astype(int)
    table = Table("student_performance", "student_performance.csv", _PERFORMANCE_HEADER)
    for row in range(rows):
        table.add((
            gender[row], group[row], _PARENTAL_EDUCATION[education[row]],
            "standard" if lunch[row] else "free/reduced", "completed" if prepared[row] else "none",
            *scores[row], roster.schools[row % len(roster.schools)],
        ))  # fmt: skip
    return table
