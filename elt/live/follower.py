"""Follows all country databases at once: a task for each, one that writes, one that listens like a viewer.

Whatever goes wrong with the warehouse ends all of it, and it begins again; whatever goes wrong with a source
concerns its task only. Nothing is kept in memory that is not read again.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass

from psycopg import sql

from elt.errors import ConfigurationError, DatabaseUnavailable, public_text
from elt.live import CHANNEL, LOCK_KEY
from elt.live.applier import TELL_SECONDS, Applier, Late
from elt.live.beats import Beats
from elt.live.changes import LiveSource
from elt.live.opening import live_sources, no_sources, opened
from elt.live.reading import Reader, country_of
from elt.live.state import note_lags, note_problem, remove_others
from elt.live.telling import AWAY, EVENTS, LATE, Teller
from elt.log import get_logger
from elt.settings import Settings
from elt.sources.configuration import Source, environment_of
from elt.warehouse import AsyncConnection, answered, connect_async

BEAT_SECONDS = 5.0

EAR_SECONDS = 10.0
"""How often the ear asks the warehouse whether it is still there, and how soon that must answer."""

_LOCK_KEPT = "30s"  # by a session that is silent; the applier's never is
_END_IF_SILENT = """
    select set_config('idle_session_timeout', %s, false),
           set_config('idle_in_transaction_session_timeout', %s, false)
"""
_LOOK_SECONDS = 3.0  # for files of sources that came, went or changed
_WAY_SECONDS = 30.0  # for triggers that were made or switched off, and for tables that were changed
_STANDBY_SECONDS = 2.0
_AWAY_SECONDS = 60.0  # before anybody is told
_AGAIN_SECONDS = 3600.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0

_log = get_logger(__name__)


async def follow(settings: Settings, *, stop: asyncio.Event) -> None:
    """Follow until `stop` is set. While another follower runs, wait until it ends."""
    working = asyncio.create_task(_follow_for_ever(settings))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def _follow_for_ever(settings: Settings) -> None:
    pause = _Pause()
    while True:
        began = time.monotonic()
        try:
            await _follow_while_connected(settings)
        except* DatabaseUnavailable as away:
            _log.warning("warehouse_away", reason=_first(away).detail)
        if time.monotonic() - began > _LONGEST_PAUSE:
            pause = _Pause()
        await asyncio.sleep(pause.next())


async def _follow_while_connected(settings: Settings) -> None:
    """Until the warehouse goes away, which raises DatabaseUnavailable, alone or in a group."""
    url = settings.database_url.get_secret_value()
    async with connect_async(url, application_name="laurel-live") as writing:
        await _become_the_only_one(writing)
        async with (
            connect_async(url, application_name="laurel-live-state") as asking,
            connect_async(url, application_name="laurel-live-ear") as listening,
            asyncio.TaskGroup() as group,
        ):
            beats = Beats(settings.live_bound_seconds)
            applier = Applier(writing, beats.carry)
            teller = Teller(settings)
            follower = _Follower(settings, asking, applier, beats, teller)
            async with answered(listening):
                await listening.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
            group.create_task(applier.run())
            group.create_task(_listen(listening, beats))
            group.create_task(teller.run())
            group.create_task(follower.note_beats())
            group.create_task(follower.watch_sources(group))


async def _become_the_only_one(connection: AsyncConnection) -> None:
    """Wait for the lock, which the server frees when the follower that has it is gone.

    Where the network is so broken that the server cannot know, it ends the session of whoever is silent.
    """
    is_waiting = False
    while True:
        async with answered(connection):
            cursor = await connection.execute("select pg_try_advisory_lock(%s) as has", (LOCK_KEY,))
            row = await cursor.fetchone()
        if row is not None and row["has"]:
            async with answered(connection):
                await connection.execute(_END_IF_SILENT, (_LOCK_KEPT, _LOCK_KEPT))
            _log.info("follower_started")
            return
        if not is_waiting:
            _log.info("follower_stands_by", reason="another one follows")
            is_waiting = True
        await asyncio.sleep(_STANDBY_SECONDS)


async def _listen(connection: AsyncConnection, beats: Beats) -> None:
    """A connection on which nothing comes may be dead; this is where it is noticed soonest."""
    while True:
        async with answered(connection, 2 * EAR_SECONDS):
            async for notify in connection.notifies(timeout=EAR_SECONDS):
                beats.hear(int(notify.payload))
            await connection.execute("select 1")


@dataclass(slots=True)
class _Followed:
    source: Source
    address: str
    task: asyncio.Task[None]


class _Follower:
    """The tasks of all sources."""

    def __init__(
        self, settings: Settings, asking: AsyncConnection, applier: Applier, beats: Beats, teller: Teller
    ) -> None:
        self._settings = settings
        self._teller = teller
        self._asking = asking
        self._applier = applier
        self._beats = beats
        self._followed: dict[str, _Followed] = {}

    async def watch_sources(self, group: asyncio.TaskGroup) -> None:
        """Begin with sources that come, end with those that go, for ever.

        While a file is wrong, the sources stay that there are.
        """
        problem = ""
        while True:
            try:
                wanted = await asyncio.to_thread(_wanted, self._settings)
            except (ConfigurationError, OSError) as error:
                problem = self._say(problem, public_text(error))
            else:
                problem = "" if wanted else self._say(problem, no_sources(self._settings))
                await self._change_to(wanted, group)
            await asyncio.sleep(_LOOK_SECONDS)

    @staticmethod
    def _say(said: str, problem: str) -> str:
        if problem != said:
            _log.error("sources_not_read", reason=problem)
        return problem

    async def _change_to(self, wanted: dict[str, tuple[Source, str]], group: asyncio.TaskGroup) -> None:
        for name, followed in list(self._followed.items()):
            if wanted.get(name) != (followed.source, followed.address):
                followed.task.cancel()
                await asyncio.wait([followed.task])
                del self._followed[name]
                self._beats.forget(name)
        for name in await remove_others(self._asking, wanted.keys()):
            _log.info("source_removed", source=name)
            for event in EVENTS:
                self._teller.all_clear(event, name, "The source is not followed any more.")
        for name, (source, address) in wanted.items():
            if name not in self._followed:
                task = group.create_task(self._follow_source(source))
                self._followed[name] = _Followed(source, address, task)

    async def _follow_source(self, source: Source) -> None:
        away = _Away(self._teller, source.name)
        while True:
            try:
                async with opened(self._settings, source) as live:
                    await self._follow_opened(source, live, away)
            except DatabaseUnavailable:
                raise
            except Exception as error:  # whatever it is, the others go on
                self._beats.forget(source.name)
                await note_problem(self._asking, source.name, country_of(source), error)
                await asyncio.sleep(away.note(public_text(error)))

    async def _follow_opened(self, source: Source, live: LiveSource, away: _Away) -> None:
        """Until the source allows a better way, or this one no more, or its table is another one."""
        reader = Reader(source, live, self._asking, self._applier.submit)
        if live.way != "notify":
            self._end_canaries(source)
        await reader.register()
        beat_at, is_told, look_at = 0.0, False, time.monotonic() + _WAY_SECONDS
        while True:
            with suppress(Late):
                await reader.read()
            if not is_told:
                _log.info("source_followed", source=source.name, way=live.way)
                is_told = True
            if time.monotonic() >= look_at:
                if not await live.is_best_way():
                    return
                look_at = time.monotonic() + _WAY_SECONDS
            if live.way == "notify" and time.time() >= beat_at:
                await live.beat(self._beats.send(source.name))
                beat_at = _next(BEAT_SECONDS)
            away.is_back()  # not before the canary, which fails on a full disk where reading goes on
            await _wait(live)

    def _end_canaries(self, source: Source) -> None:
        self._beats.forget(source.name)
        self._teller.all_clear(LATE, source.name, f"{source.name} is looked at now, without canaries.")

    async def note_beats(self) -> None:
        """Keep how long canaries took, and alert where they are late again and again."""
        while True:
            await asyncio.sleep(_STANDBY_SECONDS)
            if lags := self._beats.take_lags():
                await note_lags(self._asking, lags)
            bound = f"{self._settings.live_bound_seconds:g} s to viewers"
            for source in self._beats.take_late():
                detail = f"Changes of {source} take longer than {bound}; `laurel live status` shows how long."
                self._teller.alert(LATE, source, detail)
            for source in self._beats.take_in_time():
                self._teller.all_clear(LATE, source, f"Changes of {source} take less than {bound} again.")


def _wanted(settings: Settings) -> dict[str, tuple[Source, str]]:
    """The sources and their addresses; an address that is not set is the source's problem, not all's."""
    environment = environment_of(settings)
    wanted = {}
    for source in live_sources(settings):
        try:
            address = source.address(environment).get_secret_value()
        except (ConfigurationError, OSError):
            address = ""
        wanted[source.name] = (source, address)
    return wanted


async def _wait(live: LiveSource) -> None:
    """Until it is time to read. All idle sources are read at the same moments, so that viewers hear once.

    A source that must be looked at says itself how often that may be.
    """
    while not await live.wait(max(_next(TELL_SECONDS) - time.time(), 0.0)):
        if live.way == "notify":
            return


def _next(seconds: float) -> float:
    """When a whole number of such spans has passed, by the clock."""
    return (time.time() // seconds + 1) * seconds


def _first(group: BaseExceptionGroup[DatabaseUnavailable]) -> DatabaseUnavailable:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, DatabaseUnavailable)  # noqa: S101 - only such were chosen
    return error


class _Pause:
    """Pauses that double, none of them quite like another's."""

    def __init__(self) -> None:
        self._seconds = _SHORTEST_PAUSE

    def next(self) -> float:
        seconds = self._seconds
        self._seconds = min(seconds * 2, _LONGEST_PAUSE)
        return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


class _Away:
    """How long a source has been away, and whether people know."""

    def __init__(self, teller: Teller, source: str) -> None:
        self._teller = teller
        self._source = source
        self._pause = _Pause()
        self._since: float | None = None
        self._told_at: float | None = None
        self._is_clear = False  # a follower before this one may have told otherwise

    def is_back(self) -> None:
        """It was read."""
        if not self._is_clear:
            self._teller.all_clear(AWAY, self._source, f"{self._source} is followed again.")
        self._is_clear = True
        self._pause = _Pause()
        self._since = self._told_at = None

    def note(self, problem: str) -> float:
        """It cannot be read; how many seconds to wait before it is tried again."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            _log.warning("source_away", source=self._source, reason=problem)
        due = self._told_at is None or now - self._told_at > _AGAIN_SECONDS
        if now - self._since > _AWAY_SECONDS and due:
            self._told_at, self._is_clear = now, False
            self._teller.alert(AWAY, self._source, problem)
        return self._pause.next()
