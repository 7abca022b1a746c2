"""Where one machine ends: uploads a minute, pages a minute, and what a run costs with many files.

    python -m bench.limits --rows 200000 --seconds 1 --json

The API runs as it is served for real (gunicorn with its two workers, its own PostgreSQL with fsync, a folder
as store) on a school of `rows` results. Clients hand in files of `file_rows` results, each of a new student,
one after the other without a pause; then as many look at the summary. A step with more clients follows while
p95 keeps the bound; `most_a_minute` is the best that kept it. Then `laurel run` takes all that was handed in,
and after it a single file: what a run costs by itself.

Clients, API, database and runs share the machine. `load_average` says how busy it was with other work before.
That changes `cpu_ms`, what API and database worked for a request, and `cpu_seconds`, what a run and the
database did, less than it does the times.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

import psutil

from bench.platform import Bench, Server, environment_of, hand_in, running_platform, served
from bench.worked import processor_seconds, server_of
from demo.history import write_academic_history
from elt.warehouse import connect

Ask = Callable[[http.client.HTTPConnection], None]
Figures = dict[str, float]

_CLIENTS = (1, 2, 4, 8, 16, 32, 64)
_BOUND_MS = 1_000
_STUDENT = "STU0000000"  # whom the file of the first student is about
_LAST_STUDENT = 9_000_000


@dataclass(frozen=True, slots=True)
class Busy:
    """The API, and the processes that work for it."""

    server: Server
    processes: list[psutil.Process]


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, help="results that are there before")
    parser.add_argument("--file-rows", type=int, default=100, help="results in each file handed in")
    parser.add_argument("--seconds", type=float, default=1, help="of each step; one run then takes all")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with running_platform() as bench:
        result = measure(bench, arguments.rows, arguments.file_rows, arguments.seconds)
    print(json.dumps(result) if arguments.json else "\n".join(f"{k:24} {v}" for k, v in result.items()))


def measure(bench: Bench, rows: int, file_rows: int, seconds: float) -> dict[str, Any]:
    """All steps; times in seconds where the name does not say milliseconds."""
    load_average, empty = os.getloadavg()[0], _database_bytes(bench)
    _hand_in_history(bench, rows, first_student=1)
    _say("a first run")
    first = _run(bench)
    filled = _database_bytes(bench)
    with served(bench) as server:
        busy = Busy(server, [server_of(bench), psutil.Process(server.pid)])
        uploads = _steps(busy, _uploader(bench, server, file_rows), seconds)
        pages = _steps(busy, _viewer(server), seconds)
    files = sum(int(step["count"]) for step in uploads)
    _say(f"a run of {files} files")
    many = _run(bench)
    _hand_in_history(bench, file_rows, first_student=_LAST_STUDENT)
    one = _run(bench)
    return {
        "rows": rows, "file_rows": file_rows, "processors": os.cpu_count(),
        "load_average": round(load_average, 1), "database_bytes_a_row": round((filled - empty) / rows),
        "bound_ms": _BOUND_MS,
        "uploads_most_a_minute": _most(uploads), "upload_steps": uploads,
        "pages_most_a_minute": _most(pages), "page_steps": pages,
        "first_run": first, "run_of_one_file": one, "run_of_all_files": many, "run_files": files,
        "whole_way_files_a_minute": round(60 * files / many["seconds"]),
    }  # fmt: skip


def _say(what: str) -> None:
    print(f"{what} …", file=sys.stderr)


def _steps(busy: Busy, ask: Ask, seconds: float) -> list[Figures]:
    """More and more clients, until the slowest of twenty answers took longer than the bound."""
    found: list[Figures] = []
    _step(busy, ask, 4, 2)  # each worker has answered
    for clients in _CLIENTS:
        _say(f"{clients} clients")
        found.append(_step(busy, ask, clients, seconds))
        if found[-1]["p95_ms"] > _BOUND_MS:
            break
    return found


def _step(busy: Busy, ask: Ask, clients: int, seconds: float) -> Figures:
    worked, began = processor_seconds(*busy.processes), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        each = pool.map(lambda _: _client(busy.server, ask, began + seconds), range(clients))
        times = sorted(taken for found in each for taken in found)
    minutes = (time.perf_counter() - began) / 60
    worked = processor_seconds(*busy.processes) - worked
    return {
        "clients": clients, "count": len(times), "a_minute": round(len(times) / minutes),
        "p50_ms": round(1000 * _percentile(times, 50)), "p95_ms": round(1000 * _percentile(times, 95)),
        "cpu_ms": round(1000 * worked / len(times), 1),
    }  # fmt: skip


def _client(server: Server, ask: Ask, end: float) -> list[float]:
    """Ask one time after the other until the end; how long each took, in seconds."""
    times = []
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    while (began := time.perf_counter()) < end:
        ask(connection)
        times.append(time.perf_counter() - began)
    connection.close()
    return times


def _uploader(bench: Bench, server: Server, file_rows: int) -> Ask:
    path = bench.folder / "one.csv"
    write_academic_history(path, file_rows)
    template, numbers = path.read_text(), count(1_000_000)
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "text/csv"}

    def upload(connection: http.client.HTTPConnection) -> None:
        body = template.replace(_STUDENT, f"NEW{next(numbers)}")
        address = "/api/v1/uploads?dataset=academic_history&school_id=S000"
        _answered(connection, "POST", address, headers, body.encode(), 201)

    return upload


def _viewer(server: Server) -> Ask:
    headers = {"Authorization": f"Bearer {server.key}", "Accept": "text/html", "Accept-Encoding": "gzip"}
    return lambda connection: _answered(connection, "GET", "/summary", headers, None, 200)


def _answered(
    connection: http.client.HTTPConnection,
    method: str,
    address: str,
    headers: dict[str, str],
    body: bytes | None,
    expected: int,
) -> None:
    connection.request(method, address, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != expected:
        raise SystemExit(f"{method} {address} was answered {answer.status}: {content[:300]!r}")


def _percentile(times: list[float], percent: int) -> float:
    return times[math.ceil(len(times) * percent / 100) - 1]


def _most(steps: list[Figures]) -> float:
    return max((step["a_minute"] for step in steps if step["p95_ms"] <= _BOUND_MS), default=0)


def _hand_in_history(bench: Bench, rows: int, *, first_student: int) -> None:
    path = bench.folder / f"history-{first_student}.csv"
    write_academic_history(path, rows, first_student=first_student)
    hand_in(bench, path, "academic_history")


def _run(bench: Bench) -> Figures:
    """What a whole `laurel run` takes, imports included."""
    database, me = server_of(bench), psutil.Process()
    worked, began = processor_seconds(database) + _children_seconds(me), time.perf_counter()
    command = [sys.executable, "-m", "cli.main", "run", "--json"]
    subprocess.run(command, env=environment_of(bench), check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    worked = processor_seconds(database) + _children_seconds(me) - worked
    return {"seconds": round(seconds, 1), "cpu_seconds": round(worked, 1)}


def _children_seconds(process: psutil.Process) -> float:
    """Of those that have ended."""
    used = process.cpu_times()
    return float(used.children_user + used.children_system)


def _database_bytes(bench: Bench) -> int:
    with connect(bench.url) as connection:
        row = connection.execute("select pg_database_size(current_database()) as size").fetchone()
    assert row is not None
    return int(row["size"])


if __name__ == "__main__":
    main()
