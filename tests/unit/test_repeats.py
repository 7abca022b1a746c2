"""Repeated rows: the same answer in memory and by way of the temporary file."""

from __future__ import annotations

import random

import polars as pl
import pytest

from elt.reading.repeats import ROWS_IN_MEMORY, RepeatFinder


def find(rows: list[str | None], rows_in_memory: int, block: int = 7) -> tuple[list[int], int]:
    frame = pl.DataFrame({"cell": pl.Series(rows, dtype=pl.String), "_line": range(2, len(rows) + 2)})
    with RepeatFinder(rows_in_memory=rows_in_memory) as finder:
        for start in range(0, len(rows), block):
            finder.add(frame.slice(start, block))
        lines = sorted(int(line) for part in finder.suspects() for line in part)
        return lines, finder.count()


@pytest.mark.parametrize("rows_in_memory", [1, 7, 50, ROWS_IN_MEMORY])
def test_all_lines_of_rows_that_occur_twice_are_suspected(rows_in_memory: int) -> None:
    rows = [f"row {number}" for number in range(200)]
    rows[150] = rows[3]
    rows[151] = rows[3]
    rows[199] = rows[198]
    assert find(rows, rows_in_memory) == ([5, 152, 153, 200, 201], 3)


@pytest.mark.parametrize("rows_in_memory", [10, ROWS_IN_MEMORY])
def test_null_and_empty_text_are_different_rows(rows_in_memory: int) -> None:
    assert find([None, "", "x", None], rows_in_memory) == ([2, 5], 1)


def test_no_rows_and_no_repeats_are_no_suspects() -> None:
    assert find([], 1) == ([], 0)
    assert find(["a", "b"], 1) == ([], 0)


def test_random_rows_give_what_counting_gives() -> None:
    numbers = random.Random(7)
    rows: list[str | None] = [str(numbers.randrange(300)) for _ in range(500)]
    wanted = [index + 2 for index, row in enumerate(rows) if rows.count(row) > 1]
    assert find(rows, 64) == (wanted, len(rows) - len(set(rows)))
