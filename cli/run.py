"""`laurel run` and `laurel replay`: the whole way in one process, and everything again from the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from uuid import UUID

import click
from uuid6 import uuid7

from cli.account import write_down
from elt.log import configure_logging
from elt.settings import Settings, load_settings


@click.command()
@click.option("--full", is_flag=True, help="Build all marts from scratch and run every test.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def run(full: bool, as_json: bool) -> None:
    """Load what waits, build the marts, score the students: what Airflow does every five minutes.

    Safe to call at any time, also beside Airflow.

    \b
    Examples:
      laurel run
      laurel run --full
    """
    from elt.pipeline import run as run_pipeline

    settings = load_settings()
    configure_logging(json=settings.log_json, level="WARNING")
    say = show_progress(as_json)
    report = run_pipeline(settings, trigger="cli", score=score_students, progress=say, full=full)
    if as_json:
        click.echo(json.dumps(report.to_dict(), default=str, indent=2))
    elif report.idle:
        click.echo("Nothing was waiting; the marts show all that is loaded.")
    else:
        loads = ", ".join(f"{count} {status}" for status, count in report.loads.items()) or "no files"
        click.echo(f"Files: {loads}. Models built: {report.models_built}.")
        click.echo(
            f"Students scored: {report.scored.get('students', 0)}, "
            f"at risk: {report.scored.get('at_risk', 0)}. "
            f"Took {sum(report.seconds.values()):.1f} s."
        )


@click.command()
@click.option(
    "--wipe",
    is_flag=True,
    help="First empty the ledger (uploads, events, loads, rejected rows, idempotency keys) and raw.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was rebuilt as JSON.")
def replay(wipe: bool, as_json: bool) -> None:
    """Rebuild raw and the marts from the object store alone, into an empty database.

    Users, keys, runs, models and predictions are not in the store; they come from the backup, and --wipe
    leaves them as they are. The marts show what they showed until they are built again at the end.
    While it runs, nothing else is loaded; stop the platform first if files are being loaded now.

    \b
    Examples:
      laurel replay
      laurel replay --wipe
    """
    from elt.store.base import open_store
    from elt.transforming.transform import transform
    from elt.uploads.replay import replay as replay_store

    settings = load_settings()
    configure_logging(json=settings.log_json, level="WARNING")
    say = show_progress(as_json)
    report = replay_store(settings, open_store(settings.resolved_store_url), progress=say, wipe=wipe)
    write_down(settings, "uploads:replay", events=report.events, wiped=wipe)
    say("building the marts")
    built = transform(settings, UUID(int=uuid7().int), full=True)
    if as_json:
        click.echo(json.dumps({**asdict(report), "models_built": built.models}, indent=2))
        return
    versions = ", ".join(f"{count} {status}" for status, count in report.versions.items()) or "none"
    click.echo(
        f"{report.events} events, {report.uploads} uploads (versions: {versions}), {report.rows} rows."
    )
    for key in report.unreadable:
        click.echo(f"Not readable, left out: {key}", err=True)
    if report.unreadable:
        raise click.exceptions.Exit(1)


def score_students(settings: Settings, run_id: UUID) -> dict[str, Any]:
    """The score stage of a run in this process."""
    from ml.scoring import score_all

    return score_all(settings, run_id)


def show_progress(quiet: bool) -> Callable[[str], None]:
    """Says what is being done on standard error, so that standard output holds the result only."""
    return lambda text: None if quiet else click.echo(f"{text} …", err=True)
