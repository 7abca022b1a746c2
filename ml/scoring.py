"""Says for every current student how urgent a look is: by the published model, else by the plain rule.

Called at the end of every run. Where no student's data, model or rule changed since the last prediction,
nothing is read but that, and nothing is written.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from elt.log import get_logger
from elt.settings import Settings
from elt.store.base import Store, open_store
from elt.warehouse import Connection, connect
from ml import registry
from ml.errors import ModelRefused, NotEnoughHistory
from ml.features import check_mart, current_rows, read_current, read_thresholds
from ml.registry import RegisteredModel
from ml.target import Target, load_target
from ml.training import train_if_due

if TYPE_CHECKING:
    from ml.predicting import Prediction

log = get_logger(__name__)

_LATEST = sql.SQL(
    "select model_id, as_of_date, score, is_at_risk, data_version from ml.predictions"
    " where target = {target} and school_id = f.school_id and student_id = f.student_id"
    " order by prediction_id desc limit 1"
)


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """What a scoring did. `written` counts new lines in the ledger; `reasons` says why the rule spoke."""

    target: str
    students: int = 0
    by_model: int = 0
    by_rule: int = 0
    written: int = 0
    at_risk: int = 0
    model_version: int | None = None
    trained: bool = False
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)


def score(settings: Settings, run_id: UUID | None = None, target: str = "at_risk") -> ScoreReport:
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
        facts = _bring_up_to_date(connection, store, declared, run_id)
    report = ScoreReport(
        target, trained=trained is not None, seconds=round(time.perf_counter() - started, 3), **facts
    )
    # Not under the name `target`: Airflow's task supervisor fails on a log line with that key.
    known = {name: value for name, value in report.to_dict().items() if name != "target"}
    log.info("students_scored", run_id=str(run_id) if run_id else None, model=report.target, **known)
    return report


def _bring_up_to_date(
    connection: Connection, store: Store, target: Target, run_id: UUID | None
) -> dict[str, Any]:
    thresholds = read_thresholds(connection, target)
    prefix = _version_prefix(target, thresholds)
    model = registry.find_published(connection, target)
    # One scorer at a time, and all of its lines or none: two would both see the same stale student.
    with connection.transaction():
        connection.execute(
            "select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"laurel:score:{target.name}",)
        )
        written = 0
        reasons = _why_rule(connection, target, model)
        if _count_stale(connection, target, model, prefix):
            predictions, refusal = _predict(connection, store, target, thresholds, model, prefix)
            reasons = [refusal] if refusal else reasons
            written = _write(connection, target, _changed(connection, target, predictions), run_id)
        facts = _count_current(connection, target)
    version = model.version if model and facts["by_model"] else None
    return {**facts, "written": written, "model_version": version, "reasons": reasons}


def _predict(
    connection: Connection,
    store: Store,
    target: Target,
    thresholds: dict[str, float],
    model: RegisteredModel | None,
    prefix: str,
) -> tuple[list[Prediction], str | None]:
    """Predictions for all current students, and why a published model could not be used, if so."""
    from threadpoolctl import threadpool_limits

    from ml.predicting import predict_by_model, predict_by_rule

    rows = read_current(connection, target)
    refusal = None
    covered = rows["school_id"].isin(model.covered_schools if model else [])
    predictions: list[Prediction] = []
    if model and covered.any():
        try:
            pipeline = registry.load_pipeline(store, model)
            chosen = rows[covered].reset_index(drop=True)
            with threadpool_limits(limits=1):  # as in training
                predictions += predict_by_model(chosen, target, thresholds, pipeline, model.model_id, prefix)
        except ModelRefused as error:
            log.error("model_refused", model=target.name, version=model.version, reason=error.detail)
            refusal, covered = error.detail, covered & False
    rest = rows[~covered].reset_index(drop=True)
    return predictions + predict_by_rule(rest, target, thresholds, prefix), refusal


def _version_prefix(target: Target, thresholds: dict[str, float]) -> str:
    """Changes with whatever but the student's own data enters a prediction, its words included."""
    facts = json.dumps([target.digest, target.learning_digest, thresholds], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _count_stale(connection: Connection, target: Target, model: RegisteredModel | None, prefix: str) -> int:
    """How many current students' latest prediction rests on other data, another model or other rules."""
    query = sql.SQL(
        "select count(*) as students from ({current}) f left join lateral ({latest}) latest on true"
        " where latest.data_version is distinct from {prefix} || f.row_version or latest.model_id is distinct"
        " from case when f.school_id = any({covered}) then {model}::uuid end"
    ).format(
        current=current_rows(target),
        latest=_LATEST.format(target=target.name),
        prefix=f"{prefix}:",
        covered=model.covered_schools if model else [],
        model=model.model_id if model else None,
    )
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers with one row
    return int(row["students"])


def _changed(connection: Connection, target: Target, predictions: Iterable[Prediction]) -> list[Prediction]:
    """The predictions that differ from the student's latest line, or have none."""
    query = sql.SQL(
        "select f.school_id, f.student_id, latest.* from ({current}) f join lateral ({latest}) latest on true"
    ).format(current=current_rows(target), latest=_LATEST.format(target=target.name))
    latest = {
        (row["school_id"], row["student_id"]): (
            row["model_id"], row["as_of_date"], row["score"], row["is_at_risk"], row["data_version"],
        )
        for row in connection.execute(query)
    }  # fmt: skip
    return [new for new in predictions if latest.get((new.school_id, new.student_id)) != new.comparable]


def _write(
    connection: Connection, target: Target, predictions: Iterable[Prediction], run_id: UUID | None
) -> int:
    """Append; returns how many lines. Nobody may change or remove a line afterwards."""
    statement = (
        "copy ml.predictions (target, model_id, method, school_id, student_id, as_of_date, probability,"
        " score, is_at_risk, reasons, recommendations, data_version, run_id) from stdin"
    )
    written = 0
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for new in predictions:
            copy.write_row(
                (
                    target.name, new.model_id, new.method, new.school_id, new.student_id, new.as_of_date,
                    new.probability, new.score, new.is_at_risk, Jsonb(new.reasons),
                    Jsonb(new.recommendations), new.data_version, run_id,
                )
            )  # fmt: skip
            written += 1
    return written


def _count_current(connection: Connection, target: Target) -> dict[str, Any]:
    query = sql.SQL(
        "select count(*) as students, count(*) filter (where latest.model_id is not null) as by_model,"
        " count(*) filter (where latest.model_id is null) as by_rule,"
        " count(*) filter (where latest.is_at_risk) as at_risk"
        " from ({current}) f join lateral ({latest}) latest on true"
    ).format(current=current_rows(target), latest=_LATEST.format(target=target.name))
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers with one row
    return dict(row)


def _why_rule(connection: Connection, target: Target, model: RegisteredModel | None) -> list[str]:
    """Why the rule speaks, for all students or for those of some schools."""
    if model is None:
        latest = registry.find_latest(connection, target.name)
        return list(latest.gate.get("reasons", [])) if latest else []
    schools = model.gate.get("schools", [])
    return [f"{s['school_id']}: {s['reason']}" for s in schools if not s["covered"]]
