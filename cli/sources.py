"""`laurel sources`: databases and examination boards that are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from elt.log import configure_logging
from elt.settings import Settings, load_settings

if TYPE_CHECKING:
    from elt.sources.listing import ListedSource


@click.group()
def sources() -> None:
    """Read databases and examination boards.

    Each source is a file in $LAUREL_HOME/sources; docs/sources.md tells how to write one. Airflow reads all
    of them every five minutes.

    \b
    Examples:
      laurel sources list
      laurel sources run school-rosariosis
    """


@sources.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Show the sources, when each was read, and what is wrong with it.

    Example: laurel sources list --json
    """
    from elt.sources.configuration import sources_dir
    from elt.sources.listing import list_sources
    from elt.warehouse import connect

    settings = load_settings()
    with connect(settings.database_url.get_secret_value(), application_name="laurel-sources") as connection:
        found = list_sources(settings, connection)
    if as_json:
        click.echo(json.dumps([asdict(source) for source in found], default=str, indent=2))
    elif not found:
        click.echo(f"No sources yet. Put a file into {sources_dir(settings)}; docs/sources.md tells how.")
    else:
        _print_sources(found)


@sources.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--resend", is_flag=True, help="Hand in every row again, also those that have not changed.")
@click.option("--accept-removals", is_flag=True, help="Believe it when a large part of a table is gone.")
@click.option("--load", "and_load", is_flag=True, help="Load and build at once, as `laurel run` does.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def run(names: Sequence[str], resend: bool, accept_removals: bool, and_load: bool, as_json: bool) -> None:
    """Read sources now: those that are named, else all.

    What differs from the last reading is handed in. The platform loads it a moment later by itself; --load
    does it here. Safe to interrupt, and to call beside Airflow.

    \b
    Examples:
      laurel sources run school-rosariosis
      laurel sources run --load
      laurel sources run school-rosariosis --accept-removals
    """
    from elt.errors import LaurelError
    from elt.sources.comparison import Wishes
    from elt.sources.configuration import find_source, load_sources
    from elt.sources.sync import sync_source
    from elt.store.base import open_store

    settings = load_settings()
    configure_logging(json=settings.log_json, level="ERROR")
    chosen = [find_source(settings, name) for name in names] or load_sources(settings)
    store = open_store(settings.resolved_store_url)
    say = _progress(as_json)
    results: list[dict[str, Any]] = []
    for source in chosen:
        try:
            report = sync_source(
                settings, store, source, wishes=Wishes(resend, accept_removals), progress=say
            )
            tables = [asdict(table) for table in report.tables]
            results.append({"source": source.name, "tables": tables, "error": None})
            if not as_json:
                click.echo(
                    f"{source.name}: {report.changed} rows new or changed, {report.removed} gone, "
                    f"{len(report.uploads)} uploads."
                )
                for finding in _findings(report.tables):
                    click.echo(f"  {finding}")
        except LaurelError as error:
            results.append({"source": source.name, "tables": [], "error": error.detail})
            if not as_json:
                click.echo(f"{source.name}: {error.title}. {error.detail}", err=True)
    if as_json:
        click.echo(json.dumps(results, default=str, indent=2))
    elif not chosen:
        click.echo("No sources yet; `laurel sources list` tells where their files go.")
    if and_load:
        _load(settings, say)
    if any(result["error"] for result in results):
        raise click.exceptions.Exit(1)


def _load(settings: Settings, say: Callable[[str], None]) -> None:
    from cli.run import score_students
    from elt.pipeline import run as run_pipeline

    run_pipeline(settings, trigger="cli", score=score_students, progress=say)


def _findings(tables: Sequence[Any]) -> list[str]:
    return [f"{table.table}: {finding}" for table in tables for finding in table.findings]


def _print_sources(found: Sequence[ListedSource]) -> None:
    """A line per source; what is wrong with it, or was found, below all."""
    from rich.table import Table

    from cli.tables import print_table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("source", "kind", "school", "status", "read", "rows"):
        table.add_column(name, justify="right" if name == "rows" else "left", no_wrap=True)
    for source in found:
        read_at = f"{source.succeeded_at:%Y-%m-%d %H:%M:%S}" if source.succeeded_at else "never"
        status = source.status.replace("_", " ")
        table.add_row(source.name, source.kind, source.school_id, status, read_at, f"{source.rows}")
    print_table(table)
    for source in found:
        for problem in filter(None, [source.error, *_findings(source.tables)]):
            click.echo(f"{source.name}: {problem}")


def _progress(quiet: bool) -> Callable[[str], None]:
    return lambda text: None if quiet else click.echo(f"{text} …", err=True)
