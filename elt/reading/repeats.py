"""Find identical rows within a file of any size, in flat memory.

Each row is reduced to a 64-bit hash. Rows with different hashes differ; rows with the same one almost surely
are the same, but only almost, so the result is a list of suspects. The loader settles it in the database,
where the rows already are, within its transaction: `elt.loading.raw_tables.remove_repeats` compares
every cell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO

import numpy as np
import polars as pl
from numpy.typing import NDArray

ROWS_IN_MEMORY = 1 << 20
_PARTS = 256
_ROW = np.dtype([("hash", np.uint64), ("line", np.int64)])

Rows = NDArray[np.void]
Lines = NDArray[np.int64]


def hash_lines(accepted: pl.DataFrame) -> Rows:
    """A hash of each row, of all columns but `_line`, and its line: 16 bytes a row."""
    rows = np.empty(accepted.height, _ROW)
    rows["hash"] = accepted.drop("_line").hash_rows().to_numpy()
    rows["line"] = accepted["_line"].to_numpy()
    return rows


def rows_from(content: bytes) -> Rows:
    """The bytes of what `hash_lines` made."""
    return np.frombuffer(content, _ROW)


def way_of_hashing() -> str:
    """A mark of how this process hashes: another version of Polars, or processor, may do it differently."""
    return hash_lines(pl.DataFrame({"a": ["Laurel", None], "_line": [1, 2]})).tobytes().hex()


class RepeatFinder:
    """Takes rows block by block; afterwards names the lines whose rows seem to occur more than once.

    Each million rows are sorted by hash and appended as a run to an unnamed temporary file, 16 bytes a row,
    which the system removes however the process ends. In the end the hash range is gone through part by
    part, each read back from all runs.
    """

    def __init__(self, *, rows_in_memory: int = ROWS_IN_MEMORY) -> None:
        self._rows_in_memory = rows_in_memory
        self._pending: list[Rows] = []
        self._runs: list[Lines] = []  # per run, the row of the file at which each part starts
        self._spill: IO[bytes] | None = None

    def __enter__(self) -> RepeatFinder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spill is not None:
            self._spill.close()

    def add(self, accepted: pl.DataFrame) -> None:
        """Take accepted rows; all columns but `_line` count."""
        self.add_hashed(hash_lines(accepted))

    def add_hashed(self, rows: Rows) -> None:
        """Take what `hash_lines` made, here or in another process with the same `way_of_hashing`."""
        self._pending.append(rows)
        if sum(each.size for each in self._pending) >= self._rows_in_memory:
            self._write_run()

    def suspects(self) -> Iterator[Lines]:
        """Lines whose hash occurs more than once, the first ones included."""
        for rows in self._parts():
            hashes = rows["hash"]
            same = np.concatenate(([False], hashes[1:] == hashes[:-1], [False]))
            is_alike = same[1:] | same[:-1]
            if rows.size and is_alike.any():
                yield np.sort(rows["line"][is_alike])

    def count(self) -> int:
        """How many rows have the hash of another row before them."""
        return sum(int(np.sum(rows["hash"][1:] == rows["hash"][:-1])) for rows in self._parts())

    def _parts(self) -> Iterator[Rows]:
        """All rows by hash, part by part; equal hashes are in one part."""
        if self._spill is None:
            yield _sorted(self._pending)
            return
        if self._pending:
            self._write_run()
        for part in range(_PARTS):
            yield _sorted([self._read(run[part], run[part + 1]) for run in self._runs])

    def _write_run(self) -> None:
        if self._spill is None:
            self._spill = tempfile.TemporaryFile(prefix="laurel-repeats-")  # noqa: SIM115
        rows = _sorted(self._pending)
        part_starts = np.arange(_PARTS, dtype=np.uint64) * np.uint64(2**64 // _PARTS)
        edges = np.append(np.searchsorted(rows["hash"], part_starts), rows.size)
        self._runs.append(edges + self._spill.seek(0, 2) // _ROW.itemsize)
        self._spill.write(rows.tobytes())
        self._pending = []

    def _read(self, start: int, end: int) -> Rows:
        assert self._spill is not None  # noqa: S101 - runs are in the file
        self._spill.seek(int(start) * _ROW.itemsize)
        return np.frombuffer(self._spill.read(int(end - start) * _ROW.itemsize), _ROW)


def _sorted(parts: list[Rows]) -> Rows:
    rows = np.concatenate([*parts, np.empty(0, _ROW)])
    return rows[np.argsort(rows["hash"])]
