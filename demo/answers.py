"""The answer key: what the platform must find, worked out in plain Python from what was planted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

from demo.background import SURVEY_NO_EFFECT
from demo.figures import Figure, compute_figures
from demo.files import Table
from demo.marks import NextTerm
from demo.people import NO_EFFECT_FACTORS, NO_EFFECT_GUARDIAN_FACTORS, student_id
from demo.roster import Roster
from demo.signal import PASS_MARK
from demo.yardstick import Yardstick, measure_yardstick

NOTE = "Synthetic: every person, score and answer in these files is invented. Made by `laurel demo-school`."


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """What must become of one file. `read` = `accepted` + `rejected` + `repeated`.

    `in_force` counts the accepted rows that no later row of the same key overrides.
    """

    dataset: str
    read: int
    accepted: int
    rejected: int
    repeated: int
    warnings: int
    in_force: int


@dataclass(frozen=True, slots=True)
class Defect:
    """One planted fault: where it stands, and which rule finds it. No `column`: a rule across the row."""

    file: str
    line: int
    column: str | None
    rule: str
    severity: str
    kind: str


@dataclass(frozen=True, slots=True)
class StudentAnswer:
    """A student still at school in the hidden next term.

    `chance_below`: the probability of an average below the pass mark, by all that the generator knows.
    """

    school_id: str
    student_id: str
    expected_average: float
    chance_below: float
    drawn_average: float


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """All answers. Each of `figures` is written to `answers/<mart>.csv`, its key columns first."""

    seed: int
    students: int
    schools: list[str]
    school_years: list[str]
    today: date
    files: dict[str, FileAnswer]
    defects: list[Defect]
    next_term: list[StudentAnswer]
    yardstick: Yardstick
    figures: list[Figure]
    pass_mark: float = PASS_MARK
    note: str = NOTE
    no_effect_factors: dict[str, list[str]] = field(
        default_factory=lambda: {
            "students": list(NO_EFFECT_FACTORS),
            "guardians": list(NO_EFFECT_GUARDIAN_FACTORS),
            "survey_responses": list(SURVEY_NO_EFFECT),
            "student_performance": ["gender", "race_ethnicity"],
        }
    )
    effect_factors: dict[str, list[str]] = field(
        default_factory=lambda: {
            "guardians": ["engagement_in_school_activities"],
            "survey_responses": ["study_habits"],
            "student_performance": ["lunch", "test_preparation_course"],
        }
    )

    @property
    def truly_at_risk(self) -> list[StudentAnswer]:
        """Students whose expected average of the hidden term lies below the pass mark, lowest first."""
        below = [student for student in self.next_term if student.expected_average < self.pass_mark]
        return sorted(below, key=lambda student: student.expected_average)

    @property
    def base_rate(self) -> float:
        """Share of the students at school in the hidden term who are truly at risk."""
        return len(self.truly_at_risk) / len(self.next_term)

    def write(self, directory: Path) -> None:
        """Write `answer_key.json` and the folder `answers/`."""
        (directory / "answers").mkdir(exist_ok=True)
        for figure in self.figures:
            columns = [*figure.key, *(name for name in figure.rows if name not in figure.key)]
            path = directory / figure.filename
            figure.rows.to_csv(path, columns=columns, index=False, lineterminator="\n")
        (directory / "answer_key.json").write_text(
            json.dumps(self._to_dict(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )

    def _to_dict(self) -> dict[str, Any]:
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "figures"}
        return {
            "note": self.note,
            **plain,
            "today": self.today.isoformat(),
            "files": {name: asdict(answer) for name, answer in self.files.items()},
            "defects": [asdict(defect) for defect in self.defects],
            "next_term": [asdict(student) for student in self.next_term],
            "yardstick": asdict(self.yardstick),
            "truly_at_risk": [asdict(student) for student in self.truly_at_risk],
            "base_rate": round(self.base_rate, 4),
            "figures": {
                figure.mart: {"file": figure.filename, "key": list(figure.key)} for figure in self.figures
            },
        }


def build_answer_key(
    tables: Sequence[Table],
    roster: Roster,
    next_term: NextTerm,
    *,
    seed: int,
    students: int,
    school_years: list[str],
    today: date,
) -> AnswerKey:
    """Gather the answers from tables that have been written (so that lines are known)."""
    return AnswerKey(
        seed=seed,
        students=students,
        schools=list(roster.schools),
        school_years=school_years,
        today=today,
        files={table.filename: _answer_file(table) for table in tables},
        defects=[defect for table in tables for defect in _list_defects(table)],
        next_term=_list_students(roster, next_term),
        yardstick=measure_yardstick(next_term),
        figures=compute_figures(tables),
    )


def _answer_file(table: Table) -> FileAnswer:
    fates = Counter(row.fate for row in table.rows)
    return FileAnswer(
        dataset=table.dataset,
        read=len(table.rows),
        accepted=fates["accepted"],
        rejected=fates["rejected"],
        repeated=fates["repeated"],
        warnings=sum(row.breakage is not None and row.breakage.severity == "warning" for row in table.rows),
        in_force=sum(row.fate == "accepted" and not row.is_overridden for row in table.rows),
    )


def _list_defects(table: Table) -> list[Defect]:
    return [
        Defect(
            table.filename, row.line, row.breakage.column, row.breakage.rule, row.breakage.severity,
            row.breakage.kind,
        )
        for row in table.rows
        if row.breakage
    ]  # fmt: skip


def _list_students(roster: Roster, next_term: NextTerm) -> list[StudentAnswer]:
    return [
        StudentAnswer(
            roster.schools[roster.school[student]],
            student_id(int(roster.number[student])),
            round(float(next_term.expected_average[place]), 3),
            round(float(next_term.chance_below[place]), 6),
            round(float(next_term.drawn_average[place]), 3),
        )
        for place, student in enumerate(next_term.student)
    ]
