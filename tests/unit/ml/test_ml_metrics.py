"""Figures of the model against counts by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from ml import metrics


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    score = np.round(rng.random(400), 2)  # two places: many ties
    return (rng.random(400) < score).astype(np.int64), score


def test_auc_average_precision_and_brier_agree_with_scikit_learn_on_tied_scores(scored):
    y, score = scored
    assert metrics.auc(y, score) == pytest.approx(roc_auc_score(y, score), abs=1e-12)
    assert metrics.average_precision(y, score) == pytest.approx(average_precision_score(y, score), abs=1e-12)
    assert metrics.brier(y, score) == pytest.approx(brier_score_loss(y, score), abs=1e-12)


def test_the_base_rate_has_no_skill_and_the_truth_has_all(scored):
    y, _ = scored
    assert metrics.brier_skill(y, np.full(len(y), y.mean())) == pytest.approx(0)
    assert metrics.brier_skill(y, y.astype(float)) == 1


def test_ties_at_the_edge_of_the_list_give_worst_expected_and_best():
    y = np.array([1, 1, 0, 0, 1])
    top = metrics.precision_at(y, np.array([0.9, 0.5, 0.5, 0.5, 0.1]), 2)
    assert (top.worst, top.best) == (0.5, 1.0)
    assert top.expected == pytest.approx((1 + 1 / 3) / 2)


def test_recall_counts_the_share_of_all_cases_on_the_list():
    y = np.array([1, 0, 1, 0])
    assert metrics.recall_at(y, np.array([0.9, 0.8, 0.2, 0.1]), 2) == 0.5


def test_a_perfect_ranking_is_never_reached_by_shuffled_labels():
    y = np.repeat([0, 1], 50)
    assert metrics.permutation_p(y, np.arange(100.0), draws=99, seed=1) == 0.01


def test_a_single_class_gives_no_ranking_and_no_small_p():
    y = np.zeros(20, dtype=np.int64)
    assert metrics.auc(y, np.arange(20.0)) == 0.5
    assert metrics.permutation_p(y, np.arange(20.0), draws=99, seed=1) == 1


def test_honest_probabilities_stay_within_sampling_noise_and_boastful_ones_do_not():
    rng = np.random.default_rng(5)
    honest = rng.uniform(0.05, 0.6, 1000)
    y = (rng.random(1000) < honest).astype(np.int64)
    alone = np.arange(len(y))
    noise = metrics.calibration_noise(y, honest, alone, draws=200, level=0.99, seed=2)
    assert metrics.calibration_error(y, honest) <= noise
    boastful = np.clip(honest * 1.6, 0, 1)
    noise = metrics.calibration_noise(y, boastful, alone, draws=200, level=0.99, seed=2)
    assert metrics.calibration_error(y, boastful) > noise


def test_copies_of_the_same_students_are_no_more_evidence_of_calibration():
    rng = np.random.default_rng(3)
    probability = rng.random(150)
    y = (rng.random(150) < probability).astype(int)
    once = metrics.calibration_noise(y, probability, np.arange(150), draws=400, level=0.95, seed=1)
    nine = np.tile(np.arange(150), 9)
    copies = metrics.calibration_noise(y[nine], probability[nine], nine, draws=400, level=0.95, seed=1)
    assert copies == pytest.approx(once, rel=0.25)


def test_the_calibration_curve_counts_every_student_once(scored):
    y, score = scored
    curve = metrics.calibration_curve(y, score)
    assert sum(group["students"] for group in curve) == len(y)


def test_the_bootstrap_draws_students_not_rows():
    rng = np.random.default_rng(4)
    y, probability = rng.integers(0, 2, 100), rng.random(100)
    apart = metrics.bootstrap(y, probability, np.arange(100), k=10, draws=200, level=0.95, seed=1)["auc"]
    # Four copies of each row are no more evidence when they belong to the same student.
    copies = metrics.bootstrap(
        np.tile(y, 4),
        np.tile(probability, 4),
        np.tile(np.arange(100), 4),
        k=40,
        draws=200,
        level=0.95,
        seed=1,
    )["auc"]
    assert (copies.low, copies.high) == pytest.approx((apart.low, apart.high))
    assert apart.low < apart.value < apart.high
