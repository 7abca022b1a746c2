"""What a PostgreSQL source's errors are called in Laurel's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from elt.errors import SourceFault, SourceUnavailable


@contextmanager
def in_our_words() -> Iterator[None]:
    """The server's errors, without its text beyond the first line; that names tables, not rows."""
    try:
        yield
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
        raise SourceUnavailable(
            f"The database did not answer in time ({type(error).__name__}): it is slow, or somebody keeps "
            "the table locked. It is tried again with the next run."
        ) from None
    except psycopg.OperationalError as error:
        text = str(error).strip().splitlines()
        raise SourceUnavailable(f"PostgreSQL: {text[0] if text else type(error).__name__}") from None
    except psycopg.Error as error:
        raise SourceFault(f"PostgreSQL refused to read the table: {type(error).__name__}.") from None
