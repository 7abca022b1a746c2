"""The key's probabilities are the generator's: they come true, and nobody could know more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from demo.marks import NextTerm, draw_marks
from demo.outlook import expect_average, find_chance_below, look_ahead
from demo.roster import draw_roster, draw_staff
from demo.school import write_demo_school
from demo.signal import PASS_MARK, Floats, Latent, Signal, draw_latent, draw_scores, term_level
from demo.yardstick import measure_reach

STUDENTS = 60_000
SUBJECTS = 9


@pytest.fixture(scope="module")
def latent() -> Latent:
    """What is behind the marks of very many students."""
    rng = np.random.default_rng(1)
    guardian = rng.choice([-3.0, 0.0, 3.0], STUDENTS)
    return draw_latent(rng, Signal(), guardian, terms=6)


@pytest.fixture(scope="module")
def told(latent: Latent) -> tuple[Floats, Floats]:
    """Expected average and probability of each."""
    signal = Signal()
    outlook = look_ahead(signal, latent, np.zeros(STUDENTS), np.full(STUDENTS, SUBJECTS))
    return expect_average(signal, outlook), find_chance_below(signal, outlook, PASS_MARK)


@pytest.fixture(scope="module")
def drawn(latent: Latent) -> Floats:
    """Each one's average of the last term, by the generator's own draws of scores."""
    rng, signal = np.random.default_rng(2), Signal()
    student = np.repeat(np.arange(STUDENTS), SUBJECTS)
    term = np.full(len(student), latent.next_term)
    level = term_level(signal, latent, student, term)
    test, exam = draw_scores(rng, signal, level, np.zeros(len(student)), latent.strain[student, term])
    averages: Floats = (test + exam).reshape(STUDENTS, SUBJECTS).mean(axis=1)
    return averages


def groups(latent: Latent) -> dict[str, np.ndarray]:
    """Students by each thing that the generator knows; in every group the probabilities must come true."""
    last = latent.next_term - 1
    strain = latent.strain[:, last]
    lasted = np.where(strain > 0, 1 + (latent.strain[:, last - 1] == strain), 0)
    lasted += (lasted == 2) & (latent.strain[:, last - 2] == strain)
    return {
        **{f"spell of {terms} terms": lasted == terms for terms in range(4)},
        "heavy strain": strain > 0.9,
        "low ability": latent.ability < -3,
        "high ability": latent.ability > 3,
        "low drift": latent.drift[:, last] < -3,
        "high drift": latent.drift[:, last] > 3,
    }


def test_probabilities_come_true_in_every_group(
    latent: Latent, told: tuple[Floats, Floats], drawn: Floats
) -> None:
    chance, below = told[1], drawn < PASS_MARK
    for name, members in groups(latent).items():
        for low, high in ((0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
            chosen = members & (chance >= low) & (chance <= high)
            if chosen.sum() < 200:
                continue
            error = np.sqrt((chance[chosen] * (1 - chance[chosen])).sum()) / chosen.sum()
            gap = below[chosen].mean() - chance[chosen].mean()
            assert abs(gap) < 4 * error + 0.001, (name, low, gap, error)


def test_expected_averages_come_true_in_every_group(
    latent: Latent, told: tuple[Floats, Floats], drawn: Floats
) -> None:
    for name, members in groups(latent).items():
        gap = (drawn - told[0])[members]
        assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap)) + 0.01, name


def test_nothing_that_is_known_ranks_better_than_the_probability(
    latent: Latent, told: tuple[Floats, Floats], drawn: Floats
) -> None:
    below = drawn < PASS_MARK
    last = latent.next_term - 1
    best = roc_auc_score(below, told[1])
    assert best > 0.93
    for other in (-latent.ability, -latent.drift[:, last], latent.strain[:, last], -told[0]):
        assert roc_auc_score(below, other) < best + 0.0005


def test_reach_is_what_many_draws_reach_on_average() -> None:
    rng = np.random.default_rng(3)
    chance = rng.beta(0.4, 2, 400)
    score = chance + rng.normal(0, 0.1, 400)
    draws = [rng.random(400) < chance for _ in range(1_000)]
    top = np.argsort(-score)[:40]
    reach = measure_reach(chance, score)
    assert reach.auc == pytest.approx(np.mean([roc_auc_score(came, score) for came in draws]), abs=0.003)
    assert reach.precision_at_top_tenth == pytest.approx(
        np.mean([came[top].mean() for came in draws]), abs=0.01
    )


def test_the_key_holds_the_probabilities_and_what_follows_from_them(tmp_path: Path) -> None:
    write_demo_school(tmp_path, seed=2, students=600)
    key = json.loads((tmp_path / "answer_key.json").read_text("utf-8"))
    chance = np.array([student["chance_below"] for student in key["next_term"]])
    expected = np.array([student["expected_average"] for student in key["next_term"]])
    best = key["yardstick"]["best_possible"]
    assert ((chance >= 0) & (chance <= 1)).all()
    assert best["auc"] == pytest.approx(measure_reach(chance, chance).auc, abs=0.0002)
    # Who is expected far below falls below, and the other way round.
    assert chance[expected < 40].min() > 0.9
    assert chance[expected > 60].max() < 0.1
    assert best["auc"] > key["yardstick"]["plain_rule"]["auc"] + 0.05
    assert best["precision_at_top_tenth"] > key["yardstick"]["plain_rule"]["precision_at_top_tenth"] + 0.1


def test_probabilities_of_a_whole_school_come_true() -> None:
    chance, below = np.array([]), np.array([])
    for seed in range(4):
        term = draw_next_term(seed)
        chance = np.append(chance, term.chance_below)
        below = np.append(below, term.drawn_average < PASS_MARK)
    error = np.sqrt((chance * (1 - chance)).sum()) / len(chance)
    assert abs(chance.mean() - below.mean()) < 4 * error
    assert roc_auc_score(below, chance) == pytest.approx(measure_reach(chance, chance).auc, abs=0.02)


def draw_next_term(seed: int) -> NextTerm:
    """The hidden term of a school of 800."""
    rng = np.random.default_rng(seed)
    roster = draw_roster(rng, 800, 2, 2)
    return draw_marks(rng, Signal(), roster, draw_staff(rng, roster))[1]
