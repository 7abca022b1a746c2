"""`laurel live`: the country databases, followed to the second."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from elt.errors import ConfigurationError, LaurelError
from elt.log import configure_logging
from elt.settings import Settings, load_settings

if TYPE_CHECKING:
    from pydantic import SecretStr

    from elt.live.listing import LiveStatus
    from elt.sources.configuration import Source


@click.group(invoke_without_command=True)
@click.pass_context
def live(context: click.Context) -> None:
    """Follow the country databases to the second.

    Without a command it follows all sources of the kind `pisa` in the foreground until Ctrl-C; sources that
    are added or removed meanwhile are noticed. While another follower runs, it stands by. docs/live.md
    tells how it works.

    \b
    Examples:
      laurel live
      laurel live status
      laurel live prepare pisa-alb --print
    """
    if context.invoked_subcommand is None:
        settings = load_settings()
        configure_logging(json=settings.log_json)
        asyncio.run(_follow(settings))


async def _follow(settings: Settings) -> None:
    from elt.live.follower import follow

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await follow(settings, stop=stop)


@live.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show each source: how many responses, how old they are, how long changes take. Exit 1 if one is away.

    \b
    `age` is since it was last known that nothing newer is there, `lag` how long the last canary took from
    commit to viewers; only sources that call (`way` is notify) carry canaries.

    Example: laurel live status --json
    """
    from elt.live.listing import is_followed, list_live
    from elt.live.opening import no_sources
    from elt.warehouse import connect

    settings = load_settings()
    with connect(settings.database_url.get_secret_value(), application_name="laurel-live") as connection:
        found, is_running = list_live(connection), is_followed(connection)
    if as_json:
        click.echo(json.dumps([asdict(source) for source in found], indent=2))
    elif found:
        _print_statuses(found)
    if not found and not _chosen(settings, None):
        click.echo(no_sources(settings), err=True)
    elif not is_running:
        click.echo("Nobody follows now; `laurel live` does.", err=True)
    if any(source.problem for source in found):
        raise click.exceptions.Exit(1)


@live.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(as_json: bool) -> None:
    """Compare everything that is followed with the sources, and the running sums with the rows.

    Changes nothing. Exit 1 where something differs.

    Example: laurel live check
    """
    from elt.live.audit import check_live
    from elt.live.opening import no_sources

    settings = load_settings()
    found = check_live(settings)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        nothing = "Nothing differs." if _chosen(settings, None) else no_sources(settings)
        click.echo("\n".join(found) or nothing)
    if found:
        raise click.exceptions.Exit(1)


@live.command()
@click.option("--source", metavar="NAME", help="Of this source only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rejects(source: str | None, as_json: bool) -> None:
    """Show which rules rows broke that are not counted, and how many; never what they hold.

    Example: laurel live rejects --source pisa-alb
    """
    from elt.contracts import get_contract, rule_hint
    from elt.live.changes import DATASET
    from elt.live.listing import list_rejects
    from elt.warehouse import connect

    settings = load_settings()
    _chosen(settings, source)  # says so where there is none of that name
    with connect(settings.database_url.get_secret_value(), application_name="laurel-live") as connection:
        found = list_rejects(connection, source)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    for each in found:
        hint = rule_hint(get_contract(DATASET), each.rule, each.column)
        click.echo(f"{each.source}: {each.rows} rows, {each.column or 'row'}: {hint}")
    if not found:
        click.echo("No row is rejected.")


@live.command()
@click.argument("name", required=False)
@click.option("--all", "all_sources", is_flag=True, help="All sources that are followed.")
@click.option(
    "--owner-url-variable", metavar="VAR",
    help="The environment variable with the address of the database for its owner; {country} stands for the "
    "source's country. Without it, the source's own address.",
)  # fmt: skip
@click.option("--print", "only_print", is_flag=True, help="Only print the SQL, for an administrator.")
@click.option("--undo", is_flag=True, help="Take it away again.")
def prepare(
    name: str | None, all_sources: bool, owner_url_variable: str | None, only_print: bool, undo: bool
) -> None:
    """Let a country database call when something changes, instead of looking for it.

    Creates the schema `laurel_live` with a small table in it, and triggers on the table of responses. Safe to
    repeat. It takes the owner of the table, who may create a schema in the database.

    \b
    Examples:
      laurel live prepare pisa-alb --print | psql --single-transaction --dbname …
      laurel live prepare --all --owner-url-variable PISA_{country}_OWNER_URL
      laurel live prepare pisa-alb --owner-url-variable PISA_ALB_OWNER_URL --undo
    """
    from elt.live.opening import no_sources

    if (name is None) != all_sources:
        raise click.UsageError("Name one source, or say --all.")
    settings = load_settings()
    if not (sources := _chosen(settings, name)):
        raise ConfigurationError(no_sources(settings))
    has_failed = False
    for source in sources:
        try:
            said = _prepare(settings, source, owner_url_variable, only_print=only_print, undo=undo)
        except LaurelError as error:  # the others can be prepared all the same
            has_failed = True
            click.echo(f"{source.name}: {error.detail.removeprefix(f'Source {source.name}: ')}", err=True)
        else:
            click.echo(said)
    if has_failed:
        raise click.exceptions.Exit(1)


def _prepare(
    settings: Settings, source: Source, variable: str | None, *, only_print: bool, undo: bool
) -> str:
    """What there is to say about it."""
    from elt.live import prepare as preparation
    from elt.sources.configuration import environment_of

    environment = environment_of(settings)
    if undo:  # needs no address to read with
        if only_print:
            return f"-- {source.name}\n{preparation.unprepare_sql()}"
        asyncio.run(preparation.unprepare(_owner_of(source, variable, environment)))
        return f"{source.name}: looked at again."
    reader = preparation.reader_of(source, source.address(environment))
    if only_print:
        return f"-- {source.name}\n{preparation.prepare_sql(source, reader)}"
    asyncio.run(preparation.prepare(_owner_of(source, variable, environment), source, reader))
    return f"{source.name}: calls from now on."


def _owner_of(source: Source, variable: str | None, environment: Mapping[str, str]) -> SecretStr:
    """The address for the table's owner."""
    if variable is None:
        return source.address(environment)
    named = variable.replace("{country}", source.parameters.get("country", ""))
    return source.model_copy(update={"address_variable": named}).address(environment)


def _chosen(settings: Settings, name: str | None) -> list[Source]:
    from elt.live.opening import find_live_source, live_sources

    return live_sources(settings) if name is None else [find_live_source(settings, name)]


def _print_statuses(found: Sequence[LiveStatus]) -> None:
    """A line per source; what is wrong with one stands below all."""
    from rich.table import Table

    from cli.tables import print_table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("source", "country", "way", "responses", "rejected", "age", "lag"):
        table.add_column(
            name, justify="left" if name in ("source", "country", "way") else "right", no_wrap=True
        )
    for source in found:
        table.add_row(
            source.source, source.country or "any", source.way, f"{source.responses}", f"{source.rejects}",
            _seconds(source.age_seconds), _seconds(source.lag_seconds),
        )  # fmt: skip
    print_table(table)
    for source in found:
        if source.problem:
            click.echo(f"{source.source}: {source.problem}")


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
