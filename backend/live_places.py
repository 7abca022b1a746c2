"""How many may watch the live picture at once in one process."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from elt.errors import TransientError

_RETRY_SECONDS = 10


class TooManyViewers(TransientError):
    """The stream has no place left in this process."""

    title = "Too many viewers"


class Place:
    """A viewer's place, held until it is released; releasing it again does nothing."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._lock = Lock()
        self._is_held = True

    def release(self) -> None:
        """Give it back."""
        if self._let_go():
            self._give_back()

    def pass_on(self) -> Place:
        """The same place in other hands: releasing this one does nothing any more."""
        return Place(self._give_back if self._let_go() else _do_nothing)

    def _let_go(self) -> bool:
        with self._lock:
            was_held, self._is_held = self._is_held, False
        return was_held


class Places:
    """So many places; for any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._lock = Lock()

    def take(self) -> Place:
        """A place.

        Raises:
            TooManyViewers: none is left.
        """
        with self._lock:
            if self._taken >= self._most:
                raise TooManyViewers(
                    f"All {self._most} places are taken. Try again, or ask for the picture itself.",
                    _RETRY_SECONDS,
                )
            self._taken += 1
        return Place(self._give_back)

    def _give_back(self) -> None:
        with self._lock:
            self._taken -= 1


def _do_nothing() -> None:
    pass
