"""Who acts from the command line, and what they leave in the audit trail."""

from __future__ import annotations

import getpass
from typing import Any

from elt.audit.trail import record
from elt.settings import Settings
from elt.warehouse import connect


def caller() -> str:
    """The name that the ledger keeps: `cli:` and the account on this machine."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return "cli:unknown"


def write_down(settings: Settings, action: str, subject: str = "", **detail: Any) -> None:
    """Leave a line about what is done here, where elt leaves none in the act's own transaction."""
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-audit") as connection:
        record(connection, caller(), action, subject, detail)
