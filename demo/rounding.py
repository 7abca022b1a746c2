"""Numbers as a mart shows them: rounded half away from zero, written as in a CSV file.

As `numeric` of PostgreSQL does it, from whole hundredths of whole sums: `62.50`, `true`; empty where none is.
"""

from __future__ import annotations

from decimal import Decimal

import pandas as pd

CHRONIC_ABSENCE_BELOW = 90


def round_half_up(numerator: pd.Series, denominator: pd.Series, places: int) -> pd.Series:
    """`numerator / denominator` as whole units of the last place, half up. Neither is negative."""
    quotient: pd.Series = (2 * 10**places * numerator + denominator) // (2 * denominator)
    return quotient


def show(units: pd.Series, places: int) -> pd.Series:
    """Whole units of the last place as a decimal number; empty where there is none."""

    def write(unit: float) -> str:
        return "" if pd.isna(unit) else str(Decimal(int(unit)).scaleb(-places))

    return units.map(write)


def show_flag(flags: pd.Series) -> pd.Series:
    """`true` or `false`."""
    return flags.map({True: "true", False: "false"})
