"""The demo school, read from a real MariaDB and the boards' API, shows in the marts what was planted."""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from typing import get_args
from uuid import uuid4

import pytest

from demo.exam_faults import FaultKind
from demo.rosariosis import write_rosariosis
from demo.rosariosis_school import OneSchool
from demo.school import draw_demo_school, write_files
from demo.vocabulary import TERMS
from elt.settings import Settings
from elt.transforming.transform import transform
from elt.warehouse import Connection
from tests.exam_board import MakeExamBoard
from tests.integration.sources_world import SourceWorld, source_world

__all__ = ["source_world"]
SCHOOL = "epe"


@pytest.mark.usefixtures("built_marts")
def test_averages_and_examination_grades_are_those_that_were_planted(
    source_world: SourceWorld,
    settings: Settings,
    connection: Connection,
    mariadb_url: str,
    make_exam_board: MakeExamBoard,
) -> None:
    drawn = draw_demo_school(seed=5, students=180)
    school = OneSchool(drawn, SCHOOL)
    write_rosariosis(mariadb_url, drawn, SCHOOL)
    write_files(drawn, settings.home / "school")
    board = make_exam_board(settings.home / "school" / "exam_board")
    numbers = {"school_exam_id": 4123457, "ceeb_code": 4123457}
    source_world.configure("rosariosis", mariadb_url, kind="rosariosis", school_id=SCHOOL)
    source_world.configure(
        "boards", board.url, kind="exam_results", school_id=SCHOOL, private_network=True, parameters=numbers
    )
    for fault in get_args(FaultKind):
        board.fail(fault)
    source_world.sync("rosariosis")
    source_world.sync("boards")
    source_world.sync("boards")  # one record was not there yet when its only page was read first
    assert board.faults.waiting == []
    transform(settings, uuid4())

    assert averages(connection) == planted_averages(school)
    grades = {
        (row["student_id"], row["exam_year"], row["subject"]): row["grade"]
        for row in connection.execute("select * from core.fct_exam_results where exam = 'WASSCE'")
    }
    assert grades == {
        (str(school.number_of(each.student)), each.year, subject): grade
        for each in school.candidates
        for subject, grade in each.grades.items()
    }


def averages(connection: Connection) -> dict[tuple[str, str, str], tuple[Decimal, int]]:
    """Average score and number of subjects by student, school year and term."""
    query = "select student_id, school_year, term, average_score, subject_count from marts.mart_student_terms"
    return {
        (row["student_id"], row["school_year"], row["term"]): (row["average_score"], row["subject_count"])
        for row in connection.execute(query)
    }


def planted_averages(school: OneSchool) -> dict[tuple[str, str, str], tuple[Decimal, int]]:
    """The same, from what was drawn."""
    totals: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    scores = school.scores()
    for taken in school.taken:
        for place, term in enumerate(TERMS):
            year = school.drawn.school_years[taken.year]
            totals[str(taken.student), year, term].append(scores[taken.course, place][1])
    return {
        key: ((Decimal(sum(each)) / len(each)).quantize(Decimal("0.01"), ROUND_HALF_UP), len(each))
        for key, each in totals.items()
    }
