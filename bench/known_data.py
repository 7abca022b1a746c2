"""The method on data sets whose results others have published: UCI's student performance and OULAD.

UCI: 20 runs of 10-fold cross-validation with random folds, predictions pooled per run, means over the runs;
published are the best of Cortez and Silva, 2008. One setting serves all six cells.
OULAD: one row per enrolment at a day, only facts dated up to it, without who had unregistered by then; learnt
from 2013B and 2013J and judged by 2014B, in the way of `laurel backtest`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import KFold

from ml.columns import settings
from ml.features import LABEL, LABEL_VALUE, shape_features
from ml.learning import learn
from ml.metrics import Floats, auc, precision_at
from ml.pipeline import build_pipeline
from ml.table import Prepared, Question, prepare
from ml.target import Candidate

_HIDDEN = {"A": [], "B": ["G2"], "C": ["G1", "G2"]}
_PUBLISHED_ACCURACY = {
    ("mat", "A"): 91.9, ("mat", "B"): 83.8, ("mat", "C"): 70.6,
    ("por", "A"): 93.0, ("por", "B"): 90.1, ("por", "C"): 85.0,
}  # fmt: skip
_PUBLISHED_RMSE = {
    ("mat", "A"): 1.75, ("mat", "B"): 2.46, ("mat", "C"): 3.90,
    ("por", "A"): 1.32, ("por", "B"): 1.78, ("por", "C"): 2.67,
}  # fmt: skip
_ACCURACY_SLACK = 0.5
_CLASSES, _SCORES = "boosting_shallow", "forest_score"

# Day → AUC and precision at 10 % that are to be exceeded; those of the rule are what was published for it.
_LISTED = {28: (0.729, 0.87), 56: (0.789, 0.93), 84: (0.824, 0.97)}
_LISTED_RULE = {28: (0.673, 0.84), 56: (0.733, 0.91), 84: (0.801, 0.96)}
_JUDGED_BY = "2014B"
_CAPACITY = 0.1


def measure_uci(folder: Path, *, runs: int, score_runs: int) -> Iterator[dict[str, Any]]:
    """Accuracy and RMSE of each cell beside what was published."""
    for (subject, cell), published in _PUBLISHED_ACCURACY.items():
        table = pd.read_csv(folder / f"student-{subject}.csv", sep=";", dtype=str)
        prepared = prepare(table, Question("G3", ["<10"], drop=_HIDDEN[cell]))
        y, value = prepared.rows[LABEL].to_numpy(), prepared.rows[LABEL_VALUE].to_numpy(dtype=float)
        right, off = [], []
        for seed in range(runs):
            claimed = _cross_validate(prepared, _candidate("candidates", _CLASSES), y, seed)
            right.append(100 * float(np.mean((claimed > 0) == (y == 1))))
        for seed in range(score_runs):
            foretold = _cross_validate(prepared, _candidate("score_candidates", _SCORES), value, seed)
            off.append(float(np.sqrt(np.mean((foretold - value) ** 2))))
        best = _PUBLISHED_RMSE[subject, cell]
        yield {
            "subject": subject, "inputs": cell,
            "accuracy": round(float(np.mean(right)), 2), "published_accuracy": published,
            "accuracy_reached": bool(np.mean(right) >= published - _ACCURACY_SLACK),
            "rmse": round(float(np.mean(off)), 3), "published_rmse": best,
            "rmse_reached": bool(np.mean(off) <= best),
        }  # fmt: skip


def measure_oulad(folder: Path) -> Iterator[dict[str, Any]]:
    """AUC and precision at 10 % of each day, beside those listed and two readings of the plain rule."""
    for day, (listed_auc, listed_top) in _LISTED.items():
        rows = read_oulad(folder, day)
        texts = (
            rows.astype(object)
            .where(rows.notna(), None)
            .map(lambda cell: cell if cell is None else str(cell))
        )
        prepared = prepare(
            texts,
            Question(
                "final_result", ["Fail", "Withdrawn"], time="code_presentation", entity="id_student",
                capacity=_CAPACITY,
            ),
        )  # fmt: skip
        learnt = learn(prepared.rows, prepared.target, prepared.thresholds)
        held_out = learnt.metrics["held_out"]
        judged = rows[rows["code_presentation"] == _JUDGED_BY]
        y = judged["final_result"].isin(["Fail", "Withdrawn"]).to_numpy(dtype=np.int64)
        order = (1000 * judged["missed"] + 100 - judged["mean_score"].fillna(0)).to_numpy(dtype=float)
        reached, top = held_out["model"]["auc"], held_out["model"]["precision_at_k"]["expected"]
        rule_auc, rule_top = _LISTED_RULE[day]
        yield {
            "day": day, "rows": held_out["rows"], "algorithm": learnt.algorithm,
            "published": learnt.verdict.is_published,
            "auc": reached, "listed_auc": listed_auc, "listed_rule_auc": rule_auc,
            "precision_at_10": top, "listed_precision_at_10": listed_top,
            "listed_rule_precision_at_10": rule_top,
            "own_rule_auc": round(auc(y, order), 4),
            "own_rule_precision_at_10": round(precision_at(y, order, held_out["k"]).expected, 4),
            "calibration_error": held_out["calibration_error"],
            "reached": bool(reached > listed_auc and top > listed_top and top >= rule_top),
        }  # fmt: skip


def read_oulad(folder: Path, day: int) -> pd.DataFrame:
    """One row per enrolment that is there on `day`, with what was known of it then from its assessments."""
    course, key = ["code_module", "code_presentation"], ["code_module", "code_presentation", "id_student"]
    assessments, handed_in, students, registrations = (
        pd.read_csv(folder / f"{name}.csv", na_values=["?"])
        for name in ("assessments", "studentAssessment", "studentInfo", "studentRegistration")
    )
    rows = students.merge(registrations, on=key, how="left")
    rows = rows[~(rows.pop("date_unregistration") <= day)]
    due = assessments[(assessments["date"] <= day) & (assessments["assessment_type"] != "Exam")]
    known = handed_in[handed_in["date_submitted"] <= day].merge(assessments, on="id_assessment")
    known = known.assign(days_early=known["date"] - known["date_submitted"]).sort_values("date_submitted")
    wanted = rows[key].merge(due, on=course).merge(
        known[["id_assessment", "id_student", "date_submitted"]],
        on=["id_assessment", "id_student"], how="left",
    )  # fmt: skip
    wanted["missed"] = wanted["date_submitted"].isna()
    wanted["late"] = wanted["date_submitted"] > wanted["date"]
    wanted["missed_weight"] = wanted["missed"] * wanted["weight"]
    wanted = wanted.sort_values("date")
    by_due = wanted.groupby(key).agg(
        due=("missed", "size"), missed=("missed", "sum"), late=("late", "sum"),
        missed_weight=("missed_weight", "sum"), missed_last=("missed", "last"),
    )  # fmt: skip
    by_score = known.groupby(key).agg(
        handed_in=("score", "size"), mean_score=("score", "mean"), lowest_score=("score", "min"),
        first_score=("score", "first"), last_score=("score", "last"), banked=("is_banked", "sum"),
        days_early=("days_early", "mean"), last_days_early=("days_early", "last"),
        least_days_early=("days_early", "min"), last_day=("date_submitted", "max"),
    )  # fmt: skip
    rows = rows.merge(by_due, on=key, how="left").merge(by_score, on=key, how="left")
    counts = ["due", "missed", "late", "missed_weight", "handed_in"]
    rows[counts] = rows[counts].fillna(0).astype(float)
    rows["missed_share"] = rows["missed"] / rows["due"].where(rows["due"] > 0)
    rows["missed_last"] = rows["missed_last"].astype("float64")
    rows["trend"] = rows["last_score"] - rows.pop("first_score")
    rows["days_since"] = day - rows.pop("last_day")
    return rows.reset_index(drop=True)


def _cross_validate(prepared: Prepared, candidate: Candidate, wanted: Any, seed: int) -> Floats:
    """What models that never saw a row say of it: log-odds for classes, else the number."""
    rows, features = shape_features(prepared.rows, prepared.target.features), prepared.target.features
    answers = np.empty(len(rows))
    for train, test in KFold(10, shuffle=True, random_state=seed).split(rows):
        pipeline = build_pipeline(features, candidate, seed)
        prepare_rows, estimator = pipeline[:-1], clone(pipeline.named_steps["model"].estimator)
        estimator.fit(prepare_rows.fit_transform(rows.iloc[train]), wanted[train])
        unseen = prepare_rows.transform(rows.iloc[test])
        is_class = hasattr(estimator, "decision_function")
        answers[test] = estimator.decision_function(unseen) if is_class else estimator.predict(unseen)
    return answers


def _as_text(cell: Any) -> str | None:
    return None if cell is None else str(cell)


def _candidate(race: str, name: str) -> Candidate:
    """A candidate of `ml/table.yaml`."""
    return Candidate.model_validate(next(each for each in settings()[race] if each["name"] == name))
