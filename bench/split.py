"""Loading one large file in parts, by 1, 2 and 4 processes at once, beside loading it as a whole.

    python -m bench.split --rows 1000000 --workers 1,2,4 --json

Each round runs a bare server-side COPY, the load as a whole, and the load in parts by so many processes; each
load into an empty table, ratios are medians over the rounds. One row in a hundred breaks a rule. The file is
cut into as many parts as the most processes. Beside the seconds that went by stand those that processors
worked, in the server and in ours, since the processes may well be more than the processors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from bench.child import make_settings
from bench.load import server_side_copy
from bench.platform import Bench, hand_in, running_platform
from bench.worked import processor_seconds, server_of
from demo.history import write_academic_history
from elt.contracts import get_contract
from elt.loading.loader import load_version
from elt.loading.parts import discard_outdated, load_part, split_version
from elt.settings import Settings
from elt.store.base import open_store
from elt.warehouse import connect

DATASET = "academic_history"
PHASES = ("cut", "parts", "finish")


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that went by, and that processors worked."""

    seconds: float
    worked: float


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", default="1,2,4", help="numbers of processes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    workers = [int(number) for number in arguments.workers.split(",")]
    with running_platform() as bench:
        result = measure(bench, arguments.rows, arguments.rounds, workers)
    if arguments.json:
        print(json.dumps(result))
        return
    ways = result.pop("ways")
    for name, value in result.items():
        print(f"{name:16} {value}")
    for name, way in ways.items():
        print(f"\n{name}")
        for key, value in way.items():
            print(f"  {key:16} {value}")


def measure(bench: Bench, rows: int, rounds: int, workers: list[int]) -> dict[str, Any]:
    """Run all rounds; times in seconds."""
    path, clean = bench.folder / "academic_history.csv", bench.folder / "clean.csv"
    write_academic_history(path, rows, seed=1, bad_share=0.01)
    write_academic_history(clean, rows, seed=1)  # COPY takes no bad rows in its stride
    parts = max(*workers, 2)
    found: dict[str, list[dict[str, Cost]]] = {}
    copies: list[float] = []
    for _ in range(rounds):
        copies.append(server_side_copy(bench, get_contract(DATASET), clean))
        found.setdefault("whole", []).append({"load": _whole(bench, path)})
        for number in workers:
            found.setdefault(f"by {number}", []).append(_in_parts(bench, path, number, parts))
    return {
        "rows": rows,
        "bytes": path.stat().st_size,
        "parts": parts,
        "processors": psutil.cpu_count(),
        "copy_seconds": round(statistics.median(copies), 2),
        "ways": {name: _summary(costs, found["whole"], copies) for name, costs in found.items()},
    }


def _summary(
    costs: list[dict[str, Cost]], wholes: list[dict[str, Cost]], copies: list[float]
) -> dict[str, Any]:
    def median(values: list[float]) -> float:
        return round(statistics.median(values), 2)

    totals = [sum(cost.seconds for cost in phases.values()) for phases in costs]
    whole = [phases["load"].seconds for phases in wholes]
    result: dict[str, Any] = {
        "seconds": median(totals),
        "ratio_to_whole": median([each / other for each, other in zip(totals, whole, strict=True)]),
        "ratio_to_copy": median([each / copy for each, copy in zip(totals, copies, strict=True)]),
        "worked": median([sum(cost.worked for cost in phases.values()) for phases in costs]),
    }
    for phase in costs[0]:
        seconds = [phases[phase].seconds for phases in costs]
        result[f"{phase}_seconds"] = median(seconds)
        result[f"{phase}_share"] = median([each / total for each, total in zip(seconds, totals, strict=True)])
        result[f"{phase}_worked"] = median([phases[phase].worked for phases in costs])
    return result


def _whole(bench: Bench, path: Path) -> Cost:
    upload_id = _new_upload(bench, path)
    return _timed(bench, partial(_load_whole, bench.settings, upload_id))


def _in_parts(bench: Bench, path: Path, workers: int, parts: int) -> dict[str, Cost]:
    upload_id = _new_upload(bench, path)
    settings = bench.settings.model_copy(update={"split_bytes": -(-path.stat().st_size // parts)})
    store = open_store(settings.resolved_store_url)
    costs: dict[str, Cost] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(_warm_up, range(workers)))
        waiting: list[int] = []
        costs["cut"] = _timed(bench, lambda: waiting.extend(split_version(settings, store, upload_id, 1)))
        if len(waiting) != parts:
            raise SystemExit(f"the file was cut into {len(waiting)} parts, not {parts}")
        load = partial(_load_part, str(bench.folder), bench.url, upload_id)
        theirs: list[float] = []
        took = _timed(bench, lambda: theirs.extend(pool.map(load, waiting)))
        costs["parts"] = Cost(took.seconds, took.worked + sum(theirs))
    costs["finish"] = _timed(bench, partial(_load_whole, bench.settings, upload_id))
    return costs


def _new_upload(bench: Bench, path: Path) -> UUID:
    """Hand the file in beside empty tables, so that nothing waits there to be compared with."""
    with connect(bench.url) as connection:
        connection.execute("delete from ops.loads; update ops.uploads set live_version = null")
        connection.execute("truncate raw.academic_history")
        discard_outdated(connection)
        connection.execute("checkpoint")
    return hand_in(bench, path, DATASET)


def _load_whole(settings: Settings, upload_id: UUID) -> None:
    outcome = load_version(settings, open_store(settings.resolved_store_url), upload_id, 1)
    if outcome.status != "loaded":
        raise SystemExit(f"the load ended as {outcome.status}: {outcome.reason}")


def _load_part(folder: str, url: str, upload_id: UUID, part: int) -> float:
    """Load a part in a process of its own; answers with the seconds that it worked."""
    before = time.process_time()
    settings = make_settings(Path(folder), url)
    load_part(settings, open_store(settings.resolved_store_url), upload_id, 1, part)
    return time.process_time() - before


def _warm_up(_: int) -> None:
    """Long enough that each process of the pool gets one: what they import is not measured."""
    get_contract(DATASET)
    time.sleep(0.5)


def _timed(bench: Bench, action: Callable[[], object]) -> Cost:
    server = server_of(bench)
    began, began_working = time.perf_counter(), time.process_time() + processor_seconds(server)
    action()
    seconds = time.perf_counter() - began
    time.sleep(0.2)  # until the server has noticed that its sessions have ended
    return Cost(seconds, time.process_time() + processor_seconds(server) - began_working)


if __name__ == "__main__":
    main()
