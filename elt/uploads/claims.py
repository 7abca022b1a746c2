"""Who is loading what: one loader at a time for an upload together with its fixes; nobody beside a replay.

A claim is a lock of the database session, so it ends with its holder, however that ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import psycopg

from elt.errors import TransientError
from elt.warehouse import Connection

_REPLAY_LOCK = 0x7265706C6179  # "replay"


@contextmanager
def claim_family(connection: Connection, root_id: UUID) -> Iterator[bool]:
    """Claim an upload and its fixes for this session; yields False if another session has them."""
    row = connection.execute("select pg_try_advisory_lock(%s) as mine", (_lock(root_id),)).fetchone()
    is_mine = bool(row and row["mine"])
    try:
        yield is_mine
    finally:
        if is_mine:
            with suppress(psycopg.Error):  # a connection that broke has let go already
                connection.execute("select pg_advisory_unlock(%s)", (_lock(root_id),))


@contextmanager
def wait_for_family(connection: Connection, root_id: UUID) -> Iterator[None]:
    """Claim an upload and its fixes for this session, after whoever has them."""
    connection.execute("select pg_advisory_lock(%s)", (_lock(root_id),))
    try:
        yield
    finally:
        with suppress(psycopg.Error):
            connection.execute("select pg_advisory_unlock(%s)", (_lock(root_id),))


def claimed_families(connection: Connection, root_ids: set[UUID]) -> set[UUID]:
    """Those of the given families that some loader has claimed right now."""
    if not root_ids:
        return set()
    rows = connection.execute(
        """
        select (classid::bigint << 32) | objid::bigint as lock from pg_locks
        where locktype = 'advisory' and objsubid = 1 and granted
          and database = (select oid from pg_database where datname = current_database())
        """
    )
    held = {row["lock"] for row in rows}
    return {root_id for root_id in root_ids if _lock(root_id) in held}


@contextmanager
def claim_replay(connection: Connection) -> Iterator[None]:
    """Keep discoveries and other replays out; waits for those that are under way."""
    connection.execute("select pg_advisory_lock(%s)", (_REPLAY_LOCK,))
    try:
        yield
    finally:
        with suppress(psycopg.Error):
            connection.execute("select pg_advisory_unlock(%s)", (_REPLAY_LOCK,))


@contextmanager
def keep_replay_out(connection: Connection) -> Iterator[None]:
    """Let no replay begin meanwhile; any number may do this at the same time.

    Raises:
        TransientError: a replay is running, or waits to.
    """
    row = connection.execute("select pg_try_advisory_lock_shared(%s) as free", (_REPLAY_LOCK,)).fetchone()
    if not (row and row["free"]):
        raise TransientError("A replay is running; try again when it is done.", retry_after=60)
    try:
        yield
    finally:
        with suppress(psycopg.Error):
            connection.execute("select pg_advisory_unlock_shared(%s)", (_REPLAY_LOCK,))


def _lock(root_id: UUID) -> int:
    digest = hashlib.blake2b(b"laurel-load" + root_id.bytes, digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
