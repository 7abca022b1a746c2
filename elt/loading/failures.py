"""What went wrong while rows were loaded, in Laurel's words and without any cell of the file."""

from __future__ import annotations

import errno
import traceback

import psycopg

from elt.errors import DatabaseUnavailable, DiskFull, LaurelError, LoadError, TransientError


def in_our_words(error: psycopg.OperationalError | OSError) -> TransientError:
    """An error that may pass: of the database, or of the disk that holds what is kept aside."""
    if isinstance(error, psycopg.errors.DiskFull):
        return DiskFull("PostgreSQL has no room left for the rows. Free some space.")
    if isinstance(error, OSError):
        return DiskFull(f"Temporary files cannot be written ({errno.errorcode.get(error.errno or 0, '?')}).")
    return DatabaseUnavailable(f"PostgreSQL went away during the load ({describe(error)}).")


def describe(error: Exception) -> str:
    """What went wrong, without the text of others' errors: it may hold cells of the file."""
    if isinstance(error, LoadError):
        return error.detail
    if isinstance(error, psycopg.Error):
        parts = [type(error).__name__, error.sqlstate, error.diag.constraint_name, error.diag.column_name]
        return f"PostgreSQL: {', '.join(part for part in parts if part)}"
    title = error.title if isinstance(error, LaurelError) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{title}{where}"
