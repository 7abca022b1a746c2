"""The sources as people see them: what is configured, and how the last reading went."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from elt.errors import ConfigurationError
from elt.settings import Settings
from elt.sources.configuration import Source, environment_of, lives_in, load_sources
from elt.warehouse import Connection

Status = Literal["never", "running", "succeeded", "failed", "not_configured"]


@dataclass(frozen=True, slots=True)
class ListedTable:
    """A table of a source. `rows`: how many it had when it was read last; `synced_at` None: never read."""

    table: str
    dataset: str
    rows: int = 0
    synced_at: datetime | None = None
    compared_at: datetime | None = None
    error: str | None = None
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ListedSource:
    """A source. `status` not_configured: its address is not set, as `error` says."""

    name: str
    kind: str
    school_id: str
    status: Status
    started_at: datetime | None
    succeeded_at: datetime | None
    error: str | None
    rows: int
    tables: list[ListedTable]


def list_sources(settings: Settings, connection: Connection) -> list[ListedSource]:
    """All sources that are switched on, by name.

    Raises:
        ConfigurationError: a file is wrong.
    """
    return [_listed(settings, connection, source) for source in load_sources(settings)]


def _listed(settings: Settings, connection: Connection, source: Source) -> ListedSource:
    last = connection.execute("select * from ops.sources where source = %s", (source.name,)).fetchone() or {}
    tables = _tables(connection, source)
    status: Status = last.get("status", "never")
    error = last.get("error")
    try:
        lives_in(source, source.address(environment_of(settings)))
    except ConfigurationError as problem:
        status, error = "not_configured", problem.detail
    return ListedSource(
        name=source.name,
        kind=source.kind_name,
        school_id=source.school_id,
        status=status,
        started_at=last.get("started_at"),
        succeeded_at=last.get("succeeded_at"),
        error=error,
        rows=sum(table.rows for table in tables),
        tables=tables,
    )


def _tables(connection: Connection, source: Source) -> list[ListedTable]:
    rows = connection.execute(
        """
        select t.table_name, t.synced_at, t.compared_at, t.error, t.findings,
            coalesce((select sum(r.row_count) from ops.source_ranges as r
                      where r.source = t.source and r.table_name = t.table_name), 0)::bigint as rows
        from ops.source_tables as t where t.source = %s
        """,
        (source.name,),
    )
    known = {row.pop("table_name"): row for row in rows}
    configured = [(part.table, part.dataset) for part in source.kind.tables]
    configured += [(part.path, part.dataset) for part in source.kind.requests]
    return [ListedTable(table, dataset, **known.get(table, {})) for table, dataset in configured]
