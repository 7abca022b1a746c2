"""Processes of this platform that lost their parent, found by the mark in their environment.

Airflow closes the environment of processes that ran a task to all but root. Those are found by their process
group, which each service notes when it starts.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

from local.environment import PLATFORM_MARK, SERVICE_MARK, Paths


def find(where: Paths, service: str | None = None) -> list[psutil.Process]:
    """Every process of this platform (of one service, if named), except ourselves and who started us."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = {
        process.pid: process
        for process in psutil.process_iter()
        if process.pid not in spared and _belongs(process, where, service)
    }
    if service in (None, "postgres"):
        postmaster = find_postmaster(where.cluster_root)
        if postmaster is not None and postmaster.pid not in spared:
            found[postmaster.pid] = postmaster
    return list(found.values())


def note_group(where: Paths, service: str) -> None:
    """Keep the process group of the service that this process is about to become."""
    _group_file(where, service).write_text(str(os.getpgrp()))


def end(processes: list[psutil.Process], *, patience_seconds: float = 10) -> None:
    """Ask the processes to end, then kill those that have not."""
    for process in processes:
        _signal(process, kill=False)
    alive = wait(processes, patience_seconds)
    for process in alive:
        _signal(process, kill=True)
    wait(alive, 5)


def find_postmaster(cluster_root: Path) -> psutil.Process | None:
    """The server that runs on this cluster, by its own pid file; None when that process is none."""
    try:
        pid = int((cluster_root / "data" / "postmaster.pid").read_text().splitlines()[0])
        process = psutil.Process(pid)
        is_server = process.name().startswith("postgres") and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return process if is_server else None


def _belongs(process: psutil.Process, where: Paths, service: str | None) -> bool:
    try:
        environment = process.environ()
    except psutil.AccessDenied:
        return _is_in_group(process, where, service)
    except (psutil.Error, OSError):
        return False
    if environment.get(PLATFORM_MARK) != str(where.home):
        return False
    return service is None or environment.get(SERVICE_MARK) == service


def _is_in_group(process: psutil.Process, where: Paths, service: str | None) -> bool:
    """Whether it is of our account and of a group that one of our services noted."""
    try:
        if process.uids().real != os.getuid():
            return False
        group = os.getpgid(process.pid)
    except (psutil.Error, OSError):
        return False
    files = [_group_file(where, service)] if service else where.run.glob("*.group")
    return any(file.is_file() and file.read_text() == str(group) for file in files)


def _group_file(where: Paths, service: str) -> Path:
    return where.run / f"{service}.group"


def wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until the processes have ended; returns those that have not."""
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    """A zombie has ended; in a container there may be no one who reaps it."""
    try:
        is_zombie: bool = process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return not is_zombie


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        elif process.name().startswith("postgres"):
            process.send_signal(signal.SIGINT)  # SIGTERM would wait until every client has gone
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        pass
