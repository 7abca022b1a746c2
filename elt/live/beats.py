"""Canaries on their way: committed at a source, carried by a version, heard like any viewer hears it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

LATE_IN_A_ROW = 3
IN_TIME_IN_A_ROW = 12
"""More than of late ones, so that a source on the edge is not told of again and again."""

_VERSIONS_KEPT = 1000


class Beats:
    """When canaries were committed, and when viewers could have seen them. Times are seconds.

    Args:
        bound: how long a canary may take.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._sent: dict[str, tuple[int, float]] = {}
        self._carried: dict[int, Mapping[str, int]] = {}
        self._heard: dict[int, float] = {}
        self._lags: dict[str, float] = {}
        self._late: Counter[str] = Counter()  # in a row
        self._in_time: Counter[str] = Counter()
        self._said_late: set[str] = set()
        self._said_in_time: set[str] = set()

    def send(self, source: str) -> int:
        """The number of a canary that is committed now."""
        self._settle_overdue(source)
        number = time.time_ns() // 1_000_000
        self._sent[source] = (number, time.monotonic())
        return number

    def carry(self, version: int, beats: Mapping[str, int]) -> None:
        """A version carries these canaries; it may have been heard before we are told."""
        if beats:
            self._carried[version] = beats
            self._settle(version)

    def hear(self, version: int) -> None:
        """A listener was told of a version."""
        self._heard[version] = time.monotonic()
        while len(self._heard) > _VERSIONS_KEPT:
            del self._heard[next(iter(self._heard))]
        self._settle(version)

    def forget(self, source: str) -> None:
        """A source is not followed any more, or carries no canaries; if it does again, it is named anew."""
        self._sent.pop(source, None)
        self._lags.pop(source, None)
        self._late.pop(source, None)
        self._in_time.pop(source, None)
        self._said_late.discard(source)
        self._said_in_time.discard(source)

    def take_lags(self) -> dict[str, float]:
        """How long canaries took, by source, since this was last asked."""
        lags, self._lags = self._lags, {}
        return lags

    def take_late(self) -> list[str]:
        """Sources whose last `LATE_IN_A_ROW` canaries were late; named once until in time again."""
        return _take(self._late, LATE_IN_A_ROW, self._said_late, self._said_in_time)

    def take_in_time(self) -> list[str]:
        """Sources whose last `IN_TIME_IN_A_ROW` canaries were in time; named once until late again."""
        return _take(self._in_time, IN_TIME_IN_A_ROW, self._said_in_time, self._said_late)

    def _settle(self, version: int) -> None:
        if version not in self._carried or version not in self._heard:
            return
        heard = self._heard[version]
        for source, number in self._carried.pop(version).items():
            sent = self._sent.get(source)
            if sent is not None and sent[0] == number:
                del self._sent[source]
                self._note(source, heard - sent[1])

    def _settle_overdue(self, source: str) -> None:
        """A canary that has not come back when the next one leaves took at least so long."""
        if source in self._sent:
            self._note(source, time.monotonic() - self._sent[source][1])

    def _note(self, source: str, seconds: float) -> None:
        self._lags[source] = seconds
        is_late = seconds > self._bound
        self._late[source] = self._late[source] + 1 if is_late else 0
        self._in_time[source] = 0 if is_late else self._in_time[source] + 1


def _take(counts: Counter[str], in_a_row: int, said: set[str], said_otherwise: set[str]) -> list[str]:
    found = [source for source, count in counts.items() if count >= in_a_row and source not in said]
    said.update(found)
    said_otherwise.difference_update(found)
    return found
