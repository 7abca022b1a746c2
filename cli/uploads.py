"""`laurel upload`, `status`, `withdraw`, `retry`: the life of an upload from the command line.

With a key (`--key` or LAUREL_API_KEY) they talk over HTTP to the Laurel at an address (`--url` or LAUREL_URL;
by default this machine's), as the key's owner. Without a key they act straight on the platform of this
machine, as its administrator.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import click
from rich.markup import escape
from rich.table import Column, Table

from cli.tables import print_table
from cli.upload_ways import Json, Way, open_way
from elt.errors import LaurelError

Command = TypeVar("Command", bound=Callable[..., Any])

_SETTLED = {"loaded", "rejected", "held", "withdrawn", "failed"}
_GOOD = {"stored", "loading", "loaded", "held"}
_POLL_SECONDS = 1.0
_SHOWN_ISSUES = 20


def _way_options(command: Command) -> Command:
    """Add the options that say which Laurel is meant."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--key", envvar="LAUREL_API_KEY", help="Your API key. [env: LAUREL_API_KEY]"),
        click.option(
            "--url",
            envvar="LAUREL_URL",
            help="Address of the Laurel that knows the key. [env: LAUREL_URL; default: this machine's]",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dataset", required=True, help="What the file holds, such as students.")
@click.option("--school", default=None, help="School of rows that name none. [default: the main school]")
@click.option("--title", default=None, help="A short name for people.")
@click.option("--note", default=None, help="Anything worth knowing about the file.")
@click.option("--fixes", type=click.UUID, default=None, help="The upload whose rejected rows this corrects.")
@click.option("--encoding", default=None, help="Such as utf-8 or cp1252. [default: found]")
@click.option("--delimiter", default=None, help="One of , ; | tab. [default: found]")
@click.option("--date-format", default=None, help="Such as DD/MM/YYYY. [default: YYYY-MM-DD]")
@click.option("--wait", is_flag=True, help="Wait until it is loaded or refused.")
@_way_options
def upload(
    file: Path,
    dataset: str,
    school: str | None,
    fixes: UUID | None,
    wait: bool,
    url: str | None,
    key: str | None,
    as_json: bool,
    **said: str | None,
) -> None:
    """Hand in FILE.

    Example: laurel upload students.csv --dataset students --wait
    """
    fields = {"dataset": dataset, "school_id": school, "fixes": str(fixes) if fixes else None, **said}
    with open_way(url, key) as way:
        shown = way.upload(file, {name: value for name, value in fields.items() if value is not None})
        if wait:
            shown = _wait(way, shown["id"])
    _show(shown, as_json)


@click.command()
@click.argument("upload", type=click.UUID, required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200), help="How many to list.")
@_way_options
def status(upload: UUID | None, limit: int, url: str | None, key: str | None, as_json: bool) -> None:
    """Show what became of UPLOAD; without one, list the newest uploads.

    Example: laurel status 0193c0de-0000-7000-8000-000000000000
    """
    with open_way(url, key) as way:
        if upload is not None:
            _show(way.show(upload), as_json)
            return
        found = way.list(limit)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(
        Column("upload", no_wrap=True, min_width=36),  # whole, since other commands take it
        *(Column(name, overflow="fold") for name in ("dataset", "file")),
        Column("status", no_wrap=True),
        *("read", "rejected", "handed in"),
        box=None,
    )
    for item in found:
        counts = item["counts"]
        table.add_row(
            item["id"],
            item["dataset"],
            escape(item["filename"]),
            item["status"],
            _number(counts["read"]),
            _number(counts["rejected"]),
            item["received_at"][:16].replace("T", " "),
        )
    print_table(table)


@click.command()
@click.argument("upload", type=click.UUID)
@_way_options
def withdraw(upload: UUID, url: str | None, key: str | None, as_json: bool) -> None:
    """Withdraw UPLOAD: its rows leave the warehouse, and what they had overridden shows again.

    Example: laurel withdraw 0193c0de-0000-7000-8000-000000000000
    """
    with open_way(url, key) as way:
        _show(way.withdraw(upload), as_json)


@click.command()
@click.argument("upload", type=click.UUID)
@_way_options
def retry(upload: UUID, url: str | None, key: str | None, as_json: bool) -> None:
    """Let UPLOAD, which failed for a reason of Laurel's own, wait to be loaded again.

    Example: laurel retry 0193c0de-0000-7000-8000-000000000000
    """
    with open_way(url, key) as way:
        _show(way.retry(upload), as_json)


def _wait(way: Way, upload_id: str) -> Json:
    shown = way.show(UUID(upload_id))
    while shown["status"] not in _SETTLED:
        time.sleep(_POLL_SECONDS)
        shown = way.show(UUID(upload_id))
    if shown["status"] not in _GOOD:
        raise LaurelError(f"Upload {upload_id} is {shown['status']}: {shown['reason'] or 'no reason given'}")
    return shown


def _show(shown: Json, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(f"{shown['id']}  {shown['dataset']}  {shown['filename']}  {shown['status']}")
    if shown["reason"]:
        click.echo(f"  {shown['reason']}")
    counts = shown["counts"]
    if counts["read"] is not None:
        click.echo(
            f"  rows: {counts['read']} read, {counts['accepted']} accepted, {counts['rejected']} rejected, "
            f"{counts['repeated']} repeated, {counts['warnings']} findings about accepted rows"
        )
    issues = shown.get("issues", [])
    for issue in issues[:_SHOWN_ISSUES]:
        where = f"line {issue['line']}" if issue["line"] else "file"
        click.echo(f"  {where}, {issue['column'] or 'row'}: {issue['hint']}")
    if len(issues) > _SHOWN_ISSUES or shown.get("more_issues"):
        click.echo("  … and more; rejects.csv of the upload has all rejected rows.")


def _number(count: int | None) -> str:
    return "" if count is None else str(count)
