"""Starting is quick: help and the API do not wait for libraries that only some of their work needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"alembic", "numpy", "pandas", "polars", "pyarrow", "sklearn"}

SHOW_HELP = """
import sys
from click.testing import CliRunner
from cli.main import cli
answer = CliRunner().invoke(cli, sys.argv[1:])
assert answer.exit_code == 0, answer.output
"""

START_API = """
from backend.app import create_app
assert create_app().url_map
"""

SETTINGS = {
    "LAUREL_DATABASE_URL": "postgresql://nowhere/elt",
    "LAUREL_SECRET_KEY": "for this test only",
    "LAUREL_PSEUDONYM_KEY": "for this test only",
}


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        pytest.param(SHOW_HELP, ["--help"], id="laurel --help"),
        pytest.param(SHOW_HELP, ["keys", "--help"], id="laurel keys --help"),
        pytest.param(SHOW_HELP, ["upload", "--help"], id="laurel upload --help"),
        pytest.param(START_API, [], id="API"),
    ],
)
def test_starting_imports_nothing_heavy(program: str, arguments: list[str]) -> None:
    listing = "import json; print(json.dumps(sorted(name for name in sys.modules if '.' not in name)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\n{listing}", *arguments],
        env=os.environ | SETTINGS, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert HEAVY & set(json.loads(done.stdout.splitlines()[-1])) == set()
