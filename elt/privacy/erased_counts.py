"""How many rows of a version were taken out of its bytes because their person was erased.

The counts of a version stay what they were when it was read, so `read = accepted + rejected + repeated` goes
on to hold and what was decided once stays decided. Whoever reads the bytes again (replay) adds what is gone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ErasedCounts:
    """Rows that are gone, by what had become of them.

    `refused` rows had been rejected because their person was erased, or had never been read; as rejected rows
    they do not count against the contract's limit.
    """

    accepted: int = 0
    rejected: int = 0
    repeated: int = 0
    refused: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.accepted + self.rejected + self.repeated + self.refused

    def plus(self, other: ErasedCounts) -> ErasedCounts:
        """These and those of a later erasure."""
        return ErasedCounts(
            self.accepted + other.accepted, self.rejected + other.rejected,
            self.repeated + other.repeated, self.refused + other.refused,
        )  # fmt: skip

    def to_dict(self) -> dict[str, int]:
        """As plain JSON values; nothing for zero."""
        return {name: count for name, count in asdict(self).items() if count}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ErasedCounts:
        """Of the form `to_dict` gives."""
        return cls(**values)


NOTHING_ERASED = ErasedCounts()
