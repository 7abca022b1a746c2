"""Reading a large table of a MySQL database into raw, beside a bare COPY of its rows and four peers.

    python -m bench.sources --rows 2000000 --json

The table is RosarioSIS's largest, in a MariaDB of the benchmark's own. Each round runs COPY of the same rows
from a file, then the first reading and the load of what it handed in; all their figures are medians over the
rounds, ratios are ÷ COPY of the same round. dlt and pandas bring the rows into tables of their own (pandas
one row in 20, and its seconds are multiplied); the two drivers only read them. Then a source of all of
RosarioSIS's tables is read again: with nothing new, and with 100 changed rows. `digest_*` is what MariaDB
takes for the sum of two CRC-32 of each row, and for one of MD5.

Each reading is a process of its own, and so its memory. `cpu_seconds` are those that the process and both
databases worked: where others use the machine too, they are steadier than the seconds that went by.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import yaml

from bench.platform import Bench, run_child, running_platform, time_copy
from demo.large_rosariosis import PERIODS, fill_large_school
from demo.rosariosis import create_tables
from demo.rosariosis_lessons import FIRST_MARKING_PERIOD
from elt.contracts import get_contract
from elt.errors import ConfigurationError
from elt.sources.tables import DELETED, RANGE_KEYS
from local import mariadb, ports

TABLE = "student_assessment_grades"
DATASET = f"rosariosis_{TABLE}"
AIM_SECONDS = 2.0  # for reading a source with nothing new

_ADDRESS = "BENCH_SCHOOL_URL"
_PASSWORD = "bench"
_PANDAS_SHARE = 20  # pandas brings one row in so many
_CHANGED = 100
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class School:
    """A running MariaDB. Its databases `large` and `quarter` have RosarioSIS's tables, two of them filled."""

    server: mariadb.Server

    def url(self, database: str) -> str:
        """The address of one of the two."""
        return self.server.url(_PASSWORD, database)

    def fill(self, database: str, rows: int) -> int:
        """Make a database; returns how many rows its largest table got."""
        self.server.create_database(_PASSWORD, database)
        with self.server.connect(_PASSWORD, database) as connection:
            with connection.cursor() as cursor:
                cursor.execute("set sql_mode = ''")  # RosarioSIS has zero dates as defaults
            create_tables(connection)
            return fill_large_school(connection, rows)

    def run(self, statement: str) -> float:
        """Run one statement in the database `large`; returns how many seconds it took."""
        with self.server.connect(_PASSWORD, "large") as connection, connection.cursor() as cursor:
            started = time.perf_counter()
            cursor.execute(statement)
            cursor.fetchall()
            return time.perf_counter() - started

    def write_csv(self, path: Path) -> None:
        """Write the largest table's rows into a file, without a header."""
        written = self.server.root / "rows.csv"
        self.run(f"select * into outfile '{written}' fields terminated by ',' from {TABLE}")
        shutil.move(written, path)
        path.chmod(0o644)  # PostgreSQL's account reads it


def work_of_servers() -> float:
    """How many seconds PostgreSQL and MariaDB have worked so far."""
    seconds = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() in ("mariadbd", "postgres"):
                times = process.cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_000_000, help="at least 1800")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true", help="leave out dlt, pandas and the drivers")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    try:
        with running_school() as school, running_platform() as bench:
            result = measure(bench, school, arguments)
    except ConfigurationError as error:
        raise SystemExit(error.detail) from None
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:32} {value}")


@contextmanager
def running_school() -> Iterator[School]:
    """Start a MariaDB with its usual settings in a temporary folder.

    Raises:
        ConfigurationError: it is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="laurel-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # the server's account must pass
        server = mariadb.prepare(folder / "mariadb", ports.find_free_port())
        try:
            mariadb.initialise(server)
            process = mariadb.start(server, _PASSWORD, log=folder / "mariadb.log")
            try:
                yield School(server)
            finally:
                mariadb.stop(process)
        finally:
            shutil.rmtree(server.root, ignore_errors=True)  # it may lie elsewhere, see reachable_root


def measure(bench: Bench, school: School, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds, the readings that follow them, and the peers; times in seconds, memory in MB."""
    rows = school.fill("large", arguments.rows)
    quarter_rows = school.fill("quarter", arguments.rows // 4)
    time.sleep(3)  # MariaDB keeps the time of a change in whole seconds
    path = bench.folder / "rows.csv"
    school.write_csv(path)
    rounds = [_one_round(bench, school, path, number, rows) for number in range(arguments.rounds)]
    quarter = _first_reading(bench, school, "quarter", "quarter", quarter_rows)
    middle = {name: statistics.median(item[name] for item in rounds) for name in rounds[0]}
    result: dict[str, Any] = {
        "rows": rows,
        **{name: round(value, 4) for name, value in middle.items()},
        "rows_a_second": round(rows / middle["seconds"]),
        "quarter_read_peak_rss_mb": round(quarter["read_peak_rss_mb"], 1),
        "quarter_load_peak_rss_mb": round(quarter["load_peak_rss_mb"], 1),
        **_read_again(bench, school, rows),
        **_digests(school, arguments.rounds),
    }
    if not arguments.no_peers:
        result |= _peers(bench, school, rows, middle)
    return result


def _one_round(bench: Bench, school: School, path: Path, number: int, rows: int) -> dict[str, float]:
    fields = get_contract(DATASET).fields
    columns = {field.name: field for field in fields if field.name not in ("school_id", DELETED)}
    worked = work_of_servers()
    copy_seconds = time_copy(bench, path, columns, has_header=False)
    # Work is told in ticks; a small COPY may take less than one.
    copy_cpu_seconds = max(work_of_servers() - worked, _TICK_SECONDS)
    ours = _first_reading(bench, school, f"round-{number}", "large", rows)
    return {
        "copy_seconds": copy_seconds,
        "copy_cpu_seconds": copy_cpu_seconds,
        **ours,
        "ratio_to_copy": ours["seconds"] / copy_seconds,
        "cpu_ratio_to_copy": ours["cpu_seconds"] / copy_cpu_seconds,
    }


def _first_reading(bench: Bench, school: School, name: str, database: str, rows: int) -> dict[str, float]:
    """Read the largest table by a source that was never read, and load it into an empty table."""
    with psycopg.connect(bench.url, autocommit=True) as connection:
        connection.execute(f"truncate raw.{DATASET}; delete from ops.loads")
    kind = {"title": "The largest table", "tables": [{"table": TABLE, "dataset": DATASET}]}
    _configure(bench, school, name, database, kind=kind)
    read = _read(bench, name, changed=rows)
    loaded = _work(bench, {"work": "load", "uploads": read["uploads"]})
    return {
        "read_seconds": read["seconds"],
        "load_seconds": loaded["seconds"],
        "seconds": read["seconds"] + loaded["seconds"],
        "read_cpu_seconds": read["cpu_seconds"],
        "load_cpu_seconds": loaded["cpu_seconds"],
        "cpu_seconds": read["cpu_seconds"] + loaded["cpu_seconds"],
        "read_peak_rss_mb": read["peak_rss_mb"],
        "load_peak_rss_mb": loaded["peak_rss_mb"],
    }


def _read_again(bench: Bench, school: School, rows: int) -> dict[str, Any]:
    """Read all of RosarioSIS's tables with nothing new, as a whole, and with few changed rows."""
    _configure(bench, school, "school", "large", kind="rosariosis")
    _read(bench, "school")
    nothing_new = _read(bench, "school", changed=0)["seconds"]
    _configure(bench, school, "school", "large", kind="rosariosis", compare_minutes=0)
    compared = _read(bench, "school", changed=0)["seconds"]
    _configure(bench, school, "school", "large", kind="rosariosis")
    between = rows // PERIODS // _CHANGED
    school.run(
        f"update {TABLE} set points = points + 0.25 where marking_period_id = {FIRST_MARKING_PERIOD} "
        f"and student_course_id mod {between} = 1 limit {_CHANGED}"
    )
    far_apart = _read(bench, "school", changed=_CHANGED)["seconds"]
    school.run(
        f"update {TABLE} set points = points + 0.25 order by student_course_id, marking_period_id "
        f"limit {_CHANGED}"
    )
    side_by_side = _read(bench, "school", changed=_CHANGED)["seconds"]
    return {
        "nothing_new_seconds": round(nothing_new, 2),
        "nothing_new_within_aim": nothing_new <= AIM_SECONDS,
        "nothing_new_compared_seconds": round(compared, 2),
        "changed_far_apart_seconds": round(far_apart, 2),
        "changed_side_by_side_seconds": round(side_by_side, 2),
    }


def _digests(school: School, rounds: int) -> dict[str, float]:
    text = "concat_ws(char(31), student_course_id, marking_period_id, ifnull(points, char(0)))"
    sums = {
        "crc32": f"(crc32({text}) & 2147483647) * 4294967296 + crc32(reverse({text}))",
        "md5": f"conv(left(md5({text}), 15), 16, 10)",
    }
    return {
        f"digest_{name}_seconds": round(
            statistics.median(
                school.run(
                    f"select floor(student_course_id / {RANGE_KEYS}) as range_no, count(*), sum({total}) "
                    f"from {TABLE} group by range_no"
                )
                for _ in range(rounds)
            ),
            4,
        )
        for name, total in sums.items()
    }


def _peers(bench: Bench, school: School, rows: int, ours: dict[str, float]) -> dict[str, Any]:
    source = {"source": school.url("large"), "table": TABLE}
    parts = {"dlt": rows, "pandas": rows // _PANDAS_SHARE, "sqlalchemy": rows, "asyncmy": rows}
    found = {name: _work(bench, {"work": name, "rows": part, **source}) for name, part in parts.items()}
    for name in ("seconds", "cpu_seconds"):
        found["pandas"][name] *= _PANDAS_SHARE
    return {
        "pandas_rows": parts["pandas"],
        **{
            f"{peer}_to_ours": round(found[peer]["seconds"] / ours["seconds"], 1)
            for peer in ("dlt", "pandas")
        },
        **{
            f"{peer}_cpu_to_ours": round(found[peer]["cpu_seconds"] / ours["cpu_seconds"], 1)
            for peer in ("dlt", "pandas")
        },
        **{
            f"{peer}_{name}": round(each[name], 2)
            for peer, each in found.items()
            for name in ("seconds", "cpu_seconds", "peak_rss_mb")
        },
    }


def _work(bench: Bench, payload: dict[str, Any]) -> dict[str, Any]:
    """Do one work in a process of its own; `cpu_seconds` is what it and the databases worked."""
    before = work_of_servers()
    found = run_child("bench.source_work", bench, payload)
    found["cpu_seconds"] += work_of_servers() - before
    return found


def _configure(bench: Bench, school: School, name: str, database: str, **described: Any) -> None:
    """Write a source's file, and the address that it names."""
    folder = bench.folder / "sources"
    folder.mkdir(exist_ok=True)
    variable = f"{_ADDRESS}_{database.upper()}"
    content = {"name": name, "school_id": name, "address": variable, **described}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), "utf-8")
    addresses = (f"{_ADDRESS}_{each.upper()}={school.url(each)}\n" for each in ("large", "quarter"))
    (bench.folder / "laurel.env").write_text("".join(addresses), "utf-8")


def _read(bench: Bench, name: str, *, changed: int | None = None) -> dict[str, Any]:
    """Read a source; `changed`: how many rows it must find."""
    found = _work(bench, {"work": "read", "name": name})
    if changed is not None and found["changed"] != changed:
        raise SystemExit(f"Source {name}: {found['changed']} rows were new or changed, not {changed}.")
    return found


if __name__ == "__main__":
    main()
