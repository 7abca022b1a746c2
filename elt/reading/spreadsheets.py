"""Cells that a spreadsheet program must not take for formulas.

Such a cell gets an apostrophe in front, and so does one that looks like a cell which has got one. So taking
the apostrophe away again gives exactly what was there. Numbers, with or without a sign, stay as they are.
"""

from __future__ import annotations

import re

STARTS = "=+-@\t\r\n＝＋－＠"
# These are read alike by Python, PostgreSQL, Polars and Arrow.
RISKY = r"^'*[=+@\t\r\n＝＋－＠-]"
GUARDED = r"^'('*[=+@\t\r\n＝＋－＠-])"
NUMBER = r"^[+-]([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$"

_RISKY, _GUARDED, _NUMBER = re.compile(RISKY), re.compile(GUARDED), re.compile(NUMBER.replace("$", r"\Z"))


def guard(cell: str) -> str:
    """The cell, with an apostrophe in front if a spreadsheet program might calculate it."""
    return f"'{cell}" if _RISKY.match(cell) and not _NUMBER.match(cell) else cell


def unguard(cell: str) -> str:
    """The cell as it was before `guard`."""
    return cell[1:] if _GUARDED.match(cell) else cell
