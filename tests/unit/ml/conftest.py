"""A made-up school's labelled rows, small enough to learn from in a moment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ml.target import Target, load_target

THRESHOLDS = {"pass_mark": 50.0, "chronic_absence": 90.0}
MakeRows = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def thresholds() -> dict[str, float]:
    """The thresholds as the seeds state them."""
    return THRESHOLDS


@pytest.fixture(scope="session")
def at_risk() -> Target:
    """The real target, with fewer draws and one candidate, so that a training takes a moment."""
    target = load_target("at_risk")
    gate = target.gate.model_copy(update={"draws": 200})
    validation = target.validation.model_copy(update={"student_folds": 2, "backtest_cohorts": 1})
    return target.model_copy(
        update={"gate": gate, "validation": validation, "candidates": target.candidates[:1]}
    )


@pytest.fixture(scope="session")
def with_labels() -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Gives rows the label that follows from the number behind it."""
    return lambda rows: rows.assign(label=(rows["label_value"] < THRESHOLDS["pass_mark"]).astype(int))


@pytest.fixture(scope="session")
def make_rows() -> MakeRows:
    """Labelled rows as `read_labelled` gives them; with signal, attendance foretells the next term."""
    return _make_rows


def _make_rows(
    students: int = 260, terms: int = 5, seed: int = 1, *, signal: bool = True, schools: int = 2
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    shape = (students, terms + 1)
    strain = (rng.random(shape) < 0.25) * rng.uniform(0.5, 1.3, shape)
    averages = rng.normal(58, 5, (students, 1)) + rng.normal(0, 4, shape)
    attendance = np.clip(rng.normal(93, 3, shape) - 13 * strain, 40, 100)
    if signal:
        averages[:, 1:] -= 11 * strain[:, :-1]
    else:
        averages = rng.normal(56, 7, shape)
    ends = pd.date_range("2023-12-20", periods=terms + 1, freq="120D")
    known = ends + pd.Timedelta(days=14)
    return pd.concat(
        [_term(rng, term, averages, attendance, strain, ends, known, schools) for term in range(terms)],
        ignore_index=True,
    )


def _term(
    rng: np.random.Generator,
    term: int,
    averages: np.ndarray,
    attendance: np.ndarray,
    strain: np.ndarray,
    ends: pd.DatetimeIndex,
    known: pd.DatetimeIndex,
    schools: int,
) -> pd.DataFrame:
    count = len(averages)
    gap = np.full(count, np.nan)
    return pd.DataFrame(
        {
            "school_id": [f"S{number % schools}" for number in range(count)],
            "student_id": [f"P{number:04d}" for number in range(count)],
            "as_of_date": ends[term],
            "known_at": known[term],
            "label_known_at": known[term + 1],
            "label": (averages[:, term + 1] < THRESHOLDS["pass_mark"]).astype(int),
            "label_value": averages[:, term + 1],
            "gender": rng.choice(["Female", "Male"], count),
            "state_of_origin": rng.choice(["Lagos", "Oyo", "Kano"], count),
            "living_arrangement": rng.choice(["Boarding", "Day"], count),
            "term_average": averages[:, term],
            "previous_average": averages[:, term - 1] if term else gap,
            "previous_attendance": attendance[:, term - 1] if term else gap,
            "test_exam_gap": rng.normal(0, 2, count) - 9 * strain[:, term],
            "core_failure_count": rng.binomial(2, 0.1, count) * 1.0,
            "teacher_periods_mean": rng.uniform(10, 25, count),
            "study_habits": rng.choice(["Rarely", "Occasional", "Daily"], count),
            "weekly_reading_hours": rng.integers(0, 9, count) * 1.0,
            "offence_count": rng.poisson(0.2, count) * 1.0,
            "offences_to_date": rng.poisson(0.4, count) * 1.0,
            "students_per_computer": 12.0,
            "is_before_certificate": 0.0,
            "score_change": averages[:, term] - averages[:, term - 1] if term else gap,
            "score_slope": (averages[:, term] - averages[:, term - 1]) / 2 if term else gap,
            "average_to_date": averages[:, : term + 1].mean(axis=1),
            "average_deviation": averages[:, : term + 1].std(axis=1),
            "lowest_score": averages[:, term] - rng.uniform(5, 15, count),
            "score_deviation": rng.uniform(3, 9, count),
            "failure_count": rng.poisson(np.clip((56 - averages[:, term]) / 4, 0.1, 5)).astype(float),
            "failure_rate_to_date": rng.uniform(0, 0.4, count),
            "term_attendance": attendance[:, term],
            "attendance_change": attendance[:, term] - attendance[:, term - 1] if term else gap,
            "attendance_to_date": attendance[:, : term + 1].mean(axis=1),
            "attendance_deviation": attendance[:, : term + 1].std(axis=1),
            "is_chronically_absent": (attendance[:, term] < 90) * 1.0,
            "terms_seen": term + 1.0,
            "subject_count": 9.0,
            "teacher_experience_mean": rng.uniform(2, 30, count),
            "activities_count": rng.integers(0, 3, count).astype(float),
            "guardian_engagement": rng.choice(["Low", "Medium", "High"], count),
            "guardian_education": rng.choice(["Primary", "Secondary", "Tertiary"], count),
            "guardian_financial_status": rng.choice(["Low Income", "Middle Income"], count),
            "health_status": rng.choice(["Poor", "Good"], count),
            "has_disorder": (rng.random(count) < 0.1) * 1.0,
            "is_boarding": (rng.random(count) < 0.5) * 1.0,
            "grade_order": rng.integers(1, 7, count).astype(float),
            "stream": rng.choice(["Art", "General"], count),
            "row_version": "v",
        }
    )
