"""Says for every current student how urgent a look is: by the published model, else by the plain rule.

Called at the end of every run. Where no student's data, model or rule changed since the last prediction,
nothing is read but that, and nothing is written.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from elt.log import get_logger
from elt.notify import alert
from elt.settings import Settings
from elt.store.base import Store, open_store
from elt.warehouse import Connection, connect
from ml import ledger, registry
from ml.errors import ModelRefused, NotEnoughHistory
from ml.features import check_mart, read_current, read_thresholds
from ml.ledger import record_outcomes
from ml.registry import RegisteredModel
from ml.target import Target, list_targets, load_target
from ml.training import train_if_due

if TYPE_CHECKING:
    from ml.predicting import Scores

log = get_logger(__name__)

MAIN_TARGET = "at_risk"
"""The target whose predictions are the worklist."""

# Half of the students are enough to tell whether they are still those that the model learnt from.
_ENOUGH_FOR_DRIFT = 0.5


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """What a scoring did. `written` counts new lines in the ledger, `outcomes` results that came in.

    `reasons` says why the rule spoke.
    """

    target: str
    students: int = 0
    by_model: int = 0
    by_rule: int = 0
    written: int = 0
    outcomes: int = 0
    at_risk: int = 0
    model_version: int | None = None
    trained: bool = False
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)


def score_all(settings: Settings, run_id: UUID | None = None) -> dict[str, Any]:
    """Score every target; the stage of a run.

    Returns:
        The report on the students at risk, with those on the other targets under `others`; `written` counts
        the new lines of all.

    Raises:
        As `score`, which was then done for the targets before.
    """
    main = score(settings, run_id, MAIN_TARGET)
    others = [score(settings, run_id, target) for target in list_targets() if target != MAIN_TARGET]
    written = main.written + sum(other.written + other.outcomes for other in others) + main.outcomes
    return {**main.to_dict(), "written": written, "others": [other.to_dict() for other in others]}


def score(settings: Settings, run_id: UUID | None = None, target: str = MAIN_TARGET) -> ScoreReport:
    """Train if there is something new to learn, then bring the predictions up to date.

    Raises:
        NotFound: no such target.
        FeatureMismatch: mart and target name different columns; nothing was written.
        TransientError: database or store went away; nothing was written.
    """
    started = time.perf_counter()
    declared = load_target(target)
    with connect(settings.database_url.get_secret_value(), application_name="laurel-score") as connection:
        try:
            check_mart(connection, declared)
        except NotEnoughHistory as error:
            return ScoreReport(target, reasons=[error.detail])
        store = open_store(settings.resolved_store_url)
        trained = train_if_due(connection, store, declared)
        scoring = _Scoring(settings, connection, store, declared, run_id)
        facts = scoring.bring_up_to_date()
    report = ScoreReport(
        target, trained=trained is not None, seconds=round(time.perf_counter() - started, 3), **facts
    )
    # Not under the name `target`: Airflow's task supervisor fails on a log line with that key.
    known = {name: value for name, value in report.to_dict().items() if name != "target"}
    log.info("students_scored", run_id=str(run_id) if run_id else None, model=report.target, **known)
    return report


class _Scoring:
    """One bringing up to date of one target's predictions."""

    def __init__(
        self, settings: Settings, connection: Connection, store: Store, target: Target, run_id: UUID | None
    ) -> None:
        self._settings, self._connection, self._store = settings, connection, store
        self._target, self._run_id = target, run_id
        self._thresholds = read_thresholds(connection, target)
        self._model = registry.find_published(connection, target, self._thresholds)
        self._prefix = _version_prefix(target, self._thresholds)
        self._alerts: list[tuple[str, str]] = []

    def bring_up_to_date(self) -> dict[str, Any]:
        """Write what is new; returns the facts of the report."""
        # One scorer at a time, and all of its lines or none: two would both see the same stale student.
        with self._connection.transaction():
            self._connection.execute(
                "select pg_advisory_xact_lock(hashtextextended(%s, 0))",
                (f"laurel:score:{self._target.name}",),
            )
            ledger.take_current(self._connection, self._target)
            outcomes = record_outcomes(self._connection, self._target, self._thresholds)
            written = 0
            reasons = self._why_rule()
            if stale := ledger.find_stale_schools(self._connection, self._target, self._model, self._prefix):
                scored, refusal = self._score(stale)
                reasons = [refusal] if refusal else reasons
                written = sum(self._write(part) for part in scored)
            facts = ledger.count_current(self._connection, self._target)
        for event, text in self._alerts:
            alert(self._settings, event, text)
        version = self._model.version if self._model and facts["by_model"] else None
        return {
            **facts, "written": written, "outcomes": outcomes, "model_version": version, "reasons": reasons,
        }  # fmt: skip

    def _score(self, schools: list[str]) -> tuple[list[Scores], str | None]:
        """Scores of the current students of some schools, by the model where it may speak, else by the rule.

        With why a published model could not be used, if so.
        """
        from threadpoolctl import threadpool_limits

        from ml.predicting import score_by_model, score_by_rule

        rows = read_current(self._connection, self._target, schools)
        model, refusal = self._model, None
        covered = rows["school_id"].isin(model.covered_schools if model else [])
        scored: list[Scores] = []
        if model and covered.any():
            try:
                pipeline = registry.load_pipeline(self._store, model)
                chosen = rows[covered].reset_index(drop=True)
                with threadpool_limits(limits=1):  # as in training
                    scored.append(
                        score_by_model(chosen, self._target, pipeline, model.model_id, self._prefix)
                    )
                self._measure_drift(scored[0], model)
            except ModelRefused as error:
                log.error(
                    "model_refused", model=self._target.name, version=model.version, reason=error.detail
                )
                self._alerts.append((f"model_refused:{self._target.name}", error.detail))
                refusal, covered = error.detail, covered & False
        rest = rows[~covered].reset_index(drop=True)
        if len(rest):
            scored.append(score_by_rule(rest, self._target, self._thresholds, self._prefix))
        return scored, refusal

    def _write(self, scores: Scores) -> int:
        """Append a line for whoever's differs from the latest one; returns how many."""
        from threadpoolctl import threadpool_limits

        from ml.predicting import put_into_words

        latest = ledger.read_latest(self._connection, self._target)
        people, now = scores.identify(self._target.entity), scores.compare()
        changed = [n for n, (who, new) in enumerate(zip(people, now, strict=True)) if latest.get(who) != new]
        with threadpool_limits(limits=1):
            reference = self._model.metrics.get("reference") if self._model else None
            predictions = put_into_words(
                scores.part(np.array(changed, dtype=np.int64)), self._target, self._thresholds, reference
            )
        return ledger.append(self._connection, self._target, predictions, self._run_id)

    def _measure_drift(self, scores: Scores, model: RegisteredModel) -> None:
        """Compare the students of now with those learnt from, once per model and as-of date."""
        from ml.drift import measure_drift

        reference, latest = model.metrics.get("reference"), scores.rows["as_of_date"].max().date()
        rows = scores.rows[scores.rows["as_of_date"].dt.date == latest]
        current = ledger.count_current(self._connection, self._target)["students"]
        people = len(set(zip(rows["school_id"], rows["student_id"], strict=True)))
        enough = people >= _ENOUGH_FOR_DRIFT * current
        is_known = ledger.is_drift_known(self._connection, model.model_id, latest)
        if scores.probability is None or not reference or not enough or is_known:
            return
        found = measure_drift(reference, scores.features, scores.probability, self._target.drift.bound)
        ledger.write_drift(self._connection, model.model_id, latest, len(scores.rows), found)
        if over := [each.feature or "the scores" for each in found if each.is_over]:
            text = (
                f"{model.target} version {model.version}: the students of {latest} differ from those that "
                f"the model learnt from, in {', '.join(over)}. Look at `laurel models {model.target}` and "
                "train again."
            )
            self._alerts.append((f"model_drift:{model.target}", text))

    def _why_rule(self) -> list[str]:
        """Why the rule speaks, for all students or for those of some schools."""
        if self._model is None:
            latest = registry.find_latest(self._connection, self._target.name)
            return list(latest.gate.get("reasons", [])) if latest else []
        schools = self._model.gate.get("schools", [])
        return [f"{s['school_id']}: {s['reason']}" for s in schools if not s["covered"]]


def _version_prefix(target: Target, thresholds: dict[str, float]) -> str:
    """Changes with whatever but the student's own data enters a prediction, its words included."""
    facts = json.dumps([target.digest, target.learning_digest, thresholds], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:12]
