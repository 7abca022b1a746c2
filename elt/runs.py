"""Lines about pipeline runs in `ops.runs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb
from uuid6 import uuid7

from elt.errors import NotFound
from elt.warehouse import Connection

RISK_MART = "mart_student_risk"
"""The mart that changes with the predictions and not with the data."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of the pipeline. `stages` holds what each stage reported, by its name."""

    run_id: UUID
    trigger: str
    airflow_run: str | None
    status: str
    started_at: datetime
    finished_at: datetime | None
    stages: dict[str, Any]
    error: str | None


@dataclass(frozen=True, slots=True)
class RunLoad:
    """A version of an upload that a run has tried to load. Its counts are None until it has been read."""

    upload_id: UUID
    version: int
    dataset: str
    name: str
    status: str
    rows_loaded: int | None
    rows_rejected: int | None


def start_run(
    connection: Connection, *, trigger: str, airflow_run: str | None = None, idle: bool = False
) -> UUID:
    """Open a line for a run; an idle one has nothing to do and is done at once.

    Idle runs that follow each other share one line, from the first one's start to the last one's end.
    Runs that were killed cannot close their own line: any that is still open after six hours is closed here.
    """
    run_id = UUID(int=uuid7().int)
    with connection.transaction():
        if idle and (line := _extend_idle_line(connection)):
            return line
        connection.execute(
            """
            update ops.runs set status = 'failed', finished_at = now(), error = 'The run was cut off.'
            where status = 'running' and started_at < now() - interval '6 hours'
            """
        )
        connection.execute(
            """
            insert into ops.runs (run_id, trigger, airflow_run, status, finished_at)
            values (%(id)s, %(trigger)s, %(airflow_run)s, %(status)s, case when %(idle)s then now() end)
            """,
            {
                "id": run_id,
                "trigger": trigger,
                "airflow_run": airflow_run,
                "status": "succeeded" if idle else "running",
                "idle": idle,
            },
        )
    return run_id


def _extend_idle_line(connection: Connection) -> UUID | None:
    """The newest line, if it is that of an idle run; it now ends now."""
    row = connection.execute(
        """
        update ops.runs set finished_at = now()
        where run_id = (select run_id from ops.runs order by run_id desc limit 1)
          and status = 'succeeded' and stages = '{}' and error is null
        returning run_id
        """
    ).fetchone()
    return row["run_id"] if row else None


def find_airflow_run(connection: Connection, airflow_run: str) -> UUID | None:
    """The newest line of the run that Airflow calls so: a task that is tried again may have opened two."""
    row = connection.execute(
        "select run_id from ops.runs where airflow_run = %s order by run_id desc limit 1", (airflow_run,)
    ).fetchone()
    return row["run_id"] if row else None


def record_stage(connection: Connection, run_id: UUID, stage: str, facts: dict[str, Any]) -> None:
    """Keep what a stage reports. The load stage reports once per group of files: its counts add up."""
    with connection.transaction():
        row = connection.execute(
            "select stages -> %s as known from ops.runs where run_id = %s for update", (stage, run_id)
        ).fetchone()
        if row is not None and row["known"] and stage == "load":
            facts = {
                name: row["known"].get(name, 0) + facts.get(name, 0) for name in {**row["known"], **facts}
            }
        connection.execute(
            "update ops.runs set stages = stages || %s where run_id = %s", (Jsonb({stage: facts}), run_id)
        )


def finish_run(
    connection: Connection,
    run_id: UUID,
    *,
    status: Literal["succeeded", "failed"],
    error: str | None = None,
) -> None:
    """Close a run's line. A failed run stays failed."""
    connection.execute(
        """
        update ops.runs set status = %s, error = %s, finished_at = now()
        where run_id = %s and status <> 'failed'
        """,
        (status, error, run_id),
    )


def note_changed_marts(connection: Connection, marts: Iterable[str]) -> None:
    """Put marts on the list of those to be published."""
    connection.execute(
        """
        insert into ops.unpublished_marts (mart, changed_at)
        select mart, clock_timestamp() from unnest(%s::text[]) as mart
        on conflict (mart) do update set changed_at = excluded.changed_at
        """,
        (list(marts),),
    )


def unpublished_marts(connection: Connection) -> dict[str, datetime]:
    """The marts that changed since they were published, with the time of the last change."""
    rows = connection.execute("select mart, changed_at from ops.unpublished_marts").fetchall()
    return {row["mart"]: row["changed_at"] for row in rows}


def forget_published(connection: Connection, published: Mapping[str, datetime]) -> None:
    """Take marts off the list, except those that have changed again since the given times."""
    connection.execute(
        """
        delete from ops.unpublished_marts
        using unnest(%s::text[], %s::timestamptz[]) as done (mart, changed_at)
        where unpublished_marts.mart = done.mart and unpublished_marts.changed_at <= done.changed_at
        """,
        (list(published), list(published.values())),
    )


# `uploader` null: all runs; else those that loaded or built one of their uploads.
_OF_UPLOADER = """
(%(uploader)s::text is null
 or exists (select from ops.uploads u join ops.upload_versions v using (upload_id)
            where u.uploader = %(uploader)s and v.run_id = r.run_id)
 or exists (select from ops.uploads u join ops.loads l using (upload_id)
            where u.uploader = %(uploader)s and l.build_run_id = r.run_id))
"""


def get_run(connection: Connection, run_id: UUID, *, uploader: str | None = None) -> RunRecord:
    """One run; with `uploader`, only if it loaded or built an upload of theirs.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(
        f"select r.* from ops.runs r where run_id = %(run_id)s and {_OF_UPLOADER}",  # noqa: S608 - a constant
        {"run_id": run_id, "uploader": uploader},
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no run {run_id}.")
    return RunRecord(**row)


def list_runs(
    connection: Connection,
    *,
    uploader: str | None = None,
    status: str | None = None,
    after: UUID | None = None,
    limit: int = 50,
) -> list[RunRecord]:
    """A page of runs, newest first; `after` ends the page before; `uploader` as in `get_run`."""
    rows = connection.execute(
        f"""
        select r.* from ops.runs r
        where (%(status)s::text is null or status = %(status)s)
          and (%(after)s::uuid is null or run_id < %(after)s)
          and {_OF_UPLOADER}
        order by run_id desc limit %(limit)s
        """,  # noqa: S608 - a constant
        {"status": status, "after": after, "limit": limit, "uploader": uploader},
    )
    return [RunRecord(**row) for row in rows]


def list_loads_of_run(
    connection: Connection, run_id: UUID, *, uploader: str | None = None, school_id: str | None = None
) -> list[RunLoad]:
    """What a run has tried to load, by dataset; only of one uploader or one school if that is given."""
    rows = connection.execute(
        """
        select u.upload_id, v.version, u.dataset, coalesce(u.title, v.filename) as name, v.status,
               v.rows_loaded, v.rows_rejected
        from ops.upload_versions v join ops.uploads u using (upload_id)
        where v.run_id = %(run_id)s
          and (%(uploader)s::text is null or u.uploader = %(uploader)s)
          and (%(school_id)s::text is null or u.school_id = %(school_id)s)
        order by u.dataset, u.upload_id, v.version
        """,
        {"run_id": run_id, "uploader": uploader, "school_id": school_id},
    )
    return [RunLoad(**row) for row in rows]
