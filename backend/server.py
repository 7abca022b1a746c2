"""How gunicorn serves the API: `gunicorn --config python:backend.server backend.wsgi:app`.

Threads, because an upload may take minutes: a thread that reads a long body holds no other request up and
is not taken for a dead worker. The application is loaded in each worker (no preload), so that no database
connection crosses a fork.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from typing import Any

from elt.settings import load_settings

_settings = load_settings()
# The metrics library decides when it is imported whether processes share their counters, by this variable.
_metrics_folder = tempfile.mkdtemp(prefix="laurel-metrics-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_folder

bind = f"{_settings.host}:{_settings.port}"
worker_class = "gthread"
workers = 2
threads = 16
timeout = 60
graceful_timeout = 30
keepalive = 15
# A slow disk must not look like a dead worker.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
# What a proxy says about its caller counts only where LAUREL_TRUSTED_PROXIES says so (`backend.app`).
forwarded_allow_ips = ""
limit_request_line = 8190  # what is said about a raw file stands in the address
control_socket_disable = True

# Each viewer of the live stream is a file; the usual limit of 1 024 would hold fewer than the settings allow.
_most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (_most_files, _most_files))


def worker_exit(_server: Any, worker: Any) -> None:
    """End the live streams of a worker that ends, unless it could not even load the application."""
    if hasattr(worker, "wsgi"):
        worker.wsgi.extensions["laurel"].live_hub.stop()


def child_exit(_server: Any, worker: Any) -> None:
    """Fold the counters of a worker that ended into the common ones."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    """Remove the counters' files."""
    shutil.rmtree(_metrics_folder, ignore_errors=True)
