"""Canaries: how long they took, and which sources are late, or in time again."""

from __future__ import annotations

import pytest

from elt.live import beats
from elt.live.beats import Beats


class Clock:
    """`time.monotonic` of a test."""

    def __init__(self) -> None:
        self.now = 100.0
        self._numbers = 0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        self._numbers += 1
        return self._numbers * 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(beats, "time", made)
    return made


def take(found: Beats, clock: Clock, seconds: float, version: int) -> None:
    """A canary that takes so long."""
    number = found.send("alb")
    clock.now += seconds
    found.carry(version, {"alb": number})
    found.hear(version)


def test_from_commit_to_heard_whichever_is_known_first(clock: Clock) -> None:
    found = Beats(bound=1)
    number = found.send("alb")
    clock.now += 0.5
    found.hear(1)
    clock.now += 9  # the listener is told before the writer knows that it wrote
    found.carry(1, {"alb": number})
    assert found.take_lags() == {"alb": 0.5}
    assert found.take_lags() == {}


def test_late_ones_are_named_once_and_so_is_their_end(clock: Clock) -> None:
    found = Beats(bound=1)
    named = []
    in_time = [0.1] * 13
    for version, seconds in enumerate([*in_time, 2, 2, 0.1, 2, 2, 2, 2, *in_time[:11], 2, *in_time]):
        take(found, clock, seconds, version)
        named += [(version, "late") for _ in found.take_late()]
        named += [(version, "in time") for _ in found.take_in_time()]
    assert named == [(11, "in time"), (18, "late"), (43, "in time")]


def test_one_that_never_comes_back_is_late(clock: Clock) -> None:
    found = Beats(bound=1)
    for _ in range(4):
        found.send("alb")
        clock.now += 5
    assert found.take_lags() == {"alb": 5}
    assert found.take_late() == ["alb"]


def test_one_that_was_late_before_it_went_away_is_named_again(clock: Clock) -> None:
    found = Beats(bound=1)
    for first in (0, 3):
        for version in range(first, first + 3):
            take(found, clock, 2, version)
        assert found.take_late() == ["alb"]
        found.forget("alb")


def test_what_was_sent_before_a_source_went_away_counts_no_more(clock: Clock) -> None:
    found = Beats(bound=1)
    number = found.send("alb")
    found.forget("alb")
    clock.now += 60
    found.carry(1, {"alb": number})
    found.hear(1)
    assert found.take_lags() == {}
