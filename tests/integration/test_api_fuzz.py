"""The served API against its own document: generated requests, all of Schemathesis' checks but one.

Left out is that what was deleted is not found any more. Here DELETE ends things (an upload is withdrawn, an
account disabled) that can still be looked at, and nothing is deleted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("role", "phases"),
    [("admin", "examples,coverage,fuzzing,stateful"), ("researcher", "fuzzing"), ("teacher", "fuzzing")],
)
def test_the_api_does_what_its_document_says(api_server: Any, tmp_path: Path, role: str, phases: str) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{api_server.url}/openapi.json",
        "--header", f"Authorization: Bearer {api_server.make_key(role)}",
        "--checks", "all", "--exclude-checks", "use_after_free", "--phases", phases,
        "--max-examples", "5", "--seed", "1", "--warnings", "off", "--no-color",
    ]  # fmt: skip
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-6000:] + api_server.log.read_text()[-2000:]
    assert " passed" in ran.stdout
