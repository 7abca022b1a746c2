"""Runs of the pipeline."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from uuid import UUID

from flask import Blueprint

from backend.access import allow, principal, scope
from backend.operations import Answer, operation
from backend.schemas.runs import Run, RunListQuery, RunPage, RunRequested
from backend.services import services
from elt.errors import Conflict
from elt.notify import announce_upload
from elt.runs import RunRecord, get_run, list_runs

runs = Blueprint("runs", __name__)

_NOBODY = UUID(int=0)  # an announcement that is about no upload in particular
# How many people of all schools there are, and how many lines a test of the marts has found: of any size.
_OF_PEOPLE = {
    "score": {"students", "at_risk", "by_model", "by_rule", "written", "reasons"},
    "transform": {"warnings"},
}
_COUNTED = re.compile(r"\bGot \d+ results?")


@runs.get("/runs")
@allow("runs:read")
@operation("List runs", {200: Answer("A page, newest first.", RunPage)}, query=RunListQuery)
def show_runs(query: RunListQuery) -> RunPage:
    """What each did and how it ended; for researchers those that worked on their uploads."""
    return show_runs_for(query)


def show_runs_for(query: RunListQuery) -> RunPage:
    """A page of the runs that the caller may see."""
    with services().connection() as connection:
        found = list_runs(
            connection,
            uploader=own_uploader(),
            status=query.status,
            after=UUID(query.after) if query.after else None,
            limit=query.limit + 1,
        )
    page = found[: query.limit]
    following = str(page[-1].run_id) if len(found) > query.limit else None
    return RunPage(items=[_shown(record) for record in page], next=following)


@runs.get("/runs/<uuid:run_id>")
@allow("runs:read")
@operation("Show a run", {200: Answer("The run with what each stage reported.", Run)})
def show_run(run_id: UUID) -> Run:
    """One run."""
    return describe_run(run_id)


def describe_run(run_id: UUID) -> Run:
    """A run that the caller may see.

    Raises:
        NotFound: there is none, or it worked on nothing of the caller's.
    """
    with services().connection() as connection:
        return _shown(get_run(connection, run_id, uploader=own_uploader()))


@runs.post("/runs")
@allow("runs:start")
@operation(
    "Ask for a run",
    {202: Answer("Asked; it starts when the one that may be running has ended.", RunRequested)},
    description="Not needed after an upload: that starts a run by itself.",
    problems=(409,),
)
def request_run() -> tuple[RunRequested, int]:
    """Tell Airflow that there may be something to find."""
    return ask_for_run(), 202


def ask_for_run() -> RunRequested:
    """Tell Airflow that there may be something to find.

    Raises:
        Conflict: there is no Airflow.
    """
    if services().settings.airflow_password is None:
        raise Conflict(
            "No Airflow is configured here (LAUREL_AIRFLOW_PASSWORD). `laurel run` runs the pipeline."
        )
    with services().connection() as connection:
        row = connection.execute(
            "select count(*) as waiting from ops.upload_versions where status = 'stored'"
        ).fetchone()
    announce_upload(services().settings, _NOBODY)
    return RunRequested(waiting_uploads=row["waiting"] if row else 0)


def own_uploader() -> str | None:
    """Whose uploads a run must have worked on for the caller to see it; None: it need not."""
    return principal().id if scope() == "own" else None


def _shown(record: RunRecord) -> Run:
    """The run; without figures about people for all but those who may see everybody."""
    if principal().role != "admin" or principal().school_id is not None:
        stages = {
            stage: _without(facts, _OF_PEOPLE.get(stage, set())) for stage, facts in record.stages.items()
        }
        error = record.error and _COUNTED.sub("Got some results", record.error)
        record = replace(record, stages=stages, error=error)
    return Run.model_validate(record)


def _without(facts: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The facts but for those of these names, also in lists of facts (`others`: of the other targets)."""
    return {
        name: [_without(each, names) if isinstance(each, dict) else each for each in fact]
        if isinstance(fact, list)
        else fact
        for name, fact in facts.items()
        if name not in names
    }
