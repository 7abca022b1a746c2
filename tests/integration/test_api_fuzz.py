"""The served API against its own document: requests generated under each role's key, with all of the checks.

Those of Schemathesis, but for what `tests/schemathesis.toml` gives reasons. What makes a request a wrong one
does not depend on who sends it: so admins, whom all routes answer, send what breaks the document too, and the
others what it allows. With LAUREL_FUZZ_EXAMPLES (5 a route unless set) all send both, that many a route.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from elt.people.principals import Role
from tests.conftest import PostgresServer
from tests.served_api import ApiServer, serve

EXAMPLES = os.environ.get("LAUREL_FUZZ_EXAMPLES")
SECONDS = 180 * int(EXAMPLES or 5)  # after which something hangs
CONFIGURATION = Path(__file__).parents[1] / "schemathesis.toml"


@pytest.fixture(scope="module")
def api_server(
    postgres_server: PostgresServer, _small_school_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """The API with two schools and their marts, so that there is something to see and to hide."""
    with serve(postgres_server, _small_school_template, tmp_path_factory.mktemp("fuzz")) as server:
        yield server


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("role", get_args(Role))
def test_the_api_does_what_its_document_says(api_server: ApiServer, tmp_path: Path, role: str) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION),
        "run", f"{api_server.url}/openapi.json",
        "--header", f"Authorization: Bearer {api_server.make_key(role)}",
        "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES or "5",
        "--mode", "all" if EXAMPLES or role == "admin" else "positive",
        "--request-timeout", "120", "--seed", "1", "--warnings", "off", "--no-color",
    ]  # fmt: skip
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
    said = re.sub(r"(.)\1{40,}", r"\1…", ran.stdout)  # it likes long rows of zeros
    assert ran.returncode == 0, said[-6000:] + api_server.log.read_text()[-2000:]
    assert " passed" in ran.stdout
