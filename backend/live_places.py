"""Who may watch the live picture at once in one process: so many in all, and no account more than half."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from elt.errors import TooManyRequests, TransientError

_RETRY_SECONDS = 10


class TooManyViewers(TransientError):
    """The stream has no place left in this process."""

    title = "Too many viewers"


@dataclass(frozen=True, slots=True)
class Pass:
    """What somebody watches with: whose it is, and the SHA-256 of the key or of the session's cookie."""

    account: str
    secret_sha256: bytes


class Place:
    """A viewer's place, held until it is released; releasing it again does nothing."""

    def __init__(self, held_with: Pass, give_back: Callable[[Pass], None]) -> None:
        self.held_with = held_with
        self._give_back = give_back
        self._lock = Lock()
        self._is_held = True

    def release(self) -> None:
        """Give it back."""
        if self._let_go():
            self._give_back(self.held_with)

    def pass_on(self) -> Place:
        """The same place in other hands: releasing this one does nothing any more."""
        return Place(self.held_with, self._give_back if self._let_go() else _do_nothing)

    def _let_go(self) -> bool:
        with self._lock:
            was_held, self._is_held = self._is_held, False
        return was_held


class Places:
    """So many places; for any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_one = max(1, most // 2)
        self._taken: Counter[Pass] = Counter()
        self._lock = Lock()

    def take(self, shown: Pass) -> Place:
        """A place for who has shown this.

        Raises:
            TooManyViewers: none is left.
            TooManyRequests: the account has half of all.
        """
        with self._lock:
            if self._taken.total() >= self._most:
                raise TooManyViewers(
                    f"All {self._most} places are taken. Try again, or ask for the picture itself.",
                    _RETRY_SECONDS,
                )
            if self._taken_by(shown.account) >= self._most_of_one:
                raise TooManyRequests(
                    f"You have {self._most_of_one} streams open, and nobody may have more. Close some.",
                    _RETRY_SECONDS,
                )
            self._taken[shown] += 1
        return Place(shown, self._give_back)

    def secrets(self) -> set[bytes]:
        """The `secret_sha256` of all who have a place now."""
        with self._lock:
            return {taken.secret_sha256 for taken in self._taken}

    def _taken_by(self, account: str) -> int:
        return sum(number for taken, number in self._taken.items() if taken.account == account)

    def _give_back(self, held_with: Pass) -> None:
        with self._lock:
            self._taken[held_with] -= 1
            if not self._taken[held_with]:
                del self._taken[held_with]


def _do_nothing(_: Pass) -> None:
    pass
