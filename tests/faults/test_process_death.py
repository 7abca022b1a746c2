"""Our own processes end at any point by SIGKILL or SIGTERM: nothing is lost, nothing is there twice.

The first group of the fault matrix, two signals at twelve points:

- half the body received, body received, during PUT, PUT acknowledged and not answered (bytes stored, event
  stored, accepted): `test_the_api_dies`
- LIST, GET, validated, mid-COPY, before COMMIT, after COMMIT: `test_a_run_dies_while_it_loads`
- mid-dbt: `test_a_run_dies_while_dbt_builds`
- mid-score: `test_a_run_dies_while_it_scores`

The API and `laurel run` are real processes (`launcher` says how they die where they should). After each
death `assert_nothing_lost` holds; what the loads amount to in the marts is compared once for them all.
Beside these, `integration/test_api_server` kills the whole server half way, and `integration/test_transform`
a build between two tables.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import count
from uuid import UUID

import httpx
import pytest

from elt.people.keys import create_key
from tests.faults.conftest import State
from tests.faults.oracle import HandedIn
from tests.faults.world import World, history_file, performance_file, serve, wait_until

each_signal = pytest.mark.parametrize(
    "by", [signal.SIGKILL, signal.SIGTERM], ids=lambda by: signal.Signals(by).name
)
API_POINTS = [
    "half the body received", "body received", "during PUT", "bytes stored", "event stored", "accepted",
]  # fmt: skip
LOAD_POINTS = ["LIST", "GET", "validated", "mid-COPY", "before COMMIT", "after COMMIT"]
_numbers = count(2)


@pytest.fixture(scope="module")
def disturbed(world: World, built: State) -> World:
    """The world in which all deaths before dbt happen, one after the other."""
    return built.begin(world)


@pytest.fixture(scope="module")
def sender(disturbed: World) -> Iterator[httpx.Client]:
    """Calls the API of that world."""
    with disturbed.connect() as connection:
        key = create_key(connection, "sender", "researcher", None, "test")[1]
    with (
        serve(disturbed, API_POINTS),
        httpx.Client(
            base_url=f"http://127.0.0.1:{disturbed.settings.port}/api/v1",
            headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False,
        ) as client,
    ):  # fmt: skip
        yield client


@each_signal
@pytest.mark.parametrize("point", API_POINTS)
def test_the_api_dies(disturbed: World, sender: httpx.Client, point: str, by: signal.Signals) -> None:
    number = next(_numbers)
    # Blank lines are no rows. The API reads a megabyte at a time: half of this can be there.
    blank = b"\n" * 2_000_000 if point == "half the body received" else b""
    file = HandedIn("student_performance", performance_file(number) + blank)
    disturbed.files.append(file)
    (disturbed.orders / point).write_text(str(int(by)))
    try:
        file.upload_id = _send(sender, file)
        assert by == signal.SIGTERM, "the API answered though it was dead"
    except httpx.TransportError:
        assert by == signal.SIGKILL, "the API may not drop a request when it is asked to end"
    assert not (disturbed.orders / point).exists(), "the point was not reached"
    disturbed.load()
    disturbed.assert_nothing_lost()

    file.upload_id = _send(sender, file)
    disturbed.load()
    disturbed.assert_nothing_lost()


def _send(sender: httpx.Client, file: HandedIn) -> UUID:
    answer = sender.post(f"/uploads?dataset={file.dataset}", content=file.content)
    assert answer.is_success, answer.text
    return UUID(answer.json()["id"])


@each_signal
@pytest.mark.parametrize("point", LOAD_POINTS)
def test_a_run_dies_while_it_loads(disturbed: World, point: str, by: signal.Signals) -> None:
    number = next(_numbers)
    disturbed.hand_in("academic_history", history_file(number))
    disturbed.hand_in("student_performance", performance_file(number))

    run = disturbed.start(point, by)

    assert (run.wait(timeout=300), run.communicate()[1]) == (-by, "")
    disturbed.load()
    disturbed.assert_nothing_lost()


def test_after_all_these_deaths_the_marts_are_those_of_a_platform_that_nothing_happened_to(
    disturbed: World, built: State
) -> None:
    disturbed.run()
    found = disturbed.checksums()
    disturbed.assert_nothing_lost(found)

    assert disturbed.undisturbed(built.template, built.files) == found


@each_signal
def test_a_run_dies_while_dbt_builds(
    world: World, loaded: State, undisturbed: dict[str, str], by: signal.Signals
) -> None:
    loaded.begin(world)
    with world.connect() as blocker, blocker.transaction():
        blocker.execute("lock table marts.mart_student_overview in access exclusive mode")
        run = world.start()
        wait_until(
            lambda: blocker.execute("select from pg_locks where not granted").rowcount, "dbt did not begin"
        )
        run.send_signal(by)
        assert run.wait(timeout=120) == -by

    world.run()
    world.assert_nothing_lost(undisturbed)


@each_signal
def test_a_run_dies_while_it_scores(
    world: World, unscored: State, undisturbed: dict[str, str], by: signal.Signals
) -> None:
    unscored.begin(world)
    run = world.start("mid-score", by)
    assert run.wait(timeout=300) == -by

    world.run()
    world.assert_nothing_lost(undisturbed)
