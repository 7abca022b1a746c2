"""Runs of the pipeline."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint

from backend.access import allow, principal, scope
from backend.operations import Answer, operation
from backend.schemas.runs import Run, RunListQuery, RunPage, RunRequested
from backend.services import services
from elt.errors import Conflict
from elt.notify import announce_upload
from elt.runs import get_run, list_runs

runs = Blueprint("runs", __name__)

_NOBODY = UUID(int=0)  # an announcement that is about no upload in particular


@runs.get("/runs")
@allow("runs:read")
@operation("List runs", {200: Answer("A page, newest first.", RunPage)}, query=RunListQuery)
def show_runs(query: RunListQuery) -> RunPage:
    """What each did and how it ended; for researchers those that worked on their uploads."""
    with services().connection() as connection:
        found = list_runs(
            connection,
            uploader=_uploader(),
            status=query.status,
            after=UUID(query.after) if query.after else None,
            limit=query.limit + 1,
        )
    page = found[: query.limit]
    following = str(page[-1].run_id) if len(found) > query.limit else None
    return RunPage(items=[Run.model_validate(record) for record in page], next=following)


@runs.get("/runs/<uuid:run_id>")
@allow("runs:read")
@operation("Show a run", {200: Answer("The run with what each stage reported.", Run)})
def show_run(run_id: UUID) -> Run:
    """One run."""
    with services().connection() as connection:
        return Run.model_validate(get_run(connection, run_id, uploader=_uploader()))


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
    if services().settings.airflow_password is None:
        raise Conflict(
            "No Airflow is configured here (LAUREL_AIRFLOW_PASSWORD). `laurel run` runs the pipeline."
        )
    with services().connection() as connection:
        row = connection.execute(
            "select count(*) as waiting from ops.upload_versions where status = 'stored'"
        ).fetchone()
    announce_upload(services().settings, _NOBODY)
    return RunRequested(waiting_uploads=row["waiting"] if row else 0), 202


def _uploader() -> str | None:
    return principal().id if scope() == "own" else None
