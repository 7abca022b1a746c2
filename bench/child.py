"""What a measured process needs, with few imports: what they take would count as its memory."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from elt.settings import Settings


def make_settings(folder: Path, url: str) -> Settings:
    """Settings of a platform whose files are in a folder and whose database `elt` is at an address."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=folder, database_url=SecretStr(url), secret_key=SecretStr("bench"),
        pseudonym_key=SecretStr("bench"),
    )  # fmt: skip


def child_settings(payload: dict[str, Any]) -> Settings:
    """The settings that `bench.platform.run_child` handed over."""
    return make_settings(Path(payload["home"]), payload["database_url"])


def peak_rss_mb() -> float:
    """The largest resident memory of this process so far, in MB.

    Not by getrusage: on Linux its figure starts with that of the process which started this one.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024
