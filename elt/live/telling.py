"""Tells people of what is wrong, and that it is over, one after the other, while the follower goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from elt.notify import alert, all_clear
from elt.settings import Settings

AGAIN_SECONDS = 30.0
"""After so long it is told again what the webhook did not take."""

_Tell = Callable[[Settings, str, str], bool]

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
        """Tell, until cancelled; the webhook may take its time, or be away for long."""
        while True:
            tell, event, detail = await self._waiting.get()
            while not await asyncio.to_thread(tell, self._settings, event, detail):
                await asyncio.sleep(AGAIN_SECONDS)
