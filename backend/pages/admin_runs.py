"""What the pipeline did: runs with their stages and loads, how fresh datasets are, and what sources say."""

from __future__ import annotations

import re
from urllib.parse import quote
from uuid import UUID

from flask import Blueprint, Response, redirect, render_template, url_for
from flask_babel import ngettext

from backend.access import allow, may, principal, scope
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.routes import runs as api
from backend.routes.sources import visible_sources
from backend.schemas.admin_pages import RunsAddress
from backend.schemas.runs import Run, RunListQuery
from backend.services import services
from elt.runs import RunLoad, list_loads_of_run
from elt.serving.freshness import read_dataset_freshness

run_pages = Blueprint("run_pages", __name__)

_STAGES = ("load", "transform", "score", "publish")
_UNKNOWN_KEY = re.compile(
    r"test known_in_(?P<table>\w+?)_school_id__(?P<key>\w+?)__ref_(?P<other>\w+?)_: "
    r"Got (?P<count>\d+) results?\b.*"
)
"""What dbt says of its test `known_in` (dbt/macros/tests.sql)."""


@run_pages.get("/admin/runs")
@allow("runs:read")
def show_runs() -> str:
    """Newest first; beside them how fresh each dataset is, and for administrators the sources."""
    query = parse_query(RunsAddress, is_form=True)
    page = api.show_runs_for(RunListQuery(limit=25, status=query.status, after=query.after))
    with services().reader(principal()) as session:
        datasets = read_dataset_freshness(session)
    return render_template(
        "runs.html",
        page=page,
        query=query,
        datasets=[each for each in datasets if each.last_upload_at],
        never=[each.dataset for each in datasets if not each.last_upload_at],
        sources=visible_sources() if may("sources:read") else [],
        following=page.next and this_view(after=page.next),
        may_start=may("runs:start"),
        can_start=may("runs:start") and services().settings.airflow_password is not None,
        is_asked=bool(query.asked),
    )


@run_pages.get("/admin/runs/<uuid:run_id>")
@allow("runs:read")
def show_run(run_id: UUID) -> str:
    """Each stage with what it reported, what failed, and which files were loaded."""
    run = api.describe_run(run_id)
    others = [name for name in run.stages if name not in _STAGES]
    return render_template(
        "run.html",
        run=run,
        stages=[(name, run.stages[name]) for name in (*_STAGES, *others) if name in run.stages],
        loads=_loads(run_id),
        in_words=_warning_in_words,
        airflow=_airflow_address(run),
    )


@run_pages.post("/admin/runs")
@allow("runs:start")
def start_run() -> Response:
    """Ask for a run, and go back to the list, in which it will appear."""
    api.ask_for_run()
    return redirect(url_for("run_pages.show_runs", asked="yes"), code=303)  # type: ignore[return-value]


def _warning_in_words(warning: str) -> str:
    """Which rows a warning is about; one of another kind as it is."""
    found = _UNKNOWN_KEY.fullmatch(warning)
    if found is None:
        return warning
    text = ngettext(
        "%(num)d row of %(table)s has a %(key)s that %(other)s does not know.",
        "%(num)d rows of %(table)s have a %(key)s that %(other)s does not know.",
        int(found["count"]), table=found["table"], key=found["key"], other=found["other"],
    )  # fmt: skip
    return str(text)


def _loads(run_id: UUID) -> list[RunLoad] | None:
    """What the caller may know of the files; None: nothing."""
    if not may("uploads:read"):
        return None
    school_id = None if scope() == "own" else principal().school_id
    with services().connection() as connection:
        return list_loads_of_run(connection, run_id, uploader=api.own_uploader(), school_id=school_id)


def _airflow_address(run: Run) -> str | None:
    """Where Airflow shows the run, for who may start one; None: it was no run of Airflow's."""
    if run.airflow_run is None or not may("runs:start") or services().settings.airflow_password is None:
        return None
    airflow = services().settings.resolved_airflow_public_url
    return f"{airflow}/dags/uploads/runs/{quote(run.airflow_run, safe='')}"
