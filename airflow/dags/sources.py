"""DAG `sources`: what is not handed in as a file, read every five minutes, each source in a task of its own.

What differs from the last reading becomes uploads; the DAG `uploads` loads them at once, because the tasks
here emit its asset's event. So one run at a time builds the marts, wherever the rows came from.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, CronTriggerTimetable, ExceptionRetryPolicy, RetryAction, RetryRule, task

UPLOADS = Asset("laurel://uploads")


def tell_a_person(context: dict[str, Any]) -> None:
    """Send the alert, unless the reading of a source has told already why it failed."""
    from elt.errors import SourceFault, SourceUnavailable, public_text
    from elt.notify import alert
    from elt.settings import load_settings

    error = context.get("exception")
    if not isinstance(error, SourceFault | SourceUnavailable):
        alert(load_settings(), "sources_failed", f"{context['ti'].task_id}: {public_text(error)}")


with DAG(
    "sources",
    schedule=CronTriggerTimetable("*/5 * * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=4,
    dagrun_timeout=timedelta(hours=6),
    default_args={
        # The next run is five minutes away; more tries would only keep it waiting.
        "retries": 1,
        "retry_delay": timedelta(seconds=20),
        "retry_policy": ExceptionRetryPolicy(
            rules=[RetryRule("elt.errors.TransientError")], default=RetryAction.FAIL
        ),
        "on_failure_callback": tell_a_person,
    },
    doc_md=__doc__,
    tags=["laurel"],
):

    @task
    def list_sources() -> list[str]:
        """The names of all sources that are switched on; or skip the run."""
        from airflow.sdk.exceptions import AirflowSkipException

        from elt.settings import load_settings
        from elt.sources.configuration import load_sources

        names = [source.name for source in load_sources(load_settings())]
        if not names:
            raise AirflowSkipException("No sources are configured; docs/sources.md tells how.")
        return names

    @task(outlets=[UPLOADS], map_index_template="{{ source }}", execution_timeout=timedelta(hours=4))
    def extract(source: str) -> dict[str, int]:
        """Read one source; its failure stops no other. Skipped where nothing differs, so that no event is
        sent.
        """
        from airflow.sdk import get_current_context
        from airflow.sdk.exceptions import AirflowSkipException

        from elt.settings import load_settings
        from elt.sources.configuration import find_source
        from elt.sources.sync import sync_source
        from elt.store.base import open_store

        get_current_context()["source"] = source  # type: ignore[typeddict-unknown-key]
        settings = load_settings()
        report = sync_source(settings, open_store(settings.resolved_store_url), find_source(settings, source))
        if not report.uploads:
            raise AirflowSkipException("Nothing differs from the last reading.")
        return {"changed": report.changed, "removed": report.removed, "uploads": len(report.uploads)}

    extract.expand(source=list_sources())
