"""DAG `train`: once a week, learn from what is known now and ask the gate, each target in a task of its own.

When a cohort's results arrive, the score stage of the run that brought them trains at once; this DAG finds
what came in small portions, and models of an older version of the code. A target of which nothing is new is
skipped.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, CronTriggerTimetable, ExceptionRetryPolicy, RetryAction, RetryRule, task

UPLOADS = Asset("laurel://uploads")


def tell_a_person(context: dict[str, Any]) -> None:
    """Send the alert."""
    from elt.errors import public_text
    from elt.notify import alert
    from elt.settings import load_settings

    text = public_text(context.get("exception"))
    alert(load_settings(), "training_failed", f"{context['ti'].task_id}: {text}")


with DAG(
    "train",
    schedule=CronTriggerTimetable("0 3 * * 0", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,
    dagrun_timeout=timedelta(hours=6),
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "retry_policy": ExceptionRetryPolicy(
            rules=[RetryRule("elt.errors.TransientError")], default=RetryAction.FAIL
        ),
        "on_failure_callback": tell_a_person,
    },
    doc_md=__doc__,
    tags=["laurel"],
):

    @task
    def targets() -> list[str]:
        """The names of all declared targets."""
        from ml.target import list_targets

        return list_targets()

    # The event starts a run of `uploads`, which scores by the new model and publishes what it says.
    @task(outlets=[UPLOADS], map_index_template="{{ target_name }}")
    def train(target: str) -> dict[str, Any]:
        """Train one target if anything is new, and record what the gate said; else skip."""
        from airflow.sdk import get_current_context
        from airflow.sdk.exceptions import AirflowSkipException

        from elt.settings import load_settings
        from ml.training import retrain

        get_current_context()["target_name"] = target  # type: ignore[typeddict-unknown-key]
        report = retrain(load_settings(), target)
        if report is None:
            raise AirflowSkipException("Nothing is new since the last training, or too little is known.")
        return {"version": report.version, "published": report.published, "reasons": report.reasons}

    train.expand(target=targets())
