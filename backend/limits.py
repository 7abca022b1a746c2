"""How often one caller, and one address, may ask: counted in the database, so that workers share one count.

Answers that need no database (health, documentation) are not counted, so that they are there without it. Nor
are the public ones about countries: each process reads those from the database a few times a second at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from flask import request

from backend.services import services
from elt.errors import TooManyRequests
from elt.people.rates import count, network_of
from elt.warehouse import Connection

UNLIMITED = frozenset({"docs:read", "health:read", "metrics:read", "live:public"})

_WINDOW_SECONDS = 60
# Of each process: a sign-in holds a connection while its password is hashed, and strangers can begin many.
_SIGN_INS = BoundedSemaphore(4)
_PATIENCE_SECONDS = 5.0


def limit_address(connection: Connection) -> None:
    """Count a request for the address it comes from.

    Raises:
        TooManyRequests: there were more than `LAUREL_ADDRESS_REQUESTS_PER_MINUTE`.
    """
    _count(
        connection,
        f"address:{network_of(request.remote_addr or '')}",
        services().settings.address_requests_per_minute,
    )


def limit_caller(connection: Connection, caller: str) -> None:
    """Count a request for the key or the person behind it.

    Raises:
        TooManyRequests: there were more than `LAUREL_CALLER_REQUESTS_PER_MINUTE`.
    """
    _count(connection, f"caller:{caller}", services().settings.caller_requests_per_minute)


@contextmanager
def turn_to_sign_in() -> Iterator[None]:
    """Wait until few others are signing in, before a connection is taken.

    Raises:
        TooManyRequests: it took too long.
    """
    if not _SIGN_INS.acquire(timeout=_PATIENCE_SECONDS):
        raise TooManyRequests("Many people are signing in at this moment. Try again.", 5)
    try:
        yield
    finally:
        _SIGN_INS.release()


def _count(connection: Connection, key: str, most: int) -> None:
    counted, seconds_left = count(connection, key, _WINDOW_SECONDS)
    if counted > most:
        raise TooManyRequests(f"At most {most} requests a minute. Wait {seconds_left} s.", seconds_left)
