"""What a run costs beside what is stored: append the same number of rows to a small and to a large history.

    python -m bench.incremental --small 50000 --large 5000000 --append 10000 --json

Each append is a file of new keys, loaded and built into the marts; rounds on the two databases alternate, and
`append_ratio` is the median over the rounds of large ÷ small. `idle_run_seconds` is a whole `laurel run` with
nothing new, in a process of its own, imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import uuid6

from bench.platform import Bench, hand_in, running_platform
from demo.history import write_academic_history


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", type=int, default=50_000)
    parser.add_argument("--large", type=int, default=5_000_000)
    parser.add_argument("--append", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with running_platform() as small, running_platform() as large:
        result = measure(small, large, arguments)
    print(json.dumps(result) if arguments.json else "\n".join(f"{k:24} {v}" for k, v in result.items()))


def measure(small: Bench, large: Bench, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill both, then append in turns; all times in seconds."""
    filled = {
        "small_first_build_seconds": _append(small, arguments.small, first_student=0),
        "large_first_build_seconds": _append(large, arguments.large, first_student=0),
    }
    pairs = [
        (
            _append(small, arguments.append, first_student=(number + 1) * 1_000_000),
            _append(large, arguments.append, first_student=(number + 1) * 1_000_000),
        )
        for number in range(arguments.rounds)
    ]
    return {
        "small_rows": arguments.small,
        "large_rows": arguments.large,
        "appended_rows": arguments.append,
        **{name: round(value, 1) for name, value in filled.items()},
        "append_to_small_seconds": round(statistics.median(pair[0] for pair in pairs), 2),
        "append_to_large_seconds": round(statistics.median(pair[1] for pair in pairs), 2),
        "append_ratio": round(statistics.median(pair[1] / pair[0] for pair in pairs), 2),
        "idle_run_seconds": round(_idle_run(large), 2),
    }


def _append(bench: Bench, rows: int, *, first_student: int) -> float:
    """Hand in a new file, load it, build the marts; the file's making is not counted."""
    from elt.loading.loader import load_version
    from elt.store.base import open_store
    from elt.transforming.transform import transform

    path = bench.folder / f"history-{first_student}.csv"
    write_academic_history(path, rows, first_student=first_student)
    upload_id = hand_in(bench, path, "academic_history")
    path.unlink()
    run_id = uuid6.uuid7()
    started = time.perf_counter()
    outcome = load_version(
        bench.settings, open_store(bench.settings.resolved_store_url), upload_id, 1, run_id=run_id
    )
    if outcome.status != "loaded":
        raise SystemExit(f"the load ended as {outcome.status}")
    transform(bench.settings, run_id)
    return time.perf_counter() - started


def _idle_run(bench: Bench) -> float:
    environment = {
        **os.environ,
        "LAUREL_HOME": str(bench.folder),
        "LAUREL_DATABASE_URL": bench.url,
        "LAUREL_SECRET_KEY": "made-for-this-benchmark-only",
        "LAUREL_PSEUDONYM_KEY": "made-for-this-benchmark-only",
    }
    command = [sys.executable, "-m", "cli.main", "run", "--json"]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)  # scores, publishes
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
