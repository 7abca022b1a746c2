"""Loading one version of an upload: one transaction writes its rows, its findings and the ledger line.

Whoever kills the loader at whatever point leaves either all of a load or nothing; the claim on the upload
goes with the session, and `elt.uploads.discover` finds the version again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from elt.errors import (
    DatabaseUnavailable,
    NotFound,
    TransientError,
    UploadRejected,
)
from elt.loading.failures import describe, in_our_words
from elt.loading.outcome import Decision, OvertakenError, decide, record_load, record_refusal
from elt.loading.parts import discard_parts, take_parts
from elt.loading.rows import DamagedObjectError, IssueSpool, Tally, copy_rows
from elt.loading.source import Source, source_of
from elt.log import get_logger
from elt.privacy.traces import note_traces
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.claims import claim_family
from elt.uploads.impact import HoldPolicy, find_impact
from elt.uploads.ledger import Counts, count_brought_lines, get_version
from elt.uploads.lifecycle import hold_upload
from elt.warehouse import Connection, connect

ATTEMPTS_BEFORE_ALERT = 3

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """What became of a version. `stored` and `loading`: it waits, or somebody else is at it."""

    status: str
    counts: Counts
    reason: str | None = None


def load_version(
    settings: Settings,
    store: Store,
    upload_id: UUID,
    version: int,
    *,
    run_id: UUID | None = None,
    check_impact: bool = True,
) -> LoadOutcome:
    """Load a version, unless it is loaded or another loader is at it.

    Older versions of the upload and, for fixes, what was handed in before them are loaded first, so that the
    same files always end the same. A bad file is `rejected`, an error of ours `failed`; neither is raised.
    An object that cannot be read as it was written leaves the version `stored`, with the reason.

    Args:
        check_impact: hold what would change too much; replay knows from the events what was held.

    Raises:
        NotFound: there is no such version.
        TransientError: store or database went away; the version waits for the next run.
    """
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-loader", role="laurel_loader") as connection:
        root_id = _root_of(connection, upload_id, version)
        with claim_family(connection, root_id) as is_mine:
            if is_mine:
                for each_id, each_version in _due(connection, root_id, upload_id, version):
                    _Load(
                        settings, store, connection, root_id, each_id, each_version, run_id, check_impact
                    ).run()
        return _outcome(connection, upload_id, version)


def _root_of(connection: Connection, upload_id: UUID, version: int) -> UUID:
    row = connection.execute(
        """
        select coalesce(u.parent_id, u.upload_id) as root_id
        from ops.uploads u join ops.upload_versions v using (upload_id)
        where v.upload_id = %s and v.version = %s
        """,
        (upload_id, version),
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no version {version} of upload {upload_id}.")
    root_id: UUID = row["root_id"]
    return root_id


def _due(connection: Connection, root_id: UUID, upload_id: UUID, version: int) -> list[tuple[UUID, int]]:
    """What waits in the upload's family up to the given version, in the order it was received."""
    rows = connection.execute(
        """
        select v.upload_id, v.version
        from ops.uploads u join ops.upload_versions v using (upload_id)
        where coalesce(u.parent_id, u.upload_id) = %(root_id)s and v.status in ('stored', 'loading')
          and v.received_at <= (select received_at from ops.upload_versions
                                where upload_id = %(upload_id)s and version = %(version)s)
        order by v.received_at, v.upload_id, v.version
        """,
        {"root_id": root_id, "upload_id": upload_id, "version": version},
    ).fetchall()
    return [(row["upload_id"], row["version"]) for row in rows]


def _outcome(connection: Connection, upload_id: UUID, version: int) -> LoadOutcome:
    record = get_version(connection, upload_id, version)
    return LoadOutcome(record.status, record.counts, record.reason)


@dataclass(slots=True)
class _Load:
    """The load of one version by the session that has claimed its family."""

    settings: Settings
    store: Store
    connection: Connection
    root_id: UUID
    upload_id: UUID
    version: int
    run_id: UUID | None
    check_impact: bool

    def run(self) -> None:
        """Load, and leave an outcome whatever happens."""
        described = self._begin()
        if described is None:
            return
        bound = log.bind(upload_id=str(self.upload_id), version=self.version)
        try:
            with self.connection.transaction():
                decision = self._load(described)
            bound.info("version_decided", status=decision.status, dataset=described["dataset"])
        except OvertakenError:
            bound.info("load_overtaken")
        except (DamagedObjectError, NotFound) as error:
            self._put_back(error.detail, described["attempts"])
        except TransientError as error:
            self._put_back(error.detail, described["attempts"])
            raise
        except (psycopg.OperationalError, OSError) as error:
            transient = in_our_words(error)
            self._put_back(transient.detail, described["attempts"])
            raise transient from error
        except Exception as error:
            # The outermost boundary of a file: one that we cannot load must not keep others waiting.
            self._fail(describe(error))

    def _begin(self) -> dict[str, Any] | None:
        """Show that the version is being loaded; None if it no longer waits."""
        return self.connection.execute(
            """
            update ops.upload_versions v
            set status = 'loading', loading_at = now(), attempts = attempts + 1, run_id = %(run_id)s
            from ops.uploads u
            where v.upload_id = %(upload_id)s and v.version = %(version)s and u.upload_id = v.upload_id
              and v.status in ('stored', 'loading') and v.version > coalesce(u.live_version, 0)
              and u.withdrawn_at is null
            returning u.*, v.*
            """,
            {"upload_id": self.upload_id, "version": self.version, "run_id": self.run_id},
        ).fetchone()

    def _load(self, described: dict[str, Any]) -> Decision:
        source, tally = source_of(self.connection, self.settings, described), Tally()
        with IssueSpool() as spool:
            try:
                with self.connection.transaction() as rows_only:
                    if taken := take_parts(self.connection, source, spool):
                        tally = taken
                    else:
                        copy_rows(self.connection, self.store, source, tally, spool)
                    decision = self._decide(source, tally, described)
                    if decision.status != "loaded":
                        raise psycopg.Rollback(rows_only)
            except UploadRejected as error:
                decision = Decision("rejected", error.detail)
                tally.issues += error.issues
                tally.is_counted = tally.is_counted and tally.read == 0
            self._keep_issues(spool, tally)
        discard_parts(self.connection, self.upload_id, self.version)
        if decision.status == "loaded":
            record_load(
                self.connection, source, tally, self.root_id, replaces=described["live_version"] is not None
            )
        else:
            record_refusal(self.connection, source, tally, self.root_id, decision)
        note_traces(self.settings, self.connection, self.store, tally.traces)
        if decision.status == "held" and not self._was_held():
            hold_upload(self.connection, self.store, self.upload_id, self.version, decision.reason or "")
        return decision

    def _decide(self, source: Source, tally: Tally, described: dict[str, Any]) -> Decision:
        brought = count_brought_lines(self.connection, self.upload_id, self.version)
        is_of_source = described["origin"] == "source"  # which looks at what it removes before it hands in
        decision = decide(
            source.contract, tally, brought=brought, is_limited=not (source.is_fix or is_of_source)
        )
        if decision.status == "loaded" and source.is_fix and tally.brought is None:
            decision = self._within_open_lines(source, tally, described)
        if decision.status != "loaded" or described["approved_at"]:
            return decision
        if reason := self._was_held():
            return Decision("held", reason)
        if not self.check_impact or is_of_source:
            return decision
        policy = HoldPolicy(self.settings.hold_share, self.settings.hold_minimum_rows)
        reason = find_impact(
            self.connection, source.contract, self.upload_id,
            replaces=described["live_version"] is not None and not source.is_fix, policy=policy,
        )  # fmt: skip
        return Decision("held", reason) if reason else decision

    def _within_open_lines(self, source: Source, tally: Tally, described: dict[str, Any]) -> Decision:
        """A fix whose rows name no lines may not bring more rows than are missing."""
        unnamed = self.connection.execute(
            """
            select coalesce(sum(v.rows_loaded), 0)::bigint as rows
            from ops.uploads u
            join ops.upload_versions v on v.upload_id = u.upload_id and v.version = u.live_version
            where u.parent_id = %(parent)s and u.parent_version = %(version)s and u.upload_id <> %(fix)s
              and not exists (select from ops.fixed_lines f where f.upload_id = u.upload_id)
            """,
            {"parent": described["parent_id"], "version": described["parent_version"], "fix": self.upload_id},
        ).fetchone()
        assert unnamed is not None and source.open_lines is not None  # noqa: S101, PT018
        left = max(0, source.open_lines.len() - unnamed["rows"])
        if tally.loaded <= left:
            return Decision("loaded")
        return Decision(
            "rejected",
            f"It brings {tally.loaded} rows, but only {left} rejected rows are left to fix. Hand in a file "
            "with the column line, or a new version of the whole file.",
        )

    def _was_held(self) -> str | None:
        """The reason for which this version was held before: what was decided once stands."""
        row = self.connection.execute(
            """
            select body ->> 'reason' as reason from ops.events
            where upload_id = %s and kind = 'held' and (body ->> 'version')::integer = %s
            """,
            (self.upload_id, self.version),
        ).fetchone()
        return row["reason"] if row else None

    def _keep_issues(self, spool: IssueSpool, tally: Tally) -> None:
        """Replace what an earlier reading of this version found."""
        self.connection.execute(
            "delete from ops.row_issues where upload_id = %s and version = %s", (self.upload_id, self.version)
        )
        if tally.is_counted:
            spool.copy_to(self.connection)

    def _put_back(self, reason: str, attempts: int) -> None:
        """Let the version wait for the next run. Where the database is away it is found by its lost claim."""
        log.warning("load_postponed", upload_id=str(self.upload_id), version=self.version, reason=reason)
        with suppress(psycopg.Error, DatabaseUnavailable):
            self._set_status("stored", reason)
        if attempts >= ATTEMPTS_BEFORE_ALERT:
            _alert(self.settings, "load_waiting", f"Upload {self.upload_id}, attempt {attempts}: {reason}")

    def _fail(self, reason: str) -> None:
        log.error("load_failed", upload_id=str(self.upload_id), version=self.version, reason=reason)
        self._set_status("failed", reason)
        _alert(self.settings, "load_failed", f"Upload {self.upload_id}: {reason}")

    def _set_status(self, status: str, reason: str) -> None:
        """On a connection of its own: the load's may be the one that broke."""
        url = self.settings.database_url.get_secret_value()
        with connect(url, application_name="laurel-loader", role="laurel_loader") as connection:
            connection.execute(
                """
                update ops.upload_versions set status = %s, reason = %s
                where upload_id = %s and version = %s and status = 'loading'
                """,
                (status, reason, self.upload_id, self.version),
            )


def _alert(settings: Settings, event: str, detail: str) -> None:
    from elt.notify import alert  # needs an HTTP client, which most loads do not

    alert(settings, event, detail)
