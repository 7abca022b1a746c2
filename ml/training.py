"""Trains a target's model when there is something new to learn, asks the gate and records the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from elt.log import get_logger
from elt.runs import RISK_MART, note_changed_marts
from elt.settings import Settings
from elt.store.base import Store, open_store
from elt.warehouse import Connection, connect
from ml import registry
from ml.errors import NotEnoughHistory
from ml.features import History, check_mart, measure_history, read_labelled, read_thresholds
from ml.registry import RegisteredModel
from ml.target import Target, load_target

log = get_logger(__name__)

# Retrain when the labelled rows grew or shrank by this share, even if no later term is known: another school
# handed in its history, or an upload was withdrawn.
_WORTH_RETRAINING = 0.1


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What came of one training. `reasons` says why a model was refused; empty where it was published."""

    target: str
    version: int
    algorithm: str
    published: bool
    reasons: list[str]
    gate: dict[str, Any]
    metrics: dict[str, Any]
    data_window: dict[str, Any]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)


def train(settings: Settings, target: str = "at_risk") -> TrainReport:
    """Train now, whether or not there is anything new.

    Raises:
        NotFound: no such target.
        NotEnoughHistory: too few past terms; recorded as a refused attempt where the mart exists.
        FeatureMismatch: mart and target name different columns; nothing is recorded.
    """
    declared = load_target(target)
    store = open_store(settings.resolved_store_url)
    with connect(settings.database_url.get_secret_value(), application_name="laurel-train") as connection:
        check_mart(connection, declared)
        with _training_lock(connection, declared):
            return _train(connection, store, declared)


def retrain(settings: Settings, target: str) -> TrainReport | None:
    """Train if anything at all is new since the latest attempt, the code included; the marts are then due.

    Too little history is an answer here, not an error: null, as where nothing is new.

    Raises:
        NotFound: no such target.
        FeatureMismatch: mart and target name different columns; nothing is recorded.
    """
    declared = load_target(target)
    store = open_store(settings.resolved_store_url)
    with connect(settings.database_url.get_secret_value(), application_name="laurel-train") as connection:
        try:
            check_mart(connection, declared)
            with _training_lock(connection, declared):
                latest = registry.find_latest(connection, target)
                is_old = latest is not None and latest.code_version != registry.code_version()
                if not is_old and not _is_due(connection, declared, 0):
                    return None
                report = _train(connection, store, declared)
        except NotEnoughHistory:
            return None
        if report.published:
            note_changed_marts(connection, [RISK_MART])
        return report


def train_if_due(connection: Connection, store: Store, target: Target) -> TrainReport | None:
    """Train where no attempt has seen what is known now. The check itself takes milliseconds.

    The mart has been checked by the caller. Too little history is an answer here, not an error.
    """
    if not _is_due(connection, target, _WORTH_RETRAINING):
        return None
    with _training_lock(connection, target):
        # Another process may have trained while this one waited for the lock.
        if not _is_due(connection, target, _WORTH_RETRAINING):
            return None
        try:
            return _train(connection, store, target)
        except NotEnoughHistory:
            return None


def _train(connection: Connection, store: Store, target: Target) -> TrainReport:
    from ml.gate import refuse
    from ml.learning import Learnt, learn

    started = time.perf_counter()
    thresholds = read_thresholds(connection, target)
    history = measure_history(connection, target, thresholds)
    too_little: NotEnoughHistory | None = None
    try:
        rows = read_labelled(connection, target, thresholds, history.until)
        learnt = learn(rows, target, thresholds)
    except NotEnoughHistory as error:
        too_little = error
        learnt = Learnt(refuse("history", f"Too little history: {error.detail}"), "none", None, {}, {})
    learnt.window.update(_fingerprint(history, target, thresholds))
    model = registry.register(connection, store, target, learnt)
    report = _report(model, learnt.verdict.refusals, time.perf_counter() - started)
    log.info(
        "model_trained",
        model=target.name,
        version=model.version,
        algorithm=model.algorithm,
        published=model.is_published,
        refused_for=[c.name for c in learnt.verdict.conditions if not c.passed],
        seconds=round(report.seconds, 2),
    )
    if too_little:
        raise too_little
    return report


def _is_due(connection: Connection, target: Target, worth: float) -> bool:
    """Whether what is known differs from what the latest attempt saw; rows by the share `worth`."""
    latest = registry.find_latest(connection, target.name)
    thresholds = read_thresholds(connection, target)
    history = measure_history(connection, target, thresholds)
    if latest is None:
        return True
    now, seen = _fingerprint(history, target, thresholds), latest.data_window
    if any(seen.get(name) != now[name] for name in ("labelled_until", "digest", "thresholds")):
        return True
    judged = {school["school_id"] for school in latest.gate.get("schools", [])}
    if judged and not history.schools <= judged:
        return True  # a school joined, or caught up: no model was checked on it
    # Of corrected results the rows stay as many; but not those to whom the risk came.
    return any(
        abs(now[count] - seen.get(count, 0)) > worth * seen.get(count, 0)
        for count in ("labelled_rows", "labelled_positives")
    )


def _fingerprint(history: History, target: Target, thresholds: dict[str, float]) -> dict[str, Any]:
    """What a training has seen, as far as the check for a new one compares it."""
    return {
        "labelled_until": history.until.isoformat() if history.until else None,
        "labelled_rows": history.labelled_rows,
        "labelled_positives": history.positives,
        "question": target.question_digest(thresholds),
        "thresholds": thresholds,
        "digest": target.learning_digest,
    }


def _report(model: RegisteredModel, reasons: list[str], seconds: float) -> TrainReport:
    return TrainReport(
        model.target,
        model.version,
        model.algorithm,
        model.is_published,
        reasons,
        model.gate,
        model.metrics,
        model.data_window,
        round(seconds, 3),
    )


@contextmanager
def _training_lock(connection: Connection, target: Target) -> Iterator[None]:
    """One training per target at a time, on the whole platform; a lost session frees the lock."""
    name = f"laurel:train:{target.name}"
    connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (name,))
    try:
        yield
    finally:
        connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (name,))
