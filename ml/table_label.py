"""What is to be foretold in a table: the rows to which the risk came, by words or by a comparison. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pandas as pd

from ml.columns import read_numbers
from ml.errors import TableError
from ml.metrics import Floats, Ints

_COMPARISON = re.compile(r"\s*(<=|>=|<|>)\s*([+-]?\d+(?:\.\d+)?)\s*")
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class TableLabel:
    """Whether the risk came, 1 or 0 for each row; `value` is the number behind it, NaN where there is none.

    Where the risk lies above the mark, value and mark have changed their sign: the risk is always below.
    """

    y: Ints
    value: Floats
    mark: float | None

    @property
    def lowest(self) -> float:
        """The least number behind the label."""
        return float(np.min(self.value))

    @property
    def highest(self) -> float:
        """The greatest number behind the label."""
        return float(np.max(self.value))


def find_label(texts: pd.Series, positive: Sequence[str]) -> TableLabel:
    """Compare the target's cells, all known, with the values that are the risk.

    Args:
        positive: words or numbers, or one comparison such as "<10".

    Raises:
        TableError: a value never occurs, or a comparison is asked of words; says what is there.
    """
    comparison = _COMPARISON.fullmatch(positive[0]) if len(positive) == 1 else None
    if comparison and comparison[0].strip() not in set(texts):
        return _compare(texts, comparison)
    numbers = read_numbers(texts)
    came = np.zeros(len(texts), dtype=bool)
    for text in positive:
        is_this = (texts == text.strip()).to_numpy()
        as_number = read_numbers(pd.Series([text.strip()], dtype=object))
        if numbers is not None and as_number is not None:
            is_this |= (numbers == as_number[0]).to_numpy()
        if not is_this.any():
            _refuse(texts, numbers, text)
        came |= is_this
    return TableLabel(came.astype(np.int64), np.full(len(texts), np.nan), None)


def _compare(texts: pd.Series, comparison: re.Match[str]) -> TableLabel:
    numbers = read_numbers(texts)
    if numbers is None:
        raise TableError(
            f"--positive {comparison[0].strip()} compares numbers, but {texts.name} holds words: "
            f"{_values(texts)}. Name the words that are the risk."
        )
    sign, mark = comparison[1], float(comparison[2])
    direction = 1 if sign[0] == "<" else -1
    value, mark = numbers.to_numpy(dtype=float) * direction, mark * direction
    if sign.endswith("="):
        mark = float(np.nextafter(mark, np.inf))
    y = (value < mark).astype(np.int64)
    if not y.any():
        _refuse(texts, numbers, comparison[0].strip())
    return TableLabel(y, value, mark)


def _refuse(texts: pd.Series, numbers: pd.Series | None, asked: str) -> NoReturn:
    if numbers is not None and texts.nunique() > _MOST_NAMED:
        found = f"numbers from {numbers.min():g} to {numbers.max():g}"
    else:
        found = _values(texts)
    raise TableError(f"{texts.name} is never {asked}: it holds {found}. Correct --positive.")


def _values(texts: pd.Series) -> str:
    """The commonest values of the column that is to be foretold: no names."""
    counts = texts.value_counts()
    named = ", ".join(f"{value!r} ({count})" for value, count in counts.head(_MOST_NAMED).items())
    rest = len(counts) - _MOST_NAMED
    return named + (f" and {rest} more" if rest > 0 else "")
