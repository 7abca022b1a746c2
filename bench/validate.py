"""Reading and checking one large file, beside a plain loop over Python's csv module.

    python -m bench.validate --rows 1000000 --json

Each way runs in a process of its own, in turn; times are CPU seconds, the ratio is the median over rounds.
The loop checks the same rules on the same cells, row by row, and like the product names line and reason.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from elt.contracts import get_contract, load_contracts, match_header
from elt.reading.reader import read_blocks
from elt.reading.validation import validate

DATASET = "academic_history"
RULE_COLUMNS = ("test_score", "exam_score", "total_score")


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, path = arguments.child
        print(json.dumps(_measure_here(WAYS[way], Path(path))))
        return
    result = measure(arguments.rows, arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value}")


def measure(rows: int, rounds: int) -> dict[str, float]:
    """All rounds; seconds of CPU, megabytes of memory at most.

    Raises:
        RuntimeError: the two ways do not reject the same number of rows.
    """
    from demo.history import (
        write_academic_history,
    )  # here, because it would add to the memory of the children

    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory(prefix="laurel-bench-") as folder:
        path = Path(folder) / "academic_history.csv"
        write_academic_history(path, rows, seed=1, bad_share=0.01)
        for _ in range(rounds):
            for name in WAYS:
                found[name].append(_measure_in_child(name, path))
    rejected = {each["rejected"] for runs in found.values() for each in runs}
    if len(rejected) != 1:
        raise RuntimeError(f"the ways disagree about the rejected rows: {rejected}")
    seconds = {name: statistics.median(each["seconds"] for each in runs) for name, runs in found.items()}
    ratios = [ours["seconds"] / loop["seconds"] for ours, loop in zip(*found.values(), strict=True)]
    return {
        "rows": rows,
        "rejected": rejected.pop(),
        "seconds": round(seconds["laurel"], 3),
        "csv_loop_seconds": round(seconds["csv_loop"], 3),
        "ratio_to_csv_loop": round(statistics.median(ratios), 3),
        "rows_per_second": round(rows / seconds["laurel"]),
        "peak_rss_mb": round(max(each["peak_rss_mb"] for each in found["laurel"])),
    }


def _measure_in_child(name: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.validate", "--child", name, str(path)]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return result


def _measure_here(way: Callable[[Path], int], path: Path) -> dict[str, float]:
    load_contracts()
    started = time.process_time()
    rejected = way(path)
    return {
        "rejected": rejected,
        "seconds": time.process_time() - started,
        "peak_rss_mb": _peak_rss_mb(),
    }


def _peak_rss_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _validate(path: Path) -> int:
    contract = get_contract(DATASET)
    with path.open("rb") as stream:
        detected, blocks = read_blocks(stream)
        match = match_header(contract, detected.header)
        return sum(checked.rejected for checked in validate(blocks, contract, match, school_id="main"))


def _loop(path: Path) -> int:
    contract = get_contract(DATASET)
    issues: list[tuple[int, str, str]] = []
    rejected = 0
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        header = next(reader)
        names = match_header(contract, header).columns
        fields = [(position, contract.field(name)) for position, name in enumerate(names) if name]
        for record in reader:
            before = len(issues)
            values: dict[str, float] = {}
            for position, field in fields:
                cell, limits = record[position], field.constraints
                if cell == "":
                    if limits.required:
                        issues.append((reader.line_num, field.name, "required"))
                    continue
                if field.type in ("integer", "number"):
                    try:
                        value = int(cell) if field.type == "integer" else float(cell)
                    except ValueError:
                        issues.append((reader.line_num, field.name, "type"))
                        continue
                    values[field.name] = value
                    low, high = limits.minimum, limits.maximum
                    if isinstance(low, (int, float)) and value < low:
                        issues.append((reader.line_num, field.name, "minimum"))
                    if isinstance(high, (int, float)) and value > high:
                        issues.append((reader.line_num, field.name, "maximum"))
                elif limits.enum and cell not in limits.enum:
                    issues.append((reader.line_num, field.name, "enum"))
            parts = [values[name] for name in RULE_COLUMNS if name in values]
            if len(parts) == len(RULE_COLUMNS) and parts[0] + parts[1] != parts[2]:
                issues.append((reader.line_num, "", "total_is_test_plus_exam"))
            rejected += len(issues) > before
    return rejected


WAYS: dict[str, Callable[[Path], int]] = {"laurel": _validate, "csv_loop": _loop}

if __name__ == "__main__":
    main()
