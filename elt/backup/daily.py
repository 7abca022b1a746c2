"""The daily backup: taken, tried, and older ones removed."""

from __future__ import annotations

from datetime import UTC, datetime

from elt.backup.keep import remove_outdated
from elt.backup.manifest import BACKED_UP
from elt.backup.take import take_backup
from elt.backup.verify import verify_backup
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import connect


def back_up(settings: Settings, store: Store, *, now: datetime | None = None) -> str:
    """Take a backup, restore it into a database of its own, compare, and remove what need not be kept.

    Returns its name. Where it cannot be restored, old ones go all the same, since they hold people who were
    erased; but never the newest that could (`elt.backup.keep`). Raises what `take_backup` and
    `verify_backup` raise.
    """
    now = now or datetime.now(UTC)
    manifest = take_backup(settings, store, now=now)
    try:
        verify_backup(settings, store, manifest.name)
    finally:
        remove_outdated(store, now)
    with connect(settings.database_url.get_secret_value(), application_name="laurel-backup") as connection:
        connection.execute(
            "insert into ops.marks (name, reached) values (%s, %s) "
            "on conflict (name) do update set reached = excluded.reached",
            (BACKED_UP, manifest.taken_at),
        )
    return manifest.name
