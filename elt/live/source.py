"""Opens a country database for the follower, in the better of the two ways that it allows."""

from __future__ import annotations

from pydantic import SecretStr

from elt.live.changes import LiveSource
from elt.live.connection import SourceConnection
from elt.live.followed_table import find_table
from elt.live.notified import NotifiedSource, begin_listening, is_prepared
from elt.live.polled import PolledSource
from elt.sources.configuration import Source


async def open_source(source: Source, address: SecretStr) -> LiveSource:
    """Connect, and look what is there: `notify` where the source was prepared, else `poll`.

    Raises:
        SourceUnavailable: the server does not answer.
        SourceFault: the table is not there, or cannot be followed.
        ConfigurationError: the source has no table of responses, or its address cannot be read.
    """
    connection = await SourceConnection.open(address, timeout_seconds=source.timeout_seconds)
    try:
        table = await find_table(connection, source)
        if await is_prepared(connection, table):
            await begin_listening(connection)
            return NotifiedSource(connection, source, table)
        return PolledSource(connection, source, table)
    except BaseException:
        await connection.close()
        raise
