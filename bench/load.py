"""Loading one large file, beside a bare server-side COPY of the same file and two peers.

    python -m bench.load --rows 1000000 --json

One row in a hundred breaks a rule. Each round runs COPY and the load one after the other, the ratio is the
median over the rounds of load ÷ COPY of the same round. The peers load a part of the file (`peer_rows`) into
tables of their own, without any checks; they are compared by rows a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from bench.child import child_settings, peak_rss_mb
from bench.platform import Bench, hand_in, run_child, running_platform, time_copy
from demo.history import write_academic_history
from elt.contracts import Contract, get_contract


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-rows", type=int, default=100_000)
    parser.add_argument("--no-peers", action="store_true", help="leave out pandas and dlt")
    parser.add_argument("--no-marts", action="store_true", help="leave out dbt")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_load_in_child(json.loads(arguments.child))))
        return
    with running_platform() as bench:
        result = measure(bench, arguments)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value}")


def measure(bench: Bench, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds and the peers; times in seconds, memory in MB."""
    path = bench.folder / "academic_history.csv"
    write_academic_history(path, arguments.rows, seed=1, bad_share=0.01)
    # COPY takes no bad rows in its stride, so its file is the same one without any.
    clean = bench.folder / "clean.csv"
    write_academic_history(clean, arguments.rows, seed=1)
    contract = get_contract("academic_history")
    rounds = [_one_round(bench, contract, path, clean) for _ in range(arguments.rounds)]
    copy_seconds = statistics.median(item["copy_seconds"] for item in rounds)
    result: dict[str, Any] = {
        "rows": arguments.rows,
        "bytes": path.stat().st_size,
        "counts": rounds[-1]["counts"],
        "copy_seconds": round(copy_seconds, 3),
        "load_seconds": round(statistics.median(item["load_seconds"] for item in rounds), 3),
        "ratio_to_copy": round(
            statistics.median(item["load_seconds"] / item["copy_seconds"] for item in rounds), 2
        ),
        "peak_rss_mb": round(max(item["peak_rss_mb"] for item in rounds), 1),
    }
    if not arguments.no_marts:
        result |= _marts(bench, copy_seconds, result["load_seconds"])
    if not arguments.no_peers:
        result |= _peers(bench, clean, arguments.peer_rows, arguments.rows / result["load_seconds"])
    return result


def _one_round(bench: Bench, contract: Contract, path: Path, clean: Path) -> dict[str, Any]:
    with psycopg.connect(bench.url, autocommit=True) as connection:
        # Each round loads into an empty table, as COPY does; nothing waits there to be compared with.
        connection.execute("truncate raw.academic_history; delete from ops.loads")
    copy_seconds = server_side_copy(bench, contract, clean)
    upload_id = hand_in(bench, path, contract.name)
    return {"copy_seconds": copy_seconds, **run_child("bench.load", bench, {"upload_id": str(upload_id)})}


def _load_in_child(payload: dict[str, Any]) -> dict[str, Any]:
    from elt.loading.loader import load_version
    from elt.store.base import open_store

    settings = child_settings(payload)
    store = open_store(settings.resolved_store_url)
    started = time.perf_counter()
    outcome = load_version(settings, store, UUID(payload["upload_id"]), 1, run_id=None)
    seconds = time.perf_counter() - started
    if outcome.status != "loaded":
        raise SystemExit(f"the load ended as {outcome.status}")
    return {"load_seconds": seconds, "peak_rss_mb": peak_rss_mb(), "counts": asdict(outcome.counts)}


def server_side_copy(bench: Bench, contract: Contract, path: Path) -> float:
    """Seconds of a bare COPY of a file, by the server, into an empty table."""
    with path.open(encoding="utf-8") as file:
        header = file.readline().rstrip("\n").split(",")
    by_title = {field.title: field for field in contract.fields}
    return time_copy(bench, path, {title: by_title[title] for title in header}, has_header=True)


def _marts(bench: Bench, copy_seconds: float, load_seconds: float) -> dict[str, Any]:
    """Build all marts from what the rounds loaded (the same keys in each), then run with nothing new."""
    import uuid6

    from elt.transforming.transform import transform

    started = time.perf_counter()
    transform(bench.settings, uuid6.uuid7())
    build_seconds = time.perf_counter() - started
    started = time.perf_counter()
    transform(bench.settings, uuid6.uuid7())
    return {
        "marts_seconds": round(build_seconds, 2),
        "load_and_marts_to_copy": round((load_seconds + build_seconds) / copy_seconds, 2),
        "transform_with_nothing_new_seconds": round(time.perf_counter() - started, 3),
    }


def _peers(bench: Bench, path: Path, rows: int, our_rows_a_second: float) -> dict[str, Any]:
    import pandas as pd
    from sqlalchemy import create_engine

    part = bench.folder / "part.csv"
    with path.open("rb") as source, part.open("wb") as target:
        for _ in range(rows + 1):
            target.write(source.readline())
    engine = create_engine(bench.url.replace("postgresql://", "postgresql+psycopg2://"))
    started = time.perf_counter()
    pd.read_csv(part).to_sql("by_pandas", engine, schema="public", index=False, if_exists="replace")
    to_sql = rows / (time.perf_counter() - started)
    engine.dispose()
    dlt_rate = _dlt(bench, part, rows)
    return {
        "peer_rows": rows,
        "rows_a_second": round(our_rows_a_second),
        "to_sql_rows_a_second": round(to_sql),
        "dlt_rows_a_second": round(dlt_rate),
        "times_faster_than_to_sql": round(our_rows_a_second / to_sql, 1),
        "times_faster_than_dlt": round(our_rows_a_second / dlt_rate, 1),
    }


def _dlt(bench: Bench, path: Path, rows: int) -> float:
    import dlt
    import pyarrow.csv

    # dlt's quickest way measured for this: Arrow tables, loaded as CSV.
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.postgres(bench.url),
        dataset_name="by_dlt",
        pipelines_dir=str(bench.folder / "dlt"),
    )
    started = time.perf_counter()
    pipeline.run(pyarrow.csv.read_csv(path), table_name="history", loader_file_format="csv")
    return rows / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
