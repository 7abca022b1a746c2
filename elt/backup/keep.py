"""Which backups are kept: each holds everybody, also those who were erased since, so none stays for long."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from elt.backup.manifest import ListedBackup, list_backups, objects_of
from elt.log import get_logger
from elt.store.base import Store

# Of a mistake one hears within days, of a slow one within weeks. Nobody who was erased is in a backup for
# longer than five weeks, as long as new ones are taken and verified: the newest verified one always stays.
ALL_WITHIN = timedelta(days=1)  # who takes one before something risky finds it the next morning
DAILY = 7
WEEKLY = 4

log = get_logger(__name__)


def remove_outdated(store: Store, now: datetime) -> list[str]:
    """Remove the backups that need not be kept; returns their names. Half ones are left alone."""
    backups = [backup for backup in list_backups(store) if backup.is_whole]
    doomed = sorted({backup.name for backup in backups} - kept(backups, now))
    for name in doomed:
        _remove(store, name)
        log.info("backup_removed", backup=name)
    return doomed


def remove_cut_off(store: Store) -> list[str]:
    """Remove what is left of backups that were cut off; returns their names. Nobody may be taking one."""
    doomed = [backup.name for backup in list_backups(store) if not backup.is_whole]
    for name in doomed:
        _remove(store, name)
        log.warning("cut_off_backup_removed", backup=name)
    return doomed


def kept(backups: Iterable[ListedBackup], now: datetime) -> set[str]:
    """Of whole backups those to keep: all of a day, and one of each of the last days and weeks that have any.

    Of a day and of a week the newest that was verified, or else the newest; and the newest that was verified
    at all. Only days and weeks that have backups count, so that none is removed only because there are no new
    ones.
    """
    recent: set[str] = set()
    newest_verified = ""
    by_day: dict[date, tuple[bool, str]] = {}
    by_week: dict[tuple[int, int], tuple[bool, str]] = {}
    for backup in backups:
        day, name, is_verified = backup.taken_at.date(), backup.name, backup.verified_at is not None
        if backup.taken_at > now - ALL_WITHIN:
            recent.add(name)
        week = (day.isocalendar().year, day.isocalendar().week)
        if is_verified:
            newest_verified = max(newest_verified, name)
        by_day[day] = max(by_day.get(day, (False, "")), (is_verified, name))
        by_week[week] = max(by_week.get(week, (False, "")), (is_verified, name))
    days = [by_day[day][1] for day in sorted(by_day)[-DAILY:]]
    weeks = [by_week[week][1] for week in sorted(by_week)[-WEEKLY:]]
    return {newest_verified, *recent, *days, *weeks}


def _remove(store: Store, name: str) -> None:
    for key in objects_of(store, name):
        store.delete(key)
        store.forget(key)
