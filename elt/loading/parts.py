"""Loading a large file in parts: ranges of its bytes, by several processes or machines at once.

1. `split_version` cuts the file and makes a table for its rows that nobody reads.
2. `load_part`, once for each range: one transaction copies its rows there and writes down what it found.
3. The load itself (`elt.loading.loader`) then finds all rows there (`take_parts`) and reads no file: it makes
   the table a part of the dataset's, in the one transaction that decides what becomes of the version.

Parts only save time. Where anything about them is missing, outdated or out of the ordinary they are thrown
away, and the load reads the whole file as if there had been none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from uuid6 import uuid7

from elt.contracts import match_header
from elt.errors import NotFound, TransientError, UploadRejected
from elt.loading.failures import describe, in_our_words
from elt.loading.raw_tables import (
    attach_part_table,
    complete_part_table,
    create_part_table,
    part_table,
    remove_repeats,
)
from elt.loading.rows import (
    ROWS_IN_MEMORY,
    DamagedObjectError,
    HashSpool,
    IssueSpool,
    Spool,
    Tally,
    VerifiedStream,
    copy_part,
)
from elt.loading.source import Source, source_of
from elt.log import get_logger
from elt.reading.ranges import WINDOW_BYTES, Range, can_be_cut, find_ranges
from elt.reading.reader import Detected, read_blocks
from elt.reading.repeats import RepeatFinder, rows_from, way_of_hashing
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection, connect

MOST_PARTS = 64  # each is a task of Airflow's, and costs its start

# For who is at a table that is to be dropped; else the next run drops it. Shorter than the server takes to
# look for deadlocks: who is at it may wait for us.
_PATIENCE_TO_DROP = "500ms"

# For a backup, which reads all tables; else the file is read as a whole.
_PATIENCE_TO_SHOW = "5s"

log = get_logger(__name__)


class _SomebodyErasedError(Exception):
    """The part holds rows of somebody who was erased, which the load of the whole file deals with."""


class _OvertakenError(Exception):
    """The part was loaded, or thrown away with its split, while this process loaded it."""


def split_version(settings: Settings, store: Store, upload_id: UUID, version: int) -> list[int]:
    """Cut a version's file where it is larger than the settings say; a second call finds the same parts.

    Returns:
        The parts that wait to be loaded; none where the file is loaded as a whole, or all parts are loaded.

    Raises:
        TransientError: store or database went away.
    """
    with connect(settings.database_url.get_secret_value(), application_name="laurel-split") as connection:
        described = _waiting(connection, upload_id, version)
        if described is None or not settings.split_bytes or described["size_bytes"] <= settings.split_bytes:
            return []
        source = source_of(connection, settings, described)
        if not _is_plain_file(source):
            return []
        waiting = _waiting_parts(connection, source)
        if waiting is None:
            _split(connection, store, source, settings.split_bytes)
            waiting = _waiting_parts(connection, source)
        return waiting or []


def load_part(settings: Settings, store: Store, upload_id: UUID, version: int, part: int) -> bool:
    """Load one part of a version, unless that has been done.

    Returns:
        Whether nothing is left to do but to load the version: all parts are there, or they were thrown away.

    Raises:
        TransientError: store or database went away.
    """
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-loader", role="laurel_loader") as connection:
        described = _waiting(connection, upload_id, version)
        if described is None:
            return False
        source = source_of(connection, settings, described)
        split = _Split.of(connection, source)
        if split is None:
            return True
        try:
            split.load(store, part)
        except (psycopg.OperationalError, OSError) as error:
            raise in_our_words(error) from error
        except TransientError as error:
            if not isinstance(error, DamagedObjectError):
                raise
            _give_up(connection, source, error)
        except _OvertakenError:
            log.info("part_overtaken", upload_id=str(upload_id), version=version, part=part)
        except Exception as error:
            # What is wrong with the file, the load of the whole file says with line and reason.
            _give_up(connection, source, error)
        return not _waiting_parts(connection, source)


def take_parts(connection: Connection, source: Source, spool: IssueSpool) -> Tally | None:
    """Make the rows of all parts rows of raw, in the caller's transaction; fills `spool`.

    Returns:
        What the parts have found; None, with nothing done, where the file must be read.

    Raises:
        psycopg.OperationalError: the database went away.
    """
    split = _Split.of(connection, source)
    if split is None or not split.is_complete():
        return None
    try:
        with connection.transaction():
            return split.take(spool) if split.is_free() else None
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        # Its table does not suit the dataset's, which may have got a column or a check since.
        _log_given_up(source, error)
        spool.clear()
        return None


def discard_parts(connection: Connection, upload_id: UUID, version: int) -> None:
    """Throw away what is left of the parts of a version, and of those before it; inside a transaction."""
    gone = connection.execute(
        "delete from ops.splits where upload_id = %s and version <= %s returning split_id",
        (upload_id, version),
    ).fetchall()
    for row in gone:
        _drop(connection, part_table(row["split_id"]))


def discard_outdated(connection: Connection) -> int:
    """Remove what nobody needs of files that were loaded in parts; returns how many tables.

    Tables of parts whose version does not wait any more, and those in raw whose rows have all left it.
    """
    connection.execute(
        """
        delete from ops.splits s using ops.upload_versions v
        where v.upload_id = s.upload_id and v.version = s.version and v.status not in ('stored', 'loading')
        """
    )
    tables = connection.execute(
        r"""
        select c.relnamespace::regnamespace::text as schema, c.relname as name
        from pg_class c
        where c.relkind = 'r' and c.relname ~ '^rows_[0-9a-f]{32}$'
          and (c.relnamespace = to_regnamespace('parts')
               and not exists (select from ops.splits s
                               where c.relname = 'rows_' || replace(s.split_id::text, '-', ''))
            or c.relnamespace = to_regnamespace('raw')
               and not exists (select from ops.uploads u where
                               u.upload_id || ':' || u.live_version = obj_description(c.oid, 'pg_class')))
        """
    ).fetchall()
    drops = {"parts": _drop, "raw": _drop_empty}
    return sum(
        drops[table["schema"]](connection, sql.Identifier(table["schema"], table["name"])) for table in tables
    )


def discard_unfinished(connection: Connection) -> None:
    """Throw away all that is loaded in parts and not shown, after whoever is at it: somebody is erased.

    By the owner of the tables, outside a transaction: whoever is at a table must not wait for this.
    """
    connection.execute("delete from ops.splits")
    # All of them: one that could not be dropped with its split waits here for `discard_outdated`.
    for table in connection.execute(
        "select tablename as name from pg_tables where schemaname = 'parts'"
    ).fetchall():
        connection.execute(sql.SQL("drop table if exists {}").format(sql.Identifier("parts", table["name"])))


def _is_plain_file(source: Source) -> bool:
    """Not a fix, whose rows have to find the lines they stand for, nor a file that an erasure has changed."""
    return not source.is_fix and not source.gone.total


def _waiting(connection: Connection, upload_id: UUID, version: int) -> dict[str, Any] | None:
    return connection.execute(
        """
        select u.*, v.* from ops.uploads u join ops.upload_versions v using (upload_id)
        where v.upload_id = %s and v.version = %s and v.status in ('stored', 'loading')
          and v.version > coalesce(u.live_version, 0) and u.withdrawn_at is null
        """,
        (upload_id, version),
    ).fetchone()


def _waiting_parts(connection: Connection, source: Source) -> list[int] | None:
    """None where the version is not split, or the parts rest on what has changed since."""
    row = connection.execute(
        """
        select coalesce(array_agg(part order by part) filter (where found is null), '{}') as waiting
        from ops.splits join ops.split_parts using (split_id)
        where upload_id = %s and version = %s and basis = %s group by split_id
        """,
        (source.upload_id, source.version, source.basis),
    ).fetchone()
    return row["waiting"] if row else None


def _split(connection: Connection, store: Store, source: Source, split_bytes: int) -> None:
    """Find the ranges, and make what their loads write to. Does nothing for a file that cannot be cut."""
    try:
        detected, ranges = _cut(store, source, split_bytes)
    except (UploadRejected, DamagedObjectError, NotFound):
        return  # the load says what is wrong
    if len(ranges) < 2:
        return
    split_id = UUID(int=uuid7().int)
    with connection.transaction():
        discard_parts(connection, source.upload_id, source.version)
        made = connection.execute(
            """
            insert into ops.splits (split_id, upload_id, version, basis, detected)
            select %s, upload_id, version, %s, %s from ops.upload_versions
            where upload_id = %s and version = %s and status in ('stored', 'loading')
            on conflict do nothing
            """,
            (split_id, source.basis, Jsonb(detected.to_dict()), source.upload_id, source.version),
        ).rowcount
        if not made:
            return
        with connection.cursor() as cursor:
            cursor.executemany(
                """
                insert into ops.split_parts (split_id, part, start_byte, length_bytes, first_line, sha256)
                values (%s, %s, %s, %s, %s, %s)
                """,
                [
                    (split_id, part, each.start, each.length, each.line, each.sha256)
                    for part, each in enumerate(ranges)
                ],
            )
        note = f"{source.upload_id}:{source.version}"
        create_part_table(connection, source.contract, split_id, note)
    log.info("version_split", upload_id=str(source.upload_id), version=source.version, parts=len(ranges))


def _cut(store: Store, source: Source, split_bytes: int) -> tuple[Detected, list[Range]]:
    with store.open(source.object_key) as stream:
        detected, _ = read_blocks(stream, source.options)
    if match_header(source.contract, detected.header).is_rejected:
        return detected, []
    if not can_be_cut(detected, source.options):
        return detected, []
    count = min(MOST_PARTS, -(-source.size // split_bytes))
    range_bytes = -(-source.size // count)
    with store.open(source.object_key) as stream:
        verified = VerifiedStream(stream, source)
        ranges = find_ranges(
            verified, detected, range_bytes=range_bytes, window_bytes=min(WINDOW_BYTES, split_bytes)
        )
        if ranges:
            verified.require_whole()
    return detected, ranges


@dataclass(frozen=True, slots=True)
class _Split:
    """A version that is loaded in parts, which rest on what still holds."""

    connection: Connection
    source: Source
    split_id: UUID
    detected: Detected

    @classmethod
    def of(cls, connection: Connection, source: Source) -> _Split | None:
        row = connection.execute(
            """
            select split_id, detected from ops.splits
            where upload_id = %s and version = %s and basis = %s
            """,
            (source.upload_id, source.version, source.basis),
        ).fetchone()
        return cls(connection, source, row["split_id"], Detected(**row["detected"])) if row else None

    def load(self, store: Store, part: int) -> None:
        """Copy the rows of a part, unless it is there; all or nothing.

        Raises:
            _OvertakenError: somebody else was quicker.
            _SomebodyErasedError: only the load of the whole file may deal with it.
        """
        range_ = self._range_that_waits(part)
        if range_ is None:
            return
        tally = Tally()
        with IssueSpool() as issues, HashSpool() as hashes, self.connection.transaction():
            copy_part(
                self.connection, store, self.source, range_, self.detected, part_table(self.split_id),
                tally, issues, hashes,
            )  # fmt: skip
            if tally.hits or tally.traces:
                raise _SomebodyErasedError
            self._note_found(part, tally)
            self._keep(part, "issues", issues)
            self._keep(part, "hashes", hashes)

    def _range_that_waits(self, part: int) -> Range | None:
        row = self.connection.execute(
            """
            select start_byte, length_bytes, first_line, sha256 from ops.split_parts
            where split_id = %s and part = %s and found is null
            """,
            (self.split_id, part),
        ).fetchone()
        return Range(*row.values()) if row else None

    def _keep(self, part: int, kind: str, spool: Spool) -> None:
        for number, content in enumerate(spool.chunks()):
            self.connection.execute(
                "insert into ops.split_findings (split_id, part, kind, number, content) "
                "values (%s, %s, %s, %s, %b)",
                (self.split_id, part, kind, number, content),
            )

    def _note_found(self, part: int, tally: Tally) -> None:
        found = {
            "read": tally.read,
            "accepted": tally.accepted,
            "rejected": tally.rejected,
            "warnings": tally.warnings,
            "hashing": way_of_hashing(),
        }
        noted = self.connection.execute(
            "update ops.split_parts set found = %s where split_id = %s and part = %s and found is null",
            (Jsonb(found), self.split_id, part),
        )
        if not noted.rowcount:
            raise _OvertakenError

    def is_complete(self) -> bool:
        """Whether all parts are there, were hashed alike, and hold any rows."""
        row = self.connection.execute(
            """
            select bool_and(found is not null) and count(distinct found ->> 'hashing') = 1
                and sum((found ->> 'read')::bigint) > 0 as is_complete
            from ops.split_parts where split_id = %s
            """,
            (self.split_id,),
        ).fetchone()
        return bool(row and row["is_complete"])

    def is_free(self) -> bool:
        """Whether nobody is at the table; then it is locked until the transaction ends."""
        return _lock(self.connection, part_table(self.split_id), _PATIENCE_TO_SHOW)

    def take(self, spool: IssueSpool) -> Tally:
        """Add up what the parts have found, and make their rows rows of raw."""
        contract, table = self.source.contract, part_table(self.split_id)
        tally = Tally(detected=self.detected)
        tally.issues += match_header(contract, self.detected.header).issues
        self._add_up(tally)
        for content in self._kept("issues"):
            spool.add(content)
        with _as_owner(self.connection):
            complete_part_table(self.connection, self.split_id)
        with RepeatFinder(rows_in_memory=ROWS_IN_MEMORY) as repeats:
            for content in self._kept("hashes"):
                repeats.add_hashed(rows_from(content))
            repeated = remove_repeats(
                self.connection, contract, self.source.upload_id, repeats.suspects(), table=table
            )
        tally.repeated += repeated
        tally.accepted -= repeated
        with _as_owner(self.connection):
            attach_part_table(self.connection, contract, self.split_id)
        return tally

    def _add_up(self, tally: Tally) -> None:
        row = self.connection.execute(
            """
            select sum((found ->> 'read')::bigint)::bigint as read,
                sum((found ->> 'accepted')::bigint)::bigint as accepted,
                sum((found ->> 'rejected')::bigint)::bigint as rejected,
                sum((found ->> 'warnings')::bigint)::bigint as warnings
            from ops.split_parts where split_id = %s
            """,
            (self.split_id,),
        ).fetchone()
        assert row is not None  # noqa: S101 - an aggregate always answers with one row
        for name, count in row.items():
            setattr(tally, name, count)

    def _kept(self, kind: str) -> Iterator[bytes]:
        with self.connection.cursor(binary=True) as cursor:
            rows = cursor.stream(
                """
                select content from ops.split_findings where split_id = %s and kind = %s
                order by part, number
                """,
                (self.split_id, kind),
            )
            for row in rows:
                yield row["content"]


def _give_up(connection: Connection, source: Source, error: Exception) -> None:
    _log_given_up(source, error)
    with connection.transaction():
        discard_parts(connection, source.upload_id, source.version)


def _log_given_up(source: Source, error: Exception) -> None:
    log.info(
        "parts_given_up", upload_id=str(source.upload_id), version=source.version, reason=describe(error)
    )


def _drop(connection: Connection, table: sql.Identifier) -> bool:
    return _alter(connection, sql.SQL("drop table if exists {}"), table, _PATIENCE_TO_DROP)


def _drop_empty(connection: Connection, table: sql.Identifier) -> bool:
    """Drop a table of raw, unless rows are left: its comment, which says whose they were, may be lost."""
    with connection.transaction():
        if not _lock(connection, table, _PATIENCE_TO_DROP):
            return False
        if connection.execute(sql.SQL("select from only {} limit 1").format(table)).rowcount:
            log.warning("table_kept", table=table.as_string(None), reason="its rows are of no live version")
            return False
        return _drop(connection, table)


def _lock(connection: Connection, table: sql.Identifier, patience: str) -> bool:
    """Keep everybody out of a table until the transaction ends; False where somebody is at it for longer."""
    return _alter(connection, sql.SQL("lock table {} in access exclusive mode"), table, patience)


def _alter(connection: Connection, statement: sql.SQL, table: sql.Identifier, patience: str) -> bool:
    """Do something to a table as its owner.

    Returns:
        False, with nothing done, where somebody is at it for longer, or it has gone.
    """
    try:
        with connection.transaction(), _as_owner(connection):
            connection.execute("select set_config('lock_timeout', %s, true)", (patience,))
            connection.execute(statement.format(table))
            connection.execute("set local lock_timeout to default")
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
        return False
    return True


@contextmanager
def _as_owner(connection: Connection) -> Iterator[None]:
    """Do what only the owner of the tables may; inside a transaction."""
    row = connection.execute("select current_setting('role') as role").fetchone()
    assert row is not None  # noqa: S101 - a setting always answers
    connection.execute("set local role none")
    yield
    connection.execute("select set_config('role', %s, true)", (row["role"],))
