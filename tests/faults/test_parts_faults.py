"""A file is loaded in parts by processes that die at any point: nothing is lost, nothing is there twice.

Two signals at each point of the way, in the process that cuts the file, in one that loads a part, and in the
one that ends the load. What follows is a run that loads in parts, or one that does not.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import count

import pytest

from elt.settings import PROJECT_DIR
from tests.faults.conftest import State
from tests.faults.part_loader import load_all
from tests.faults.world import LAUNCHER, World, history_file, performance_file

SPLIT_BYTES = 8_000
POINTS = [
    "file cut", "table made", "mid-COPY of a part", "part copied", "part noted", "part loaded", "time given",
    "attached", "ledger write", "before COMMIT", "after COMMIT",
]  # fmt: skip
_numbers = count(2)


@pytest.fixture(scope="module")
def disturbed(world: World, built: State) -> World:
    """The world in which all deaths happen, one after the other."""
    return built.begin(world)


def die(world: World, point: str, by: signal.Signals) -> None:
    """Load in parts in a process that sends itself the signal at the point."""
    (world.orders / point).write_text(str(int(by)))
    done = subprocess.run(
        [sys.executable, str(LAUNCHER), str(world.orders), point, "tests.faults.part_loader"],
        cwd=PROJECT_DIR,
        env=world.environment() | {"LAUREL_SPLIT_BYTES": str(SPLIT_BYTES), "PYTHONPATH": str(PROJECT_DIR)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (-by, "")


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM], ids=lambda by: signal.Signals(by).name)
@pytest.mark.parametrize("point", POINTS)
def test_a_load_in_parts_dies(disturbed: World, point: str, by: signal.Signals) -> None:
    number = next(_numbers)
    disturbed.hand_in("academic_history", history_file(number))
    disturbed.hand_in("student_performance", performance_file(number))
    die(disturbed, point, by)

    if by == signal.SIGKILL:
        disturbed.load()
    else:
        disturbed.settle()
        load_all(disturbed.settings.model_copy(update={"split_bytes": SPLIT_BYTES}))
    disturbed.assert_nothing_lost()


def test_the_marts_are_those_of_a_platform_that_nothing_happened_to(disturbed: World, built: State) -> None:
    disturbed.run()
    found = disturbed.checksums()
    disturbed.assert_nothing_lost(found)

    assert disturbed.undisturbed(built.template, built.files) == found
