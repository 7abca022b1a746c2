"""From labelled rows to a judged model. Pure: no database, no store, no clock.

The race between candidates is run inside the cohorts to learn from; the held-out cohort is looked at once, by
the winner. What is published is then the winner fitted once more on everything that is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from ml import metrics
from ml.drift import make_reference
from ml.errors import NotEnoughHistory
from ml.fairness import Gap, GroupResult, audit_groups, find_gaps
from ml.features import AS_OF, KNOWN_AT, LABEL, LABEL_KNOWN_AT, LABEL_VALUE, shape_features
from ml.gate import (
    LATER_COHORT,
    TABLE,
    TEST_FILE,
    HeldOut,
    Verdict,
    is_large_enough,
    judge,
    leave_out_thin_schools,
    refuse_leaks,
    refuse_untaught,
)
from ml.leakage import find_leaks
from ml.metrics import Floats, Ints
from ml.pipeline import Lesson, fit_pipeline, predict_probability, predict_value
from ml.predicting import flag_students
from ml.rule import apply_rule
from ml.splits import Split, choose_held_out, deal_students, find_earlier, forward_splits, number_cohorts
from ml.target import SCORE_ALGORITHMS, Candidate, Target

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of learning. `pipeline` is null where nothing may be published."""

    verdict: Verdict
    algorithm: str
    pipeline: Pipeline | None
    metrics: dict[str, Any]
    window: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Task:
    """The labelled rows as arrays, all of the same length, and what to make of them."""

    target: Target
    thresholds: Mapping[str, float]
    rows: pd.DataFrame
    lesson: Lesson
    folds: Ints
    judged_by: str

    @property
    def y(self) -> Ints:
        return self.lesson.y

    @property
    def cohorts(self) -> Ints:
        return self.lesson.cohorts

    @property
    def is_timeless(self) -> bool:
        return self.target.validation.scheme == "folds"

    def inside(self, cohorts: Sequence[int]) -> Mask:
        """The rows of these cohorts."""
        return np.isin(self.cohorts, cohorts)

    def earlier(self, first: int) -> Mask:
        """The rows that may teach a model which is to judge cohort `first`; without time, all of them."""
        if self.is_timeless:
            return np.ones(len(self.y), dtype=bool)
        by_outcome = self.target.cohort.by == "outcome"
        starts = self.rows[LABEL_KNOWN_AT if by_outcome else KNOWN_AT]
        return find_earlier(self.cohorts, starts, self.rows[LABEL_KNOWN_AT], first)

    def splits(self, earlier: Mask, judged: Mask) -> Iterator[Split]:
        """Rows to learn from and to judge by, no student on both sides."""
        return forward_splits(earlier, judged, self.lesson.students, self.folds)


def learn(
    rows: pd.DataFrame,
    target: Target,
    thresholds: Mapping[str, float],
    *,
    test: pd.DataFrame | None = None,
) -> Learnt:
    """Choose, judge and fit a model on labelled rows (as `read_labelled` gives them).

    Args:
        test: rows to judge by, where they come apart from those to learn from; dates are then not looked at.

    Raises:
        NotEnoughHistory: fewer past cohorts than the target asks for, or no row at all.
    """
    # On a busy machine, threads that spin for each other made two seconds of training last two minutes.
    with threadpool_limits(limits=1):
        if test is None:
            task = _set_up(rows, target, thresholds)
            return _learn(task, _choose_held_out(task))
        both = pd.concat([rows, test], ignore_index=True)
        place = np.repeat([0, 1], [len(rows), len(test)])
        return _learn(_set_up(both, target, thresholds, place), [1])


def _learn(task: _Task, held_out: Sequence[int]) -> Learnt:
    target, seed = task.target, task.target.validation.seed
    window = _window(task, held_out)
    leaks = find_leaks(task.rows, task.lesson.rows, task.y, target)
    if leaks:
        return Learnt(refuse_leaks(leaks), "none", None, {}, window)
    earlier, judged = task.earlier(min(held_out)), task.inside(held_out)
    if len(np.unique(task.y[earlier])) < 2:
        students = task.lesson.students[judged]
        verdict = refuse_untaught(task.y[judged], students, int(earlier.sum()), target, task.judged_by)
        return Learnt(verdict, "none", None, {}, window)
    candidate, race = _choose(task, earlier)
    outcome = _judge_cohorts(task, candidate, held_out)
    groups, gaps = _compare_groups(task, outcome, judged)
    verdict = judge(outcome, target, gaps)
    facts = {
        "held_out": {
            **_measure(leave_out_thin_schools(outcome, target), target),
            **_measure_values(task, candidate, earlier, judged),
        },
        "groups": [group.to_dict() for group in groups],
        "gaps": [gap.to_dict() for gap in gaps],
        "candidates": race,
        "backtest": [] if task.is_timeless else _backtest(task, candidate, min(held_out)),
    }
    pipeline = None
    if verdict.is_published or verdict.awaits_acceptance:
        pipeline = fit_pipeline(target.features, candidate, seed, task.lesson)
        claimed = predict_probability(pipeline, task.lesson.rows)
        lately = _is_lately(task)
        facts["reference"] = make_reference(
            task.lesson.rows[lately], target.features, claimed[lately], target.drift.bins
        )
    return Learnt(verdict, candidate.name, pipeline, facts, window)


def _set_up(
    rows: pd.DataFrame, target: Target, thresholds: Mapping[str, float], cohorts: Ints | None = None
) -> _Task:
    if not len(rows):
        raise NotEnoughHistory("found no row whose outcome is known")
    validation, cohort = target.validation, target.cohort
    is_timeless = validation.scheme == "folds"
    judged_by = TEST_FILE if cohorts is not None else TABLE if is_timeless else LATER_COHORT
    if cohorts is None and is_timeless:
        cohorts = np.zeros(len(rows), dtype=np.int64)
    elif cohorts is None:
        dates = rows[LABEL_KNOWN_AT if cohort.by == "outcome" else AS_OF]
        cohorts = number_cohorts(dates, cohort.wave_days)
    people = list(zip(rows["school_id"], rows["student_id"], strict=True))
    below = target.label.any_of[0].below
    lesson = Lesson(
        shape_features(rows, target.features),
        rows[LABEL].to_numpy(dtype=np.int64),
        cohorts,
        pd.factorize(rows["school_id"] + "\x1f" + rows["student_id"])[0].astype(np.int64),
        rows[LABEL_VALUE].to_numpy(dtype=float),
        thresholds[below] if below else None,
    )
    folds = deal_students(people, validation.student_folds, validation.seed)
    return _Task(target, thresholds, rows, lesson, folds, judged_by)


def _choose_held_out(task: _Task) -> list[int]:
    if task.is_timeless:
        return [0]
    target = task.target
    return choose_held_out(
        task.cohorts,
        task.y,
        task.lesson.students,
        task.rows["school_id"].tolist(),
        rows=target.gate.rows,
        each_class=target.gate.each_class,
        most=target.validation.held_out_cohorts_most,
        train_cohorts=target.validation.train_cohorts_least,
    )


def _choose(task: _Task, earlier: Mask) -> tuple[Candidate, list[dict[str, Any]]]:
    """The simplest candidate whose loss is within one standard error of the best one's.

    All are judged on the last cohort to learn from, by what the cohorts before it taught; where that is a
    single cohort, by the others of its own students.
    """
    candidates = task.target.candidates
    if len(candidates) == 1:
        return candidates[0], []
    splits = _race_splits(task, earlier)
    losses = {each.name: _loss(task, each, splits) for each in candidates}
    best = min(losses.values(), key=np.mean)
    race = []
    chosen: Candidate | None = None
    for candidate in candidates:
        behind = losses[candidate.name] - best
        error = float(np.std(behind, ddof=1) / np.sqrt(len(behind))) if len(behind) > 1 else 0.0
        is_as_good = float(np.mean(behind)) <= error
        if chosen is None and is_as_good:
            chosen = candidate
        loss = round(float(np.mean(losses[candidate.name])), 5)
        race.append({"name": candidate.name, "loss": loss, "as_good_as_best": is_as_good})
    assert chosen is not None  # noqa: S101 - the best is as good as itself
    return chosen, race


def _race_splits(task: _Task, earlier: Mask) -> list[Split]:
    last = int(task.cohorts[earlier].max())
    before = earlier & task.earlier(last) & (task.cohorts < last)
    if len(np.unique(task.y[before])) == 2:
        return list(task.splits(before, earlier & (task.cohorts == last)))
    return list(task.splits(earlier, earlier))


def _loss(task: _Task, candidate: Candidate, splits: Sequence[Split]) -> Floats:
    """Each row's loss: squared error where all candidates foretell a number, else log loss."""
    judged = np.concatenate([split.test for split in splits])
    if all(each.algorithm in SCORE_ALGORITHMS for each in task.target.candidates):
        values, _ = _predict_values(task, candidate, splits)
        wanted = task.lesson.values
        squared: Floats = ((values - wanted) / np.std(wanted))[judged] ** 2
        return squared
    return _log_loss(task.y[judged], _predict(task, candidate, splits)[judged])


def _predict(task: _Task, candidate: Candidate, splits: Sequence[Split]) -> Floats:
    """Probabilities of the rows to judge, by models that saw neither them nor their students; else NaN."""
    probability = np.full(len(task.y), np.nan)
    for split in splits:
        y = task.y[split.train]
        if len(np.unique(y)) < 2:
            probability[split.test] = y.mean() if len(y) else 0.5
            continue
        pipeline = _fit(task, candidate, split.train)
        probability[split.test] = predict_probability(pipeline, task.lesson.rows.iloc[split.test])
    return probability


def _predict_values(
    task: _Task, candidate: Candidate, splits: Sequence[Split]
) -> tuple[Floats, NDArray[np.float64]]:
    """The number behind the label of the rows to judge, and both ends of its interval; else NaN."""
    declared = task.target.label.value
    assert declared is not None  # noqa: S101 - a target with score algorithms has a value
    values, ends = np.full(len(task.y), np.nan), np.full((len(task.y), 2), np.nan)
    for split in splits:
        pipeline = _fit(task, candidate, split.train)
        values[split.test], ends[split.test] = predict_value(
            pipeline, task.lesson.rows.iloc[split.test], declared
        )
    return values, ends


def _fit(task: _Task, candidate: Candidate, train: Ints) -> Pipeline:
    target = task.target
    return fit_pipeline(target.features, candidate, target.validation.seed, task.lesson.part(train))


def _judge_cohorts(task: _Task, candidate: Candidate, held_out: Sequence[int]) -> HeldOut:
    judged = task.inside(held_out)
    splits = list(task.splits(task.earlier(min(held_out)), judged))
    probability = _predict(task, candidate, splits)
    return HeldOut(
        task.y[judged],
        probability[judged],
        apply_rule(task.lesson.rows[judged], task.target, task.thresholds),
        np.unique(task.lesson.students[judged], return_inverse=True)[1],
        task.rows["school_id"][judged].to_numpy(dtype=str),
        task.judged_by,
    )


def _compare_groups(task: _Task, outcome: HeldOut, judged: Mask) -> tuple[list[GroupResult], list[Gap]]:
    target = task.target
    rows = task.rows[judged]
    flagged = flag_students(outcome.probability, outcome.school, target.flag)
    groups = {
        column: rows[column].astype(object).where(rows[column].notna(), "not recorded").to_numpy(dtype=str)
        for column in target.fairness.columns
    }
    settings = target.fairness
    results = audit_groups(
        outcome.y, outcome.probability, flagged, groups, outcome.student, settings,
        draws=target.gate.draws, level=target.gate.confidence, seed=target.validation.seed,
    )  # fmt: skip
    return results, find_gaps(results, settings)


def _measure(judged: HeldOut, target: Target) -> dict[str, Any]:
    """Model, rule and chance side by side on the held-out cohort."""
    y, probability, k = judged.y, judged.probability, judged.k(target.flag.capacity)
    facts: dict[str, Any] = {
        "students": int(judged.student.max()) + 1,
        "rows": len(y),
        "positives": int(y.sum()),
        "k": k,
        "accuracy": round(float(np.mean((probability >= 0.5) == (y == 1))), 4),
        "model": metrics.summarise(y, probability, k),
        "rule": metrics.summarise(y, judged.rule.score, k),
        "chance": {"auc": 0.5, "precision_at_k": round(float(y.mean()), 4)},
        "brier": round(metrics.brier(y, probability), 4),
        "brier_skill": round(metrics.brier_skill(y, probability), 4),
        "calibration_error": round(metrics.calibration_error(y, probability), 4),
        "calibration_curve": metrics.calibration_curve(y, probability),
        "list": {
            "model": metrics.follow_list(y, probability),
            "rule": metrics.follow_list(y, judged.rule.score),
        },
    }
    if 0 < y.sum() < len(y):
        intervals = metrics.bootstrap(
            y,
            probability,
            judged.student,
            k=k,
            draws=target.gate.draws,
            level=target.gate.confidence,
            seed=target.validation.seed,
        )
        facts["intervals"] = {name: interval.to_dict() for name, interval in intervals.items()}
    return facts


def _measure_values(task: _Task, candidate: Candidate, earlier: Mask, judged: Mask) -> dict[str, Any]:
    """How far the foretold numbers lie from those that came; nothing where no number is foretold."""
    if candidate.algorithm not in SCORE_ALGORITHMS:
        return {}
    values, ends = _predict_values(task, candidate, list(task.splits(earlier, judged)))
    known = judged & np.isfinite(task.lesson.values)
    came = task.lesson.values[known]
    inside = (ends[known, 0] <= came) & (came <= ends[known, 1])
    return {
        "values": {
            "rmse": round(float(np.sqrt(np.mean((values[known] - came) ** 2))), 4),
            "mean_error": round(float(np.mean(values[known] - came)), 4),
            "deviation": round(float(np.std(came)), 4),
            "inside_interval": round(float(inside.mean()), 4),
            "interval_width": round(float(np.mean(ends[known, 1] - ends[known, 0])), 4),
        }
    }


def _backtest(task: _Task, candidate: Candidate, first_held_out: int) -> list[dict[str, Any]]:
    """The same candidate judged on earlier cohorts, each by what came before it: is it good every time?"""
    first = max(1, first_held_out - task.target.validation.backtest_cohorts)
    answers = []
    for cohort in range(first, first_held_out):
        if len(np.unique(task.y[task.earlier(cohort)])) < 2:
            continue
        judged = _judge_cohorts(task, candidate, [cohort])
        if not is_large_enough(judged, task.target.gate):
            continue  # figures about a handful say little, and something about each
        k = judged.k(task.target.flag.capacity)
        answers.append(
            {
                "as_of_date": _first_date(task, [cohort]),
                "students": int(judged.student.max()) + 1,
                "positives": int(judged.y.sum()),
                "model": metrics.summarise(judged.y, judged.probability, k),
                "rule": metrics.summarise(judged.y, judged.rule.score, k),
            }
        )
    return answers


def _window(task: _Task, held_out: Sequence[int]) -> dict[str, Any]:
    dates = task.rows[AS_OF]
    return {
        "first_as_of": _day(dates.min()),
        "last_as_of": _day(dates.max()),
        "judged_by": task.judged_by,
        "cohorts": len(np.unique(task.cohorts)),
        "students": len(np.unique(task.lesson.students)),
        "rows": len(task.y),
        "positives": int(task.y.sum()),
        "held_out_from": _first_date(task, held_out),
        "held_out_rows": int(task.inside(held_out).sum()),
        "trained_before_rows": int(task.earlier(min(held_out)).sum()),
    }


def _is_lately(task: _Task) -> Mask:
    """The rows of the last year learnt from, all terms of it; without time, all rows.

    Years ago the records had just begun, so that changes and averages to date were other ones.
    """
    dates = task.rows[AS_OF]
    if dates.isna().all():
        return np.ones(len(dates), dtype=bool)
    lately: Mask = (dates > dates.max() - pd.DateOffset(years=1)).to_numpy()
    return lately


def _first_date(task: _Task, cohorts: Sequence[int]) -> str | None:
    return _day(task.rows[AS_OF][task.inside(cohorts)].min())


def _day(date: Any) -> str | None:
    return None if pd.isna(date) else str(date.date())


def _log_loss(y: Ints, probability: Floats) -> Floats:
    sure = np.clip(probability, 1e-6, 1 - 1e-6)
    losses: Floats = -np.where(y == 1, np.log(sure), np.log(1 - sure))
    return losses
