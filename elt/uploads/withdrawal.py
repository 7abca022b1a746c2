"""What would become of the figures if an upload were withdrawn, told before it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql

from elt.contracts import Contract, get_contract
from elt.loading.raw_tables import raw_table, row_key_sql
from elt.uploads.ledger import get_upload
from elt.warehouse import Connection

_LEAVING = "select count(*) as leaving from {raw} where _upload_id = any(%(uploads)s)"

# Of each key the newest row counts, as in staging: by the upload's rank, then by line.
_SHOWN = """
with ranks as materialized (
    select u.upload_id, v.ranked_at from ops.uploads u
    join ops.upload_versions v on v.upload_id = u.upload_id and v.version = u.live_version
    where u.dataset = %(dataset)s
),
concerned as materialized (select distinct {key} as row_key from {raw} r where _upload_id = any(%(uploads)s)),
ranked as (
    select
        r._upload_id = any(%(uploads)s) as is_leaving,
        bool_or(r._upload_id <> all(%(uploads)s)) over same_key as has_others,
        row_number() over (same_key order by ranks.ranked_at desc, r._line desc, r._upload_id desc) as place
    from {raw} r join ranks on ranks.upload_id = r._upload_id
    where {key} in (select row_key from concerned)
    window same_key as (partition by {key})
)
select count(*) as shown, count(*) filter (where has_others) as coming_back
from ranked where place = 1 and is_leaving
"""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Rows that would leave raw, its corrections' too.

    `shown` of them are what the figures are made of now (the others have been overridden); without them,
    older rows of the same keys come back for `coming_back`, and the rest is gone from the figures. Both are
    None where the dataset has no key.
    """

    leaving: int
    corrections: int
    shown: int | None = None
    coming_back: int | None = None

    @property
    def lost(self) -> int | None:
        """Of those shown, for how many nothing comes back."""
        return None if self.shown is None or self.coming_back is None else self.shown - self.coming_back


def preview_withdrawal(connection: Connection, upload_id: UUID) -> Withdrawal:
    """Count it; reads the dataset's raw table once.

    Raises:
        NotFound: there is no such upload.
    """
    upload = get_upload(connection, upload_id)
    contract = get_contract(upload.dataset)
    parameters = {"uploads": [upload_id, *upload.fixes], "dataset": upload.dataset}
    leaving = _one(connection, _LEAVING, contract, parameters)["leaving"]
    if not contract.is_keyed or leaving == 0:
        return Withdrawal(leaving, len(upload.fixes))
    found = _one(connection, _SHOWN, contract, parameters)
    return Withdrawal(leaving, len(upload.fixes), found["shown"], found["coming_back"])


def _one(
    connection: Connection, query: str, contract: Contract, parameters: dict[str, Any]
) -> dict[str, Any]:
    composed = sql.SQL(query).format(
        raw=raw_table(contract),
        key=row_key_sql(contract, "r") if contract.is_keyed else sql.SQL("null"),
    )
    row = connection.execute(composed, parameters).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers with one row
    return row
