"""One run of the whole way: discover → load → transform → score → publish.

`laurel run` calls `run` in one process; the Airflow DAG `uploads` calls the same stages one by one. Ids
travel between the stages, never tables. Each stage may be killed at any point and called again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import psycopg

from elt import runs
from elt.audit.anchors import write_hourly_anchor
from elt.errors import DatabaseUnavailable, public_text
from elt.loading.failures import describe
from elt.loading.loader import load_version
from elt.loading.parts import discard_outdated, load_part, split_version
from elt.log import get_logger
from elt.mail import can_mail
from elt.notify import alert, announce_upload
from elt.outbox import send_due
from elt.schema_version import require_head
from elt.serving.publish import publish as publish_marts
from elt.serving.report_mail import write_report
from elt.settings import Settings
from elt.store.base import Store, open_store
from elt.transforming.transform import TransformResult, must_build_anew
from elt.transforming.transform import transform as build_marts
from elt.uploads import ledger
from elt.uploads.discover import PendingLoad, discover
from elt.uploads.telling import queue_outcomes, write_outcome
from elt.warehouse import Connection, connect

log = get_logger(__name__)

# More mapped tasks than this cost more in task start-up than they gain in parallel loading.
MAX_LOAD_GROUPS = 4

# Airflow maps no more than 1024 tasks. The file that reaches this brings at most its own parts beyond it.
MAX_PARTS = 512

# A view over the predictions, so dbt cannot tell when its content changes.
# A view over the ledger, which also changes when a file is only refused.
_LEDGER_MARTS = ("mart_freshness",)

Progress = Callable[[str], None]
Score = Callable[[Settings, UUID], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has to do. `groups` holds references, one list per load task: `upload_id:version`, and
    `upload_id:version:part` for one part of a large file.

    Idle: nothing arrived, the marts show all that is loaded and are of this code, and what changed in them is
    published.
    """

    run_id: UUID
    groups: list[list[str]]
    is_idle: bool


@dataclass(slots=True)
class RunReport:
    """What a run did. `loads` counts versions by the status they ended in; times are in seconds."""

    run_id: UUID
    idle: bool
    loads: dict[str, int] = field(default_factory=dict)
    models_built: int = 0
    scored: dict[str, Any] = field(default_factory=dict)
    published: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {**asdict(self), "run_id": str(self.run_id)}


def begin(
    settings: Settings,
    *,
    trigger: str,
    airflow_run: str | None = None,
    full: bool = False,
    in_parts: bool = False,
) -> Plan:
    """Find what is waiting and open a line in `ops.runs`. A `full` run is never idle.

    Args:
        in_parts: cut large files, for groups that are loaded at the same time by several processes.

    Raises:
        SchemaMismatch: the database's tables are of another version than the code.
        TransientError: database or store is away.
    """
    with connect(settings.database_url.get_secret_value()) as connection:
        require_head(connection)
    store = open_store(settings.resolved_store_url)
    store.sweep()
    pending = discover(settings, store)
    references, parts = _refer(settings, store, pending, in_parts=in_parts)
    with connect(settings.database_url.get_secret_value()) as connection:
        write_hourly_anchor(connection, store)
        discard_outdated(connection)
        unbuilt = ledger.count_unbuilt_loads(connection)
        is_idle = not (
            pending or unbuilt or full or runs.unpublished_marts(connection) or must_build_anew(connection)
        )
        # Last of all that may fail: whoever calls has no id of a run to close.
        run_id = runs.start_run(connection, trigger=trigger, airflow_run=airflow_run, idle=is_idle)
    log.info("run_started", run_id=str(run_id), trigger=trigger, waiting=len(pending), unbuilt=unbuilt)
    _tell_senders(settings)
    return Plan(run_id, [*_share_out(references), *([part] for part in parts)], is_idle)


def load(settings: Settings, run_id: UUID, references: Sequence[str]) -> dict[str, int]:
    """Load the given versions one after the other; one bad file never stops the next.

    Of a version that is loaded in parts, whoever loads the last part ends its load.

    Returns:
        How many versions ended in each status.

    Raises:
        TransientError: database or store went away; what is loaded stays loaded.
    """
    store = open_store(settings.resolved_store_url)
    started = time.perf_counter()
    outcomes: dict[str, int] = {}
    for reference in references:
        upload_id, version, *part = reference.split(":")
        if part and not load_part(settings, store, UUID(upload_id), int(version), int(part[0])):
            continue
        outcome = load_version(settings, store, UUID(upload_id), int(version), run_id=run_id)
        if part and outcome.status == "loading":
            continue  # whoever loaded another last part at the same moment is at it
        outcomes[outcome.status] = outcomes.get(outcome.status, 0) + 1
    _record(settings, run_id, "load", {**outcomes, "seconds": time.perf_counter() - started})
    return outcomes


def transform(settings: Settings, run_id: UUID, *, full: bool = False) -> TransformResult:
    """Build what the loads changed; everything from scratch, with every test, where `full` asks for it.

    Raises:
        TransformError: a model or test failed; the loads stay on the list for the next run.
        BuildInterrupted: dbt was ended from outside; likewise.
    """
    result = build_marts(settings, run_id, full=full)
    _record(settings, run_id, "transform", asdict(result))
    return result


def record_score(settings: Settings, run_id: UUID, scored: dict[str, Any]) -> dict[str, Any]:
    """Keep what the model's stage answered with the run; returns it."""
    _record(settings, run_id, "score", scored)
    return scored


def publish(settings: Settings, run_id: UUID, scored: Mapping[str, Any]) -> list[str]:
    """Write what changed in the marts to the store, close the run, and call again if more has arrived.

    Args:
        scored: what the score stage answered; `written` counts new predictions.

    Returns:
        The keys of the files written.
    """
    started = time.perf_counter()
    with connect(settings.database_url.get_secret_value()) as connection:
        changed = runs.unpublished_marts(connection)
        names = {*changed, *_LEDGER_MARTS, *([runs.RISK_MART] if scored.get("written") else [])}
        store = open_store(settings.resolved_store_url)
        published = publish_marts(settings, store, changed_marts=names, run_id=run_id)
        runs.forget_published(connection, changed)
        facts = {"files": list(published), "seconds": time.perf_counter() - started}
        runs.record_stage(connection, run_id, "publish", facts)
        runs.finish_run(connection, run_id, status="succeeded")
        waiting = ledger.next_waiting_upload(connection)
    if waiting is not None:
        # Arrived after discover had looked: an event is a hint that may have been spent on this very run.
        announce_upload(settings, waiting, wait=True)
    _tell_senders(settings)
    return list(published)


def fail(settings: Settings, run_id: UUID, stage: str, error: str) -> None:
    """Close the run as failed and tell a person, who is told also while the database is away."""
    _fail(settings, lambda _connection: run_id, stage, error)


def fail_airflow_run(settings: Settings, airflow_run: str, stage: str, error: str) -> None:
    """As `fail`, for the run that Airflow calls so; one that failed early has no line to close."""
    _fail(settings, lambda connection: runs.find_airflow_run(connection, airflow_run), stage, error)


def _fail(settings: Settings, find_run: Callable[[Connection], UUID | None], stage: str, error: str) -> None:
    run_id = None
    try:
        with connect(settings.database_url.get_secret_value()) as connection:
            run_id = find_run(connection)
            if run_id is not None:
                runs.finish_run(connection, run_id, status="failed", error=f"{stage}: {error}")
    except (DatabaseUnavailable, psycopg.Error) as away:
        # That is often why the run failed; `start_run` closes the line some hours later.
        log.warning("run_not_closed", stage=stage, reason=type(away).__name__)
    log.error("run_failed", run_id=str(run_id) if run_id else None, stage=stage, error=error)
    alert(settings, "run_failed", f"{stage}: {error}")
    _tell_senders(settings)


def run(
    settings: Settings,
    *,
    trigger: str,
    score: Score,
    progress: Progress | None = None,
    full: bool = False,
) -> RunReport:
    """Do in one process what the DAG does. `score` is handed in, because elt does not know the model.

    Raises:
        LaurelError: the stage that failed has been recorded and alerted.
    """
    say = progress or (lambda _text: None)
    clock = time.perf_counter
    started = clock()
    say("looking for what is waiting")
    plan = begin(settings, trigger=trigger, full=full)
    report = RunReport(plan.run_id, plan.is_idle, seconds={"discover": clock() - started})
    if plan.is_idle:
        return report

    def timed(stage: str, action: Callable[[], Any]) -> Any:
        began = clock()
        try:
            return action()
        except (Exception, KeyboardInterrupt) as error:
            fail(settings, plan.run_id, stage, public_text(error).strip().splitlines()[0])
            raise
        finally:
            report.seconds[stage] = report.seconds.get(stage, 0) + clock() - began

    for number, group in enumerate(plan.groups, start=1):
        say(f"loading group {number} of {len(plan.groups)} ({len(group)} files)")
        for status, count in timed("load", partial(load, settings, plan.run_id, group)).items():
            report.loads[status] = report.loads.get(status, 0) + count
    say("building the marts")
    result = timed("transform", lambda: transform(settings, plan.run_id, full=full))
    report.models_built = result.models
    say("scoring students")
    report.scored = timed("score", lambda: record_score(settings, plan.run_id, score(settings, plan.run_id)))
    say("publishing")
    report.published = timed("publish", lambda: publish(settings, plan.run_id, report.scored))
    return report


def _tell_senders(settings: Settings) -> None:
    """Tell by e-mail what became of files, now or what an earlier run has left; never raises."""
    if not can_mail(settings):
        return
    try:
        with connect(settings.database_url.get_secret_value(), application_name="laurel-mail") as connection:
            queue_outcomes(connection)
        send_due(settings, {"upload": write_outcome, "report": write_report})
    except Exception as error:  # no mail is worth a run
        log.warning("senders_not_told", reason=type(error).__name__)


def _refer(
    settings: Settings, store: Store, pending: Sequence[PendingLoad], *, in_parts: bool
) -> tuple[list[str], list[str]]:
    """References to what is loaded as a whole, and to parts."""
    whole: list[str] = []
    parts: list[str] = []
    for item in pending:
        may_cut = in_parts and len(parts) < MAX_PARTS
        found = _split(settings, store, item) if may_cut else []
        reference = f"{item.upload_id}:{item.version}"
        parts += [f"{reference}:{part}" for part in found]
        if not found:
            whole.append(reference)
    return whole, parts


def _split(settings: Settings, store: Store, item: PendingLoad) -> list[int]:
    try:
        return split_version(settings, store, item.upload_id, item.version)
    except Exception as error:
        # Parts only save time, and no file may keep others waiting. What is wrong, its load says.
        log.warning(
            "split_failed", upload_id=str(item.upload_id), version=item.version, reason=describe(error)
        )
        return []


def _share_out(references: list[str]) -> list[list[str]]:
    """Deal the references to at most MAX_LOAD_GROUPS lists, oldest first in each."""
    count = min(MAX_LOAD_GROUPS, len(references))
    return [references[start::count] for start in range(count)]


def _record(settings: Settings, run_id: UUID, stage: str, facts: dict[str, Any]) -> None:
    with connect(settings.database_url.get_secret_value()) as connection:
        runs.record_stage(connection, run_id, stage, facts)
