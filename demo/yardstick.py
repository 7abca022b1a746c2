"""How well any list of students could do on the demo school's hidden term, and how well the plain rule does.

Measured by probabilities instead of by the one term that was drawn: then luck, which moves an AUC of some
hundred students by a hundredth or two, is in neither number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo.marks import NextTerm
from demo.signal import Floats

TOP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Reach:
    """What a ranking reaches on average: AUC, and the share of its top tenth that falls below the mark."""

    auc: float
    precision_at_top_tenth: float


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The best possible ranking, by the probabilities, and the plain rule, by last term's average."""

    best_possible: Reach
    plain_rule: Reach


def measure_yardstick(next_term: NextTerm) -> Yardstick:
    """The reach of the best possible ranking and of the plain rule."""
    chance = next_term.chance_below
    return Yardstick(
        best_possible=measure_reach(chance, chance), plain_rule=measure_reach(chance, -next_term.last_average)
    )


def measure_reach(chance: Floats, score: Floats) -> Reach:
    """What a ranking reaches on average over all terms that could have been drawn.

    Args:
        chance: each student's true probability of falling below the pass mark.
        score: what ranks the students, highest first; of equal scores the earlier student is the higher.
    """
    order = np.argsort(-score, kind="stable")
    comes, stays_away = chance[order], 1 - chance[order]
    ranked_right = (comes * (stays_away.sum() - stays_away.cumsum())).sum()
    pairs = comes.sum() * stays_away.sum() - (comes * stays_away).sum()
    top = max(int(len(order) * TOP_SHARE), 1)
    return Reach(round(float(ranked_right / pairs), 4), round(float(comes[:top].mean()), 4))
