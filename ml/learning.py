"""From labelled rows to a judged model. Pure: no database, no store, no clock.

The race between candidates is run inside the cohorts to learn from; the held-out cohort is looked at once, by
the winner. What is published is then the winner fitted once more on everything that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from ml import metrics
from ml.features import KNOWN_AT, LABEL_KNOWN_AT, LABEL_VALUE, shape_features
from ml.gate import HeldOut, Verdict, judge, leave_out_thin_schools, refuse_leaks, refuse_untaught
from ml.leakage import find_leaks
from ml.metrics import Floats, Ints
from ml.pipeline import fit_pipeline, predict_probability
from ml.rule import apply_rule
from ml.splits import choose_held_out, deal_students, find_earlier, forward_splits, number_cohorts
from ml.target import Candidate, Target


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of learning. `pipeline` is null where nothing was published."""

    verdict: Verdict
    algorithm: str
    pipeline: Pipeline | None
    metrics: dict[str, Any]
    window: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Task:
    """The labelled rows as arrays, all of the same length."""

    rows: pd.DataFrame
    features: pd.DataFrame
    y: Ints
    cohorts: Ints
    folds: Ints

    def earlier(self, first: int) -> NDArray[np.bool_]:
        """The rows that were known when cohort `first` was to be judged."""
        return find_earlier(self.cohorts, self.rows[KNOWN_AT], self.rows[LABEL_KNOWN_AT], first)


def learn(rows: pd.DataFrame, target: Target, thresholds: Mapping[str, float]) -> Learnt:
    """Choose, judge and fit a model on labelled rows (as `read_labelled` gives them).

    Raises:
        NotEnoughHistory: fewer past terms than the target asks for.
    """
    # On a busy machine, threads that spin for each other made two seconds of training last two minutes.
    with threadpool_limits(limits=1):
        return _learn(rows, target, thresholds)


def _learn(rows: pd.DataFrame, target: Target, thresholds: Mapping[str, float]) -> Learnt:
    task = _set_up(rows, target, thresholds)
    held_out = choose_held_out(
        task.cohorts,
        task.y,
        rows=target.gate.rows,
        each_class=target.gate.each_class,
        most=target.validation.held_out_cohorts_most,
        train_cohorts=target.validation.train_cohorts_least,
    )
    window = _window(task, held_out)
    leaks = find_leaks(task.rows, task.features, task.y, target)
    if leaks:
        return Learnt(refuse_leaks(leaks), "none", None, {}, window)
    earlier = task.y[task.earlier(min(held_out))]
    if len(np.unique(earlier)) < 2:
        judged_y = task.y[np.isin(task.cohorts, held_out)]
        verdict = refuse_untaught(judged_y, len(earlier), target.gate)
        return Learnt(verdict, "none", None, {}, window)
    candidate, race = _choose(task, target, min(held_out))
    judged = _judge_cohorts(task, candidate, target, thresholds, held_out)
    verdict = judge(judged, target.gate, capacity=target.flag.capacity, seed=target.validation.seed)
    facts = {
        "held_out": _measure(leave_out_thin_schools(judged, target.gate), target),
        "candidates": race,
        "backtest": _backtest(task, candidate, target, thresholds, min(held_out)),
    }
    seed = target.validation.seed
    pipeline = (
        fit_pipeline(target.features, candidate, seed, task.features, task.y, task.cohorts)
        if verdict.is_published
        else None
    )
    return Learnt(verdict, candidate.name, pipeline, facts, window)


def _set_up(rows: pd.DataFrame, target: Target, thresholds: Mapping[str, float]) -> _Task:
    students = list(zip(rows["school_id"], rows["student_id"], strict=True))
    validation = target.validation
    return _Task(
        rows,
        shape_features(rows, target.features),
        (rows[LABEL_VALUE] < thresholds[target.label.below]).to_numpy(dtype=np.int64),
        number_cohorts(rows["as_of_date"], validation.wave_days),
        deal_students(students, validation.student_folds, validation.seed),
    )


def _choose(task: _Task, target: Target, first_held_out: int) -> tuple[Candidate, list[dict[str, Any]]]:
    """The simplest candidate whose log loss is within one standard error of the best one's.

    All are judged on the last cohort to learn from, by what the cohorts before it taught. With a single
    cohort to learn from there is nothing to choose by, and the first (simplest) candidate runs.
    """
    last = int(task.cohorts[task.cohorts < first_held_out].max())
    earlier = task.y[task.earlier(last)]
    if len(target.candidates) == 1 or len(np.unique(earlier)) < 2:
        return target.candidates[0], []
    losses = {}
    for candidate in target.candidates:
        probability, judged = _predict(task, candidate, target, [last])
        losses[candidate.name] = _log_loss(task.y[judged], probability[judged])
    best = min(losses.values(), key=np.mean)
    race = []
    chosen: Candidate | None = None
    for candidate in target.candidates:
        behind = losses[candidate.name] - best
        error = float(np.std(behind, ddof=1) / np.sqrt(len(behind))) if len(behind) > 1 else 0.0
        is_as_good = float(np.mean(behind)) <= error
        if chosen is None and is_as_good:
            chosen = candidate
        loss = round(float(np.mean(losses[candidate.name])), 5)
        race.append({"name": candidate.name, "log_loss": loss, "as_good_as_best": is_as_good})
    assert chosen is not None  # noqa: S101 - the best is as good as itself
    return chosen, race


def _predict(
    task: _Task, candidate: Candidate, target: Target, held_out: Sequence[int]
) -> tuple[Floats, Ints]:
    """Probabilities for the held-out cohorts by models that saw neither those terms nor those students."""
    probability = np.full(len(task.y), np.nan)
    judged = np.isin(task.cohorts, held_out)
    for split in forward_splits(task.earlier(min(held_out)), judged, task.folds):
        y = task.y[split.train]
        if len(np.unique(y)) < 2:
            probability[split.test] = y.mean() if len(y) else 0.5
            continue
        pipeline = fit_pipeline(
            target.features,
            candidate,
            target.validation.seed,
            task.features.iloc[split.train],
            y,
            task.cohorts[split.train],
        )
        probability[split.test] = predict_probability(pipeline, task.features.iloc[split.test])
    return probability, np.flatnonzero(judged)


def _judge_cohorts(
    task: _Task,
    candidate: Candidate,
    target: Target,
    thresholds: Mapping[str, float],
    held_out: Sequence[int],
) -> HeldOut:
    probability, judged = _predict(task, candidate, target, held_out)
    rows = task.rows.iloc[judged]
    students = pd.factorize(rows["school_id"] + "\x1f" + rows["student_id"])[0]
    return HeldOut(
        task.y[judged],
        probability[judged],
        apply_rule(task.features.iloc[judged], target, thresholds),
        students.astype(np.int64),
        rows["school_id"].to_numpy(dtype=str),
    )


def _measure(judged: HeldOut, target: Target) -> dict[str, Any]:
    """Model, rule and chance side by side on the held-out cohort."""
    y, probability, k = judged.y, judged.probability, judged.k(target.flag.capacity)
    facts: dict[str, Any] = {
        "students": len(y),
        "positives": int(y.sum()),
        "k": k,
        "model": metrics.summarise(y, probability, k),
        "rule": metrics.summarise(y, judged.rule.score, k),
        "chance": {"auc": 0.5, "precision_at_k": round(float(y.mean()), 4)},
        "brier": round(metrics.brier(y, probability), 4),
        "calibration_error": round(metrics.calibration_error(y, probability), 4),
        "calibration_curve": metrics.calibration_curve(y, probability),
    }
    if 0 < y.sum() < len(y):
        intervals = metrics.bootstrap(
            y,
            probability,
            judged.student,
            draws=target.gate.draws,
            level=target.gate.confidence,
            seed=target.validation.seed,
        )
        facts["intervals"] = {name: interval.to_dict() for name, interval in intervals.items()}
    return facts


def _backtest(
    task: _Task,
    candidate: Candidate,
    target: Target,
    thresholds: Mapping[str, float],
    first_held_out: int,
) -> list[dict[str, Any]]:
    """The same candidate judged on earlier cohorts, each by what came before it: is it good every term?"""
    first = max(1, first_held_out - target.validation.backtest_cohorts)
    answers = []
    for cohort in range(first, first_held_out):
        if len(np.unique(task.y[task.earlier(cohort)])) < 2:
            continue
        judged = _judge_cohorts(task, candidate, target, thresholds, [cohort])
        k = judged.k(target.flag.capacity)
        answers.append(
            {
                "as_of_date": _first_date(task, [cohort]),
                "students": len(judged.y),
                "positives": int(judged.y.sum()),
                "model": metrics.summarise(judged.y, judged.probability, k),
                "rule": metrics.summarise(judged.y, judged.rule.score, k),
            }
        )
    return answers


def _window(task: _Task, held_out: Sequence[int]) -> dict[str, Any]:
    judged = np.isin(task.cohorts, held_out)
    dates = task.rows["as_of_date"]
    return {
        "first_as_of": str(dates.min().date()),
        "last_as_of": str(dates.max().date()),
        "cohorts": len(np.unique(task.cohorts)),
        "students": int((task.rows["school_id"] + "\x1f" + task.rows["student_id"]).nunique()),
        "rows": len(task.y),
        "positives": int(task.y.sum()),
        "held_out_from": _first_date(task, held_out),
        "held_out_rows": int(judged.sum()),
        "trained_before_rows": int(task.earlier(min(held_out)).sum()),
    }


def _first_date(task: _Task, cohorts: Sequence[int]) -> str:
    return str(task.rows["as_of_date"][np.isin(task.cohorts, cohorts)].min().date())


def _log_loss(y: Ints, probability: Floats) -> Floats:
    sure = np.clip(probability, 1e-6, 1 - 1e-6)
    losses: Floats = -np.where(y == 1, np.log(sure), np.log(1 - sure))
    return losses
