"""From how many people on a figure may be shown to those who see figures only."""

from __future__ import annotations

import csv
from functools import cache

from elt.errors import ContractError
from elt.settings import PROJECT_DIR

RULES = PROJECT_DIR / "dbt" / "seeds" / "disclosure_rules.csv"
"""The seed itself: figures that need no dbt run obey the same number, also before the first one."""


@cache
def smallest_group(rule: str) -> int:
    """How many people a figure must be about, at least, by the rule of this name.

    Raises:
        ContractError: the seed has no such rule.
    """
    with RULES.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["rule"] == rule:
                return int(row["minimum_group"])
    raise ContractError(f"{RULES.name}: there is no rule {rule!r}.")
