"""PostgreSQL goes away at any point: the run ends and says so, and the next one completes it.

The second group of the fault matrix: a backend terminated, a backend killed (the server then ends all others
and recovers), the whole cluster killed and started again, each at six points:

- ledger write, COPY, before COMMIT, after COMMIT: `test_the_database_goes_away_during_a_load`
- dbt: `test_the_database_goes_away_while_dbt_builds`
- score: `test_the_database_goes_away_during_scoring`

`laurel run` stops itself at the point (see `launcher`), the harm is done, and it goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from itertools import count

import pytest

from elt.errors import DatabaseUnavailable
from tests.faults.conftest import State
from tests.faults.world import World, history_file, performance_file, wait_until

FAULTS = ["backend terminated", "backend killed", "cluster killed"]
POINTS = ["ledger write", "mid-COPY", "before COMMIT", "after COMMIT"]
_numbers = count(100)


@pytest.fixture(scope="module")
def disturbed(world: World, built: State) -> World:
    """The world in which all loads are disturbed, one after the other."""
    return built.begin(world)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("point", POINTS)
def test_the_database_goes_away_during_a_load(disturbed: World, point: str, fault: str) -> None:
    number = next(_numbers)
    disturbed.hand_in("academic_history", history_file(number))
    disturbed.hand_in("student_performance", performance_file(number))

    _disturb_at(disturbed, point, fault, "laurel-loader")

    disturbed.load()
    disturbed.assert_nothing_lost()


def test_after_all_these_faults_the_marts_are_those_of_a_platform_that_nothing_happened_to(
    disturbed: World, built: State
) -> None:
    disturbed.run()
    found = disturbed.checksums()
    disturbed.assert_nothing_lost(found)

    assert disturbed.undisturbed(built.template, built.files) == found


@pytest.mark.parametrize("fault", FAULTS)
def test_the_database_goes_away_while_dbt_builds(
    world: World, loaded: State, undisturbed: dict[str, str], fault: str
) -> None:
    loaded.begin(world)
    with suppress(DatabaseUnavailable), world.connect() as blocker, blocker.transaction():
        blocker.execute("lock table marts.mart_student_overview in access exclusive mode")
        run = world.start()
        wait_until(
            lambda: blocker.execute("select from pg_locks where not granted").rowcount, "dbt did not begin"
        )
        _harm(world, fault, "laurel-dbt")
    _assert_told(run)
    _mend(world, fault)

    world.run()
    world.assert_nothing_lost(undisturbed)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_database_goes_away_during_scoring(
    world: World, unscored: State, undisturbed: dict[str, str], fault: str
) -> None:
    unscored.begin(world)

    _disturb_at(world, "mid-score", fault, "laurel-score")

    world.run()
    world.assert_nothing_lost(undisturbed)


def _disturb_at(world: World, point: str, fault: str, session: str) -> None:
    """Let a run come to the point, do the harm there, let it end, and have a server again."""
    run = world.start(point, signal.SIGSTOP)
    _, status = os.waitpid(run.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), "the point was not reached"
    _harm(world, fault, session)
    run.send_signal(signal.SIGCONT)
    _assert_told(run)
    _mend(world, fault)


def _harm(world: World, fault: str, session: str) -> None:
    if fault == "cluster killed":
        world.server.kill()
        return
    with world.connect() as connection:
        query = (
            "select pid, pg_terminate_backend(pid, 5000)" if fault == "backend terminated" else "select pid"
        )
        sessions = connection.execute(
            query + " from pg_stat_activity where application_name = %s", (session,)
        ).fetchall()
    assert sessions
    if fault == "backend killed":
        with suppress(DatabaseUnavailable), world.connect() as witness:
            for row in sessions:
                with suppress(ProcessLookupError):  # when one was killed the server ends the others
                    os.kill(row["pid"], signal.SIGKILL)
            witness.execute("select pg_sleep(120)")  # until the server has noticed, and ends it as well
            pytest.fail("the server did not notice that one of its processes was killed")


def _assert_told(run: subprocess.Popen[str]) -> None:
    """It ended by itself, and said why in our words."""
    said = run.communicate(timeout=300)[1]
    assert run.returncode == 1, said
    assert "Traceback" not in said, said


def _mend(world: World, fault: str) -> None:
    if fault == "cluster killed":
        world.server.start()
    wait_until(lambda: _answers(world), "PostgreSQL did not recover")


def _answers(world: World) -> bool:
    try:
        world.connect().close()
    except DatabaseUnavailable:
        return False
    return True
