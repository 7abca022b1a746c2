"""How much processor parts of the platform have used: other work changes that less than it does times."""

from __future__ import annotations

from contextlib import suppress

import psutil

from bench.platform import Bench
from elt.warehouse import connect


def server_of(bench: Bench) -> psutil.Process:
    """The server of the database, whose children are the sessions."""
    with connect(bench.url) as connection:
        postmaster = psutil.Process(connection.info.backend_pid).parent()
    assert postmaster is not None
    return postmaster


def processor_seconds(*processes: psutil.Process) -> float:
    """Seconds of processor that these and those below them have used so far, those that ended included."""
    return sum(map(_used, processes))


def _used(process: psutil.Process) -> float:
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # a session may end while it is asked
            used = each.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total
