"""Processes and the database die at random moments, as often as one likes; in the end nothing is lost.

`LAUREL_RANDOM_KILLS=1000` sets how many deaths there are (25 unless set), `LAUREL_RANDOM_SEED` the seed. The
same seed plans the same acts and moments; what the moments hit depends on the machine.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from elt.settings import PROJECT_DIR
from tests.faults.conftest import State
from tests.faults.oracle import HandedIn
from tests.faults.world import World, history_file, performance_file

KILLS = int(os.environ.get("LAUREL_RANDOM_KILLS", "25"))
SEED = int(os.environ.get("LAUREL_RANDOM_SEED", "20261120"))
SPLIT_BYTES = 10_000  # the largest files are loaded in parts
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
# How many of a hundred deaths are of which kind. A whole run takes seconds, so few of them die.
KINDS = {"sender": 35, "loader": 45, "backend": 15, "run": 3, "cluster": 2}


class Forker:
    """Senders and loaders that can be killed (see `forker.py`)."""

    def __init__(self, world: World) -> None:
        self._folder = world.settings.home
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forker.py"))],
            cwd=PROJECT_DIR, env=world.environment() | {"LAUREL_SPLIT_BYTES": str(SPLIT_BYTES)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, **request: Any) -> dict[str, Any]:
        """One process's work."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def hand_in(self, file: HandedIn, **death: Any) -> None:
        """Hand a file in; note the answer, if there is one."""
        path = self._folder / "sent.csv"
        path.write_bytes(file.content)
        answer = self.ask(dataset=file.dataset, path=str(path), **death)
        if answer["status"] == 0:
            file.upload_id = UUID(answer["upload_id"])

    def stop(self) -> None:
        self._process.communicate(timeout=240)


class Chaos:
    """Hands files in, loads them and kills, as the dice fall."""

    def __init__(self, world: World, forker: Forker, seed: int) -> None:
        self.world = world
        self.forker = forker
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self._unanswered: list[HandedIn] = []

    def kill(self) -> None:
        """One death."""
        [kind] = self.random.choices([*KINDS], [*KINDS.values()])
        getattr(self, f"_kill_{kind}")()
        self.kills[kind] += 1

    def _death(self, within: float) -> dict[str, Any]:
        return {"after": self.random.uniform(0, within), "signal": self.random.choice(SIGNALS)}

    def _kill_sender(self) -> None:
        file = self._file()
        self.forker.hand_in(file, **self._death(0.05))
        if file.upload_id is None:
            self._unanswered.append(file)

    def _kill_loader(self) -> None:
        self._send()
        self.forker.ask(**self._death(0.25))

    def _kill_backend(self) -> None:
        self._send()
        loader = threading.Thread(target=self.forker.ask)
        loader.start()
        time.sleep(self.random.uniform(0, 0.2))
        with self.world.connect() as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
                "and pid <> pg_backend_pid() and backend_type = 'client backend'"
            )
        loader.join()

    def _kill_run(self) -> None:
        self._send()
        run = self.world.start()
        time.sleep(self.random.uniform(0, 8))
        run.send_signal(self.random.choice(SIGNALS))
        run.communicate(timeout=240)

    def _kill_cluster(self) -> None:
        self._send()
        loader = threading.Thread(target=self.forker.ask)
        loader.start()
        time.sleep(self.random.uniform(0, 0.2))
        self.world.server.kill()
        loader.join()
        self.world.server.start()

    def _send(self) -> None:
        """Hand in a new file, or again one that was never answered."""
        if self._unanswered and self.random.random() < 0.5:
            file = self._unanswered.pop(self.random.randrange(len(self._unanswered)))
        else:
            file = self._file()
        self.forker.hand_in(file)
        assert file.upload_id is not None

    def _file(self) -> HandedIn:
        number, rows = 1000 + len(self.world.files), self.random.choice([5, 50, 500])
        if self.random.random() < 0.5:
            file = HandedIn("student_performance", performance_file(number, rows=rows))
        else:
            file = HandedIn("academic_history", history_file(number, rows=rows))
            if self.random.random() < 0.1:
                file.content, file.outcome = file.content.replace(b"JSS1", b"JSS9"), "rejected"
        self.world.files.append(file)
        return file


@pytest.fixture
def chaos(world: World, built: State) -> Iterator[Chaos]:
    forker = Forker(built.begin(world))
    yield Chaos(world, forker, SEED)
    forker.stop()


@pytest.mark.timeout(600 + 3 * KILLS)
def test_after_any_number_of_deaths_nothing_is_lost(chaos: Chaos, built: State) -> None:
    world = chaos.world
    while chaos.kills.total() < KILLS:
        chaos.kill()
        if chaos.kills.total() % 100 == 0:
            world.load()
            world.assert_nothing_lost()
    print(f"{KILLS} deaths, seed {SEED}: {dict(chaos.kills)}; {len(world.files)} files")

    world.run()
    found = world.checksums()
    world.assert_nothing_lost(found)
    assert world.undisturbed(built.template, built.files) == found
