"""What `bench.live` measures on: country databases on their own server, a follower, and who works how."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import yaml

from bench.platform import Bench, environment_of
from demo.pisa import create_countries
from local import ports, postgres

_PASSWORD = "bench"
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Countries:
    """Country databases: their addresses by code, and the process of their server."""

    addresses: Mapping[str, str]
    pid: int

    def count(self) -> dict[str, int]:
        """How many responses each holds."""
        found = {}
        for code, address in self.addresses.items():
            with psycopg.connect(address) as connection:
                row = connection.execute("select count(*) from responses").fetchone()
                assert row is not None
                found[code] = row[0]
        return found


@dataclass(frozen=True, slots=True)
class Follower:
    """A running `laurel live`."""

    bench: Bench
    process: subprocess.Popen[bytes]

    def count(self) -> dict[str, int]:
        """How many responses of each country count."""
        with psycopg.connect(self.bench.url) as connection:
            rows = connection.execute("select country, sum(responses)::bigint from live.countries group by 1")
            return dict(rows.fetchall())

    def wait_for(self, counts: Mapping[str, int]) -> None:
        """Until so many responses count.

        Raises:
            SystemExit: they do not in two minutes.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (found := self.count()) != counts:
            if time.monotonic() > deadline or self.process.poll() is not None:
                differing = {code: (found.get(code), count) for code, count in counts.items()}
                raise SystemExit(f"The follower does not reach the sources (followed, there): {differing}")
            time.sleep(0.02)

    def check(self) -> list[str]:
        """What `laurel live check` finds to differ."""
        done = subprocess.run(
            [*_COMMAND, "check"], env=environment_of(self.bench), capture_output=True, text=True, check=False
        )
        return [] if done.returncode == 0 else done.stdout.splitlines() or done.stderr.splitlines()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold it still, as if it were away."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


_COMMAND = [sys.executable, "-m", "cli.main", "live"]


@contextmanager
def running_countries(
    bench: Bench, codes: Sequence[str], columns: int, responses: int
) -> Iterator[Countries]:
    """Start a server with a database for each country, and name these as sources of the platform."""
    cluster = postgres.prepare(bench.folder / "countries", ports.find_free_port())
    postgres.initialise(cluster, _PASSWORD)
    process = postgres.start(
        cluster, _PASSWORD, log=bench.folder / "countries.log", settings={"max_connections": "200"}
    )
    try:
        addresses = create_countries(cluster.url(_PASSWORD), codes, columns, responses, seed=1)
        _configure(bench.folder, addresses)
        yield Countries(addresses, process.pid)
    finally:
        postgres.stop(process)


@contextmanager
def following(bench: Bench, *, prepared: bool) -> Iterator[Follower]:
    """Run `laurel live`.

    Args:
        prepared: the sources call when something changes; otherwise the follower looks.
    """
    environment = environment_of(bench)
    if prepared:
        subprocess.run(
            [*_COMMAND, "prepare", "--all"], env=environment, check=True, stdout=subprocess.DEVNULL
        )
    with (bench.folder / "live.log").open("wb") as log:
        process = subprocess.Popen(_COMMAND, env=environment, stdout=log, stderr=log)
    try:
        yield Follower(bench, process)
    finally:
        process.terminate()
        process.wait(timeout=60)


@dataclass(frozen=True, slots=True)
class Work:
    """Seconds of processor time that parts of the platform took so far."""

    seconds: Mapping[str, float]

    @classmethod
    def of(cls, parts: Mapping[str, int]) -> Work:
        """Of processes by name, each with its children."""
        return cls({name: _seconds(psutil.Process(pid)) for name, pid in parts.items()})

    def share_since(self, before: Work, elapsed: float) -> dict[str, float]:
        """Which part of one core each took between two moments."""
        return {name: (seconds - before.seconds[name]) / elapsed for name, seconds in self.seconds.items()}


def warehouse_pid(countries: Countries) -> int:
    """The process of the platform's own server."""
    for process in psutil.Process().children():
        if process.name() == "postgres" and process.pid != countries.pid:
            return int(process.pid)
    raise SystemExit("The warehouse is not a child of this process.")


def _seconds(process: psutil.Process) -> float:
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _configure(folder: Path, addresses: Mapping[str, str]) -> None:
    (folder / "sources").mkdir()
    content = {
        "name": "pisa", "kind": "pisa", "address": "PISA_{country}_URL", "each": {"country": list(addresses)},
    }  # fmt: skip
    (folder / "sources" / "pisa.yaml").write_text(yaml.safe_dump(content), "utf-8")
    lines = (f"PISA_{code}_URL={address}\n" for code, address in addresses.items())
    (folder / "laurel.env").write_text("".join(lines), "utf-8")
