"""Whether a container's service is healthy: `python -I -S local/health.py`, the image's health check.

Which service it is tells the environment of the container's first process. What asks over HTTP needs the
standard library only, because a container asks every half minute for years, and each import costs.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

_PATIENCE_SECONDS = 15


def check_url(url: str) -> str | None:
    """None when the address answers with success, else why not."""
    try:
        status, _ = _get(url)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from {url} ({type(error).__name__})"
    return None if 200 <= status < 300 else f"{url} answers {status}"


def check_airflow_job(airflow_url: str, job: str, process_seconds: float) -> str | None:
    """None when Airflow's API knows a heartbeat of the job, from after its process was started."""
    try:
        state = json.loads(_get(f"{airflow_url}/api/v2/monitor/health")[1])[job]
        heartbeat = datetime.fromisoformat(state[f"latest_{job}_heartbeat"])
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return "unknown, because Airflow's API does not answer"
    except TypeError:
        return "no heartbeat yet"
    age = (datetime.now(UTC) - heartbeat).total_seconds()
    if age > process_seconds + 1:
        return "no heartbeat yet"
    return None if state["status"] == "healthy" else f"no heartbeat for {age:.0f} s"


def _get(url: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@dataclass(frozen=True)
class _Process:
    name: str
    environment: dict[str, str]
    seconds: float


def _first_process() -> _Process | None:
    """The container's service: the first process itself, or under an init its first child."""
    for pid in sorted(int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()):
        try:
            written = Path(f"/proc/{pid}/environ").read_text("utf-8", "replace")
            numbers = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        found = dict(each.partition("=")[::2] for each in written.split("\0") if "=" in each)
        if name := found.get("LAUREL_SERVICE"):
            up = float(Path("/proc/uptime").read_text("ascii").split()[0])
            return _Process(name, found, up - int(numbers[19]) / os.sysconf("SC_CLK_TCK"))
    return None


_Check = Callable[[dict[str, str], float], str | None]


def _airflow_job(job: str) -> _Check:
    return lambda found, seconds: check_airflow_job(found["LAUREL_AIRFLOW_URL"], job, seconds)


_ASKED_BY_HTTP: dict[str, _Check] = {
    "api": lambda found, _: check_url(f"http://127.0.0.1:{found['LAUREL_PORT']}/readyz"),
    "airflow-api-server": lambda found, _: check_url(
        f"http://127.0.0.1:{found['LAUREL_AIRFLOW_PORT']}/execution/health"
    ),
    "airflow-scheduler": _airflow_job("scheduler"),
    "airflow-dag-processor": _airflow_job("dag_processor"),
    "airflow-triggerer": _airflow_job("triggerer"),
}


def main() -> None:
    """Exit with 0 when the container's service is healthy, else say why not and exit with 1."""
    process = _first_process()
    if process is None:
        sys.exit("no service runs here yet")
    check = _ASKED_BY_HTTP.get(process.name)
    if check is None:
        asking = [sys.executable, "-m", "local.service", "--check", process.name]
        os.execve(asking[0], asking, process.environment)  # noqa: S606 - all of the project is needed
    sys.exit(check(process.environment, process.seconds))


if __name__ == "__main__":
    main()
