"""Tries a backup: restores it into a database of its own, compares each table with the manifest, drops it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from elt.backup.contents import differences, snapshot, sum_tables
from elt.backup.databases import Server, connect_server, scratch_address
from elt.backup.manifest import Dump, Manifest, address_of, find_manifest, note_verified
from elt.backup.streams import restore_database
from elt.errors import BackupError, ConfigurationError
from elt.log import get_logger
from elt.pipeline import Progress
from elt.postgres_programs import find_program
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import connect

_MOST_DIFFERENCES = 20  # said of one dump

log = get_logger(__name__)


def verify_backup(
    settings: Settings, store: Store, name: str = "latest", *, progress: Progress | None = None
) -> Manifest:
    """Restore each dump beside the database that it was taken of, compare, and note that it was equal.

    Databases that killed calls have left are dropped. The server needs room for the databases a second time.

    Raises:
        BackupError: the backup is damaged, or restores to something else; names the tables.
        ConfigurationError: the user may not make databases, or there is no database to restore beside.
        Conflict: another backup or restore is running.
        NotFound: there is no such backup.
        TransientError: a server or the store went away.
    """
    say = progress or (lambda _text: None)
    manifest = find_manifest(store, name)
    for dump in manifest.dumps:
        url = address_of(settings, dump.database)
        if url is None:
            raise ConfigurationError(
                f"The backup {manifest.name} has Airflow's database. To try it, set "
                "LAUREL_AIRFLOW_DATABASE_URL."
            )
        with connect_server(url) as server:
            server.drop_leftovers(datetime.now(UTC))
            with _scratch(server) as scratch:
                say(f"restoring {dump.database} beside it")
                address = scratch_address(url, scratch)
                restore_database(restorer(server, dump), store, dump, address, rights=False)
                say(f"comparing {dump.database}")
                require_equal(dump, address)
    note_verified(store, manifest.name, datetime.now(UTC))
    log.info("backup_verified", backup=manifest.name)
    return manifest


def restorer(server: Server, dump: Dump) -> Path:
    """The `pg_restore` for a dump and a server.

    Raises:
        BackupError: the server is older than the one that the dump was taken of.
    """
    if server.version < dump.server_major:
        raise BackupError(
            f"{dump.key} was taken of PostgreSQL {dump.server_major}, the server here is {server.version}. "
            f"Restore it on a server of version {dump.server_major} or newer."
        )
    return find_program("pg_restore", server.version)


def require_equal(dump: Dump, url: str) -> None:
    """Compare a restored database with what the manifest says was in the dumped one.

    Raises:
        BackupError: names the tables that differ.
    """
    with connect(url, application_name="laurel-backup") as connection, snapshot(connection):
        found = differences(dump.tables, sum_tables(connection))
    if found:
        named = "; ".join(found[:_MOST_DIFFERENCES])
        more = f"; and {len(found) - _MOST_DIFFERENCES} more" if len(found) > _MOST_DIFFERENCES else ""
        raise BackupError(
            f"{dump.key} restores to something else than was dumped: {named}{more}. Use another backup "
            "(laurel backup list), and take a new one."
        )


@contextmanager
def _scratch(server: Server) -> Iterator[str]:
    """A database to try a backup in, which is dropped in the end."""
    name = server.create("check")
    try:
        yield name
    finally:
        server.drop(name)
