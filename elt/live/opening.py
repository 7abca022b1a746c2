"""Which sources are followed, and a connection to one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from elt.errors import NotFound
from elt.live.changes import LiveSource
from elt.live.source import open_source
from elt.settings import Settings
from elt.sources.configuration import Source, environment_of, load_sources, sources_dir

KIND = "pisa"


def live_sources(settings: Settings) -> list[Source]:
    """The sources that are followed, by name; raises as `load_sources` does."""
    return [source for source in load_sources(settings) if source.kind_name == KIND]


def no_sources(settings: Settings) -> str:
    """Why nothing is followed, and what to do, for people."""
    return (
        f"No source of the kind {KIND} is configured in {sources_dir(settings)}; docs/live.md tells how to "
        "set one up."
    )


def find_live_source(settings: Settings, name: str) -> Source:
    """The source of this name.

    Raises:
        NotFound: lists the names of those that are followed.
    """
    sources = live_sources(settings)
    for source in sources:
        if source.name == name:
            return source
    names = ", ".join(source.name for source in sources) or "none"
    raise NotFound(f"There is no source {name[:80]!r} that can be followed; there are: {names}.")


@asynccontextmanager
async def opened(settings: Settings, source: Source) -> AsyncIterator[LiveSource]:
    """Connect to a source; its address is read anew each time.

    Raises:
        ConfigurationError: names the variable that is not set.
        SourceUnavailable, SourceFault: as `open_source`.
    """
    address = await asyncio.to_thread(lambda: source.address(environment_of(settings)))
    live = await open_source(source, address)
    try:
        yield live
    finally:
        await live.close()
