"""The served API against its own document: requests generated under each role's key, with all of the checks.

Those of Schemathesis, but for what `tests/schemathesis.toml` gives reasons.
"""

from __future__ import annotations

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

CONFIGURATION = Path(__file__).parents[1] / "schemathesis.toml"


@pytest.fixture(scope="module")
def api_server(
    postgres_server: PostgresServer, _small_school_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """The API with two schools and their marts, so that there is something to see and to hide."""
    with serve(postgres_server, _small_school_template, tmp_path_factory.mktemp("fuzz")) as server:
        yield server


@pytest.mark.parametrize("role", get_args(Role))
def test_the_api_does_what_its_document_says(api_server: ApiServer, tmp_path: Path, role: str) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION),
        "run", f"{api_server.url}/openapi.json",
        "--header", f"Authorization: Bearer {api_server.make_key(role)}",
        "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "5",
        "--seed", "1", "--warnings", "off", "--no-color",
    ]  # fmt: skip
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    said = re.sub(r"(.)\1{40,}", r"\1…", ran.stdout)  # it likes long rows of zeros
    assert ran.returncode == 0, said[-6000:] + api_server.log.read_text()[-2000:]
    assert " passed" in ran.stdout
