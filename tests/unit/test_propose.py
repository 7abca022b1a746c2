"""Proposed contracts: sound, cautious, and only proposals."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from elt.contracts import load_contracts, match_header, parse_contract
from elt.errors import UploadRejected
from elt.reading.propose import propose_contract
from elt.reading.reader import read_blocks
from elt.reading.validation import validate


def propose(text: str, name: str = "things") -> dict[str, Any]:
    return propose_contract(io.BytesIO(text.encode()), name)


def fields(proposed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in proposed["fields"]}


@pytest.mark.parametrize(
    ("cells", "type_"),
    [
        (["1", "-20", ""], "integer"),
        (["1", "2.50"], "number"),
        (["2024-02-29", "2024-03-01"], "date"),
        (["2024-02-30", "2024-03-01"], "string"),
        (["007", "8"], "string"),
        (["9706887689756299490", "1"], "string"),
        (["+234", "1"], "string"),
        (["1", "absent"], "string"),
        (["", ""], "string"),
    ],
)
def test_a_type_is_proposed_only_where_all_cells_have_it(cells: list[str], type_: str) -> None:
    text = "value,other\n" + "".join(f"{cell},x\n" for cell in cells)
    assert fields(propose(text))["value"]["type"] == type_


@pytest.mark.parametrize(
    ("header", "personal"),
    [
        ("First Name", "direct"),
        ("emailAddress", "direct"),
        ("Phone Number", "direct"),
        ("Date of Birth", "direct"),
        ("student_id", "identifier"),
        ("Matric No", "identifier"),
        ("Math Score", "none"),
        ("Religion", "sensitive"),
        ("parental level of education", "sensitive"),
        ("x17", "sensitive"),
    ],
)
def test_what_is_not_plainly_harmless_is_proposed_as_sensitive(header: str, personal: str) -> None:
    proposed = propose(f"{header},other\n1,2\n")
    assert proposed["fields"][1]["personal"] == personal


def test_few_different_texts_become_choices_but_never_names() -> None:
    rows = "".join(f"{'Yes' if n % 2 else 'No'},{'Ada' if n % 2 else 'Ben'}\n" for n in range(40))
    found = fields(propose("Consent,First Name\n" + rows))
    assert found["consent"]["constraints"] == {"enum": ["No", "Yes"]}
    assert "constraints" not in found["first_name"]


def test_the_key_is_the_fewest_columns_that_tell_rows_apart() -> None:
    rows = "".join(f"S{n // 6},{n % 3},{n // 3 % 2},{n % 2}\n" for n in range(60))
    proposed = propose("Student ID,Term,Year,Score\n" + rows)
    assert proposed["primaryKey"] == ["school_id", "student_id", "term", "year"]
    assert fields(proposed)["term"]["constraints"]["required"] is True
    assert propose("Score,Mood\n1,x\n1,x\n")["primaryKey"] == []


def test_headers_that_make_no_name_or_the_same_one_are_told_apart() -> None:
    proposed = propose("₦,Score,score!,1st,School ID\n1,2,3,4,north\n")
    assert [field["name"] for field in proposed["fields"]] == [
        "school_id",
        "column_1",
        "score",
        "score_2",
        "column_1st",
    ]
    parse_contract(proposed)


def test_a_sample_that_cannot_be_read_is_rejected() -> None:
    with pytest.raises(UploadRejected):
        propose("")


def test_proposing_changes_nothing() -> None:
    before = dict(load_contracts())
    propose("a,b\n1,2\n", "students")
    assert load_contracts() == before


@pytest.mark.parametrize(
    "path",
    [
        "uci_student/student-mat.csv",
        "oulad/studentInfo.csv",
        "pisa2018/student_subset_2018.csv",
        "laurel_high/students_bio_data.csv",
    ],
)
def test_a_real_file_keeps_the_contract_proposed_for_it(shared_data: Path, path: str) -> None:
    if not (shared_data / path).is_file():
        pytest.skip(f"{path} is not among the shared files")
    with (shared_data / path).open("rb") as stream:
        proposed = propose_contract(stream, Path(path).stem)
    contract = parse_contract(yaml.safe_load(yaml.safe_dump(proposed)))
    with (shared_data / path).open("rb") as stream:
        detected, blocks = read_blocks(stream)
        match = match_header(contract, detected.header)
        assert match.issues == []
        assert sum(block.rejected for block in validate(blocks, contract, match, school_id="s")) == 0
