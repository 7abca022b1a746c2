"""What a PostgreSQL source's errors are called in Laurel's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from elt.errors import ConfigurationError, SourceFault, SourceUnavailable


@contextmanager
def in_our_words() -> Iterator[None]:
    """The server's errors, without its text beyond the first line; that names tables, not rows."""
    try:
        yield
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
        raise SourceUnavailable(
            f"The database did not answer in time ({type(error).__name__}): it is slow, or somebody keeps "
            "the table locked; to try again later may be enough."
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise SourceFault(
            f"PostgreSQL: {error.diag.message_primary}. The role of the address lacks a right; "
            "whoever owns the table may grant it."
        ) from None
    except psycopg.errors.UndefinedObject as error:
        raise SourceFault(f"PostgreSQL: {error.diag.message_primary}.") from None
    except psycopg.OperationalError as error:
        text = str(error).strip().splitlines()
        raise SourceUnavailable(f"PostgreSQL: {text[0] if text else type(error).__name__}") from None
    except psycopg.Error as error:
        raise SourceFault(f"PostgreSQL refused the statement: {type(error).__name__}.") from None


def read_address(address: str) -> dict[str, Any]:
    """The parts of an address; the driver's own complaints would tell the password.

    Raises:
        ConfigurationError: it cannot be read; tells nothing of it.
    """
    try:
        parts = conninfo_to_dict(address)
    except psycopg.Error:
        parts = None
    # A password with such a sign in it ends early, and its rest is taken for the host or the port.
    is_torn = parts is not None and (
        "@" in str(parts.get("host", "")) or not str(parts.get("port") or 0).replace(",", "").isdigit()
    )
    if parts is None or is_torn:
        raise ConfigurationError(
            "The address is none of a PostgreSQL database: postgresql://role:password@host:5432/database was "
            "expected, with %40 for @, %3A for :, %2F for / and %25 for % in the password."
        )
    return parts
