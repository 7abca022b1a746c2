"""How many denials are written down: enough to see an attack, too few for it to fill the disk."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

WINDOW_SECONDS = 60.0
LINES_PER_CALLER = 5
LINES_OF_ALL = 60
_MAX_CALLERS = 1000


class DenialLimit:
    """Counts the denials of this process in windows of a minute, per caller and of all together."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._window = 0
        self._written = 0
        self._callers: OrderedDict[str, int] = OrderedDict()
        self._left_out = 0

    def admit(self, caller: str) -> int | None:
        """None if this denial is not to be written; else how many were left out since the last that was."""
        with self._lock:
            window = int(self._clock() // WINDOW_SECONDS)
            if window != self._window:
                self._window, self._written = window, 0
                self._callers.clear()
            of_caller = self._callers.pop(caller, 0) + 1
            self._callers[caller] = of_caller
            if len(self._callers) > _MAX_CALLERS:
                self._callers.popitem(last=False)
            if of_caller > LINES_PER_CALLER or self._written >= LINES_OF_ALL:
                self._left_out += 1
                return None
            self._written += 1
            left_out, self._left_out = self._left_out, 0
            return left_out
