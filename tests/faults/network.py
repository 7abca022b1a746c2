"""A network between a program and a server that can be cut, and can fall silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

State = Literal["whole", "cut", "silent"]


class Network:
    """Passes connections on. Made by `network_to`.

    Cut, it ends those there are and lets nobody in. Silent, it takes all that is sent and passes nothing on,
    as a firewall does that has forgotten a connection; what was silent once stays so.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.passed = 0
        """How many connections were passed on."""
        self._target_port = target_port
        self._state: State = "whole"
        self._pairs: set[_Pair] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network")

    def address(self, url: str) -> str:
        """An address of the server, by way of this network."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{self.port}")))

    def become(self, state: State) -> None:
        """Be so from now on."""
        asyncio.run_coroutine_threadsafe(self._become(state), self._loop).result(60)

    def open(self) -> None:
        """Let connections in."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(60)

    def close(self) -> None:
        """End all of them."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _open(self) -> None:
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        await self._become("cut")
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=5)

    async def _become(self, state: State) -> None:
        self._state = state
        for pair in list(self._pairs):
            if state == "cut":
                pair.end()
            elif state == "silent":
                pair.is_silent = True

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._state == "cut":
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        pair = _Pair(writer, there_writer, is_silent=self._state == "silent")
        self._pairs.add(pair)
        self.passed += 1
        await asyncio.gather(pair.pump(reader, there_writer), pair.pump(there_reader, writer))
        self._pairs.discard(pair)


class _Pair:
    def __init__(self, here: asyncio.StreamWriter, there: asyncio.StreamWriter, *, is_silent: bool) -> None:
        self._writers = (here, there)
        self.is_silent = is_silent

    def end(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while block := await reader.read(1 << 16):
                if not self.is_silent:
                    writer.write(block)
                    await writer.drain()
        if not self.is_silent:
            self.end()


@contextmanager
def network_to(port: int) -> Iterator[Network]:
    """A whole one, to a port of this machine."""
    network = Network(port)
    network.open()
    try:
        yield network
    finally:
        network.close()
