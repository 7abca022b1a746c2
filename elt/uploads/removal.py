"""Taking rows out of raw: the ledger line, the keys that the marts must build anew, the statuses.

Everything here runs inside the caller's transaction, which holds locks on the uploads.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg import sql

from elt.contracts import Contract, get_contract
from elt.loading.raw_tables import changed_table, raw_table, row_key_sql
from elt.warehouse import Connection


def write_ledger_line(
    connection: Connection,
    upload_id: UUID,
    version: int,
    dataset: str,
    kind: Literal["load", "withdraw", "erase"],
    rows: int,
) -> int:
    """Record a change of raw; returns its load_id."""
    line = connection.execute(
        """
        insert into ops.loads (upload_id, version, dataset, kind, rows) values (%s, %s, %s, %s, %s)
        returning load_id
        """,
        (upload_id, version, dataset, kind, rows),
    ).fetchone()
    assert line is not None  # noqa: S101 - an insert returns its row
    return int(line["load_id"])


def remove_rows(
    connection: Connection, contract: Contract, upload_id: UUID, load_id: int, *, only_older: bool = False
) -> int:
    """Delete an upload's rows and list their keys as changed by `load_id`; returns how many.

    With `only_older`, rows that this transaction wrote stay: a new version has the same upload id.
    """
    table = raw_table(contract)
    older = sql.SQL(" and old._loaded_at <> now()") if only_older else sql.SQL("")
    delete = sql.SQL("delete from {} old where old._upload_id = %(upload_id)s").format(table) + older
    if not contract.is_keyed:
        return connection.execute(delete, {"upload_id": upload_id}).rowcount
    statement = sql.SQL(
        "with gone as ({delete} returning {key} as row_key) "
        "insert into {changed} (row_key, load_id) select row_key, %(load_id)s from gone"
    ).format(delete=delete, key=row_key_sql(contract, "old"), changed=changed_table(contract))
    return connection.execute(statement, {"upload_id": upload_id, "load_id": load_id}).rowcount


def take_out(
    connection: Connection, upload_ids: Sequence[UUID], *, at: datetime, by: str, reason: str | None
) -> None:
    """Withdraw uploads for good: their rows leave raw, a version that still waits will never load.

    Uploads that are withdrawn already are left as they are.
    """
    going = connection.execute(
        """
        select upload_id, dataset, live_version from ops.uploads
        where upload_id = any(%s) and withdrawn_at is null order by upload_id
        """,
        (list(upload_ids),),
    ).fetchall()
    for upload in going:
        if upload["live_version"] is not None:
            _take_out_rows(connection, upload["upload_id"], upload["dataset"], upload["live_version"])
    ids = [upload["upload_id"] for upload in going]
    connection.execute("delete from ops.fixed_lines where upload_id = any(%s)", (ids,))
    connection.execute(
        """
        update ops.uploads set withdrawn_at = %s, withdrawn_by = %s, live_version = null
        where upload_id = any(%s)
        """,
        (at, by, ids),
    )
    connection.execute(
        """
        update ops.upload_versions
        set status = 'withdrawn', reason = coalesce(%s, reason),
            rows_loaded = case when rows_read is not null then 0 end
        where upload_id = any(%s) and status <> 'withdrawn'
        """,
        (reason, ids),
    )


def take_out_outdated_fixes(connection: Connection, upload_id: UUID, live_version: int) -> None:
    """Withdraw the fixes of versions before the live one: the lines that they fix are gone."""
    fixes = connection.execute(
        "select upload_id, now() as now from ops.uploads where parent_id = %s and parent_version < %s",
        (upload_id, live_version),
    ).fetchall()
    if fixes:
        take_out(
            connection, [fix["upload_id"] for fix in fixes], at=fixes[0]["now"], by="system",
            reason=f"The upload it fixes was replaced by version {live_version}.",
        )  # fmt: skip


def _take_out_rows(connection: Connection, upload_id: UUID, dataset: str, version: int) -> None:
    load_id = write_ledger_line(connection, upload_id, version, dataset, "withdraw", 0)
    rows = remove_rows(connection, get_contract(dataset), upload_id, load_id)
    connection.execute("update ops.loads set rows = %s where load_id = %s", (rows, load_id))
