"""Every algorithm: probabilities that hold, reasons that add up, intervals that cover, files without code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from ml import metrics
from ml.explain import explain
from ml.pipeline import Lesson, fit_pipeline, foretells_value, predict_probability, predict_value
from ml.registry import dump_pipeline, parse_pipeline
from ml.target import SCORE_ALGORITHMS, Candidate, Feature, Value

MARK = 50.0
SCORE = Value(column="score", minimum=0, maximum=100, interval=0.8)
FEATURES = [
    Feature(name="average", type="number", reason=False),
    Feature(name="attendance", type="number", reason=False),
    Feature(name="habits", type="ordinal", order=["Rarely", "Sometimes", "Daily"], reason=False),
    Feature(name="boards", type="boolean", missing="zero", reason=False),
    Feature(name="stream", type="category", reason=False),
]
TREES = {"n_estimators": 40, "min_samples_leaf": 5, "max_features": 0.5}
SHALLOW = {"max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 4}
CANDIDATES = [
    Candidate(name="logistic", algorithm="logistic", settings={"C": 1.0}),
    Candidate(name="logistic_recalibrated", algorithm="logistic", settings={"C": 1.0}, recalibrate=True),
    Candidate(name="boosting", algorithm="boosting", settings=SHALLOW),
    Candidate(name="forest", algorithm="forest", settings=TREES),
    Candidate(name="ridge", algorithm="ridge", settings={"alpha": 10.0}),
    Candidate(name="ridge_recalibrated", algorithm="ridge", settings={"alpha": 10.0}, recalibrate=True),
    Candidate(name="boosted_score", algorithm="boosted_score", settings=SHALLOW),
    Candidate(name="forest_score", algorithm="forest_score", settings=TREES),
]
SCORES = [each for each in CANDIDATES if each.algorithm in SCORE_ALGORITHMS]
by_name = pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda each: each.name)
by_score = pytest.mark.parametrize("candidate", SCORES, ids=lambda each: each.name)


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="session")
def make_lesson() -> Callable[..., Lesson]:
    """Students whose score follows from what is known of them, less surely so the weaker they are."""

    def make(count: int = 2000, seed: int = 1, harder: float = 0.0) -> Lesson:
        rng = np.random.default_rng(seed)
        average, attendance = rng.normal(58, 9, count), np.clip(rng.normal(90, 7, count), 30, 100)
        habits = rng.choice(["Rarely", "Sometimes", "Daily"], count)
        boards, stream = rng.random(count) < 0.4, rng.choice(["Art", "Science", "Business"], count)
        expected = average + 0.3 * (attendance - 90) + 3 * (habits == "Daily") - 2 * (stream == "Art")
        cohorts = np.arange(count) * 4 // count
        scores = expected + rng.normal(0, 1, count) * np.clip(9 - 0.1 * (expected - 55), 4, 14)
        scores -= harder * (cohorts == 3)
        rows = pd.DataFrame(
            {
                "average": np.where(rng.random(count) < 0.1, np.nan, average),
                "attendance": attendance,
                "habits": np.where(rng.random(count) < 0.1, None, habits),
                "boards": np.where(rng.random(count) < 0.1, np.nan, boards * 1.0),
                "stream": stream,
            }
        )
        scores = np.clip(scores, 0, 100)
        return Lesson(rows, (scores < MARK).astype(np.int64), cohorts, np.arange(count), scores, MARK)

    return make


@by_name
def test_the_probability_is_that_of_the_risk_and_holds_on_students_never_seen(candidate, make_lesson):
    pipeline = fit_pipeline(FEATURES, candidate, 1, make_lesson())
    later = make_lesson(4000, seed=2)
    probability = predict_probability(pipeline, later.rows)
    assert metrics.auc(later.y, probability) > 0.75
    assert metrics.calibration_error(later.y, probability) < 0.035
    assert abs(probability.mean() - later.y.mean()) < 0.03


@by_name
def test_contributions_and_baseline_add_up_where_they_are_said_to_be_exact(candidate, make_lesson):
    pipeline = fit_pipeline(FEATURES, candidate, 1, make_lesson())
    rows = make_lesson(300, seed=3).rows
    contributions = explain(pipeline, rows, FEATURES)
    log_odds = pipeline.decision_function(rows)
    assert contributions.is_exact == (candidate.algorithm in ("logistic", "ridge"))
    if contributions.is_exact:
        total = contributions.effects.sum(axis=1) + contributions.baseline
        np.testing.assert_allclose(total, log_odds, rtol=0, atol=1e-9)
    np.testing.assert_allclose(predict_probability(pipeline, rows), 1 / (1 + np.exp(-log_odds)))
    weak = contributions.side[:, 0] < 0
    assert contributions.effects[weak, 0].mean() > 0.2, "a low average raises the risk"


@by_name
def test_the_file_holds_data_only_and_the_same_lesson_gives_the_same_bytes(candidate, make_lesson):
    pipeline = fit_pipeline(FEATURES, candidate, 1, make_lesson(600))
    content = dump_pipeline(pipeline)
    assert content == dump_pipeline(fit_pipeline(FEATURES, candidate, 1, make_lesson(600)))
    loaded, rows = parse_pipeline(content, "m.skops"), make_lesson(100, seed=4).rows
    np.testing.assert_array_equal(loaded.predict_proba(rows), pipeline.predict_proba(rows))
    assert foretells_value(loaded) == (candidate in SCORES)
    if foretells_value(loaded):
        for found, wanted in zip(
            predict_value(loaded, rows, SCORE), predict_value(pipeline, rows, SCORE), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)


@by_score
def test_intervals_cover_what_they_promise_for_weak_and_for_strong_students(candidate, make_lesson):
    pipeline = fit_pipeline(FEATURES, candidate, 1, make_lesson(8000))
    later = make_lesson(8000, seed=5)
    values, ends = predict_value(pipeline, later.rows, SCORE)
    inside = (ends[:, 0] <= later.values) & (later.values <= ends[:, 1])
    assert 0.78 <= inside.mean() <= 0.82
    for third in np.array_split(np.argsort(values), 3):
        assert 0.76 <= inside[third].mean() <= 0.84
    width = ends[:, 1] - ends[:, 0]
    assert np.corrcoef(width, values)[0, 1] < -0.5, "weaker students are less sure"


@by_score
def test_who_is_foretold_less_surely_has_the_wider_interval_at_the_same_forecast(candidate, make_lesson):
    """Boarders' scores scatter three times as far, about the same mean."""

    def scattered(seed: int) -> Lesson:
        lesson, rng = make_lesson(6000, seed=seed), np.random.default_rng(seed)
        boards = rng.random(6000) < 0.5
        values = 60 + rng.normal(0, 1, 6000) * np.where(boards, 15, 5)
        rows = lesson.rows.assign(boards=boards * 1.0)
        y = (values < MARK).astype(np.int64)
        return Lesson(rows, y, lesson.cohorts, lesson.students, values, MARK)

    later = scattered(9)
    _, ends = predict_value(fit_pipeline(FEATURES, candidate, 1, scattered(8)), later.rows, SCORE)
    inside = (ends[:, 0] <= later.values) & (later.values <= ends[:, 1])
    for group in (later.rows["boards"] == 1, later.rows["boards"] == 0):
        assert 0.76 <= inside[group].mean() <= 0.84


@by_name
def test_beyond_what_was_seen_nothing_is_extrapolated(candidate, make_lesson):
    lesson = make_lesson(600)
    pipeline = fit_pipeline(FEATURES, candidate, 1, lesson)
    ends = lesson.rows.assign(attendance=lesson.rows["attendance"].max())
    beyond = lesson.rows.assign(attendance=1e6)
    np.testing.assert_array_equal(pipeline.predict_proba(beyond), pipeline.predict_proba(ends))


@by_score
def test_a_higher_forecast_never_makes_a_fail_more_likely(candidate, make_lesson):
    pipeline = fit_pipeline(FEATURES, candidate, 1, make_lesson())
    rows = make_lesson(300, seed=6).rows
    values, _ = predict_value(pipeline, rows, SCORE)
    probability = predict_probability(pipeline, rows)
    assert (np.diff(probability[np.argsort(values)]) <= 1e-12).all()


def test_recalibration_follows_the_latest_cohort(make_lesson):
    lesson, later = make_lesson(4000, harder=8), make_lesson(8000, seed=7, harder=8)
    latest = later.part(later.cohorts == 3)
    plain, recalibrated = (
        fit_pipeline(FEATURES, each, 1, lesson) for each in SCORES if each.algorithm == "ridge"
    )
    errors = [
        abs(predict_probability(pipeline, latest.rows).mean() - latest.y.mean())
        for pipeline in (plain, recalibrated)
    ]
    assert errors[1] < 0.03 < 0.1 < errors[0]
    _, ends = predict_value(recalibrated, latest.rows, SCORE)
    inside = (ends[:, 0] <= latest.values) & (latest.values <= ends[:, 1])
    assert 0.76 <= inside.mean() <= 0.84


def test_recalibration_rests_on_students_who_were_not_learnt_from(make_lesson):
    """Each student comes in all four cohorts, nearly the same and for reasons of their own below the mark."""
    once = make_lesson(300)
    rng = np.random.default_rng(1)
    y = np.tile((rng.random(300) < 0.2 + 0.4 * once.y).astype(np.int64), 4)
    rows = pd.concat([once.rows.assign(average=once.rows["average"].fillna(58))] * 4, ignore_index=True)
    students, cohorts = np.tile(np.arange(300), 4), np.repeat(np.arange(4), 300)
    lesson = Lesson(rows, y, cohorts, students, np.full(1200, np.nan))
    deep = Candidate(
        name="deep", algorithm="boosting", recalibrate=True,
        settings={"max_iter": 60, "learning_rate": 0.3, "min_samples_leaf": 2},
    )  # fmt: skip
    recalibrated = fit_pipeline(FEATURES, deep, 1, lesson).named_steps["model"]
    apart = Lesson(rows, y, cohorts, np.arange(1200), lesson.values)
    flattered = fit_pipeline(FEATURES, deep, 1, apart).named_steps["model"]
    # Who knows the students is sure of them, and rightly; of others the same log-odds say far less.
    assert flattered.slope_ > 1
    assert 0 < recalibrated.slope_ < 0.5


def test_errors_are_those_on_students_who_were_not_learnt_from(make_lesson):
    """Eight rows per student with nearly the same features: who knows one of them knows the others' score."""
    rng = np.random.default_rng(1)
    once = make_lesson(150)
    own = rng.normal(0, 12, 150)
    lesson = once.part(np.repeat(np.arange(150), 8))
    rows = lesson.rows.assign(average=lesson.rows["average"].fillna(58))
    values = np.clip(lesson.values + np.repeat(own, 8), 0, 100)
    lesson = Lesson(rows, (values < MARK).astype(np.int64), lesson.cohorts, lesson.students, values, MARK)
    deep = Candidate(
        name="deep", algorithm="boosted_score",
        settings={"max_iter": 60, "learning_rate": 0.3, "min_samples_leaf": 2},
    )  # fmt: skip
    _, ends = predict_value(fit_pipeline(FEATURES, deep, 1, lesson), lesson.rows, SCORE)
    apart = Lesson(rows, lesson.y, lesson.cohorts, np.arange(len(values)), values, MARK)
    _, flattered = predict_value(fit_pipeline(FEATURES, deep, 1, apart), lesson.rows, SCORE)
    assert np.median(np.ptp(ends, axis=1)) > 10 * np.median(np.ptp(flattered, axis=1))


def test_rows_without_a_number_are_not_learnt_from(make_lesson):
    lesson = make_lesson(1000)
    gone = np.arange(1000) % 2 == 0
    holes = Lesson(
        lesson.rows, lesson.y, lesson.cohorts, lesson.students, np.where(gone, np.nan, lesson.values), MARK
    )
    ridge = next(each for each in SCORES if each.name == "ridge")
    with_holes = fit_pipeline(FEATURES, ridge, 1, holes).named_steps["model"]
    assert np.isfinite(with_holes.errors_).all()
    nothing = Lesson(lesson.rows, lesson.y, lesson.cohorts, lesson.students, np.full(1000, np.nan), MARK)
    with pytest.raises(ValueError, match="1000 rows, none of them with a number"):
        fit_pipeline(FEATURES, ridge, 1, nothing)


def test_a_forecast_that_says_nothing_claims_the_base_rate(make_lesson):
    lesson = make_lesson(1000)
    rng = np.random.default_rng(2)
    noise = rng.normal(55, 10, 1000)
    shuffled = Lesson(
        lesson.rows, (noise < MARK).astype(np.int64), lesson.cohorts, lesson.students, noise, MARK
    )
    ridge = next(each for each in SCORES if each.name == "ridge")
    probability = predict_probability(fit_pipeline(FEATURES, ridge, 1, shuffled), lesson.rows)
    assert np.std(probability) < 0.05
    assert abs(probability.mean() - shuffled.y.mean()) < 0.02
