"""Handing in one large file over HTTP, beside a local copy with SHA-256 of the same bytes.

    python -m bench.upload --megabytes 500 --json

The API runs as it is served for real (gunicorn, its own PostgreSQL, a folder as store). Each round copies
the file, hands it in as the whole body, then as a form; a ratio is the median over the rounds of hand-in ÷
copy of the same round. `copy` neither flushes to disk nor talks to anybody; `flushed_copy` is the same with
the flush that makes a stored file safe, as the store does it. `peak_rss_mb` is what the largest worker held
at most beyond its memory after small uploads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import statistics
import time
from pathlib import Path
from typing import Any

import psutil

from bench.platform import Bench, Server, running_platform, served

_BLOCK = 1024 * 1024
_BOUNDARY = b"bench-boundary"
_LINE = "STU{:08d},Ada,Obi,Female,15,2009-04-17,Good,No,Lagos,Ikeja,12 Long Street,Day,ada@example.org,SS1\n"


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with running_platform() as bench, served(bench) as server:
        result = measure(bench, server, arguments.megabytes, arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value}")


def measure(bench: Bench, server: Server, megabytes: int, rounds: int) -> dict[str, Any]:
    """Run all rounds; times in seconds, memory in MB."""
    path = bench.folder / "students.csv"
    _write(path, megabytes)
    small = bench.folder / "small.csv"
    _write(small, 1)
    times: dict[str, list[float]] = {"copy": [], "flushed_copy": [], "raw": [], "form": []}
    for number in range(2):  # each worker has taken one of each kind, and the file is in memory
        _send_raw(server, small, f"warm-raw-{number}")
        _send_form(server, small, f"warm-form-{number}")
    _copy(path, flush=False)
    baseline = _worker_memory(server)
    for number in range(rounds):
        times["copy"].append(_timed(lambda: _copy(path, flush=False)))
        times["raw"].append(_timed(lambda number=number: _send_raw(server, path, f"raw-{number}")))
        _remove_stored(bench)
        times["form"].append(_timed(lambda number=number: _send_form(server, path, f"form-{number}")))
        _remove_stored(bench)
        times["flushed_copy"].append(_timed(lambda: _copy(path, flush=True)))
    peak = _worker_memory(server)
    return {
        "megabytes": megabytes,
        "rounds": rounds,
        "ratio_raw": _ratio(times["raw"], times["copy"]),
        "ratio_form": _ratio(times["form"], times["copy"]),
        "ratio_raw_to_flushed_copy": _ratio(times["raw"], times["flushed_copy"]),
        "ratio_form_to_flushed_copy": _ratio(times["form"], times["flushed_copy"]),
        "peak_rss_mb": round(max(peak[pid] - baseline.get(pid, 0) for pid in peak), 1),
        **{f"{name}_seconds": round(statistics.median(found), 3) for name, found in times.items()},
    }


def _ratio(times: list[float], of: list[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(times, of, strict=True)), 2)


def _timed(action: Any) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _write(path: Path, megabytes: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("Student ID,First Name,Last Name,Gender\n")
        number = 0
        while file.tell() < megabytes * _BLOCK:
            file.write("".join(_LINE.format(number + n) for n in range(10_000)))
            number += 10_000


def _copy(path: Path, *, flush: bool) -> None:
    target = path.with_suffix(".copy")
    digest = hashlib.sha256()
    with path.open("rb") as source, target.open("wb") as copy:
        while block := source.read(_BLOCK):
            digest.update(block)
            copy.write(block)
        if flush:
            copy.flush()
            os.fsync(copy.fileno())
    target.unlink()


def _remove_stored(bench: Bench) -> None:
    """As the copy removes its own: each way writes into memory that was just given back, none into fresh."""
    for stored in (bench.folder / "store" / "uploads").rglob("*.csv"):
        stored.unlink()


def _send_raw(server: Server, path: Path, school: str) -> None:
    _send(server, path, school, "text/csv", b"", b"")


def _send_form(server: Server, path: Path, school: str) -> None:
    head = (
        b"--" + _BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="students.csv"\r\n'
        b"Content-Type: text/csv\r\n\r\n"
    )
    kind = f"multipart/form-data; boundary={_BOUNDARY.decode()}"
    _send(server, path, school, kind, head, b"\r\n--" + _BOUNDARY + b"--\r\n")


def _send(server: Server, path: Path, school: str, kind: str, before: bytes, behind: bytes) -> None:
    """Hand the file in for a school of its own, so that no bytes are the same upload as others."""
    length = len(before) + path.stat().st_size + len(behind)
    head = (
        f"POST /api/v1/uploads?dataset=students&school_id={school} HTTP/1.1\r\nHost: bench\r\n"
        f"Authorization: Bearer {server.key}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection, path.open("rb") as file:
        connection.sendall(head.encode() + before)
        connection.sendfile(file)
        connection.sendall(behind)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if not answer.startswith(b"HTTP/1.1 201"):
        raise SystemExit(f"The upload was refused: {answer[:300]!r}")


def _worker_memory(server: Server) -> dict[int, float]:
    """The most resident memory each worker has held so far."""
    found = {}
    for worker in psutil.Process(server.pid).children():
        status = Path(f"/proc/{worker.pid}/status").read_text()
        found[worker.pid] = int(status.split("VmHWM:")[1].split()[0]) / 1024
    return found


if __name__ == "__main__":
    main()
