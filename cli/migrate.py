"""The command that brings the databases to another revision of their schema, forward or back."""

from __future__ import annotations

import json

import click

from cli.account import write_down
from elt.schema_version import HEAD, REVISIONS, read_revision, steps_from
from elt.settings import Settings, load_settings
from elt.warehouse import connect

_EXAMPLES = """\b
Examples:
  laurel migrate
  laurel migrate --show
  laurel migrate --back-to 0010
  laurel migrate --back-to 0010 --lose-data"""

# The audit trail came with the second revision.
_WITHOUT_TRAIL = ("base", REVISIONS[0])


@click.command(epilog=_EXAMPLES)
@click.option("--show", is_flag=True, help="Change nothing; say which revision the database has and needs.")
@click.option(
    "--back-to",
    metavar="REVISION",
    help="Take the database `elt` back, for an older version of Laurel. base: no tables at all.",
)
@click.option("--lose-data", is_flag=True, help="With --back-to: go on although data are lost.")
@click.option("--json", "as_json", is_flag=True, help="With --show: print JSON.")
def migrate(show: bool, back_to: str | None, lose_data: bool, as_json: bool) -> None:
    """Bring the databases to what this version expects: `elt` always, Airflow's when its address is set.

    With --back-to the database `elt` goes back instead, all of it or nothing. What only the newer tables can
    hold would be lost: the command then lists it, and changes nothing unless --lose-data is given. Make a
    backup first. Go back with the newer version, then start the older one: its services have nothing to work
    with before, and its first run builds the marts.
    """
    if show and back_to is not None:
        raise click.UsageError("--show changes nothing, --back-to does. Give one of them.")
    if lose_data and back_to is None:
        raise click.UsageError("--lose-data goes with --back-to: nothing is lost on the way forward.")
    if as_json and not show:
        raise click.UsageError("--json goes with --show.")
    settings = load_settings()
    if show:
        _show(settings, as_json)
    elif back_to is not None:
        _go_back(settings, back_to, lose_data=lose_data)
    else:
        _go_forward(settings)


def _show(settings: Settings, as_json: bool) -> None:
    with connect(settings.database_url.get_secret_value(), application_name="laurel-migrate") as connection:
        revision = read_revision(connection)
    pending = steps_from(revision)
    if as_json:
        click.echo(json.dumps({"database": revision, "code": HEAD, "pending": pending}, indent=2))
        return
    click.echo(f"database  {revision or 'no tables yet'}")
    click.echo(f"code      {HEAD}")
    click.echo(f"pending   {', '.join(pending) or 'nothing'}")


def _go_forward(settings: Settings) -> None:
    from local.environment import paths
    from local.preparation import migrate_databases

    where = paths()
    where.make()
    migrate_databases(where, settings, click.echo)
    click.echo("The databases are up to date.")


def _go_back(settings: Settings, revision: str, *, lose_data: bool) -> None:
    from elt.migrate import downgrade

    lost = downgrade(settings.database_url.get_secret_value(), revision, lose_data=lose_data)
    if revision not in _WITHOUT_TRAIL:
        write_down(settings, "database:back", revision, lost=lost)
    for line in lost:
        click.echo(f"Lost: {line}.")
    click.echo(f"The database is at revision {revision}. Start the version of Laurel that belongs to it.")
