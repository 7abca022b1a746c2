"""The platform in containers, started once for all tests; without an engine they are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.answers import AnswerKey
from demo.school import write_demo_school
from tests.containers.stack import Stack, why_not
from tests.e2e.conftest import Platform


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Built from a fresh copy and started, as operations.md says; removed with its volumes in the end."""
    if (reason := why_not()) is not None:
        pytest.skip(f"needs a container engine: {reason}")
    made = Stack.make(tmp_path_factory.mktemp("clone") / "laurel")
    try:
        made.compose("--profile", "scale", "build")
        made.up()
        yield made
    finally:
        made.compose("--profile", "*", "down", "--volumes", "--remove-orphans", check=False)


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    """Its API, on the published port."""
    found = stack.as_platform()
    yield found
    found.client.close()


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AnswerKey]:
    """A small demo school and its answer key."""
    folder = tmp_path_factory.mktemp("demo-school")
    return folder, write_demo_school(folder, students=300)
