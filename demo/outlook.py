"""What somebody who knows all that is behind the marks would foretell of the term that is not handed in.

Known is everything up to the term before it (ability, drift, strain, how long a spell has lasted), and
who teaches which subjects next. Nobody can foretell better, so this is what a model is measured against.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from demo.signal import Floats, Ints, Latent, Signal

_ROUNDING_VARIANCE = 2 / 12  # test and exam are whole numbers
_NODES = 12  # of the integral over the weight of a new spell, which is smooth


@dataclass(frozen=True, slots=True)
class Outlook:
    """Each student's hidden term: the average without new strain, its spread, the strain that may come.

    The chances of the same spell going on (`stays`) and of a new one (`begins`) exclude each other.
    """

    mean: Floats
    deviation: Floats
    stays: Floats
    begins: Floats
    weight: Floats  # of the present spell, 0 without one
    subjects: Ints


def look_ahead(signal: Signal, latent: Latent, offset: Floats, subjects: Ints) -> Outlook:
    """Put together what is known of the hidden term.

    Args:
        offset: each student's mean of subject liking and teacher effect over next term's subjects, in points.
        subjects: how many subjects each student takes next term; at least 1.
    """
    last = latent.next_term - 1
    weight = latent.strain[:, last]
    stays = _chance_of_lasting(signal, latent.strain[:, : last + 1])
    return Outlook(
        mean=(
            signal.base + latent.ability + signal.drift_memory * latent.drift[:, last]
            - signal.strain_on_next_term * weight + offset
        ),
        deviation=np.sqrt(
            signal.drift_deviation**2 + (signal.score_deviation**2 + _ROUNDING_VARIANCE) / subjects
        ),
        stays=stays,
        begins=(1 - stays) * signal.strain_chance,
        weight=weight,
        subjects=subjects,
    )  # fmt: skip


def expect_average(signal: Signal, outlook: Outlook) -> Floats:
    """The expected average of the hidden term, in points."""
    strain = outlook.stays * outlook.weight + outlook.begins * sum(signal.strain_weight) / 2
    expected: Floats = outlook.mean - signal.strain_on_same_tests * strain
    return expected


def find_chance_below(signal: Signal, outlook: Outlook, mark: float) -> Floats:
    """The probability that the average of the hidden term lies below a mark.

    Drift and luck are normal; the strain of the term itself is a mixture of none, the present spell and a new
    one of any weight. That scores end at 0 and at 40 or 60 is left out: nobody near the mark comes near that.
    """

    def below(strain: Floats | float) -> Floats:
        mean = outlook.mean - signal.strain_on_same_tests * strain
        # A sum of whole points lies below `mark` · subjects where it is at least one less.
        chance: Floats = ndtr((mark - 0.5 / outlook.subjects - mean) / outlook.deviation)
        return chance

    nodes, shares = np.polynomial.legendre.leggauss(_NODES)
    low, high = signal.strain_weight
    new = sum(
        share / 2 * below(low + (high - low) * (node + 1) / 2)
        for node, share in zip(nodes, shares, strict=True)
    )
    none = 1 - outlook.stays - outlook.begins
    chance: Floats = outlook.stays * below(outlook.weight) + outlook.begins * new + none * below(0.0)
    return chance


def _chance_of_lasting(signal: Signal, strain: Floats) -> Floats:
    """The chance that the spell of the last term goes on, by how long it has lasted; 0 without one.

    Args:
        strain: students × terms. A spell keeps its weight, and no two spells have the same.
    """
    present = strain[:, -1]
    is_same = (strain == present[:, None])[:, ::-1]
    lasted = np.where(present > 0, is_same.cumprod(axis=1).sum(axis=1), 0)
    shortest, longest = signal.strain_terms
    # Every length that is still possible is as likely as any other.
    longer = longest - np.maximum(lasted + 1, shortest) + 1
    possible = longest - np.maximum(lasted, shortest) + 1
    chance: Floats = np.where(present > 0, longer / possible, 0.0)
    return chance
