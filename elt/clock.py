"""What day it is at the school, wherever the machine stands."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from elt.settings import Settings


def school_day(settings: Settings) -> date:
    """Today by the school's clock (`LAUREL_TIME_ZONE`)."""
    return datetime.now(ZoneInfo(settings.time_zone)).date()
