"""Whether what is followed is what the country databases hold: all is compared, and nothing changed."""

from __future__ import annotations

import asyncio

from elt.errors import LaurelError
from elt.live.apply import recount
from elt.live.opening import live_sources, opened
from elt.live.state import known_digests
from elt.settings import Settings
from elt.sources.configuration import Source
from elt.warehouse import AsyncConnection, connect_async

_PATIENCE_SECONDS = 3.0
_TRIES = 3


def check_live(settings: Settings) -> list[str]:
    """What differs: running sums from the rows, rows from their sources. Empty: nothing does.

    A source that cannot be asked counts as a difference. Rows that are on their way are waited for.

    Raises:
        ConfigurationError: a source's file is wrong.
        DatabaseUnavailable: the warehouse does not answer.
    """
    return asyncio.run(_check(settings))


async def _check(settings: Settings) -> list[str]:
    url = settings.database_url.get_secret_value()
    async with connect_async(url, application_name="laurel-live-check") as connection:
        found = await recount(connection)
        for source in live_sources(settings):
            try:
                differing = await _compare(settings, source, connection)
            except LaurelError as error:
                found.append(f"{source.name}: cannot be compared. {error.detail}")
            else:
                if differing:
                    found.append(f"{source.name}: rows differ in {differing} ranges of keys")
    return found


async def _compare(settings: Settings, source: Source, connection: AsyncConnection) -> int:
    """How many ranges differ; a few rows that are on their way settle between two tries."""
    differing = 0
    async with opened(settings, source) as live:
        for _ in range(_TRIES):
            known = await known_digests(connection, source.name)
            ranges: set[int] = set()
            async for changes in live.compare(known):
                ranges |= changes.ranges
            if not (differing := len(ranges)):
                break
            await asyncio.sleep(_PATIENCE_SECONDS)
    return differing
