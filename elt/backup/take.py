"""Takes a backup: a dump of each database, streamed to the object store, and what was in it at that time."""

from __future__ import annotations

from datetime import UTC, datetime

from elt.backup.contents import find_revision, list_grantees, snapshot, sum_tables
from elt.backup.databases import connect_server
from elt.backup.keep import remove_cut_off
from elt.backup.manifest import (
    DATABASES,
    DatabaseName,
    Dump,
    Manifest,
    address_of,
    dump_key,
    list_backups,
    new_name,
    write_manifest,
)
from elt.backup.streams import dump_database
from elt.errors import Conflict
from elt.log import get_logger
from elt.pipeline import Progress
from elt.postgres_programs import find_program, program_version
from elt.settings import Settings
from elt.store.base import Store
from elt.transforming.transform import keep_builds_out
from elt.warehouse import Connection, connect

log = get_logger(__name__)


def take_backup(
    settings: Settings, store: Store, *, progress: Progress | None = None, now: datetime | None = None
) -> Manifest:
    """Take a backup of `elt`, and of Airflow's database where one is set. What was cut off before is removed.

    No marts are built while `elt` is dumped: they would wait for the dump's locks, and the pages for them.

    Raises:
        BackupError: `pg_dump` failed.
        Conflict: another backup or restore is running.
        TransientError: a server or the store went away, or has no room; or tables were changed all the time.
    """
    name = new_name(now or datetime.now(UTC))
    addresses = {database: address_of(settings, database) for database in DATABASES}
    with connect_server(settings.database_url.get_secret_value()):
        remove_cut_off(store)
        if any(backup.name == name for backup in list_backups(store)):
            raise Conflict(f"There is a backup of this very second, {name}. Try again.")
        dumps = [
            _dump(store, name, database, url, progress or (lambda _text: None))
            for database, url in addresses.items()
            if url is not None
        ]
        manifest = Manifest(name, tuple(dumps))
        write_manifest(store, manifest)
    log.info("backup_taken", backup=name, bytes=sum(dump.size for dump in dumps))
    return manifest


def _dump(store: Store, name: str, database: DatabaseName, url: str, say: Progress) -> Dump:
    """Sum the tables of a database and dump it, both as of one moment."""
    with connect(url, application_name="laurel-backup") as connection:
        if database == "elt":
            say("waiting until no marts are being built")
            keep_builds_out(connection)
        major, minor = divmod(connection.info.server_version, 10_000)
        program = find_program("pg_dump", major)
        say(f"reading {database}")
        with snapshot(connection):
            tables, revision = sum_tables(connection), find_revision(connection)
            roles = list_grantees(connection)
            say(f"dumping {database}")
            stored = store.put(dump_key(name, database), dump_database(program, url, _export(connection)))
    return Dump(
        database, revision, f"{major}.{minor}", program_version(program), stored.key, stored.size,
        stored.sha256, tables, roles,
    )  # fmt: skip


def _export(connection: Connection) -> str:
    """The name under which others may see the moment that this transaction sees."""
    row = connection.execute("select pg_export_snapshot() as snapshot").fetchone()
    assert row is not None  # noqa: S101 - a function always answers with one row
    return str(row["snapshot"])
