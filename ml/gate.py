"""Decides whether a model may speak. Every condition is recorded in words, passed or not.

Measured: a floor of 60 % accuracy alone lets models through that were trained on shuffled labels. So the
floor stays as one condition, and the others ask for what a shuffled model cannot have (`docs/model.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elt.disclosure import smallest_group
from ml import metrics
from ml.fairness import Gap
from ml.leakage import Leak
from ml.metrics import Floats, Ints
from ml.rule import RuleScores
from ml.splits import count_students
from ml.target import Gate, Label, Target

FAIRNESS = "fairness:"
"""What the names of conditions about gaps between groups begin with; column and measure follow."""

LATER_COHORT, TEST_FILE, TABLE = "later cohort", "test file", "table"
"""What a model is judged by, in words: rows of a later time, of another file, or each row by the others."""

# One school is judged on few students: here chance is held to the usual one in twenty.
_SCHOOL_P = 0.05
# The rule of disclosure that holds here: the card and GET /models are for everybody who is signed in.
_DISCLOSURE = "small_group"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The judged cohort: what came, what the model claimed beforehand, what the rule said.

    `student` numbers the students from 0; `school` is each row's school; `name` is what a model is judged by,
    such as `LATER_COHORT`.
    """

    y: Ints
    probability: Floats
    rule: RuleScores
    student: Ints
    school: NDArray[np.str_]
    name: str

    def part(self, rows: NDArray[np.bool_]) -> HeldOut:
        """The rows that the mask names."""
        rule = RuleScores(self.rule.broken[rows], self.rule.score[rows], self.rule.order[rows])
        _, student = np.unique(self.student[rows], return_inverse=True)
        return HeldOut(self.y[rows], self.probability[rows], rule, student, self.school[rows], self.name)

    def k(self, capacity: float) -> int:
        """How many students the schools can follow up."""
        return max(1, int(np.ceil(capacity * len(self.y))))


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing the gate asks for. `text` says what was found and what is needed."""

    name: str
    passed: bool
    found: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer. `schools` says for each school whether the model may speak there, else why not."""

    conditions: list[Condition]
    schools: dict[str, str | None] = field(default_factory=dict)

    @property
    def is_published(self) -> bool:
        """All conditions passed, and there is a school to speak for."""
        return all(condition.passed for condition in self.conditions) and None in self.schools.values()

    @property
    def awaits_acceptance(self) -> bool:
        """Only gaps between groups stand against publishing, which an administrator may accept."""
        failed = [condition.name for condition in self.conditions if not condition.passed]
        is_fairness = all(name.startswith(FAIRNESS) for name in failed)
        return bool(failed) and is_fairness and None in self.schools.values()

    @property
    def refusals(self) -> list[str]:
        """Why not, one sentence per condition that failed."""
        failed = [condition.text for condition in self.conditions if not condition.passed]
        if not failed and not self.is_published:
            failed = [why for why in self.schools.values() if why]
        return failed

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain JSON values."""
        return {
            "published": self.is_published,
            "awaits_acceptance": self.awaits_acceptance,
            "reasons": self.refusals,
            "conditions": [asdict(condition) for condition in self.conditions],
            "schools": [
                {"school_id": school, "covered": why is None, "reason": why}
                for school, why in sorted(self.schools.items())
            ],
        }


def refuse(name: str, text: str) -> Verdict:
    """A verdict for a model that was never fitted: too little history, or a leak."""
    return Verdict([Condition(name, False, None, text)])


def refuse_leaks(leaks: list[Leak]) -> Verdict:
    """A verdict that names every leak."""
    return Verdict([Condition("leakage", False, None, str(leak)) for leak in leaks])


def refuse_untaught(y: Ints, students: Ints, taught: int, target: Target, name: str) -> Verdict:
    """A verdict where all `taught` rows to learn from turned out the same.

    Args:
        y: the outcomes of the held-out rows.
        students: whom each of them is about.
        taught: how many rows there were to learn from.
        target: whose gate asks.
        name: what the held-out rows are called, as in `HeldOut`.
    """
    text = f"All {taught} rows to learn from turned out the same: nothing can be learnt"
    size = _size(y, students, target.gate, target.label, name)
    return Verdict([*size, Condition("signal", False, None, text)])


def judge(held_out: HeldOut, target: Target, gaps: Sequence[Gap] = ()) -> Verdict:
    """Ask the gate about the predictions for the held-out cohort.

    Args:
        held_out: all of it; what counts is the part that `leave_out_thin_schools` leaves.
        gaps: how far apart groups of students are, as `ml.fairness` finds them.
    """
    gate, seed = target.gate, target.validation.seed
    thin = _thin_schools(held_out, target)
    judged = leave_out_thin_schools(held_out, target)
    conditions = _size(judged.y, judged.student, gate, target.label, judged.name)
    if len(np.unique(judged.y)) == 2:
        conditions += [*_floors(judged, target), _beats_rule(judged, target)]
        conditions.append(_calibration(judged, gate, seed))
        conditions += [
            Condition(f"{FAIRNESS}{gap.column}:{gap.measure}", not gap.is_over, gap.low, gap.text)
            for gap in gaps
        ]
    else:
        text = f"Nothing can be measured: all students of the {judged.name} turned out the same"
        conditions.append(Condition("signal", False, None, text))
    schools = {**_check_schools(judged, gate, seed), **thin}
    return Verdict(conditions, schools)


def is_large_enough(held_out: HeldOut, gate: Gate) -> bool:
    """Whether a cohort has as many students of both classes as one school needs to be checked on."""
    size = count_students(held_out.student, held_out.y, np.ones(len(held_out.y), dtype=bool))
    return size.all >= gate.school_rows and size.fewest >= gate.school_each_class


def leave_out_thin_schools(held_out: HeldOut, target: Target) -> HeldOut:
    """The students of those schools that can be checked; all, where none can.

    A school where nobody ever falls below is easy to tell from the others, and would flatter a model that
    knows nothing within a school.
    """
    checkable = ~np.isin(held_out.school, list(_thin_schools(held_out, target)))
    return held_out.part(checkable) if checkable.any() else held_out


def _size(y: Ints, students: Ints, gate: Gate, label: Label, name: str) -> list[Condition]:
    size = count_students(students, y, np.ones(len(y), dtype=bool))
    came, stayed_away = (_count(number) for number in (size.positives, size.negatives))
    return [
        Condition(
            "rows",
            size.all >= gate.rows,
            size.all,
            f"The {name} has {size.all} students; at least {gate.rows} are needed",
        ),
        Condition(
            "each_class",
            size.fewest >= gate.each_class,
            size.fewest if size.fewest >= smallest_group(_DISCLOSURE) else None,
            f"Of the {name} {came} {label.came} and {stayed_away} {label.stayed_away}; "
            f"at least {gate.each_class} of each are needed",
        ),
    ]


def _count(number: int) -> str:
    """A number of students in words: what came of a handful is nobody's business."""
    least = smallest_group(_DISCLOSURE)
    return str(number) if number >= least else f"fewer than {least}"


def _floors(held_out: HeldOut, target: Target) -> list[Condition]:
    y, probability, gate, seed = held_out.y, held_out.probability, target.gate, target.validation.seed
    accuracy = float(np.mean((probability >= 0.5) == (y == 1)))
    k = held_out.k(target.flag.capacity)
    intervals = metrics.bootstrap(
        y, probability, held_out.student, k=k, draws=gate.draws, level=gate.confidence, seed=seed
    )
    ranking, skill = intervals["auc"], intervals["brier_skill"]
    p = metrics.permutation_p(y, probability, draws=gate.draws, seed=seed)
    return [
        Condition(
            "accuracy",
            accuracy >= gate.accuracy,
            round(accuracy, 4),
            f"Right about {accuracy:.1%} of the students; at least {gate.accuracy:.0%} are needed",
        ),
        Condition(
            "auc",
            ranking.low >= gate.auc_low,
            round(ranking.low, 4),
            f"Ranks a student at risk above one who is not in {ranking.value:.1%} of pairs (AUC), "
            f"surely in {ranking.low:.1%}; at least {gate.auc_low:.0%} are needed",
        ),
        Condition(
            "brier_skill",
            skill.low >= gate.brier_skill_low,
            round(skill.low, 4),
            f"Removes {skill.value:.1%} of the base rate's error (Brier skill), surely {skill.low:.1%}; "
            f"at least {gate.brier_skill_low:.0%} are needed",
        ),
        Condition(
            "permutation",
            p <= gate.permutation_p,
            round(p, 4),
            f"Shuffled outcomes are ranked as well with probability {p:.3f}; "
            f"at most {gate.permutation_p:.2f} is allowed",
        ),
    ]


def _beats_rule(held_out: HeldOut, target: Target) -> Condition:
    """More true cases at the top of the list than the rule's better reading; on a tie, all the way down."""
    y, k = held_out.y, held_out.k(target.flag.capacity)
    readings = (held_out.rule.score, held_out.rule.order)
    mine = metrics.precision_at(y, held_out.probability, k).expected
    best = max(metrics.precision_at(y, score, k).expected for score in readings)
    depth = metrics.average_precision(y, held_out.probability)
    rule_depth = max(metrics.average_precision(y, score) for score in readings)
    passed = mine > best or (mine == best and depth > rule_depth)
    return Condition(
        "beats_rule",
        passed,
        round(mine - best, 4),
        f"At the top of the list, {k} long, {mine:.1%} {target.label.came}, with the plain rule {best:.1%} "
        f"(whole list: {depth:.3f} and {rule_depth:.3f}); the model must be better",
    )


def _calibration(held_out: HeldOut, gate: Gate, seed: int) -> Condition:
    error = metrics.calibration_error(held_out.y, held_out.probability)
    noise = metrics.calibration_noise(
        held_out.y,
        held_out.probability,
        held_out.student,
        draws=gate.draws,
        level=gate.calibration_level,
        seed=seed,
    )
    allowed = max(noise, gate.calibration_allowance)
    return Condition(
        "calibration",
        error <= allowed,
        round(error, 4),
        f"Claimed and observed shares differ by {error:.1%} on average (ECE); "
        f"luck alone explains up to {allowed:.1%}",
    )


def _thin_schools(held_out: HeldOut, target: Target) -> dict[str, str]:
    """Schools with too few students, or too few of either class, to check a model on; and why."""
    gate, answers = target.gate, {}
    for school in np.unique(held_out.school):
        size = count_students(held_out.student, held_out.y, held_out.school == school)
        if size.all < gate.school_rows or size.fewest < gate.school_each_class:
            # Without numbers: what came of a handful is nobody's business.
            answers[str(school)] = (
                f"fewer than {gate.school_rows} students of this school are in the {held_out.name}, or fewer "
                f"than {gate.school_each_class} who {target.label.came} or {target.label.stayed_away}: too "
                "few to check a model on"
            )
    return answers


def _check_schools(held_out: HeldOut, gate: Gate, seed: int) -> dict[str, str | None]:
    """A model speaks only for schools on which it was checked and found to rank better than chance."""
    by_chance = f"in this school the model ranked the {held_out.name} no better than chance"
    return {
        str(school): None if _is_better(held_out.part(held_out.school == school), gate, seed) else by_chance
        for school in np.unique(held_out.school)
    }


def _is_better(mine: HeldOut, gate: Gate, seed: int) -> bool:
    """Whether one school's students were ranked better than luck explains.

    Rows of one student share their luck: then students are drawn, where else outcomes are shuffled.
    """
    if int(mine.student.max()) + 1 == len(mine.y):
        return metrics.permutation_p(mine.y, mine.probability, draws=gate.draws, seed=seed) <= _SCHOOL_P
    level = 1 - 2 * _SCHOOL_P
    drawn = metrics.bootstrap(
        mine.y, mine.probability, mine.student, k=1, draws=gate.draws, level=level, seed=seed
    )
    return drawn["auc"].low > 0.5
