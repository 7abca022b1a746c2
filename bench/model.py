"""How good the models are beside what is published, what is possible and a plain rule; what they cost.

    python -m bench.model --json
    python -m bench.model --only uci oulad --runs 3

UCI's student performance and OULAD are read from `--data` (folders `uci_student` and `oulad`); where they are
not, those parts are left out and named. The school is made up, run by an embedded server, and thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from bench.known_data import measure_oulad, measure_uci
from bench.platform import running_platform
from elt.log import configure_logging
from elt.settings import PROJECT_DIR

_PARTS = ("uci", "oulad", "school", "cost")


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = os.environ.get("LAUREL_SHARED_DATA") or PROJECT_DIR.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(known))
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--runs", type=int, default=20, help="of cross-validation, for accuracies")
    parser.add_argument("--score-runs", type=int, default=3, help="likewise, for RMSE")
    parser.add_argument("--students", type=int, default=4000, help="of the demo school")
    parser.add_argument("--schools", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100_000, help="to train on and to score")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    configure_logging(json=False, level="ERROR")
    with threadpool_limits(limits=1):
        result = measure(arguments)
    if arguments.json:
        print(json.dumps(result))
        return
    for part, found in result.items():
        print(part)
        for line in found if isinstance(found, list) else [found]:
            print("  " + ", ".join(f"{name} {value}" for name, value in line.items()))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All parts that were asked for and whose data are there."""
    from bench.model_school import measure_cost, measure_school

    result: dict[str, Any] = {}
    for part, folder in (("uci", "uci_student"), ("oulad", "oulad")):
        if part not in arguments.only:
            continue
        path = arguments.data / folder
        if not path.is_dir():
            print(f"{part} is left out: there is no {path}; state --data", file=sys.stderr)
        elif part == "uci":
            result[part] = list(measure_uci(path, runs=arguments.runs, score_runs=arguments.score_runs))
        else:
            result[part] = list(measure_oulad(path))
    if {"school", "cost"} & set(arguments.only):
        with running_platform() as bench:
            result["school"] = measure_school(bench, students=arguments.students, schools=arguments.schools)
            if "cost" in arguments.only:
                result["cost"] = measure_cost(bench, arguments.rows)
    return result


if __name__ == "__main__":
    main()
