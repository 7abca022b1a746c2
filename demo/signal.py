"""The planted signal: how a demo student's terms come about, and which student is truly at risk.

`docs/demo-school.md` states the same formulas for people. All scores are percentage points of a term's total
(0 to 100, test 40 + exam 60), attendance is in percent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PASS_MARK = 50.0
GUARDIAN_EFFECT = {"High": 3.0, "Medium": 0.0, "Low": -3.0}


@dataclass(frozen=True, slots=True)
class Signal:
    """The numbers behind the formulas. Deviations are standard deviations."""

    base: float = 62.0
    ability_deviation: float = 4.5
    drift_memory: float = 0.6
    drift_deviation: float = 4.3
    strain_chance: float = 0.14  # per term, of a student who is not under strain
    strain_terms: tuple[int, int] = (1, 3)
    strain_weight: tuple[float, float] = (0.5, 1.3)
    strain_on_next_term: float = 10.5
    strain_on_same_tests: float = 3.5
    attendance_base: float = 93.0
    strain_on_attendance: float = 14.0
    attendance_deviation: float = 1.5
    subject_deviation: float = 4.0  # a student's lasting liking of a subject
    score_deviation: float = 5.0
    lesson_deviation: float = 3.0  # attendance between the subjects of one term
    experience_effect: float = 0.15  # points per year of the teacher's experience, around 15 years
    experience_mean: float = 15.0


@dataclass(frozen=True, slots=True)
class Latent:
    """What is behind the marks: arrays of students × terms, the last column being the term not handed in."""

    ability: Floats
    drift: Floats
    strain: Floats
    attendance: Floats

    @property
    def next_term(self) -> int:
        """The column of the term that is drawn but not handed in."""
        return int(self.drift.shape[1]) - 1


def draw_latent(rng: np.random.Generator, signal: Signal, guardian: Floats, terms: int) -> Latent:
    """Draw every student's ability, drift, strain and attendance for `terms` terms.

    Args:
        guardian: each student's effect of the guardian's engagement, in points.
        terms: number of terms, the hidden one included.
    """
    students = len(guardian)
    ability = rng.normal(0, signal.ability_deviation, students) + guardian
    drift = np.empty((students, terms))
    stationary = signal.drift_deviation / np.sqrt(1 - signal.drift_memory**2)
    drift[:, 0] = rng.normal(0, stationary, students)
    for term in range(1, terms):
        step = rng.normal(0, signal.drift_deviation, students)
        drift[:, term] = signal.drift_memory * drift[:, term - 1] + step
    strain = _draw_strain(rng, signal, students, terms)
    noise = rng.normal(0, signal.attendance_deviation, (students, terms))
    attendance = np.clip(signal.attendance_base - signal.strain_on_attendance * strain + noise, 40, 100)
    return Latent(ability, drift, strain, attendance)


def _draw_strain(rng: np.random.Generator, signal: Signal, students: int, terms: int) -> Floats:
    """Spells of trouble: each begins by chance, lasts some terms and has one weight."""
    strain = np.zeros((students, terms))
    left = np.zeros(students, dtype=np.int64)
    weight = np.zeros(students)
    low, high = signal.strain_terms
    for term in range(terms):
        begins = (left == 0) & (rng.random(students) < signal.strain_chance)
        left = np.where(begins, rng.integers(low, high + 1, students), left)
        weight = np.where(begins, rng.uniform(*signal.strain_weight, students), weight)
        strain[:, term] = np.where(left > 0, weight, 0.0)
        left = np.maximum(left - 1, 0)
    return strain


def term_level(signal: Signal, latent: Latent, student: Ints, term: Ints) -> Floats:
    """A student's level in a term: what the total of a subject would be without subject, teacher and luck.

    Strain of a term weighs on the *next* term; attendance shows it at once, which is what a model can use.
    """
    before = np.where(term > 0, latent.strain[student, np.maximum(term - 1, 0)], 0.0)
    level: Floats = (
        signal.base
        + latent.ability[student]
        + latent.drift[student, term]
        - signal.strain_on_next_term * before
    )
    return level


def draw_scores(
    rng: np.random.Generator, signal: Signal, level: Floats, offset: Floats, strain: Floats
) -> tuple[Ints, Ints]:
    """Test (0 to 40) and exam score (0 to 60) of one subject each.

    Args:
        level: the student's level in the term.
        offset: liking of the subject plus the teacher's effect, in points of the total.
        strain: of the same term; lowers the tests already, the exam not yet.
    """
    mean = level + offset
    spread = signal.score_deviation
    test = 0.4 * mean - signal.strain_on_same_tests * strain + rng.normal(0, 0.6 * spread, len(mean))
    exam = 0.6 * mean + rng.normal(0, 0.8 * spread, len(mean))
    return (
        np.clip(np.rint(test), 0, 40).astype(np.int64),
        np.clip(np.rint(exam), 0, 60).astype(np.int64),
    )
