"""The benchmark of sources, with few rows: it measures what it says, or tells what is missing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from elt.settings import PROJECT_DIR
from local import mariadb

WITHOUT_MARIADB = """
import sys
from bench import sources
from local import mariadb
mariadb.find_program = lambda: None
sys.argv = ["bench.sources"]
sources.main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(mariadb.find_program() is None, reason="MariaDB is not installed")
def test_all_of_our_own_readings_are_measured() -> None:
    done = run("-m", "bench.sources", "--rows", "9000", "--rounds", "1", "--no-peers", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == 9000
    assert found["nothing_new_within_aim"] == (found["nothing_new_seconds"] <= 2)
    figures = [name for name in found if name.endswith(("_seconds", "_mb"))]
    assert len(figures) == 17
    assert all(found[name] > 0 for name in figures)


def test_without_mariadb_it_says_what_to_install() -> None:
    done = run("-c", WITHOUT_MARIADB)
    assert done.returncode == 1
    assert f"apt-get install {mariadb.PACKAGES}" in done.stderr
