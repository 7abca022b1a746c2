"""What factors have to do with outcomes, as the person who asks may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from elt.serving.students import in_built_marts
from elt.warehouse import Connection

# What was found first, then by how far it is from nothing in its own measure.
_INSIGHTS = """
select
    dataset, factor, outcome, sample_size, group_count, smallest_group, group_means, measure,
    effect::float8, low::float8, high::float8, comparison_count, adjusted_low::float8, adjusted_high::float8,
    negligible_below::float8, is_effect_found, strength
from served.mart_insights
order by coalesce(is_effect_found, false) desc, effect is null, abs(effect) / negligible_below desc,
    dataset, factor, outcome
"""


@dataclass(frozen=True, slots=True)
class InsightFilter:
    """Which comparisons; None: all."""

    dataset: str | None = None
    outcome: str | None = None
    only_found: bool = False

    def takes(self, row: dict[str, Any]) -> bool:
        """Whether the comparison is one of them."""
        return (
            self.dataset in (None, row["dataset"])
            and self.outcome in (None, row["outcome"])
            and (not self.only_found or bool(row["is_effect_found"]))
        )


def read_insights(session: Connection) -> list[dict[str, Any]]:
    """All comparisons, the strongest first; `is_effect_found` None: too few people to be shown.

    Raises:
        NotFound: no run has built the marts.
    """
    with in_built_marts():
        return session.execute(_INSIGHTS).fetchall()
