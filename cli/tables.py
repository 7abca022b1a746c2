"""How the commands print tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_UNBOUNDED = 1_000  # columns; only what is shown is printed


def print_table(table: Table) -> None:
    """Print it as wide as the terminal; for a program or a file, each row whole on one line."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_UNBOUNDED)
    console.print(table)
