"""What the ledger says about uploads, for those who ask. Nothing here changes an upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from elt.errors import NotFound
from elt.privacy.erased_counts import ErasedCounts
from elt.warehouse import Connection


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of one version; None until it has been read. `read` = accepted + rejected + repeated.

    `loaded` counts what is in raw now, `warnings` the findings about rows that were loaded all the same, and
    `erased` those of the rows read whose person was erased.
    """

    read: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    repeated: int | None = None
    loaded: int | None = None
    warnings: int | None = None
    erased: int = 0


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version of an upload: its bytes and what became of them.

    `bound_school_id`: its sender may bring rows of this school only. `erased_rejects`: rejected rows that
    nobody can put right, because their person was erased.
    """

    version: int
    object_key: str
    filename: str
    media_type: str | None
    size_bytes: int
    sha256: str
    options: dict[str, Any]
    uploader: str
    received_at: datetime
    ranked_at: datetime
    status: str
    reason: str | None
    issues: list[dict[str, Any]]
    detected: dict[str, Any] | None
    counts: Counts
    attempts: int
    approved_at: datetime | None
    approved_by: str | None
    loading_at: datetime | None
    loaded_at: datetime | None
    run_id: UUID | None
    bound_school_id: str | None
    erased_rejects: int = 0


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """An upload with all its versions, newest first. Its status, reason and counts are the newest one's.

    `remaining_rejects` is the number of rejected rows of the newest version that no live fix has brought
    since; None until it has been read. `runs` are the pipeline runs that loaded it or built it into marts.
    `in_marts_at`: when the marts showed all that it changed in raw; None: not yet, or it changed nothing.
    """

    upload_id: UUID
    dataset: str
    school_id: str
    uploader: str
    origin: str
    title: str | None
    note: str | None
    parent_id: UUID | None
    parent_version: int | None
    version: int
    live_version: int | None
    created_at: datetime
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    versions: list[VersionRecord] = field(default_factory=list)
    fixes: list[UUID] = field(default_factory=list)
    remaining_rejects: int | None = None
    runs: list[UUID] = field(default_factory=list)
    in_marts_at: datetime | None = None

    @property
    def current(self) -> VersionRecord:
        """The newest version."""
        return self.versions[0]

    @property
    def is_fix(self) -> bool:
        """Whether it corrects rejected rows of another."""
        return self.parent_id is not None

    @property
    def status(self) -> str:
        """The newest version's status."""
        return self.current.status

    @property
    def reason(self) -> str | None:
        """Why it is rejected, held, failed, withdrawn or waiting again."""
        return self.current.reason

    @property
    def counts(self) -> Counts:
        """The newest version's counts."""
        return self.current.counts


@dataclass(frozen=True, slots=True)
class UploadsToCorrect:
    """Uploads with rejected rows that no fix has brought: the newest of them; how many, and rows, of all."""

    newest: list[UploadRecord]
    files: int
    rows: int


def get_upload(connection: Connection, upload_id: UUID) -> UploadRecord:
    """One upload with its versions, fixes and runs.

    Raises:
        NotFound: there is none.
    """
    rows = connection.execute("select * from ops.uploads where upload_id = %s", (upload_id,)).fetchall()
    if not rows:
        raise NotFound(f"There is no upload {upload_id}.")
    return _complete(connection, rows)[0]


def get_version(connection: Connection, upload_id: UUID, version: int | None = None) -> VersionRecord:
    """One version of an upload; the newest one unless a number is given.

    Raises:
        NotFound: there is none.
    """
    for record in get_upload(connection, upload_id).versions:
        if version is None or record.version == version:
            return record
    raise NotFound(f"Upload {upload_id} has no version {version}.")


def list_uploads(
    connection: Connection,
    *,
    uploader: str | None = None,
    school_id: str | None = None,
    dataset: str | None = None,
    status: str | None = None,
    after: UUID | None = None,
    limit: int = 50,
) -> list[UploadRecord]:
    """A page of uploads, newest first; `after` is the last upload of the page before."""
    rows = connection.execute(
        """
        select u.* from ops.uploads u join ops.upload_versions v using (upload_id, version)
        where (%(uploader)s::text is null or u.uploader = %(uploader)s)
          and (%(school_id)s::text is null or u.school_id = %(school_id)s)
          and (%(dataset)s::text is null or u.dataset = %(dataset)s)
          and (%(status)s::text is null or v.status = %(status)s)
          and (%(after)s::uuid is null or u.upload_id < %(after)s)
        order by u.upload_id desc limit %(limit)s
        """,
        {
            "uploader": uploader,
            "school_id": school_id,
            "dataset": dataset,
            "status": status,
            "after": after,
            "limit": limit,
        },
    ).fetchall()
    return _complete(connection, rows)


def list_uploads_to_correct(
    connection: Connection,
    *,
    school_id: str | None = None,
    dataset: str | None = None,
    uploader: str | None = None,
    limit: int = 50,
) -> UploadsToCorrect:
    """Uploads that are loaded with rejected rows that no fix has brought yet; at most `limit` are listed."""
    rows = connection.execute(
        """
        select upload_id, version, v.rows_rejected, v.rows_erased, v.erased
        from ops.uploads u join ops.upload_versions v using (upload_id, version)
        where v.status = 'loaded' and v.rows_rejected > 0
          and (%(school_id)s::text is null or u.school_id = %(school_id)s)
          and (%(dataset)s::text is null or u.dataset = %(dataset)s)
          and (%(uploader)s::text is null or v.uploader = %(uploader)s)
        order by upload_id desc
        """,
        {"school_id": school_id, "dataset": dataset, "uploader": uploader},
    ).fetchall()
    brought = _brought_lines(connection, [row["upload_id"] for row in rows])
    remaining = {
        row["upload_id"]: _remaining(
            row["rows_rejected"], _erased_rejects(row), brought.get((row["upload_id"], row["version"]), 0)
        )
        for row in rows
    }
    waiting = [upload_id for upload_id, count in remaining.items() if count]
    shown = connection.execute(
        "select * from ops.uploads where upload_id = any(%s) order by upload_id desc", (waiting[:limit],)
    ).fetchall()
    return UploadsToCorrect(
        _complete(connection, shown), len(waiting), sum(count or 0 for count in remaining.values())
    )


def _complete(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[UploadRecord]:
    """Add versions, fixes, runs and marts to rows of ops.uploads, with one query each."""
    ids = [row["upload_id"] for row in rows]
    versions: dict[UUID, list[VersionRecord]] = {}
    for row in connection.execute(
        "select * from ops.upload_versions where upload_id = any(%s) order by version desc", (ids,)
    ):
        versions.setdefault(row["upload_id"], []).append(_version(row))
    fixes = _grouped(
        connection,
        "select parent_id as id, upload_id as item from ops.uploads where parent_id = any(%s) order by item",
        ids,
    )
    runs = _grouped(
        connection,
        """
        select upload_id as id, run_id as item from ops.upload_versions
        where upload_id = any(%(ids)s) and run_id is not null
        union select upload_id, build_run_id from ops.loads
        where upload_id = any(%(ids)s) and build_run_id is not null order by item
        """,
        ids,
    )
    built = connection.execute(
        """
        select upload_id, case when bool_and(built_at is not null) then max(built_at) end as built_at
        from ops.loads where upload_id = any(%s) group by upload_id
        """,
        (ids,),
    )
    in_marts = {row["upload_id"]: row["built_at"] for row in built}
    brought = _brought_lines(connection, ids)
    return [
        UploadRecord(
            **{name: row[name] for name in _UPLOAD_COLUMNS},
            versions=versions[row["upload_id"]],
            fixes=fixes.get(row["upload_id"], []),
            remaining_rejects=_remaining(
                versions[row["upload_id"]][0].counts.rejected,
                versions[row["upload_id"]][0].erased_rejects,
                brought.get((row["upload_id"], row["version"]), 0),
            ),
            runs=runs.get(row["upload_id"], []),
            in_marts_at=in_marts.get(row["upload_id"]),
        )
        for row in rows
    ]


_UPLOAD_COLUMNS = (
    "upload_id", "dataset", "school_id", "uploader", "origin", "title", "note", "parent_id", "parent_version",
    "version", "live_version", "created_at", "withdrawn_at", "withdrawn_by",
)  # fmt: skip

_VERSION_COLUMNS = (
    "version", "object_key", "filename", "media_type", "size_bytes", "sha256", "options", "uploader",
    "received_at", "ranked_at", "status", "reason", "issues", "detected", "attempts", "approved_at",
    "approved_by", "loading_at", "loaded_at", "run_id", "bound_school_id",
)  # fmt: skip


def _version(row: dict[str, Any]) -> VersionRecord:
    counts = Counts(
        row["rows_read"], row["rows_accepted"], row["rows_rejected"], row["rows_repeated"],
        row["rows_loaded"], row["warnings"], row["rows_erased"],
    )  # fmt: skip
    return VersionRecord(
        **{name: row[name] for name in _VERSION_COLUMNS},
        counts=counts,
        erased_rejects=_erased_rejects(row),
    )


def _erased_rejects(row: dict[str, Any]) -> int:
    """Of a version's rows that an erasure took, those that had been rejected."""
    gone = ErasedCounts.from_dict(row["erased"])
    return int(row["rows_erased"]) - gone.accepted - gone.repeated


def _grouped(connection: Connection, query: str, ids: list[UUID]) -> dict[UUID, list[UUID]]:
    parameters: Any = {"ids": ids} if "%(ids)s" in query else (ids,)
    found: dict[UUID, list[UUID]] = {}
    for row in connection.execute(query, parameters):
        found.setdefault(row["id"], []).append(row["item"])
    return found


def _remaining(rejected: int | None, erased: int, brought: int) -> int | None:
    return None if rejected is None else max(0, rejected - erased - brought)


def _brought_lines(connection: Connection, ids: list[UUID]) -> dict[tuple[UUID, int], int]:
    """How many rejected lines of each version live fixes have brought.

    A fix without a `line` column cannot say which lines it brings; its rows then count one line each. Not so
    where an erasure took the lines, see `lines_lost_to_erasure`.
    """
    rows = connection.execute(
        """
        select u.parent_id, u.parent_version,
               sum(coalesce(named.lines, case when lost.any then 0 else v.rows_loaded end))::bigint as lines
        from ops.uploads u
        join ops.upload_versions v on v.upload_id = u.upload_id and v.version = u.live_version
        left join lateral (
            select nullif(count(*), 0) as lines from ops.fixed_lines f where f.upload_id = u.upload_id
        ) named on true
        cross join lateral (
            select exists (
                select from ops.events e
                where e.upload_id = u.parent_id and e.kind = 'erased'
                  and e.body -> 'brought' ? u.upload_id::text
            ) as any
        ) lost
        where u.parent_id = any(%s)
        group by u.parent_id, u.parent_version
        """,
        (ids,),
    )
    return {(row["parent_id"], row["parent_version"]): row["lines"] for row in rows}


def count_brought_lines(connection: Connection, upload_id: UUID, version: int) -> int:
    """How many rejected lines of a version live fixes have brought."""
    return _brought_lines(connection, [upload_id]).get((upload_id, version), 0)


def lines_lost_to_erasure(connection: Connection, fix_id: UUID) -> list[int]:
    """Lines that a fix had brought for somebody else, and that went from its parent with who stood there.

    In a replay they are not there from the start. The fix may bring them all the same; they count no more.
    """
    rows = connection.execute(
        """
        select line::bigint as line
        from ops.uploads u
        join ops.events e on e.upload_id = u.parent_id and e.kind = 'erased'
                         and (e.body ->> 'version')::integer = u.parent_version
        cross join lateral jsonb_array_elements_text(e.body -> 'brought' -> u.upload_id::text) as line
        where u.upload_id = %s
        """,
        (fix_id,),
    )
    return [row["line"] for row in rows]


def count_unbuilt_loads(connection: Connection) -> int:
    """How many changes of raw the marts do not show yet."""
    row = connection.execute("select count(*) as loads from ops.loads where built_at is null").fetchone()
    return int(row["loads"]) if row else 0


def next_waiting_upload(connection: Connection) -> UUID | None:
    """The oldest upload that waits and has not been tried in vain; those wait for the next regular run."""
    row = connection.execute(
        "select upload_id from ops.upload_versions where status = 'stored' and reason is null "
        "order by received_at limit 1"
    ).fetchone()
    return row["upload_id"] if row else None
