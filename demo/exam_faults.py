"""What can go wrong with the boards' API on request, so that whoever reads it can be tested."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Annotated, Literal

from pydantic import Field

FaultKind = Literal["too_many_requests", "unavailable", "slow", "cut", "growing"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the next answers that have records to give; to no others.

    `too_many_requests`: 429 with Retry-After; `unavailable`: 503; `slow`: the answer waits; `cut`: it breaks
    off in the middle; `growing`: it does not know the last record yet, so the total grows from page to page.
    `times`: to how many answers. `seconds`: of Retry-After, or of waiting.
    """

    kind: FaultKind
    times: Annotated[int, Field(ge=1)] = 1
    seconds: Annotated[float, Field(ge=0, le=60)] = 1


class FaultQueue:
    """Faults that are still to happen, one after the other."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = deque(faults)
        self._lock = Lock()

    def add(self, fault: Fault) -> None:
        """Let a fault happen after those that are waiting."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Let nothing more happen."""
        with self._lock:
            self._faults.clear()

    def take(self) -> Fault | None:
        """What happens to this answer; it is then done with."""
        with self._lock:
            if not self._faults:
                return None
            fault = self._faults.popleft()
            if fault.times > 1:
                self._faults.appendleft(replace(fault, times=fault.times - 1))
            return fault

    @property
    def waiting(self) -> list[Fault]:
        """What is still to happen."""
        with self._lock:
            return list(self._faults)
