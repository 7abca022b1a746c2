"""What to load, as the ledger describes it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl

from elt.contracts import Contract, get_contract
from elt.privacy.erased_counts import NOTHING_ERASED, ErasedCounts
from elt.privacy.tombstones import Tombstones
from elt.reading.dialect import ReadOptions
from elt.settings import Settings
from elt.uploads.ledger import lines_lost_to_erasure
from elt.warehouse import Connection


@dataclass(frozen=True, slots=True)
class Source:
    """What to load: an object, what is known of its bytes, and how to read them."""

    object_key: str
    size: int
    sha256: str
    options: ReadOptions
    contract: Contract
    upload_id: UUID
    version: int
    school_id: str
    received_at: datetime
    only_school: str | None = None
    """The one school whose rows the sender may bring. None: any."""
    open_lines: pl.Series | None = None
    """For a fix: the lines that its rows may stand for. None for other uploads."""
    tombstones: Tombstones | None = None
    """People who were erased, whose rows must not come back. None: nobody of the kinds in the dataset."""
    gone: ErasedCounts = NOTHING_ERASED
    """Rows that were taken out of the object since it was first read."""

    @property
    def is_fix(self) -> bool:
        """Whether the file corrects rejected rows of another."""
        return self.open_lines is not None

    @property
    def basis(self) -> str:
        """A digest of all that decides how the bytes are read, and what becomes of each row."""
        facts = [
            self.object_key, self.size, self.sha256, self.options.to_dict(), self.contract.model_dump_json(),
            self.school_id, self.received_at.isoformat(), self.only_school, self.gone.to_dict(),
            self.tombstones.digest if self.tombstones else None,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def source_of(connection: Connection, settings: Settings, described: dict[str, Any]) -> Source:
    """The source that a version is; `described` is its row of ops.upload_versions with that of its upload."""
    contract = get_contract(described["dataset"])
    return Source(
        object_key=described["object_key"],
        size=described["size_bytes"],
        sha256=described["sha256"],
        options=ReadOptions.from_dict(described["options"]),
        contract=contract,
        upload_id=described["upload_id"],
        version=described["version"],
        school_id=described["school_id"],
        received_at=described["received_at"],
        only_school=described["bound_school_id"],
        open_lines=_open_lines(connection, described) if described["parent_id"] else None,
        tombstones=Tombstones.load(connection, settings, contract) or None,
        gone=ErasedCounts.from_dict(described["erased"]),
    )


def _open_lines(connection: Connection, described: dict[str, Any]) -> pl.Series:
    """The parent's rejected lines that no other fix has brought, those too that were erased since."""
    fix = described["upload_id"]
    rows = connection.execute(
        """
        select distinct i.line from ops.row_issues i
        where i.upload_id = %(parent)s and i.version = %(version)s and i.severity = 'error'
          and not exists (
              select from ops.fixed_lines f
              where f.parent_id = i.upload_id and f.parent_version = i.version and f.line = i.line
                and f.upload_id <> %(fix)s)
        """,
        {"parent": described["parent_id"], "version": described["parent_version"], "fix": fix},
    )
    lines = {row["line"] for row in rows} | set(lines_lost_to_erasure(connection, fix))
    return pl.Series(sorted(lines), dtype=pl.Int64)
