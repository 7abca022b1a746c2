"""The daily backup: taken, tried, and only then older ones removed."""

from __future__ import annotations

from datetime import datetime

from elt.backup.keep import remove_outdated
from elt.backup.take import take_backup
from elt.backup.verify import verify_backup
from elt.settings import Settings
from elt.store.base import Store


def back_up(settings: Settings, store: Store, *, now: datetime | None = None) -> str:
    """Take a backup, restore it into a database of its own, compare, and remove what need not be kept.

    Returns its name. Where it cannot be restored, all older ones stay. Raises what `take_backup` and
    `verify_backup` raise.
    """
    manifest = take_backup(settings, store, now=now)
    verify_backup(settings, store, manifest.name)
    remove_outdated(store)
    return manifest.name
