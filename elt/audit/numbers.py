"""Numbers of people in what is typed freely: lines of the audit trail stay for good, people may be erased."""

from __future__ import annotations

import re
from collections.abc import Iterable

from elt.privacy.tombstones import is_distinctive, plain
from elt.warehouse import Connection

_INSTEAD = "[number]"


def leave_out(text: str, identifiers: Iterable[str]) -> str:
    """The text without the identifiers, in capitals or not; those that may be any number stay."""
    for identifier in identifiers:
        if is_distinctive(plain(identifier)):
            word = rf"(?<![^\W_]){re.escape(identifier.strip())}(?![^\W_])"
            text = re.sub(word, _INSTEAD, text, flags=re.IGNORECASE)
    return text


def leave_out_known(connection: Connection, text: str) -> str:
    """The text without the identifiers of all whom the marts name."""
    found = connection.execute(
        "select distinct source_id from ops.pseudonyms where strpos(lower(%s), lower(source_id)) > 0",
        (text,),
    )
    return leave_out(text, [row["source_id"] for row in found])
