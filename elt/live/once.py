"""Follows one country database until nothing is new, for those who do it by the clock (the DAG `pisa`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from elt.errors import DatabaseUnavailable
from elt.live.applier import Applier, Late
from elt.live.opening import find_live_source, live_sources, opened
from elt.live.reading import Reader, Took, country_of
from elt.live.state import note_problem, remove_others
from elt.log import get_logger
from elt.settings import Settings
from elt.sources.configuration import Source
from elt.warehouse import AsyncConnection, connect_async

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Followed:
    """Rows that were new, changed or looked at again, and how many of them are rejected."""

    source: str
    rows: int
    rejected: int
    seconds: float


def follow_once(settings: Settings, name: str) -> Followed:
    """Read what is new of one source, or compare it where that is due. Safe beside a running follower.

    Raises:
        NotFound: there is no such source that can be followed; lists those there are.
        SourceUnavailable, SourceFault: what was applied before stays.
        DatabaseUnavailable: the warehouse went away.
    """
    return asyncio.run(_follow_once(settings, find_live_source(settings, name)))


def forget_others(settings: Settings) -> list[str]:
    """The names of the sources that are followed; those that are not any more lose their rows.

    While none is configured, all stay. Raises as `elt.live.opening.live_sources`, and DatabaseUnavailable.
    """
    names = [source.name for source in live_sources(settings)]
    if names:
        asyncio.run(_forget_others(settings, names))
    return names


async def _forget_others(settings: Settings, names: Collection[str]) -> None:
    url = settings.database_url.get_secret_value()
    async with connect_async(url, application_name="laurel-live-once") as connection:
        for name in await remove_others(connection, names):
            _log.info("source_removed", source=name)


async def _follow_once(settings: Settings, source: Source) -> Followed:
    began, url = time.monotonic(), settings.database_url.get_secret_value()
    async with (
        connect_async(url, application_name="laurel-live-once") as writing,
        connect_async(url, application_name="laurel-live-state") as asking,
    ):
        try:
            took = await _take(settings, source, writing, asking)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            await note_problem(asking, source.name, country_of(source), error)
            raise
    return Followed(source.name, took.rows + took.rejected, took.rejected, time.monotonic() - began)


async def _take(
    settings: Settings, source: Source, writing: AsyncConnection, asking: AsyncConnection
) -> Took:
    async with opened(settings, source) as live:
        # Nobody else hands in anything here, so nothing is waited for.
        applier = Applier(writing, gather_seconds=0)
        applying = asyncio.create_task(applier.run())
        try:
            reader = Reader(source, live, asking, applier.submit)
            await reader.register()
            took = await _read(reader)
            if live.way == "poll":
                # Whether rows are gone that others outnumber shows once the scan was taken in.
                more = await _read(reader)
                took = Took(took.rows + more.rows, took.rejected + more.rejected, more.has_compared)
        finally:
            applying.cancel()
            with suppress(asyncio.CancelledError):
                await applying
    return took


async def _read(reader: Reader) -> Took:
    while True:
        with suppress(Late):
            return await reader.read()
