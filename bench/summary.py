"""The summary of a large school: how long the server takes for it, and how much a first visit brings.

    python -m bench.summary --students 20000 --json

The API runs as it is served for real (gunicorn, its own PostgreSQL) on a demo school whose models have been
trained and have scored; making that takes most of the ten minutes or so. `…_ms` is the median of a request by
itself; `…_cpu_ms` what API and database worked for one, which changes less with the machine's other work. A
first visit is the page and all that it names, compressed as browsers get it. Limits stand beside the figures.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from typing import Any

import httpx
import psutil

from bench.platform import Bench, Server, fill_with_school, running_platform, served
from bench.worked import processor_seconds, server_of

_LIMIT_MS = 300
_LIMIT_BYTES = 600_000
_CHOICES = {
    "all": {},
    "class": {"grade_level": "SS2"},
    "term": {"term": "2023/2024 Second Term", "status": "all"},
}
_ASSET = re.compile(r'(?:src|href)="(/assets/[^"]+)"')


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--students", type=int, default=20_000)
    parser.add_argument("--schools", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with running_platform() as bench:
        fill_with_school(bench, students=arguments.students, schools=arguments.schools)
        with served(bench) as server:
            result = {"students": arguments.students, **measure(bench, server, arguments.rounds)}
    print(json.dumps(result) if arguments.json else "\n".join(f"{k:24} {v}" for k, v in result.items()))


def measure(bench: Bench, server: Server, rounds: int) -> dict[str, Any]:
    """Ask for the page, for each choice in turn."""
    headers = {"Authorization": f"Bearer {server.key}", "Accept": "text/html", "Accept-Encoding": "gzip"}
    address = f"http://127.0.0.1:{server.port}"
    processes = [server_of(bench), psutil.Process(server.pid)]
    result: dict[str, Any] = {}
    with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
        for name, choice in _CHOICES.items():
            for _ in range(4):  # each worker has answered once
                _ask(client, choice)
            worked = processor_seconds(*processes)
            times = [_ask(client, choice) for _ in range(rounds)]
            result[f"{name}_ms"] = round(1000 * statistics.median(times))
            result[f"{name}_cpu_ms"] = round(1000 * (processor_seconds(*processes) - worked) / rounds)
        result["limit_ms"] = _LIMIT_MS
        page = client.get("/summary")
        names = sorted(set(_ASSET.findall(page.text)))
        answers = [page, *(client.get(each) for each in names)]
    result["first_visit_bytes"] = sum(answer.num_bytes_downloaded for answer in answers)
    result["limit_bytes"] = _LIMIT_BYTES
    return result


def _ask(client: httpx.Client, choice: dict[str, str]) -> float:
    started = time.perf_counter()
    client.get("/summary", params=choice).raise_for_status()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
