"""Rebuild the ledger and raw from the store alone, in the order in which everything happened.

Events say what people did, the objects what they handed in; what had been loaded at the time of an event
stands in the event. So a version that was withdrawn after it had loaded is loaded and withdrawn again, and
the ledger ends equal. Keys, runs, models and predictions are not in the store: they come from a backup.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import sql

from elt.contracts import load_contracts
from elt.errors import Conflict, LoadError, NotFound
from elt.loading.loader import load_version
from elt.loading.parts import discard_outdated
from elt.loading.raw_tables import changed_table, raw_table
from elt.migrate import migrate
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.apply import adopt_event
from elt.uploads.claims import claim_replay
from elt.uploads.discover import list_pending, without_superseded
from elt.uploads.events import Event, list_event_keys, read_event
from elt.uploads.inbox import inbox_objects
from elt.warehouse import Connection, connect

Progress = Callable[[str], None]

# What a version can have become by the time of an event only by being read.
_READ_STATUSES = ("loaded", "rejected", "held", "failed")

_LEDGER_TABLES = (
    "loads", "fixed_lines", "row_issues", "idempotency_keys", "inbox_objects", "marks", "events",
    "split_findings", "split_parts", "splits", "upload_versions", "uploads",
)  # fmt: skip


@dataclass(slots=True)
class ReplayReport:
    """What was rebuilt. `versions` counts versions by status; `rows` is what is in raw."""

    events: int = 0
    uploads: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    loads: int = 0
    rows: int = 0
    unreadable: list[str] = field(default_factory=list)


def replay(
    settings: Settings, store: Store, *, progress: Progress | None = None, wipe: bool = False
) -> ReplayReport:
    """Rebuild ledger and raw; the marts are built afterwards by a full run of dbt.

    With `wipe`, the ledger (`_LEDGER_TABLES`) and all of raw are emptied first. Keys, runs, alerts, `ml` and
    what dbt made are left as they are in either case. Nothing is discovered meanwhile.

    Raises:
        Conflict: the database holds uploads and `wipe` is not set.
        TransientError: store or database went away; start again with `wipe`.
    """
    url = settings.database_url.get_secret_value()
    migrate(url)
    with connect(url, application_name="laurel-replay") as connection, claim_replay(connection):
        _require_empty(connection, wipe)
        return _Replay(settings, store, connection, progress or (lambda _text: None)).run()


def _require_empty(connection: Connection, wipe: bool) -> None:
    row = connection.execute("select count(*) as uploads from ops.uploads").fetchone()
    count = row["uploads"] if row else 0
    if count and not wipe:
        raise Conflict(
            f"The database holds {count} uploads. Replay into an empty database, or say that its ledger and "
            "raw tables may be emptied first (laurel replay --wipe)."
        )
    tables = [sql.Identifier("ops", name) for name in _LEDGER_TABLES]
    for contract in load_contracts().values():
        tables += [raw_table(contract), *([changed_table(contract)] if contract.is_keyed else [])]
    connection.execute(sql.SQL("truncate {} restart identity").format(sql.SQL(", ").join(tables)))
    discard_outdated(connection)


class _Replay:
    """One replay: events in their order, and before each the loads that had happened by then."""

    def __init__(self, settings: Settings, store: Store, connection: Connection, say: Progress) -> None:
        self._settings = settings
        self._store = store
        self._connection = connection
        self._say = say
        self._report = ReplayReport()

    def run(self) -> ReplayReport:
        events = self._read_events()
        late = [event for event in self._told(events) if not self._adopt(event)]
        for event in late:  # its upload's first event sorted after it
            if not self._adopt(event):
                self._report.unreadable.append(event.key)
        self._say("loading what was live")
        self._load_pending()
        self._note_what_left_the_inbox()
        self._count()
        return self._report

    def _read_events(self) -> list[Event]:
        self._say("reading the events")
        events: list[Event] = []
        for _, key in list_event_keys(self._store):
            try:
                events.append(read_event(self._store, key))
            except (LoadError, NotFound):
                self._report.unreadable.append(key)
        return _with_erasures_first(without_superseded(events))

    def _told(self, events: list[Event]) -> list[Event]:
        self._report.events = len(events)
        self._say(f"telling {len(events)} events again")
        return events

    def _adopt(self, event: Event) -> bool:
        self._load_as_before(event.body.get("before") or {})
        try:
            adopt_event(self._connection, event)
        except NotFound:
            return False
        return True

    def _load_as_before(self, before: dict[str, dict[str, str]]) -> None:
        """Load what had been read by then. A fix can make its parent loadable, hence more than once."""
        wanted = [
            (UUID(upload_id), int(version), status)
            for upload_id, versions in sorted(before.items())
            for version, status in versions.items()
            if status in _READ_STATUSES
        ]
        is_moving = True
        while is_moving:
            is_moving = False
            for upload_id, version, status in wanted:
                if self._status(upload_id, version) == "stored":
                    is_moving |= self._load(upload_id, version) != "stored"
                    self._say(f"upload {upload_id}: {status}")

    def _load_pending(self) -> None:
        stuck: set[tuple[UUID, int]] = set()
        while pending := [
            item for item in list_pending(self._connection) if (item.upload_id, item.version) not in stuck
        ]:
            for number, item in enumerate(pending, start=1):
                self._say(f"loading {number} of {len(pending)}")
                if self._load(item.upload_id, item.version) == "stored":
                    stuck.add((item.upload_id, item.version))

    def _load(self, upload_id: UUID, version: int) -> str:
        # Whether a version was held is in the events; what it would be compared with is not there yet.
        outcome = load_version(self._settings, self._store, upload_id, version, check_impact=False)
        return outcome.status

    def _status(self, upload_id: UUID, version: int) -> str | None:
        row = self._connection.execute(
            "select status from ops.upload_versions where upload_id = %s and version = %s",
            (upload_id, version),
        ).fetchone()
        return row["status"] if row else None

    def _note_what_left_the_inbox(self) -> None:
        """Who drops a file again that is gone brings something new, though on S3 its mark be the old one."""
        self._connection.execute(
            """
            insert into ops.inbox_objects (object_key, etag, upload_id)
            select distinct on (object_key) object_key, 'gone', upload_id
            from ops.inbox_objects where object_key <> all(%s) order by object_key, seen_at desc
            on conflict do nothing
            """,
            ([item.key for item in inbox_objects(self._store)],),
        )

    def _count(self) -> None:
        self._report.versions = {
            row["status"]: row["versions"]
            for row in self._connection.execute(
                "select status, count(*) as versions from ops.upload_versions group by status order by status"
            )
        }
        self._report.uploads = self._number("select count(*) as n from ops.uploads")
        self._report.loads = self._number("select count(*) as n from ops.loads")
        self._report.rows = self._number("select coalesce(sum(rows_loaded), 0) as n from ops.upload_versions")

    def _number(self, query: str) -> int:
        row: dict[str, Any] | None = self._connection.execute(query.encode()).fetchone()
        return int(row["n"]) if row else 0


def _with_erasures_first(events: list[Event]) -> list[Event]:
    """Who was erased is known before any row is read, and what a file has lost before it is read itself."""
    told = [event for event in events if event.kind == "erasing"]
    lost: dict[tuple[UUID, int], list[Event]] = {}
    for event in events:
        if event.kind == "erased":
            lost.setdefault((event.upload_id, event.body["version"]), []).append(event)
    for event in events:
        if event.kind not in ("erasing", "erased"):
            told.append(event)
            version = event.body["version"] if event.kind == "replaced" else 1
            if "object" in event.body:
                told += lost.pop((event.upload_id, version), [])
    return told + [event for found in lost.values() for event in found]
