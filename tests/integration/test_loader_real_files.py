"""The first real files, and a file with planted defects, from their bytes to raw."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest

from elt.contracts import get_contract, match_header
from elt.uploads.lifecycle import withdraw_upload
from elt.uploads.rejects import rejects_csv

FILES = {
    "students": ("laurel_high/students_bio_data.csv", 600),
    "teachers": ("laurel_high/Teachers_bio_data.csv", 50),
    "guardians": ("laurel_high/parents_bio_data.csv", 600),
    "academic_history": ("laurel_high/academic_history_data.csv", None),
    "survey_responses": ("laurel_high/survey_student_data.csv", 1000),
    "student_performance": ("student_performance/StudentsPerformance.csv", 1000),
}


@pytest.mark.parametrize("dataset", FILES)
def test_a_real_file_is_in_raw_cell_by_cell(sender, shared_data, dataset):
    name, rows = FILES[dataset]
    content = (shared_data / name).read_bytes()
    upload_id = sender.hand_in(content, dataset, filename=name)

    header, *cells = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    upload = sender.upload(upload_id)
    assert upload.status == "loaded", upload.reason
    assert (upload.counts.rejected, upload.counts.repeated, upload.counts.loaded) == (0, 0, len(cells))
    assert rows in (None, len(cells))
    contract = get_contract(dataset)
    columns = match_header(contract, header).columns
    loaded = sender.raw(dataset, *(column for column in columns if column), "_line")
    loaded.sort(key=lambda row: row[-1])
    for values, expected in zip(loaded, cells, strict=True):
        for column, value, text in zip(columns, values, expected, strict=False):
            field = contract.field(column)
            if text in contract.missing_values_of(field):
                assert value is None
            elif field.type == "number":
                assert (value, str(value)) == (Decimal(text), text)
            else:
                assert str(value) == text


HEADER = "Student ID,Grade Level,Subject,Term,Test Score,Exam Score,Total Score\n"

# Nine kinds of defect: what the row becomes, on which column and by which rule it is rejected.
DEFECTS = [
    ("{id},JSS1,Mathematics,First Term,20,101,121", {("exam_score", "maximum"), ("total_score", "maximum")}),
    ("{id},JSS1,Mathematics,First Term,-1,41,40", {("test_score", "minimum")}),
    ("{id},JSS1,Mathematics,First Term,20,40,61", {(None, "total_is_test_plus_exam")}),
    ("{id},JSS9,Mathematics,First Term,20,40,60", {("grade_level", "enum")}),
    ("{id},JSS1,Mathematics,Fourth Term,20,40,60", {("term", "enum")}),
    ("{id},JSS1,Mathematics,First Term,twenty,40,60", {("test_score", "type")}),
    (",JSS1,Mathematics,First Term,20,40,60", {("student_id", "required")}),
    ("{id},JSS1,Mathematics,First Term,20,40", {(None, "missing_cells")}),
    ("{id},JSS1,Mathematics, applied,First Term,20,40,60", {(None, "extra_cells")}),
]
SOUND = "{id},JSS1,Mathematics,First Term,20,40,60"


def _planted():
    """1 000 rows in which 37 rows, spread over the file, have one of the nine defects."""
    planted = {3 + 27 * number: DEFECTS[number % len(DEFECTS)] for number in range(37)}
    rows = [planted.get(number, (SOUND, None))[0].format(id=f"STU{number:04}") for number in range(1000)]
    expected = {
        (number + 2, column, rule) for number, (_, found) in planted.items() for column, rule in found
    }
    return HEADER + "\n".join(rows) + "\n", expected


def test_thirty_seven_planted_defects_come_back_as_those_and_their_correction_completes_the_upload(sender):
    before = sender.hand_in(HEADER + SOUND.format(id="STU0030").replace("20,40,60", "10,10,20") + "\n")
    stood = sender.raw()
    content, expected = _planted()
    upload_id = sender.hand_in(content)

    upload = sender.upload(upload_id)
    assert (upload.counts.read, upload.counts.accepted, upload.counts.rejected) == (1000, 963, 37)
    issues = sender.connection.execute(
        "select line, column_name, rule from ops.row_issues where upload_id = %s", (upload_id,)
    )
    assert {tuple(row.values()) for row in issues} == expected
    returned = b"".join(rejects_csv(sender.connection, sender.store, upload_id)).decode()
    rows = list(csv.reader(io.StringIO(returned, newline="")))[1:]
    assert {int(row[7]) for row in rows} == {line for line, _, _ in expected}
    for row in rows:
        found = {
            (column or None, rule)
            for column, rule in zip(row[8].split("; "), row[9].split("; "), strict=True)
        }
        assert found == {(column, rule) for line, column, rule in expected if line == int(row[7])}

    corrected = io.StringIO(newline="")
    writer = csv.writer(corrected)
    writer.writerow([*HEADER.strip().split(","), "line", "column", "rule", "hint"])
    for row in rows:
        student = f"STU{int(row[7]) - 2:04}"
        writer.writerow([*SOUND.format(id=student).split(","), *row[7:]])
    fix = sender.hand_in(corrected.getvalue(), fixes=upload_id)

    assert sender.upload(fix).counts.accepted == 37
    assert sender.upload(upload_id).remaining_rejects == 0
    live = [row for row in sender.raw("academic_history", "student_id", "_upload_id") if row[1] != before]
    assert [row[0] for row in live] == [f"STU{number:04}" for number in range(1000)]

    withdraw_upload(sender.connection, sender.store, upload_id, sender.researcher)
    assert sender.raw() == stood
