"""What the contracts find in the demo school is what was planted in it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.school import write_demo_school
from elt.contracts import get_contract, match_header
from elt.reading.reader import read_blocks
from elt.reading.validation import validate

FILES = (
    "students.csv", "teachers.csv", "guardians.csv", "academic_history.csv", "survey_responses.csv",
    "student_performance.csv",
)  # fmt: skip


@pytest.mark.parametrize("filename", FILES)
def test_validation_finds_exactly_the_planted_defects(tmp_path: Path, filename: str) -> None:
    key = write_demo_school(tmp_path, seed=4, students=400)
    answer = key.files[filename]
    contract = get_contract(answer.dataset)
    with (tmp_path / filename).open("rb") as stream:
        detected, blocks = read_blocks(stream)
        match = match_header(contract, detected.header)
        checked = list(validate(blocks, contract, match, school_id="main"))
    found = [row for block in checked for row in block.issues.rows()]
    planted = [
        (defect.line, defect.column, defect.rule, defect.severity)
        for defect in key.defects
        if defect.file == filename
    ]
    assert sorted(found, key=str) == sorted(planted, key=str)
    assert sum(block.read for block in checked) == answer.read
    assert sum(block.rejected for block in checked) == answer.rejected
    assert sum(len(block.accepted) for block in checked) == answer.accepted + answer.repeated
