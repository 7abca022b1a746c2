"""Restores a backup beside the database in use, brings it forward, and only then gives it that one's name.

A restore that is cut off leaves the database in use as it was. What it had begun is dropped by the next call,
or by the daily verification.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from elt.backup.contents import has_tables
from elt.backup.databases import Server, connect_server, in_use, scratch_address
from elt.backup.forward import Forwarded, bring_forward
from elt.backup.manifest import DATABASES, DatabaseName, Dump, address_of, find_manifest
from elt.backup.streams import restore_database
from elt.backup.verify import require_equal, restorer
from elt.errors import ConfigurationError, Conflict
from elt.log import get_logger
from elt.pipeline import Progress, Score
from elt.serving.database_roles import make_roles
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import connect

log = get_logger(__name__)


@dataclass(slots=True)
class RestoreReport:
    """What was restored. `put_aside`: what the databases that were there before are called now.

    `made_new`: those of which there was none before, so that nobody knows who had rights to them; `left_out`:
    settings of those before that could not be set again. `forward`: how `elt` was brought forward; None where
    only Airflow's database was restored.
    """

    name: str
    databases: list[DatabaseName] = field(default_factory=list)
    put_aside: dict[DatabaseName, str] = field(default_factory=dict)
    made_new: list[DatabaseName] = field(default_factory=list)
    left_out: dict[DatabaseName, tuple[str, ...]] = field(default_factory=dict)
    forward: Forwarded | None = None


def drop_put_aside(settings: Settings) -> list[str]:
    """Drop what restores have put aside, and what killed calls have left; returns the names.

    Raises:
        Conflict: a backup or restore is running.
    """
    dropped = []
    for url in [address_of(settings, database) for database in DATABASES]:
        if url is not None:
            with connect_server(url) as server:
                dropped += server.drop_leftovers(datetime.now(UTC), kept_aside=timedelta(0))
    return dropped


@dataclass(frozen=True, slots=True)
class _Target:
    """A dump and the database whose place it is to take. `is_used`: there is one, and it holds tables."""

    dump: Dump
    url: str
    server: Server
    is_used: bool


class Restore:
    """One restore of a backup."""

    def __init__(
        self, settings: Settings, store: Store, *, score: Score, by: str, progress: Progress | None = None
    ) -> None:
        """`score`: the model, which elt does not know. `by`: who restores, for the audit trail."""
        self._settings = settings
        self._store = store
        self._score = score
        self._by = by
        self._say = progress or (lambda _text: None)

    def run(
        self, name: str, databases: Sequence[DatabaseName] = (), *, replace: bool = False
    ) -> RestoreReport:
        """Restore the named databases of a backup, or all that it has; all are ready before one is placed.

        `replace`: databases that hold tables may be put aside, under a name that says when.

        Raises:
            BackupError: the backup is damaged, or restores to something else than was dumped.
            ConfigurationError: a database has no address, its user may not make databases, or the server does
                not have roles to which the backup gives rights.
            Conflict: somebody uses a database, one holds tables and may not be put aside, or another backup
                or restore is running.
            NotFound: there is no such backup, or it has no such database.
            SchemaMismatch: the backup was made by a newer version of Laurel.
            TransformError: the marts could not be built without people who were erased after the backup.
            TransientError: a server or the store went away.
        """
        manifest = find_manifest(self._store, name)
        report = RestoreReport(manifest.name)
        wanted = [manifest.dump(each) for each in databases] if databases else manifest.dumps
        with ExitStack() as stack:
            targets = [self._target(stack, dump, replace=replace) for dump in wanted]
            ready = [stack.enter_context(self._restored(target, report)) for target in targets]
            for target, fresh in zip(targets, ready, strict=True):
                self._place(target, fresh, report)
        return report

    def _target(self, stack: ExitStack, dump: Dump, *, replace: bool) -> _Target:
        url = address_of(self._settings, dump.database)
        if url is None:
            raise ConfigurationError(
                "LAUREL_AIRFLOW_DATABASE_URL is not set. Set it, or restore the database elt only "
                "(--database elt)."
            )
        server = stack.enter_context(connect_server(url))
        is_used = server.exists(server.database) and has_tables(url)
        if is_used and not replace:
            raise Conflict(
                f"The database {server.database} holds tables. To put it aside and restore the backup in its "
                "place, give --replace."
            )
        if sessions := server.sessions(server.database):
            raise Conflict(in_use(server.database, sessions))
        server.drop_leftovers(datetime.now(UTC))
        return _Target(dump, url, server, is_used)

    @contextmanager
    def _restored(self, target: _Target, report: RestoreReport) -> Iterator[str]:
        """The name of a database that holds the dump, brought forward; dropped in the end unless renamed."""
        dump, fresh = target.dump, target.server.create("restore")
        try:
            url = scratch_address(target.url, fresh)
            self._say(f"restoring {dump.database}")
            if dump.database == "elt":
                with connect(url, application_name="laurel-restore") as connection:
                    make_roles(connection)  # they are the server's, not the dump's
            target.server.require_roles(dump.roles)
            restore_database(restorer(target.server, dump), self._store, dump, url, rights=True)
            self._say(f"comparing {dump.database} with what was dumped")
            require_equal(dump, url)
            if dump.database == "elt":
                report.forward = bring_forward(
                    self._settings, self._store, url,
                    backup=report.name, score=self._score, by=self._by, say=self._say,
                )  # fmt: skip
            yield fresh
        finally:
            target.server.drop(fresh)

    def _place(self, target: _Target, fresh: str, report: RestoreReport) -> None:
        database = target.dump.database
        self._say(f"putting {database} in its place")
        try:
            placed = target.server.put_in_place(fresh, datetime.now(UTC))
        except Conflict as error:
            if not report.databases:
                raise
            done = f"{', '.join(report.databases)} is restored; {database} is not: --database {database}"
            raise Conflict(f"{error.detail} {done} restores it alone.") from None
        report.databases.append(database)
        aside = placed.aside
        if aside is None:
            report.made_new.append(database)
        if placed.left_out:
            report.left_out[database] = placed.left_out
        if aside is not None and target.is_used:
            report.put_aside[database] = aside
        elif aside is not None:
            target.server.drop(aside)
        log.info("backup_restored", backup=report.name, database=database, put_aside=aside)
