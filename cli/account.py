"""Who acts from the command line."""

from __future__ import annotations

import getpass


def caller() -> str:
    """The name that the ledger keeps: `cli:` and the account on this machine."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return "cli:unknown"
