"""Cells that a spreadsheet program must not take for formulas."""

from __future__ import annotations

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def guard(cell: str) -> str:
    """The cell, with an apostrophe in front if a spreadsheet program might calculate it.

    Numbers stay numbers. For files that people open; what programs read back is written as it is.
    """
    if not cell.startswith(_STARTS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
