"""The platform that the tests of the fault matrix disturb, and the states in which they begin."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from elt import pipeline
from elt.migrate import migrate
from tests.conftest import make_server_folder
from tests.faults.oracle import HandedIn
from tests.faults.world import World, history_file, new_world, performance_file


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """One for all: dbt reads its project anew for each other server and database."""
    home = make_server_folder("faults")
    try:
        with new_world(home) as made:
            yield made
    finally:
        shutil.rmtree(home, ignore_errors=True)


@dataclass(frozen=True)
class State:
    """A template, and the files that were handed in before it was kept."""

    template: str
    files: list[HandedIn]

    def begin(self, world: World) -> World:
        """Bring the world into this state."""
        world.reset(self.template, self.files)
        return world


@pytest.fixture(scope="session")
def built(world: World) -> State:
    """Two files loaded, all built, scored and published."""
    migrate(world.settings.database_url.get_secret_value())
    world.orders.mkdir()
    world.hand_in("academic_history", history_file(0))
    world.hand_in("student_performance", performance_file(0))
    world.run()
    return State("built", world.keep("built"))


@pytest.fixture(scope="session")
def loaded(world: World, built: State) -> State:
    """Another file has been loaded, and is not built."""
    built.begin(world)
    world.hand_in("academic_history", history_file(1))
    world.load()
    return State("loaded", world.keep("loaded"))


@pytest.fixture(scope="session")
def unscored(world: World, loaded: State) -> State:
    """It has been built, and nobody has been scored."""
    loaded.begin(world)
    run_id = pipeline.begin(world.settings, trigger="cli").run_id
    pipeline.transform(world.settings, run_id)
    return State("unscored", world.keep("unscored"))


@pytest.fixture(scope="session")
def undisturbed(world: World, unscored: State) -> dict[str, str]:
    """What marts and predictions are when nothing happens to `loaded` or `unscored`."""
    unscored.begin(world).run()
    return world.checksums()
