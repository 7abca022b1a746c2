"""Heads of the audit trail, kept in the object store: `audit/<line>-<hash>.json`.

Whoever cuts the end off the table, or writes it anew from some line on, would have to change these too. Keep
the store's versions or a lock on the bucket where that must be impossible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from elt.audit import Anchor
from elt.store import Store
from elt.warehouse import Connection

PREFIX = "audit/"
_NAME = re.compile(rf"{PREFIX}(\d{{15}})-([0-9a-f]{{64}})\.json")


def write_anchor(connection: Connection, store: Store) -> Anchor | None:
    """Put the chain's last line into the store; None while there is no line.

    Call it outside a transaction: what is not committed must not be anchored.
    """
    head = connection.execute(
        "select audit_id, sha256 from ops.audit order by audit_id desc limit 1"
    ).fetchone()
    if head is None:
        return None
    anchor = Anchor(head["audit_id"], bytes(head["sha256"]))
    key = f"{PREFIX}{anchor.audit_id:015}-{anchor.sha256.hex()}.json"
    if not store.exists(key):
        content = {
            "audit_id": anchor.audit_id,
            "sha256": anchor.sha256.hex(),
            "written_at": datetime.now(UTC).isoformat(),
        }
        store.put(key, [json.dumps(content).encode()], media_type="application/json", replace=True)
    return anchor


def read_anchors(store: Store) -> Iterator[Anchor]:
    """All anchors, oldest line first, by the names of the objects alone."""
    for item in store.list(PREFIX):
        if found := _NAME.fullmatch(item.key):
            yield Anchor(int(found[1]), bytes.fromhex(found[2]))
