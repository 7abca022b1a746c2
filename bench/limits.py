"""Where one machine ends: uploads a minute, pages a minute, and what a run costs with many files.

    python -m bench.limits --rows 100000 --seconds 20 --json

The API runs as it is served for real (gunicorn with its two workers, its own PostgreSQL with fsync, a folder
as store) on a school of `rows` results. Clients hand in files of `file_rows` results, each of a new student,
one after the other without a pause; then as many look at the summary. A step with more clients follows while
p95 keeps the bound; `most_a_minute` is the best that kept it. Then `laurel run` takes all that was handed in,
and after it a single file: what a run costs by itself.

Clients, API, database and runs share the machine; `load_average` says how busy it was with other work.
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
from itertools import count
from typing import Any

from bench.platform import Bench, Server, environment_of, hand_in, running_platform, served
from demo.history import write_academic_history

Ask = Callable[[http.client.HTTPConnection], None]

_CLIENTS = (1, 2, 4, 8, 16, 32, 64)
_UPLOAD_BOUND_MS = 1_000
_PAGE_BOUND_MS = 1_000
_STUDENT = "STU0000000"  # whom the file of the first student is about


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, help="results that are there before")
    parser.add_argument("--file-rows", type=int, default=100, help="results in each file handed in")
    parser.add_argument("--seconds", type=float, default=20, help="of each step")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with running_platform() as bench:
        result = measure(bench, arguments.rows, arguments.file_rows, arguments.seconds)
    print(json.dumps(result) if arguments.json else "\n".join(f"{k:24} {v}" for k, v in result.items()))


def measure(bench: Bench, rows: int, file_rows: int, seconds: float) -> dict[str, Any]:
    """All steps; times in seconds where the name does not say milliseconds."""
    _hand_in_history(bench, rows, first_student=1)
    first_run = _run(bench)
    load_before = os.getloadavg()[0]
    with served(bench) as server:
        uploads = _steps(server, _uploader(bench, server, file_rows), seconds, _UPLOAD_BOUND_MS)
        pages = _steps(server, _viewer(server), seconds, _PAGE_BOUND_MS)
    files = sum(step["count"] for step in uploads)
    many = _run(bench)
    _hand_in_history(bench, file_rows, first_student=9_000_000)
    one = _run(bench)
    return {
        "rows": rows, "file_rows": file_rows, "processors": os.cpu_count(),
        "load_average": [round(load_before, 1), round(os.getloadavg()[0], 1)],
        "upload_bound_ms": _UPLOAD_BOUND_MS, "uploads_most_a_minute": _most(uploads, _UPLOAD_BOUND_MS),
        "upload_steps": uploads,
        "page_bound_ms": _PAGE_BOUND_MS, "pages_most_a_minute": _most(pages, _PAGE_BOUND_MS),
        "page_steps": pages,
        "first_run_seconds": round(first_run, 1),
        "run_of_one_file_seconds": round(one, 1),
        "run_of_all_files_seconds": round(many, 1), "run_files": files,
        "whole_way_files_a_minute": round(60 * files / many),
    }  # fmt: skip


def _steps(server: Server, ask: Ask, seconds: float, bound: float) -> list[dict[str, float]]:
    """More and more clients, until the slowest of twenty answers took longer than the bound, in ms."""
    found: list[dict[str, float]] = []
    _step(server, ask, 4, 2)  # each worker has answered
    for clients in _CLIENTS:
        found.append(_step(server, ask, clients, seconds))
        if found[-1]["p95_ms"] > bound:
            break
    return found


def _step(server: Server, ask: Ask, clients: int, seconds: float) -> dict[str, float]:
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        each = pool.map(lambda _: _client(server, ask, began + seconds), range(clients))
        times = sorted(taken for found in each for taken in found)
    minutes = (time.perf_counter() - began) / 60
    return {
        "clients": clients, "count": len(times), "a_minute": round(len(times) / minutes),
        "p50_ms": round(1000 * _percentile(times, 50)), "p95_ms": round(1000 * _percentile(times, 95)),
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


def _most(steps: list[dict[str, float]], bound: float) -> float:
    return max((step["a_minute"] for step in steps if step["p95_ms"] <= bound), default=0)


def _hand_in_history(bench: Bench, rows: int, *, first_student: int) -> None:
    path = bench.folder / f"history-{first_student}.csv"
    write_academic_history(path, rows, first_student=first_student)
    hand_in(bench, path, "academic_history")


def _run(bench: Bench) -> float:
    """The seconds of a whole `laurel run`, imports included."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "cli.main", "run", "--json"]
    subprocess.run(command, env=environment_of(bench), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
