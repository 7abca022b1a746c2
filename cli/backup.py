"""`laurel backup` and `laurel restore`: both databases in the object store, tried, and brought back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cli.account import caller
from cli.run import score_students, show_progress
from elt.log import configure_logging
from elt.settings import Settings, load_settings

if TYPE_CHECKING:
    from elt.backup.manifest import Manifest
    from elt.backup.restore import RestoreReport
    from elt.store.base import Store

_MB = 1_000_000


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was taken as JSON.")
@click.pass_context
def backup(context: click.Context, as_json: bool) -> None:
    """Take a backup of the databases into the object store; Airflow's DAG maintenance does so daily.

    It holds everybody's data, like the store itself. Files that were handed in are in the store already, and
    the secrets (.env of containers, else $LAUREL_HOME/laurel.env) are in no backup: save both as well.

    \b
    Examples:
      laurel backup
      laurel backup list
      laurel backup verify
      laurel restore latest --yes
    """
    if context.invoked_subcommand is not None:
        return
    from elt.backup.take import take_backup

    settings, store = _begin()
    manifest = take_backup(settings, store, progress=show_progress(as_json))
    _show(
        manifest,
        as_json,
        f"The backup {manifest.name} is taken. Try it: laurel backup verify {manifest.name}",
    )


@backup.command("list", epilog="Example: laurel backup list --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Show the backups, newest first: what they take up, and when each was last tried."""
    from elt.backup.manifest import list_backups

    _, store = _begin()
    backups = list_backups(store)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in backups], default=str, indent=2))
        return
    click.echo(f"{'BACKUP':<22}{'MB':>10}  STATE")
    for each in backups:
        state = f"verified {each.verified_at:%Y-%m-%d %H:%M} UTC" if each.verified_at else "not verified"
        click.echo(f"{each.name:<22}{each.size / _MB:>10.1f}  {state if each.is_whole else 'not whole'}")


@backup.command(epilog="Example: laurel backup verify")
@click.argument("name", default="latest")
@click.option("--json", "as_json", is_flag=True, help="Print what was compared as JSON.")
def verify(name: str, as_json: bool) -> None:
    """Restore the backup NAME (or the latest) beside the databases, compare every table, and drop it again.

    Exit status 1 if anything differs from what was dumped. The server needs room for each database once more.
    """
    from elt.backup.verify import verify_backup

    settings, store = _begin()
    manifest = verify_backup(settings, store, name, progress=show_progress(as_json))
    _show(manifest, as_json, f"The backup {manifest.name} restores to what was dumped, table by table.")


@backup.command("drop-aside", epilog="Example: laurel backup drop-aside")
def drop_aside() -> None:
    """Drop the databases that restores have put aside, without waiting for their seven days."""
    from elt.backup.restore import drop_put_aside

    settings, _ = _begin()
    click.echo(f"Dropped: {', '.join(drop_put_aside(settings)) or 'nothing, there are none'}.")


@click.command()
@click.argument("name")
@click.option(
    "--database",
    type=click.Choice(["elt", "airflow", "both"]),
    default="both",
    show_default=True,
    help="Which to restore; both: all that the backup has.",
)
@click.option("--replace", is_flag=True, help="Put aside a database that holds tables.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def restore(name: str, database: str, replace: bool, yes: bool, as_json: bool) -> None:
    """Restore the backup NAME (see `laurel backup list`), or the `latest`.

    Stop the services first; PostgreSQL of the platform on one machine is started for the while. The backup
    is restored beside the present databases, compared with what was dumped, brought up to this version of
    Laurel, and rid of everybody who was erased since. Only then it takes the place of the present ones. Those
    are kept for seven days under another name.

    \b
    Examples:
      laurel restore latest --yes
      laurel restore 2026-11-29T02-41-07Z --replace --yes
      laurel restore latest --database elt --replace --yes
    """
    from elt.backup.manifest import DATABASES
    from elt.backup.restore import Restore
    from local.database_only import database_running

    if not yes:
        click.confirm(f"Restore the backup {name}?", abort=True)
    say = show_progress(as_json)
    with database_running(say):
        settings, store = _begin()
        wanted = [each for each in DATABASES if each == database]
        work = Restore(settings, store, score=score_students, by=caller(), progress=say)
        report = work.run(name, wanted, replace=replace)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
    else:
        _tell(report)
    if report.forward and report.forward.open_erasures:
        raise SystemExit(1)


def _begin() -> tuple[Settings, Store]:
    from elt.store.base import open_store

    settings = load_settings()
    configure_logging(json=settings.log_json, level="WARNING")
    return settings, open_store(settings.resolved_store_url)


def _show(manifest: Manifest, as_json: bool, words: str) -> None:
    facts = [
        {
            "database": dump.database,
            "bytes": dump.size,
            "sha256": dump.sha256,
            "revision": dump.revision,
            "server": dump.server,
            "tables": len(dump.tables),
            "rows": sum(table.rows for table in dump.tables),
        }
        for dump in manifest.dumps
    ]
    if as_json:
        click.echo(json.dumps({"name": manifest.name, "dumps": facts}, indent=2))
        return
    for dump, fact in zip(manifest.dumps, facts, strict=True):
        click.echo(
            f"{dump.database:<10}{fact['tables']} tables, {fact['rows']} rows, {dump.size / _MB:.1f} MB"
        )
    click.echo(words)


def _tell(report: RestoreReport) -> None:
    """What was done, and what is left to a person."""
    from elt.backup.databases import KEPT_ASIDE

    click.echo(f"Restored from {report.name}: {', '.join(report.databases)}.")
    for database, aside in report.put_aside.items():
        click.echo(f"What {database} was before is kept as {aside} for {KEPT_ASIDE.days} days.")
    if report.put_aside:
        click.echo(
            "It holds people who may be erased meanwhile; drop it when you can: laurel backup drop-aside"
        )
    for database in report.made_new:
        click.echo(
            f"There was no {database} before. What was granted on that database itself or set for it "
            "(grant … on database, alter database … set) is in no backup: do it again if there was any of it."
        )
    for database, left_out in report.left_out.items():
        click.echo(
            f"Settings of {database} that its owner may not set again: {', '.join(left_out)}. "
            "As an administrator of the server: alter database … set"
        )
    if (forward := report.forward) is None:
        return
    click.echo(
        f"The store told {forward.events} later events; {forward.waiting} files wait to be loaded. "
        f"People erased since: {forward.erased}."
    )
    if forward.open_erasures:
        click.echo(f"Not finished: {forward.open_erasures} erasures. Run laurel erase --all-pending.")
    click.echo(
        "Next:\n"
        "  start the services   ./start.sh up -d, or docker compose up -d --wait\n"
        "  laurel run           loads what waits, if Airflow does not do it first\n"
        "  laurel keys list     keys and accounts that were ended after the backup are valid again:\n"
        "  laurel users list    revoke and disable them once more\n"
        "Everybody signs in again. The audit trail ends at the backup, and laurel audit verify will say so "
        "(docs/audit.md)."
    )
