"""From commit in a country database to all who watch, beside a poller that counts and offsets each second.

    python -m bench.live --sources 20 --rate 200 --seconds 60 --json

The follower, the API with its workers, PostgreSQL for the platform and another one for the countries run as
they do for real (fsync on). Responses are submitted at a rate in all countries together, 2 % of them in
transactions that stay open for half a second to two seconds after their statement; 1 % change an earlier
one. A response has arrived at a viewer with the first event whose picture counts it: the n-th commit of a
country with the picture that counts n more than there were. `lost` is what differs at the end between the
running sums, their recount and the sources.

Before that, on the same databases, the poller alone at the same rate. After it: 1 000 viewers; and a backlog
while the follower is held still, and how fast it is made up. Shares are of one core: `cpu_share` is
the follower's, `source_cpu_share` that of one country's database, and those of the poller include it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from bench.live_stage import Countries, Follower, Work, following, running_countries, warehouse_pid
from bench.platform import Bench, Server, running_platform, served
from demo.pisa import COUNTRIES, WIDE
from demo.pisa_submissions import Shares, Submitted, submit

Times = npt.NDArray[np.float64]

_SHARES = Shares(late=0.02, updates=0.01, deletes=0, bad=0)
_SETTLE_SECONDS = 3.0  # the longest that a late transaction stays open, and some more


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=int, default=20, help=f"countries, at most {len(COUNTRIES)}")
    parser.add_argument("--rate", type=float, default=200, help="responses a second in all countries")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--crowd", type=int, default=1_000, help="viewers of the second round; 0: none")
    parser.add_argument("--burst", type=int, default=100_000, help="rows of the backlog; 0: none")
    parser.add_argument("--columns", type=int, default=WIDE, help="of the countries' tables")
    parser.add_argument("--responses", type=int, default=200, help="in each country from the beginning")
    parser.add_argument("--way", choices=("notify", "poll"), default="notify")
    parser.add_argument("--no-peer", action="store_true", help="leave out the poller")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not 1 <= arguments.sources <= len(COUNTRIES):
        parser.error(f"--sources: 1 to {len(COUNTRIES)}, not {arguments.sources}")
    codes = COUNTRIES[: arguments.sources]
    with (
        running_platform() as bench,
        running_countries(bench, codes, arguments.columns, arguments.responses) as countries,
    ):
        result = measure(bench, countries, arguments)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:28} {value}")


def measure(bench: Bench, countries: Countries, arguments: argparse.Namespace) -> dict[str, Any]:
    """All rounds; times in milliseconds where the name says so, else seconds; shares of one core."""
    rate, seconds, crowd = arguments.rate, arguments.seconds, arguments.crowd
    peer = {} if arguments.no_peer else _peer(bench, countries, rate, seconds)
    with served(bench) as server, following(bench, prepared=arguments.way == "notify") as follower:
        follower.wait_for(countries.count())
        stage = _Stage(bench, countries, server, follower)
        found = stage.watch(arguments.viewers, rate, seconds)
        result: dict[str, Any] = {
            "sources": arguments.sources, "rate": rate, "seconds": seconds, "way": arguments.way,
            "columns": arguments.columns, "viewers": arguments.viewers, **found,
        }  # fmt: skip
        if crowd:
            found = stage.watch(crowd, rate, seconds)
            result |= {f"crowd_{name}": value for name, value in {"viewers": crowd, **found}.items()}
        if arguments.burst:
            result |= stage.burst(arguments.burst)
        follower.wait_for(countries.count())
        result["lost"] = len(follower.check())
    if peer:
        result |= {f"poller_{name}": value for name, value in peer.items()}
        for name in ("p50", "p99"):
            result[f"poller_to_ours_{name}"] = round(peer[f"{name}_ms"] / result[f"{name}_ms"], 1)
    return result


class _Stage:
    def __init__(self, bench: Bench, countries: Countries, server: Server, follower: Follower) -> None:
        self._bench = bench
        self._countries = countries
        self._server = server
        self._follower = follower
        self._parts = {
            "": follower.process.pid, "api_": server.pid, "source_": countries.pid,
            "warehouse_": warehouse_pid(countries),
        }  # fmt: skip

    def watch(self, viewers: int, rate: float, seconds: float) -> dict[str, Any]:
        """Submit while so many watch."""
        there = self._countries.count()
        with _viewers(self._bench, self._server, viewers) as out:
            before, began = Work.of(self._parts), time.monotonic()
            submitted = _submit(self._countries, rate, seconds)
            shares = Work.of(self._parts).share_since(before, time.monotonic() - began)
            self._follower.wait_for(self._countries.count())
            time.sleep(1)  # for the last event to reach all
        shares["source_"] /= len(self._countries.addresses)
        lags, unseen, lost_streams = _lags(submitted, there, out, viewers)
        return {
            "responses": len(submitted),
            **_percentiles(lags),
            "unseen": unseen,
            "streams_lost": lost_streams,
            **{f"{name}cpu_share": round(share, 4) for name, share in shares.items()},
        }

    def burst(self, rows: int) -> dict[str, Any]:
        """Make up a backlog that came in while the follower was held still."""
        each = rows // len(self._countries.addresses)
        with self._follower.paused():
            for code, address in self._countries.addresses.items():
                _insert_many(address, code, each)
            wanted = self._countries.count()
            before, began = Work.of(self._parts), time.monotonic()
        self._follower.wait_for(wanted)
        seconds = time.monotonic() - began
        shares = Work.of(self._parts).share_since(before, 1)
        count = each * len(self._countries.addresses)
        return {
            "burst_rows": count,
            "burst_seconds": round(seconds, 2),
            "burst_rows_a_second": round(count / seconds),
            **{f"burst_{name}cpu_seconds": round(share, 2) for name, share in shares.items()},
        }


def _submit(countries: Countries, rate: float, seconds: float) -> list[Submitted]:
    submitted: list[Submitted] = []
    asyncio.run(submit(countries.addresses, rate, seconds, seed=2, record=submitted.append, shares=_SHARES))
    return submitted


@contextmanager
def _viewers(bench: Bench, server: Server, viewers: int) -> Iterator[Path]:
    """Let so many watch, in a process of their own; the file with what they saw is there afterwards."""
    out = bench.folder / f"seen-{viewers}.npz"
    command = [
        sys.executable, "-m", "bench.live_viewers", "--port", str(server.port), "--viewers", str(viewers),
        "--out", str(out),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env={**os.environ, "BENCH_KEY": server.key}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    connected = process.stdout.readline()
    if not connected or json.loads(connected)["connected"] != viewers:
        raise SystemExit(f"Not all of {viewers} viewers could connect: {connected!r}")
    yield out
    process.stdin.close()
    if process.wait(timeout=120):
        raise SystemExit("The viewers ended with an error.")


def _lags(
    submitted: Sequence[Submitted], there: Mapping[str, int], out: Path, viewers: int
) -> tuple[Times, int, int]:
    """How long each response took to each viewer, in seconds; how many never came; streams that broke off."""
    with np.load(out) as seen:
        versions, times, numbers = seen["versions"], seen["times"], seen["viewers"]
        counts: dict[int, dict[str, int]] = {
            int(version): known for version, known in json.loads(str(seen["counts"])).items()
        }
        broken = int(seen["lost"])
    pictures = [counts[version] for version in sorted(counts)]
    known = np.array(sorted(counts))
    lags, unseen = [], 0
    for code, committed in _by_country(submitted).items():
        counted = np.array([picture.get(code, 0) for picture in pictures])
        # A picture's count never falls here, since nothing is deleted.
        first = np.searchsorted(counted, there[code] + 1 + np.arange(len(committed)))
        unseen += int(np.sum(first == len(known)))
        reached = first < len(known)
        needed, since = known[first[reached]], committed[reached]
        for number in range(viewers):
            own = numbers == number
            place = np.searchsorted(versions[own], needed)
            came = place < int(own.sum())
            unseen += int(np.sum(~came))
            lags.append(times[own][place[came]] - since[came])
    return np.concatenate(lags), unseen, broken


def _by_country(submitted: Sequence[Submitted]) -> dict[str, Times]:
    found: dict[str, list[float]] = defaultdict(list)
    for each in submitted:
        found[each.country].append(each.committed)
    return {code: np.sort(np.array(times)) for code, times in found.items()}


def _percentiles(lags: Times) -> dict[str, float]:
    if not len(lags):
        raise SystemExit("Nothing of what was submitted was ever shown.")
    middle, most = np.percentile(lags, (50, 99))
    return {
        "p50_ms": round(float(middle) * 1000, 1),
        "p99_ms": round(float(most) * 1000, 1),
        "max_ms": round(float(lags.max()) * 1000, 1),
    }


def _insert_many(address: str, code: str, rows: int) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "insert into responses (cnt, escs, tmins, belong, durecec, w_fstuwt, time_submitted) "
            "select %s, (n %% 70) / 10.0 - 3.5, (n %% 3000)::text, (n %% 30) / 10.0 - 1.5, n %% 5, 1.5, "
            "now() from generate_series(1, %s) as n",
            (code, rows),
        )


def _peer(bench: Bench, countries: Countries, rate: float, seconds: float) -> dict[str, Any]:
    """The same submissions, shown by the poller."""
    with psycopg.connect(bench.url, autocommit=True) as connection:
        connection.execute("create database polled")
    out = bench.folder / "polled.json"
    central = bench.url.rsplit("/", 1)[0] + "/polled"
    given = {"central": central, "countries": dict(countries.addresses)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.live_poller", "--out", str(out)],
        env={**os.environ, "BENCH_POLLER": json.dumps(given)}, stdin=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    there = countries.count()
    _wait_until_polled(central, there)
    parts = {"": process.pid, "source_": countries.pid, "warehouse_": warehouse_pid(countries)}
    before, began = Work.of(parts), time.monotonic()
    submitted = _submit(countries, rate, seconds)
    shares = Work.of(parts).share_since(before, time.monotonic() - began)
    shares["source_"] /= len(countries.addresses)
    time.sleep(_SETTLE_SECONDS)
    process.stdin.close()
    process.wait(timeout=120)
    shown: list[tuple[float, dict[str, int]]] = json.loads(out.read_text())
    at = np.array([moment for moment, _ in shown])
    lags, unseen = [], 0
    for code, committed in _by_country(submitted).items():
        counted = np.maximum.accumulate([counts.get(code, 0) for _, counts in shown])
        first = np.searchsorted(counted, there[code] + 1 + np.arange(len(committed)))
        came = first < len(at)
        unseen += int(np.sum(~came))
        lags.append(at[first[came]] - committed[came])
    return {
        **_percentiles(np.concatenate(lags)),
        "unseen": unseen,
        **{f"{name}cpu_share": round(share, 4) for name, share in shares.items()},
    }


def _wait_until_polled(central: str, there: Mapping[str, int]) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        time.sleep(0.5)
        with psycopg.connect(central) as connection:
            if connection.execute("select to_regclass('pisa')").fetchone() == (None,):
                continue
            rows = connection.execute("select cnt, count(*) from pisa group by 1").fetchall()
            if dict(rows) == dict(there):
                return
    raise SystemExit("The poller does not reach the sources in ten minutes.")


if __name__ == "__main__":
    main()
