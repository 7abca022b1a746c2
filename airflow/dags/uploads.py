"""DAG `uploads`: from the object store to the marts, every five minutes and at once when a file arrives.

Every task calls one function of `elt.pipeline`; `laurel run` calls the same functions in one process.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    task,
)

UPLOADS = Asset("laurel://uploads")
MARTS = Asset("laurel://marts")

LAUREL_RUN = "{{ ti.xcom_pull(task_ids='discover', key='run_id') }}"

# What may pass by itself is tried again with growing pauses; a bad file or a bug is not.
RETRY_WHAT_CAN_PASS = ExceptionRetryPolicy(
    rules=[RetryRule("elt.errors.TransientError")],
    default=RetryAction.FAIL,
)


def tell_a_person(context: dict[str, Any]) -> None:
    """Close the run as failed and send the alert."""
    from elt.errors import public_text
    from elt.pipeline import fail_airflow_run
    from elt.settings import load_settings

    # Nothing here asks Airflow: that its API is away is often why the task has failed.
    instance = context["ti"]
    text = public_text(context.get("exception"))
    fail_airflow_run(load_settings(), instance.run_id, instance.task_id, text)


with DAG(
    "uploads",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("*/5 * * * *", timezone="UTC"), assets=[UPLOADS]
    ),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=64,  # the limit is what the executor has room for: four without workers
    dagrun_timeout=timedelta(hours=2),
    default_args={
        "retries": 5,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
        "retry_policy": RETRY_WHAT_CAN_PASS,
        "on_failure_callback": tell_a_person,
    },
    doc_md=__doc__,
    tags=["laurel"],
):

    @task
    def discover(airflow_run: str, run_type: str, ti: Any = None) -> list[list[str]]:
        """List what is waiting, one list of references per load task; or skip the run."""
        from airflow.sdk.exceptions import AirflowSkipException

        from elt.pipeline import begin
        from elt.settings import load_settings

        trigger = "event" if "asset" in run_type else "schedule" if "scheduled" in run_type else "api"
        plan = begin(load_settings(), trigger=trigger, airflow_run=airflow_run, in_parts=True)
        if plan.is_idle:
            raise AirflowSkipException("Nothing arrived and the marts show all that is loaded.")
        ti.xcom_push(key="run_id", value=str(plan.run_id))
        return plan.groups

    @task
    def load(references: list[str], laurel_run: str) -> dict[str, int]:
        """Load one group of files, each in one transaction, or one part of a large file."""
        from uuid import UUID

        from elt.pipeline import load as load_group
        from elt.settings import load_settings

        return load_group(load_settings(), UUID(laurel_run), references)

    # With no group to load (a withdrawal only) `load` is skipped, and there still is something to build.
    @task(trigger_rule="none_failed_min_one_success")
    def transform(laurel_run: str) -> list[str]:
        """Build exactly what the loads changed, tests included; answers with the changed marts."""
        from uuid import UUID

        from elt.pipeline import transform as build
        from elt.settings import load_settings

        return list(build(load_settings(), UUID(laurel_run)).changed_marts)

    @task
    def score(laurel_run: str) -> dict[str, Any]:
        """Predict who is at risk, by the published model or the plain rule."""
        from uuid import UUID

        from elt.pipeline import record_score
        from elt.settings import load_settings
        from ml.scoring import score_all

        settings = load_settings()
        return record_score(settings, UUID(laurel_run), score_all(settings, UUID(laurel_run)))

    @task(outlets=[MARTS])
    def publish(scored: dict[str, Any], laurel_run: str) -> list[str]:
        """Write the changed marts to the store and close the run."""
        from uuid import UUID

        from elt.pipeline import publish as publish_changed
        from elt.settings import load_settings

        return publish_changed(load_settings(), UUID(laurel_run), scored)

    found = discover("{{ run_id }}", "{{ dag_run.run_type.value }}")
    changed = transform(LAUREL_RUN)
    [found, load.partial(laurel_run=LAUREL_RUN).expand(references=found)] >> changed
    scored = score(LAUREL_RUN)
    changed >> scored
    publish(scored, LAUREL_RUN)
