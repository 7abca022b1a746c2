"""The models on a demo school beside the best that its generator allows; what training and scoring cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from bench.platform import Bench, fill_with_school
from demo.answers import AnswerKey
from demo.yardstick import Reach, measure_reach
from ml import registry
from ml.explain import Contributions, explain
from ml.features import LABEL, LABEL_VALUE, read_labelled, read_thresholds, shape_features
from ml.learning import learn
from ml.metrics import calibration_error
from ml.pipeline import Lesson, fit_pipeline, predict_probability
from ml.target import load_target
from ml.wording import word_reasons

_TARGET = "at_risk"


def measure_school(bench: Bench, *, students: int, schools: int) -> dict[str, Any]:
    """Hand in a demo school, let it be run, and compare the list with the answer key's true probabilities."""
    from elt.warehouse import connect

    key = fill_with_school(bench, students=students, schools=schools)
    with connect(bench.url) as connection:
        found = connection.execute(
            "select school_id, student_id, probability from marts.mart_student_risk where method = 'model'"
        ).fetchall()
        attempts = registry.list_models(connection)
    return {**_compare(key, found), "targets": [_summarise(attempt) for attempt in attempts]}


def measure_cost(bench: Bench, rows: int) -> dict[str, Any]:
    """CPU seconds of the default model, on rows drawn with replacement from the school's labelled ones."""
    from elt.warehouse import connect

    target = load_target(_TARGET)
    with connect(bench.url) as connection:
        thresholds = read_thresholds(connection, target)
        labelled = read_labelled(connection, target, thresholds)
    rng = np.random.default_rng(1)
    drawn = labelled.iloc[np.sort(rng.integers(0, len(labelled), rows))].reset_index(drop=True)
    # Each copy of a student is a student of their own.
    copy = drawn.groupby(["school_id", "student_id", "as_of_date"]).cumcount().astype(str)
    drawn["student_id"] = drawn["student_id"] + "-" + copy
    features = shape_features(drawn, target.features)
    lesson = _lesson(drawn, features)
    candidate, seed = target.candidates[0], target.validation.seed
    pipeline, fit_seconds = _time(lambda: fit_pipeline(target.features, candidate, seed, lesson))
    again = fit_pipeline(target.features, candidate, seed, lesson)
    content = registry.dump_pipeline(pipeline)

    def score() -> Contributions:
        probability = predict_probability(pipeline, features)
        contributions = explain(pipeline, features, target.features)
        word_reasons(features, contributions, probability >= target.flag.always_from, target)
        return contributions

    contributions, score_seconds = _time(score)
    total = contributions.effects.sum(axis=1) + contributions.baseline
    distance = float(np.abs(total - pipeline.decision_function(features)).max())
    _, learn_seconds = _time(lambda: learn(drawn, target, thresholds))
    return {
        "rows": rows,
        "fit_cpu_seconds": round(fit_seconds, 2),
        "score_with_reasons_cpu_seconds": round(score_seconds, 2),
        "whole_training_cpu_seconds": round(learn_seconds, 1),
        "model_bytes": len(content),
        "largest_additive_error": distance,
        "same_bytes": content == registry.dump_pipeline(again),
    }


def _compare(key: AnswerKey, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Ours beside the best possible, over all terms that could have been drawn."""
    claimed = {(row["school_id"], row["student_id"]): float(row["probability"]) for row in found}
    answers = [each for each in key.next_term if (each.school_id, each.student_id) in claimed]
    if not answers:
        return {"students": 0, "published": False}
    chance = np.array([each.chance_below for each in answers])
    probability = np.array([claimed[each.school_id, each.student_id] for each in answers])
    best, ours = measure_reach(chance, chance), measure_reach(chance, probability)
    # Against the probabilities and not against what was drawn: luck is in neither figure.
    error = calibration_error(chance, probability)
    return {
        "students": len(answers), "published": True, **_side_by_side(best, ours),
        "calibration_error": round(error, 4),
        "reached": bool(
            best.auc - ours.auc <= 0.03 and error <= 0.05
            and ours.precision_at_top_tenth >= 0.9 * best.precision_at_top_tenth
        ),
    }  # fmt: skip


def _side_by_side(best: Reach, ours: Reach) -> dict[str, float]:
    return {
        "auc": ours.auc, "best_possible_auc": best.auc,
        "precision_at_10": ours.precision_at_top_tenth,
        "best_possible_precision_at_10": best.precision_at_top_tenth,
    }  # fmt: skip


def _summarise(attempt: registry.RegisteredModel) -> dict[str, Any]:
    held_out = attempt.metrics.get("held_out", {})
    values = held_out.get("values", {})
    return {
        "target": attempt.target, "algorithm": attempt.algorithm, "published": attempt.is_published,
        "students": held_out.get("students"), "auc": held_out.get("model", {}).get("auc"),
        "rmse": values.get("rmse"), "inside_interval": values.get("inside_interval"),
        "reasons": attempt.gate["reasons"],
    }  # fmt: skip


def _lesson(rows: pd.DataFrame, features: pd.DataFrame) -> Lesson:
    numbers = pd.factorize(rows["student_id"])[0].astype(np.int64)
    cohorts = pd.factorize(rows["as_of_date"], sort=True)[0].astype(np.int64)
    y = rows[LABEL].to_numpy(dtype=np.int64)
    return Lesson(features, y, cohorts, numbers, rows[LABEL_VALUE].to_numpy(dtype=float))


def _time(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    answer = work()
    return answer, time.process_time() - started
