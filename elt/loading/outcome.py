"""What becomes of a version: the decision, and the lines that record it, in the load's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from elt.contracts import Contract, get_contract
from elt.loading.rows import Tally
from elt.loading.source import Source
from elt.privacy.traces import reopen
from elt.uploads.apply import lock_with_fixes
from elt.uploads.ledger import count_brought_lines, lines_lost_to_erasure
from elt.uploads.removal import remove_rows, take_out_outdated_fixes, write_ledger_line
from elt.warehouse import Connection

MAX_FILE_ISSUES = 200


@dataclass(frozen=True, slots=True)
class Decision:
    """The status a version gets, and why it is not loaded."""

    status: Literal["loaded", "rejected", "held"]
    reason: str | None = None


class OvertakenError(Exception):
    """The upload was withdrawn while it was being loaded."""


def decide(contract: Contract, tally: Tally, *, brought: int, is_limited: bool) -> Decision:
    """Whether the rows may be loaded. `brought`: rejected lines that fixes have brought since.

    Not `is_limited`, as fixes and what comes from a source, it may leave any number of rows rejected, as
    long as it brings one. Rows of people who were erased do
    not count: their sender cannot put them right.
    """
    if tally.read == 0:
        return Decision("rejected", "The file has no rows.")
    share = f"{tally.rejected} of {tally.read} rows were rejected"
    if tally.accepted + tally.repeated == 0:
        return Decision("rejected", f"{share}; nothing was loaded.")
    counted = tally.rejected - tally.erased - brought
    if is_limited and counted > contract.reject_limit * tally.read:
        return Decision(
            "rejected", f"{share}, more than the limit of {contract.reject_limit:.3g}; nothing was loaded."
        )
    return Decision("loaded")


def record_load(
    connection: Connection, source: Source, tally: Tally, root_id: UUID, *, replaces: bool
) -> None:
    """Make the rows live: the ledger line, the older version out, its fixes with it.

    `replaces` says that an older version is in raw.

    Raises:
        OvertakenError: the upload was withdrawn meanwhile; the transaction must be rolled back.
    """
    lock_loading(connection, source, root_id)
    line = write_ledger_line(
        connection, source.upload_id, source.version, source.contract.name, "load", tally.loaded
    )
    if replaces:
        remove_rows(connection, source.contract, source.upload_id, line, only_older=True)
    _retire_older_versions(connection, source)
    _set_outcome(connection, source, tally, Decision("loaded"))
    connection.execute(
        "update ops.uploads set live_version = %s where upload_id = %s", (source.version, source.upload_id)
    )
    if source.is_fix:
        _note_fixed_lines(connection, source, tally)
        _reconsider_parent(connection, root_id)


def record_refusal(
    connection: Connection, source: Source, tally: Tally, root_id: UUID, decision: Decision
) -> None:
    """Record that a version is rejected or held.

    Raises:
        OvertakenError: the upload was withdrawn meanwhile.
    """
    lock_loading(connection, source, root_id)
    _set_outcome(connection, source, tally, decision)


def lock_loading(connection: Connection, source: Source, root_id: UUID) -> None:
    """Lock the upload's family for the rest of the transaction, which should be short."""
    lock_with_fixes(connection, root_id)
    row = connection.execute(
        "select status from ops.upload_versions where upload_id = %s and version = %s",
        (source.upload_id, source.version),
    ).fetchone()
    if row is None or row["status"] != "loading":
        raise OvertakenError


def _set_outcome(connection: Connection, source: Source, tally: Tally, decision: Decision) -> None:
    is_counted = tally.is_counted
    connection.execute(
        """
        update ops.upload_versions
        set status = %(status)s, reason = %(reason)s, issues = %(issues)s, detected = %(detected)s,
            rows_read = %(read)s, rows_accepted = %(accepted)s, rows_rejected = %(rejected)s,
            rows_repeated = %(repeated)s, warnings = %(warnings)s, rows_loaded = %(loaded)s,
            rows_erased = %(erased)s,
            loaded_at = case when %(status)s = 'loaded' then now() end
        where upload_id = %(upload_id)s and version = %(version)s
        """,
        {
            "status": decision.status,
            "reason": decision.reason,
            "issues": Jsonb([issue.to_dict() for issue in tally.issues[:MAX_FILE_ISSUES]]),
            "detected": Jsonb(tally.detected.to_dict()) if tally.detected else None,
            "read": tally.read if is_counted else None,
            "accepted": tally.accepted if is_counted else None,
            "rejected": tally.rejected if is_counted else None,
            "repeated": tally.repeated if is_counted else None,
            "warnings": tally.warnings if is_counted else None,
            "erased": tally.erased + tally.gone.total - tally.gone.refused,
            "loaded": (tally.loaded if decision.status == "loaded" else 0) if is_counted else None,
            "upload_id": source.upload_id,
            "version": source.version,
        },
    )
    reopen(connection, tally.hits)  # the bytes hold somebody who was erased


def _retire_older_versions(connection: Connection, source: Source) -> None:
    """Older versions, and the fixes of their rejected rows, are no longer part of the upload."""
    reason = f"Replaced by version {source.version}."
    connection.execute(
        """
        update ops.upload_versions
        set status = 'withdrawn', reason = %s, rows_loaded = case when rows_read is not null then 0 end
        where upload_id = %s and version < %s and status in ('loaded', 'held', 'stored', 'loading')
        """,
        (reason, source.upload_id, source.version),
    )
    take_out_outdated_fixes(connection, source.upload_id, source.version)


def _note_fixed_lines(connection: Connection, source: Source, tally: Tally) -> None:
    connection.execute("delete from ops.fixed_lines where upload_id = %s", (source.upload_id,))
    if tally.brought:
        lost = lines_lost_to_erasure(connection, source.upload_id)
        connection.execute(
            """
            insert into ops.fixed_lines (parent_id, parent_version, line, upload_id)
            select parent_id, parent_version, unnest(%s::bigint[]), upload_id
            from ops.uploads where upload_id = %s
            """,
            (sorted(set(tally.brought) - set(lost)), source.upload_id),
        )


def _reconsider_parent(connection: Connection, root_id: UUID) -> None:
    """Let a parent that had too many rejected rows load, once fixes have brought enough of them."""
    parent = connection.execute(
        """
        select u.dataset, v.version, v.status, v.rows_read, v.rows_rejected
        from ops.uploads u join ops.upload_versions v using (upload_id, version) where u.upload_id = %s
        """,
        (root_id,),
    ).fetchone()
    assert parent is not None  # noqa: S101 - a fix refers to its parent
    if parent["status"] != "rejected" or not parent["rows_read"]:
        return
    left = parent["rows_rejected"] - count_brought_lines(connection, root_id, parent["version"])
    if left <= get_contract(parent["dataset"]).reject_limit * parent["rows_read"]:
        connection.execute(
            """
            update ops.upload_versions set status = 'stored', reason = null
            where upload_id = %s and version = %s
            """,
            (root_id, parent["version"]),
        )
