"""Tells people of what is wrong, and that it is over, one after the other, while the follower goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from elt.notify import alert, all_clear
from elt.settings import Settings

_Tell = Callable[[Settings, str, str], None]

AWAY, LATE = "live_source_away", "live_late"
EVENTS = (AWAY, LATE)


class Teller:
    """What is handed in is told in this order, so that no end comes before its beginning."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: asyncio.Queue[tuple[_Tell, str, str]] = asyncio.Queue()

    def alert(self, event: str, source: str, detail: str) -> None:
        """Something is wrong with a source."""
        self._waiting.put_nowait((alert, f"{event}:{source}", detail))

    def all_clear(self, event: str, source: str, detail: str) -> None:
        """It is over, if it ever was; perhaps another follower told of it."""
        self._waiting.put_nowait((all_clear, f"{event}:{source}", detail))

    async def run(self) -> None:
        """Tell, until cancelled; the webhook may take its time."""
        while True:
            tell, event, detail = await self._waiting.get()
            await asyncio.to_thread(tell, self._settings, event, detail)
