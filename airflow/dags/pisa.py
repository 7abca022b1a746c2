"""DAG `pisa`: the country databases into the live figures every 30 seconds, each source in a task of its own.

For sites that want all of it in Airflow: paused until somebody lets it run, because `laurel live` does the
same within a second. Both may run; nothing is counted twice. The way into the warehouse is DAG `sources`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction, RetryRule, task


def tell_a_person(context: dict[str, Any]) -> None:
    """Send the alert, about each source by itself."""
    from elt.errors import public_text
    from elt.notify import alert
    from elt.settings import load_settings

    instance = context["ti"]
    where = f"{instance.task_id} {instance.rendered_map_index or ''}".strip()
    alert(load_settings(), f"pisa_failed:{where}", f"{where}: {public_text(context.get('exception'))}")


with DAG(
    "pisa",
    schedule=timedelta(seconds=30),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    max_active_tasks=4,
    dagrun_timeout=timedelta(hours=1),
    default_args={
        # The next run is half a minute away; more tries would only keep it waiting.
        "retries": 1,
        "retry_delay": timedelta(seconds=5),
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
        """The names of all country databases, and forget all others; or skip the run."""
        from airflow.sdk.exceptions import AirflowSkipException

        from elt.live.once import forget_others
        from elt.settings import load_settings

        names = forget_others(load_settings())
        if not names:
            raise AirflowSkipException("No country databases are configured; docs/sources.md tells how.")
        return names

    @task(map_index_template="{{ source }}", execution_timeout=timedelta(minutes=30))
    def follow(source: str) -> dict[str, int]:
        """Carry over what is new, changed or gone in one source; its failure stops no other."""
        from airflow.sdk import get_current_context

        from elt.live.once import follow_once
        from elt.settings import load_settings

        get_current_context()["source"] = source  # type: ignore[typeddict-unknown-key]
        took = follow_once(load_settings(), source)
        return {"rows": took.rows, "rejected": took.rejected}

    follow.expand(source=list_sources())
