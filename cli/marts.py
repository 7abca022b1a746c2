"""`laurel export`: a mart as a file."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import cast, get_args

import click

from cli.account import write_down
from elt.serving.marts import Format, stream_mart
from elt.settings import load_settings
from elt.warehouse import connect


@click.command()
@click.argument("mart")
@click.option(
    "--format", type=click.Choice(get_args(Format)), default=None, help="[default: FILE's ending, else csv]"
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="[default: standard output]"
)
@click.option("--columns", metavar="A,B", help="Only these columns, in this order. [default: all]")
@click.option(
    "--where",
    metavar="COLUMN=VALUE",
    multiple=True,
    help="Only rows where this holds; COLUMN__gte=VALUE and the like compare. May be repeated.",
)
@click.option("--limit", type=click.IntRange(min=0), help="At most this many rows. [default: all]")
def export(
    mart: str,
    format: Format | None,
    output: Path | None,
    columns: str | None,
    where: tuple[str, ...],
    limit: int | None,
) -> None:
    """Write the rows of MART as CSV, Parquet or JSON.

    Example: laurel export mart_student_risk --where school_id=main -o risk.parquet
    """
    chosen = format or _format_of(output)
    if chosen == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for reading on a screen: name a file with -o.")
    names = [name.strip() for name in columns.split(",")] if columns else None
    settings, conditions = load_settings(), _conditions(where)
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-export") as connection:
        pieces = stream_mart(connection, mart, names, conditions, chosen, limit=limit)
        write_down(
            settings, "marts:read", mart=mart, format=chosen, columns=columns, where=sorted(conditions)
        )
        if output is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
        else:
            _write_whole(output, pieces)


def _format_of(output: Path | None) -> Format:
    ending = output.suffix.lower().removeprefix(".") if output else ""
    return cast("Format", ending) if ending in get_args(Format) else "csv"


def _conditions(where: tuple[str, ...]) -> dict[str, list[str]]:
    conditions: dict[str, list[str]] = {}
    for condition in where:
        name, equals, value = condition.partition("=")
        if not equals:
            raise click.BadParameter(f"expected COLUMN=VALUE, found {condition!r}", param_hint="--where")
        conditions.setdefault(name.strip(), []).append(value)
    return conditions


def _write_whole(output: Path, pieces: Iterable[bytes]) -> None:
    """The file appears when it is complete; a failed export leaves the one that was there."""
    try:
        with tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False) as file:
            try:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                Path(file.name).chmod(0o666 & ~_umask())
                Path(file.name).replace(output)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise click.FileError(str(output), hint=error.strerror) from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
