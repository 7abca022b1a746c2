"""Reading a source: each table is compared with what is known of it, and what differs is handed in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from elt.contracts import Contract, get_contract
from elt.errors import Conflict, SourceFault, SourceUnavailable, public_text
from elt.log import get_logger
from elt.notify import alert, announce_upload
from elt.people.principals import Principal
from elt.settings import Settings
from elt.sources.comparison import Comparison, TableReport, Wishes
from elt.sources.configuration import Request, Source, environment_of, lives_in
from elt.sources.state import TableState
from elt.sources.tables import SourceTable, TableSpec
from elt.store.base import Store
from elt.uploads.claims import keep_replay_out
from elt.warehouse import Connection, connect

log = get_logger(__name__)

Progress = Callable[[str], None]


@dataclass(slots=True)
class SourceReport:
    """What became of a source: its tables, and why some could not be read."""

    source: str
    tables: list[TableReport] = field(default_factory=list)
    failures: dict[str, SourceUnavailable | SourceFault] = field(default_factory=dict)

    @property
    def uploads(self) -> list[UUID]:
        """The batches that were handed in."""
        return [upload for table in self.tables for upload in table.uploads]

    @property
    def changed(self) -> int:
        """Rows that were new or changed."""
        return sum(table.changed for table in self.tables)

    @property
    def removed(self) -> int:
        """Rows that were gone."""
        return sum(table.removed for table in self.tables)


class _Database(Protocol):
    def table(self, spec: Any, contract: Contract) -> SourceTable: ...

    def close(self) -> None: ...


def sync_source(
    settings: Settings,
    store: Store,
    source: Source,
    *,
    wishes: Wishes | None = None,
    progress: Progress | None = None,
) -> SourceReport:
    """Read a source, table by table; one that cannot be read does not stop the others.

    What was handed in is loaded by the pipeline's next run, which is asked for.

    Raises:
        Conflict: it is being read right now.
        ConfigurationError: its address is not set, or of a wrong kind.
        SourceUnavailable, SourceFault: tables could not be read; names them. What was handed in stays.
    """
    report = SourceReport(source.name)
    url = settings.database_url.get_secret_value()
    with (
        connect(url, application_name="laurel-sources", role="laurel_loader") as connection,
        keep_replay_out(connection),
        _claim(connection, source.name),
    ):
        _note_start(connection, source)
        try:
            parts: list[TableSpec | Request] = [*source.kind.table_specs(), *source.kind.requests]
            for part in parts:
                if progress:
                    progress(f"{source.name}: {_name(part)}")
                _sync_table(settings, connection, store, source, part, wishes or Wishes(), report)
            _raise_failures(report)
        except BaseException as error:
            with suppress(psycopg.Error):
                _note_end(connection, source, error)
            _tell(settings, source, error)
            raise
        finally:
            if report.uploads:
                announce_upload(settings, report.uploads[-1], wait=True)
        _note_end(connection, source, None)
    log.info("source_read", source=source.name, changed=report.changed, removed=report.removed)
    return report


def _sync_table(
    settings: Settings,
    connection: Connection,
    store: Store,
    source: Source,
    part: TableSpec | Request,
    wishes: Wishes,
    report: SourceReport,
) -> None:
    """Compare one table over a connection of its own: what breaks one does not stop the next."""
    found = TableReport(_name(part), part.dataset)
    report.tables.append(found)
    try:
        database = open_source(settings, source)
        try:
            table = database.table(part, get_contract(part.dataset))
            found.findings += table.shape.findings
            Comparison(
                settings=settings,
                connection=connection,
                store=store,
                principal=Principal(source.principal_id, "researcher", name=source.name),
                school_id=source.school_id,
                table=table,
                state=TableState(connection, settings, source.name, table.shape),
                compare_seconds=source.compare_minutes * 60,
                wishes=wishes,
                report=found,
            ).run()
            _note_findings(connection, source, found)
        finally:
            database.close()
    except (SourceUnavailable, SourceFault) as error:
        found.error = error.detail
        report.failures[found.table] = error
        _note_table_error(connection, source, found)
        log.warning("source_table_failed", source=source.name, table=found.table, reason=error.detail)


def open_source(settings: Settings, source: Source) -> _Database:
    """Connect to a source.

    Raises:
        ConfigurationError: its address is not set, or of a wrong kind.
        SourceUnavailable: it does not answer.
    """
    environment = environment_of(settings)
    address = source.address(environment)
    place = lives_in(source, address)
    seconds = source.timeout_seconds
    if place == "http":
        from elt.sources.http import Api

        key = source.key(environment)
        own = urlsplit(address.get_secret_value()).hostname if source.private_network else ""
        return Api(
            address.get_secret_value(),
            key.get_secret_value() if key else None,
            parameters=source.parameters,
            allow=",".join(filter(None, (settings.outgoing_allow, own))),
            timeout_seconds=seconds,
        )
    if place == "mysql":
        from elt.sources.mysql import MySQLDatabase

        return MySQLDatabase(
            address.get_secret_value(), timeout_seconds=seconds, utc_offset=source.utc_offset
        )
    from elt.sources.postgres import PostgresDatabase

    return PostgresDatabase(address.get_secret_value(), timeout_seconds=seconds, utc_offset=source.utc_offset)


def _name(part: TableSpec | Request) -> str:
    return part.path if isinstance(part, Request) else part.table


def _raise_failures(report: SourceReport) -> None:
    """Say what went wrong, once where it was the same for all tables."""
    if not report.failures:
        return
    first = next(iter(report.failures.values()))
    if (
        len(report.failures) == len(report.tables)
        and len({str(each) for each in report.failures.values()}) == 1
    ):
        raise type(first)(f"Source {report.source}: {first.detail}")
    faults = " ".join(f"{table}: {error.detail}" for table, error in report.failures.items())
    count = f"{len(report.failures)} of {len(report.tables)} tables could not be read"
    may_pass = all(isinstance(error, SourceUnavailable) for error in report.failures.values())
    kind = SourceUnavailable if may_pass else SourceFault
    raise kind(f"Source {report.source}: {count}. {faults}")


@contextmanager
def _claim(connection: Connection, name: str) -> Iterator[None]:
    """Read a source once at a time; the claim ends with its holder, however that ends."""
    digest = hashlib.blake2b(b"laurel-source" + name.encode(), digest_size=8).digest()
    lock = int.from_bytes(digest, signed=True)
    row = connection.execute("select pg_try_advisory_lock(%s) as mine", (lock,)).fetchone()
    if not (row and row["mine"]):
        raise Conflict(f"Source {name} is being read right now.")
    try:
        yield
    finally:
        with suppress(psycopg.Error):
            connection.execute("select pg_advisory_unlock(%s)", (lock,))


def _note_start(connection: Connection, source: Source) -> None:
    connection.execute(
        """
        insert into ops.sources (source, status, started_at) values (%s, 'running', now())
        on conflict (source) do update set status = 'running', started_at = now(), finished_at = null
        """,
        (source.name,),
    )


def _note_end(connection: Connection, source: Source, error: BaseException | None) -> None:
    connection.execute(
        """
        update ops.sources set
            status = %(status)s, error = %(error)s, finished_at = now(),
            succeeded_at = case when %(status)s = 'succeeded' then now() else succeeded_at end
        where source = %(source)s
        """,
        {
            "source": source.name,
            "status": "failed" if error else "succeeded",
            "error": public_text(error) if error else None,
        },
    )


def _note_findings(connection: Connection, source: Source, found: TableReport) -> None:
    connection.execute(
        "update ops.source_tables set findings = %s where source = %s and table_name = %s",
        (Jsonb(found.findings), source.name, found.table),
    )


def _note_table_error(connection: Connection, source: Source, found: TableReport) -> None:
    connection.execute(
        """
        insert into ops.source_tables (source, table_name, dataset, layout, error) values (%s, %s, %s, '', %s)
        on conflict (source, table_name) do update set error = excluded.error
        """,
        (source.name, found.table, found.dataset, found.error),
    )


def _tell(settings: Settings, source: Source, error: BaseException) -> None:
    if isinstance(error, Exception):
        alert(settings, f"source_failed:{source.name}", public_text(error))
