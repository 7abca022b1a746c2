"""`laurel generate`: the files that are written from the contracts."""

from __future__ import annotations

import sys

import click

from elt.generate import differing_files, write_files
from elt.settings import PROJECT_DIR


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail and name the files that differ.")
def generate(check: bool) -> None:
    """Write dbt's sources and the data dictionary from the contracts.

    Example: laurel generate --check
    """
    paths = differing_files(PROJECT_DIR) if check else write_files(PROJECT_DIR)
    for path in paths:
        click.echo(f"{'differs' if check else 'written'}: {path}")
    if check and paths:
        click.echo("Run `laurel generate` and commit what it writes.", err=True)
        sys.exit(1)
