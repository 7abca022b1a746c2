"""DAG `maintenance`: once a day what need not be done in every run.

Bytes that never became an upload are removed. Everything is built again from raw, with every test, as
`laurel run --full` does. Erasures are finished, and what is kept no longer than needed is removed. Then both
databases are backed up, and the backup is restored and compared. What Airflow itself has kept of old runs is
removed. Reports that people asked for each week are sent.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, ExceptionRetryPolicy, RetryAction, RetryRule, task


def tell_a_person(context: dict[str, Any]) -> None:
    """Send the alert."""
    from elt.errors import public_text
    from elt.notify import alert
    from elt.settings import load_settings

    text = public_text(context.get("exception"))
    alert(load_settings(), "maintenance_failed", f"{context['ti'].task_id}: {text}")


with DAG(
    "maintenance",
    # A platform that is started at noon does not begin with this.
    schedule=CronTriggerTimetable("30 2 * * *", timezone="UTC", run_immediately=timedelta(minutes=10)),
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
    def sweep() -> int:
        """Remove bytes that never became an upload."""
        from elt.settings import load_settings
        from elt.store.base import open_store
        from elt.uploads.sweep import sweep as sweep_store

        settings = load_settings()
        return sweep_store(settings, open_store(settings.resolved_store_url))

    @task
    def rebuild() -> str:
        """Build everything again from raw and run every test, as a run of its own; answers with its id."""
        from elt.pipeline import run
        from elt.settings import load_settings
        from ml.scoring import score_all

        return str(run(load_settings(), trigger="schedule", score=score_all, full=True).run_id)

    @task
    def forget() -> dict[str, int]:
        """Finish erasures, and remove what is kept no longer than needed; answers with what was removed."""
        from elt.errors import LoadError
        from elt.pipeline import run
        from elt.privacy.erasure import erase_pending
        from elt.privacy.retention import apply_retention, tell_who_decides
        from elt.settings import load_settings
        from elt.store.base import open_store
        from ml.scoring import score_all

        settings = load_settings()
        store = open_store(settings.resolved_store_url)
        report = erase_pending(
            settings, store, rebuild=lambda: run(settings, trigger="schedule", score=score_all)
        )
        kept = apply_retention(settings, store, dry_run=False)
        tell_who_decides(settings, kept)
        if open_ones := len(report.erasures) - len(report.finished):
            raise LoadError(
                f"{open_ones} erasures are not finished. Run: laurel erase --all-pending; "
                "where something was still found, settle it and give the same command again"
            )
        return {each.rule.rule: each.due for each in kept if each.is_removed}

    @task(trigger_rule="all_done")
    def backup() -> str:
        """Back up both databases, also where erasures are not finished; answers with the backup's name."""
        from elt.backup.daily import back_up
        from elt.settings import load_settings
        from elt.store.base import open_store

        settings = load_settings()
        return back_up(settings, open_store(settings.resolved_store_url))

    @task(trigger_rule="all_done")
    def tidy() -> dict[str, int]:
        """Remove Airflow's own logs and rows of old runs; answers with how many folders of logs went."""
        from airflow.sdk.configuration import conf

        from elt.airflow_history import remove_old_logs, remove_old_rows
        from elt.settings import load_settings

        removed = remove_old_logs(Path(conf.get("logging", "base_log_folder")))
        remove_old_rows(load_settings())
        return {"log_folders": removed}

    @task
    def report() -> int:
        """Send the weekly reports that are due, once each; answers with how many went out."""
        from elt.serving.report_mail import send_due_reports
        from elt.settings import load_settings

        return send_due_reports(load_settings())

    sweep()
    rebuild()
    forget() >> backup() >> tidy()
    report()
