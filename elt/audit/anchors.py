"""Heads of the audit trail, kept in the object store: `audit/<hour>/<line>-<hash>.json`.

Whoever cuts the end off the table, or writes it anew from some line on, would have to change these too. Keep
the store's versions, or a lock on the bucket, where that must be impossible.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from elt.audit.trail import Anchor
from elt.store.base import Store
from elt.warehouse import Connection

PREFIX = "audit/"
_NAME = re.compile(rf"{PREFIX}[^/]+/(\d{{15}})-([0-9a-f]{{64}})\.json")


def write_anchor(connection: Connection, store: Store, *, now: datetime | None = None) -> Anchor | None:
    """Put the chain's last line into the store; None while there is no line.

    Call it outside a transaction: what is not committed must not be anchored.
    """
    head = connection.execute(
        "select audit_id, sha256 from ops.audit order by audit_id desc limit 1"
    ).fetchone()
    if head is None:
        return None
    anchor, moment = Anchor(head["audit_id"], bytes(head["sha256"])), now or datetime.now(UTC)
    content = {
        "audit_id": anchor.audit_id, "sha256": anchor.sha256.hex(), "written_at": moment.isoformat(),
    }  # fmt: skip
    store.put(
        f"{_hour(moment)}{anchor.audit_id:015}-{anchor.sha256.hex()}.json",
        [json.dumps(content).encode()],
        media_type="application/json",
        replace=True,
    )
    return anchor


def write_hourly_anchor(connection: Connection, store: Store, *, now: datetime | None = None) -> None:
    """`write_anchor`, unless this hour has one; cheap enough for every run of the pipeline."""
    moment = now or datetime.now(UTC)
    if next(iter(store.list(_hour(moment))), None) is None:
        write_anchor(connection, store, now=moment)


def read_anchors(store: Store) -> list[Anchor]:
    """All anchors, oldest line first, by the names of the objects alone."""
    names = (_NAME.fullmatch(item.key) for item in store.list(PREFIX))
    return sorted(Anchor(int(name[1]), bytes.fromhex(name[2])) for name in names if name)


def _hour(moment: datetime) -> str:
    return f"{PREFIX}{moment.astimezone(UTC):%Y-%m-%dT%H}/"
