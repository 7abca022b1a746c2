"""The names of the countries that PISA knows by codes."""

from __future__ import annotations

import csv
from functools import cache

from elt.settings import PROJECT_DIR

_COUNTRIES = PROJECT_DIR / "dbt" / "seeds" / "pisa_countries.csv"


@cache
def country_names() -> dict[str, str]:
    """Names by code, from the seed `pisa_countries`; in English."""
    with _COUNTRIES.open(encoding="utf-8", newline="") as stream:
        return {row["country_code"]: row["country_name"] for row in csv.DictReader(stream)}
