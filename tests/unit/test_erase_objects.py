"""Taking people out of bytes: theirs go, all other bytes stay."""

from __future__ import annotations

import io
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from elt.contracts import get_contract
from elt.privacy.erase_objects import Scrubbed, Scrubber
from elt.privacy.tombstones import Tombstones, tombstones_of
from elt.reading.dialect import ReadOptions
from elt.reading.file_rows import FileForm
from elt.settings import Settings

SETTINGS = Settings(
    database_url=SecretStr("postgresql://nowhere"),
    secret_key=SecretStr("x" * 32),
    pseudonym_key=SecretStr("y" * 32),
)
SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.csv"))


def _scrubber(identifier: str, dataset: str = "students", kind: str = "student", lines=()) -> Scrubber:
    [tombstone] = tombstones_of(SETTINGS, kind, "main", identifier)
    row = {
        "tombstone": tombstone, "erasure_id": uuid4(), "kind": kind, "school_id": "main", "traces": [],
    }  # fmt: skip
    form = FileForm(get_contract(dataset), ReadOptions(), "main")
    return Scrubber(form, Tombstones(SETTINGS, [row]), lines)


def _scrub(scrubber: Scrubber, content: bytes) -> tuple[bytes, Scrubbed]:
    found = scrubber.inspect(lambda: io.BytesIO(content))
    again = Scrubbed(found.is_table)
    kept = b"".join(scrubber.pieces(io.BytesIO(content), again))
    assert (again.sha256, again.size, again.rows) == (found.sha256, found.size, found.rows)
    assert found.size == len(kept)
    return kept, found


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("dataset", ["academic_history", "students"])
def test_a_file_without_the_person_keeps_every_byte(path: Path, dataset: str) -> None:
    content = path.read_bytes()
    kept, found = _scrub(_scrubber("NOBODY99", dataset), content)
    assert kept == content
    assert found.is_clean


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_a_record_leaves_as_many_empty_lines_as_it_had(encoding: str, end: str) -> None:
    lines = [
        "Student ID,First Name,Last Name,Gender,Grade Level,Date of Birth",
        'S1,"Zoé',
        'Anne",Obi,Female,JSS1,2011-01-01',
        "S2,Zoé,Eze,Female,JSS1,2011-01-01",
        "S1,Zoé,Obi,Female,JSS1,2011-01-01",
    ]
    kept, found = _scrub(_scrubber("S1"), end.join(lines).encode(encoding))
    assert kept.decode(encoding).split(end) == [lines[0], "", "", lines[3], ""]
    assert [row.line for row in found.rows] == [2, 5]


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ("S2,JSS1,Maths,First Term,1,T1\r\n", "S2,JSS1,Maths,First Term,1,\r\n"),
        ('S2,JSS1,"Maths, again",First Term,1,"T1"\n', 'S2,JSS1,"Maths, again",First Term,1,\n'),
        ('S2,JSS1,"a\nb ""c""",First Term,1,T1', 'S2,JSS1,"a\nb ""c""",First Term,1,'),
        ("S2,JSS1,T1,First Term,1,T2\n", "S2,JSS1,T1,First Term,1,T2\n"),
    ],
)
def test_a_reference_is_emptied_and_the_row_stays(row: str, kept: str) -> None:
    header = "Student ID,Grade Level,Subject,Term,Total Score,Teacher ID\n"
    scrubbed, found = _scrub(_scrubber("T1", "academic_history", "teacher"), (header + row).encode())
    assert scrubbed.decode() == header + kept
    assert found.rows == []


def test_lines_that_somebody_has_named_go_too() -> None:
    content = b"First Name,Last Name,Date of Birth\nAda,Eze,2011-01-01\nBola,Obi,2011-01-01\n"
    kept, found = _scrub(_scrubber("S1", "survey_responses", lines={3}), content)
    assert kept == b"First Name,Last Name,Date of Birth\nAda,Eze,2011-01-01\n\n"
    assert [row.line for row in found.rows] == [3]


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_lines_are_counted_across_blocks(size: int) -> None:
    header = b"Student ID,First Name,Last Name,Gender,Grade Level,Date of Birth\r\n"
    row = b"S2,%b,Eze,Female,JSS1,2011-01-01\r\n"
    filler = row % (b"a" * (size // 2 - len(header) - len(row)))
    filler += row % (b"a" * (size - len(header) - len(filler) - len(row) + 3))
    content = header + filler + (row % b"Ada") + (row % b"Zoe").replace(b"S2", b"S1")
    kept, found = _scrub(_scrubber("S1"), content)
    assert [row.line for row in found.rows] == [5]
    assert kept == content[: content.rindex(b"\nS1") + 1] + b"\r\n"
