"""Many viewers of the live stream in one process, which note when each event reached them.

    BENCH_KEY=… python -m bench.live_viewers --port 5000 --viewers 100 --out seen.npz

It ends on SIGTERM, or when its standard input is closed, and then writes what it saw. Times are of the
machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

PATH = "/api/v1/live/pisa/stream"

_EVENT = re.compile(rb"^id: *(\d+)\r?$", re.MULTILINE)


@dataclass(slots=True)
class Seen:
    """What all viewers saw: who, which version, when; and by version the responses of each country."""

    viewers: list[int] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    counts: dict[int, dict[str, int]] = field(default_factory=dict)
    lost: int = 0

    def save(self, path: Path) -> None:
        """Write arrays for `bench.live`."""
        np.savez(
            path, viewers=np.array(self.viewers), versions=np.array(self.versions),
            times=np.array(self.times), counts=np.array(json.dumps(self.counts)), lost=np.array(self.lost),
        )  # fmt: skip


class Viewer(asyncio.Protocol):
    """One connection. The first viewer also reads what the events say; that is the same for all."""

    def __init__(self, number: int, request: bytes, seen: Seen) -> None:
        self._number = number
        self._request = request
        self._seen = seen
        self._rest = b""
        self._known: dict[str, int] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note the newest event that has come whole."""
        now = time.monotonic()
        whole, found, self._rest = (self._rest + data).rpartition(b"\n\n")
        if not found:
            return
        versions = _EVENT.findall(whole)
        if not versions:
            return
        self._seen.viewers.append(self._number)
        self._seen.versions.append(int(versions[-1]))
        self._seen.times.append(now)
        if self._number == 0:
            self._read(whole)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Count viewers that were left without a stream."""
        self._seen.lost += 1

    def _read(self, events: bytes) -> None:
        for event in events.split(b"\n\n"):
            version = _EVENT.search(event)
            content = b"".join(line[6:] for line in event.split(b"\n") if line.startswith(b"data: "))
            if version is None or not content:
                continue
            for country in json.loads(content).get("countries", []):
                self._known[country["country"]] = country["responses"]
            self._seen.counts[int(version[1])] = dict(self._known)


async def watch(port: int, viewers: int, key: str, out: Path) -> None:
    """Connect, say so, and note events until standard input ends."""
    request = (
        f"GET {PATH} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        "Accept: text/event-stream\r\n\r\n"
    ).encode()
    loop, seen = asyncio.get_running_loop(), Seen()
    transports: list[Any] = []
    for number in range(viewers):
        make = partial(Viewer, number, request, seen)
        transport, _ = await loop.create_connection(make, "127.0.0.1", port)
        transports.append(transport)
    while len(set(seen.viewers)) < viewers and not seen.lost:
        await asyncio.sleep(0.05)
    print(json.dumps({"connected": len(set(seen.viewers))}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    seen.save(out)
    print(json.dumps({"events": len(seen.times)}), flush=True)
    for transport in transports:
        transport.abort()


def main() -> None:
    """Parse the arguments and watch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(watch(arguments.port, arguments.viewers, os.environ["BENCH_KEY"], arguments.out))


if __name__ == "__main__":
    main()
