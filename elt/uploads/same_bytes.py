"""Whether bytes were handed in before, so that handing them in again changes nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from elt.contracts import Contract
from elt.loading.raw_tables import raw_table, row_key_sql
from elt.reading.dialect import ReadOptions
from elt.warehouse import Connection

SAME_BYTES_STATUSES = ("stored", "loading", "held", "loaded")


def find_same(
    connection: Connection,
    contract: Contract,
    uploader: str,
    school_id: str,
    sha256: str,
    options: ReadOptions,
    *,
    parent_id: str | UUID | None = None,
    parent_version: int | None = None,
    other_than: UUID | None = None,
) -> UUID | None:
    """The first upload that these bytes would only repeat, if there is one.

    A fix repeats a fix of the same version only: the lines it corrects are that version's.
    """
    candidates = connection.execute(
        """
        select u.*, v.version, v.status, v.ranked_at
        from ops.uploads u
        join ops.upload_versions newest on (newest.upload_id, newest.version) = (u.upload_id, u.version)
        join ops.upload_versions v on v.upload_id = u.upload_id
         and (v.version = u.version
              -- What is live stays so unless a later version is about to replace it.
              or (v.version = u.live_version and newest.status <> all(%(statuses)s)))
        where v.sha256 = %(sha256)s and v.options = %(options)s and v.status = any(%(statuses)s)
          and u.dataset = %(dataset)s and u.school_id = %(school_id)s and u.uploader = %(uploader)s
          and u.withdrawn_at is null and u.parent_id is not distinct from %(parent_id)s::uuid
          and u.parent_version is not distinct from %(parent_version)s::integer
          and u.upload_id is distinct from %(other_than)s::uuid
        order by u.upload_id
        """,
        {
            "sha256": sha256,
            "options": Jsonb(options.to_dict()),
            "statuses": list(SAME_BYTES_STATUSES),
            "dataset": contract.name,
            "school_id": school_id,
            "uploader": uploader,
            "parent_id": parent_id,
            "parent_version": parent_version,
            "other_than": other_than,
        },
    ).fetchall()
    for candidate in candidates:
        if not is_overridden(connection, contract, candidate):
            found: UUID = candidate["upload_id"]
            return found
    return None


def is_overridden(connection: Connection, contract: Contract, upload: dict[str, Any]) -> bool:
    """Whether a later upload, not of its own family, may win over any row of a version of the upload.

    `upload` holds upload_id, parent_id, version, live_version, school_id, the version's ranked_at. Of a later
    upload that still waits nothing is known but its dataset and school, so it counts as overriding; the same
    holds where this one is not loaded itself.
    """
    if not contract.is_keyed:
        return False
    later = connection.execute(
        """
        select u.upload_id, u.school_id, v.status
        from ops.uploads u join ops.upload_versions v using (upload_id)
        where u.dataset = %(dataset)s and u.withdrawn_at is null and v.ranked_at >= %(ranked_at)s
          and v.status = any(%(statuses)s) and coalesce(u.parent_id, u.upload_id) <> %(root_id)s
        """,
        {
            "dataset": contract.name,
            "ranked_at": upload["ranked_at"],  # requests at the same moment can have the same
            "statuses": list(SAME_BYTES_STATUSES),
            "root_id": upload["parent_id"] or upload["upload_id"],
        },
    ).fetchall()
    is_live = upload["live_version"] == upload["version"]
    same_school = [other for other in later if other["school_id"] == upload["school_id"]]
    if any(other["status"] != "loaded" or not is_live for other in same_school):
        return True
    loaded = [other["upload_id"] for other in later if other["status"] == "loaded"]
    return bool(loaded) and _share_a_key(connection, contract, upload["upload_id"], loaded)


def _share_a_key(connection: Connection, contract: Contract, upload_id: UUID, others: list[UUID]) -> bool:
    statement = sql.SQL(
        "select exists (select from {table} mine where mine._upload_id = %(mine)s and {mine} in "
        "(select {other} from {table} other where other._upload_id = any(%(others)s))) as shared"
    ).format(
        table=raw_table(contract), mine=row_key_sql(contract, "mine"), other=row_key_sql(contract, "other")
    )
    with connection.transaction():
        # The planner may take a recent upload for a few rows, and compare each with each.
        connection.execute("set local enable_nestloop = off")
        row = connection.execute(statement, {"mine": upload_id, "others": others}).fetchone()
        connection.execute("reset enable_nestloop")
    return bool(row and row["shared"])
