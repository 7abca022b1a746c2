"""Erasing a person: gone from everywhere, for good, and nobody else's rows touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from uuid import UUID

import polars as pl
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from cli.main import cli
from elt.errors import NotFound, UploadRejected
from elt.loading.parts import load_part, split_version
from elt.pipeline import run
from elt.privacy.erase_words import NAMED
from elt.privacy.erasure import ErasureReport, Sought, erase_pending
from elt.privacy.erasure_proof import Finding
from elt.privacy.erasure_requests import list_erasures, request_erasure
from elt.privacy.erasure_review import Candidate, confirm_candidate, find_candidates
from elt.reading.dialect import ReadOptions
from elt.serving.disputes import Figure, list_disputes, raise_dispute, settle_dispute
from elt.serving.interventions import add_intervention
from elt.serving.notes import add_note, list_notes
from elt.store.base import open_store
from elt.uploads.discover import discover
from elt.uploads.lifecycle import withdraw_upload
from elt.uploads.rejects import rejects_csv
from elt.uploads.replay import replay
from tests.conftest import Sender

STUDENTS = (
    "Student ID,First Name,Last Name,Gender,Age,Date of Birth,Grade Level,Admission Date\n"
    "STU00001,Ada,Zubrowka,Female,13,2011-08-11,JSS1,2023-09-01\n"
    'STU00002,Bola,"Eze\nOkoro",Female,13,2011-09-12,JSS1,2023-09-01\n'
    "STU00003,Chidi,Obi,Male,13,2011-10-13,JSS1,2023-09-01\n"
)
PLANTED = "Zubrowka"
PREDICTION = (
    "insert into ml.predictions (target, method, school_id, student_id, as_of_date, score, is_at_risk, "
    "reasons, recommendations, data_version) values "
    "('at_risk', 'rule', 'main', %s, '2026-01-01', 1, true, '[]', '[]', 'x')"
)


@pytest.fixture(params=["folder", "s3"])
def anywhere(request: pytest.FixtureRequest, settings, connection) -> Sender:
    """Hands files in, to a folder and to a bucket that keeps versions."""
    if request.param == "s3":
        bucket = request.getfixturevalue("versioned_bucket")
        settings = settings.model_copy(update={"store_url": f"{bucket}/prefix"})
    return Sender(settings, connection, open_store(settings.resolved_store_url))


def _request(sender: Sender, identifier: str = "STU00001", kind: str = "student", **changes) -> UUID:
    facts = {"kind": kind, "school_id": "main", "identifier": identifier, "reason": "asked for", **changes}
    return request_erasure(sender.settings, sender.connection, sender.store, principal=sender.admin, **facts)


def _erase(
    sender: Sender, identifier: str | None = "STU00001", kind: str = "student", names=(PLANTED,), **sought
) -> ErasureReport:
    """Erase as the command does, but without marts; `identifier` None: as if nobody said again who."""
    people = {}
    if identifier is not None:
        people = {_request(sender, identifier, kind): (kind, "main", identifier)}
    return erase_pending(
        sender.settings, sender.store, rebuild=lambda: None, sought=Sought(people, names, **sought)
    )


def _all_bytes(sender: Sender) -> dict[str, bytes]:
    """Every object, and every earlier version."""
    found = {}
    for item in sender.store.list():
        with sender.store.open(item.key) as stream:
            found[item.key] = stream.read()
    for old in sender.store.old_versions():
        with sender.store.open_old(old) as stream:
            found[f"{old.key}?{old.version_id}"] = stream.read()
    return found


def _leaks(sender: Sender, *texts: str) -> list[str]:
    """Where any of the texts still stands, looked for without the code under test."""
    wanted = [text.encode() for text in texts]
    found = [key for key, content in _all_bytes(sender).items() for text in wanted if text in content]
    tables = sender.connection.execute(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables "
        "where schemaname !~ '^pg_' and schemaname <> 'information_schema'"
    ).fetchall()
    for table in tables:
        rows = sender.connection.execute(f"select t::text as row from {table['name']} t").fetchall()
        found += [table["name"] for row in rows for text in texts if text in row["row"]]
    return found


def _content(sender: Sender, upload_id: UUID) -> bytes:
    with sender.store.open(sender.upload(upload_id).current.object_key) as stream:
        return stream.read()


def _counts(sender: Sender, upload_id: UUID) -> dict[str, int]:
    row = sender.connection.execute(
        "select rows_read, rows_accepted, rows_rejected, rows_repeated, rows_loaded, rows_erased "
        "from ops.upload_versions where upload_id = %s order by version desc limit 1",
        (upload_id,),
    ).fetchone()
    assert row["rows_read"] == row["rows_accepted"] + row["rows_rejected"] + row["rows_repeated"]
    return {name.removeprefix("rows_"): value for name, value in row.items()}


def test_a_student_is_gone_from_every_object_version_and_table(
    anywhere: Sender, history: Callable[..., str]
) -> None:
    students = anywhere.hand_in(STUDENTS, "students")
    replaced = anywhere.hand_in(history([1, 2]))
    anywhere.replace(replaced, history([1, 2, 3], exam=41))
    anywhere.load(replaced, 2)
    withdrawn = anywhere.hand_in(history([1, 5]))
    withdraw_upload(anywhere.connection, anywhere.store, withdrawn, anywhere.researcher)
    before = _content(anywhere, students)

    report = _erase(anywhere)

    assert report.findings == []
    assert report.problems == []
    assert report.finished == report.erasures
    assert _leaks(anywhere, PLANTED, "STU00001") == []
    assert list(anywhere.store.old_versions()) == []
    after = _content(anywhere, students)
    assert after.splitlines() == [b"" if b"STU00001" in line else line for line in before.splitlines()]
    assert [row[0] for row in anywhere.raw("students", "student_id")] == ["STU00002", "STU00003"]
    assert anywhere.raw("students", "student_id", "_line") == [("STU00002", 3), ("STU00003", 5)]
    assert _counts(anywhere, students) == {
        "read": 3, "accepted": 3, "rejected": 0, "repeated": 0, "loaded": 2, "erased": 1,
    }  # fmt: skip


def test_the_rows_of_others_are_the_same_bytes_on_the_same_lines(sender: Sender) -> None:
    content = STUDENTS.replace("\n", "\r\n").encode("utf-16")
    upload = sender.hand_in(content, "students")
    _erase(sender)

    lines = _content(sender, upload).decode("utf-16").split("\r\n")
    wanted = STUDENTS.split("\n")
    assert lines == [wanted[0], "", *wanted[2:]]


def test_no_later_file_brings_the_person_back(sender: Sender, history: Callable[..., str]) -> None:
    _erase(sender)
    rows = "".join(f"STU{n:05},Ada,Zubrowka,Female,13,2011-08-11,JSS1,2023-09-01\n" for n in (1, 7, 8))
    upload = sender.hand_in(STUDENTS.splitlines()[0] + "\n" + rows, "students")

    assert sender.upload(upload).status == "loaded"  # one of three is more than the limit; it does not count
    assert [row[0] for row in sender.raw("students", "student_id")] == ["STU00007", "STU00008"]
    assert _counts(sender, upload) == {
        "read": 3, "accepted": 2, "rejected": 1, "repeated": 0, "loaded": 2, "erased": 1,
    }  # fmt: skip
    assert b"".join(rejects_csv(sender.connection, sender.store, upload)).count(b"\r\n") == 1  # the header

    # The file holds the person, so the erasure is open again; nobody need say who it is.
    assert [row["finished_at"] for row in list_erasures(sender.connection)] == [None]
    report = _erase(sender, None, names=())
    assert report.finished == report.erasures != []
    assert "STU00001" not in _content(sender, upload).decode()
    assert _counts(sender, upload)["erased"] == 1


SPELLINGS = ("stu00001", " STU00001 ", "Stu 00001", "STU00001")


def _spelled(history: Callable[..., str], spelling: str) -> str:
    """A file of two students, one of them in another spelling."""
    return history([1, 2], exam=41).replace("STU00001", spelling)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_other_spelling_brings_the_person_back(
    sender: Sender, history: Callable[..., str], spelling: str
) -> None:
    _erase(sender)
    upload = sender.hand_in(_spelled(history, spelling))

    assert sender.raw("academic_history", "student_id") == [("STU00002",)]
    assert sender.upload(upload).status == "loaded"
    assert _erase(sender, None, names=()).findings == []
    assert _leaks(sender, spelling) == []
    assert _request(sender, spelling) == _request(sender)  # one person, one erasure


@pytest.mark.parametrize("is_known", [True, False])
def test_an_erasure_removes_every_spelling(
    anywhere: Sender, history: Callable[..., str], is_known: bool
) -> None:
    sender = anywhere
    uploads = [sender.hand_in(_spelled(history, spelling)) for spelling in SPELLINGS]
    unused = sender.hand_in(_spelled(history, "stu\u00a000001").encode("utf-16"))
    withdraw_upload(sender.connection, sender.store, unused, sender.researcher)
    for number, spelling in enumerate(SPELLINGS):
        sender.connection.execute(PREDICTION, (spelling,))
        sender.connection.execute(
            "insert into ops.pseudonyms values ('student', 'main', %s, %s, 1)", (spelling, f"p{number}")
        )
    if not is_known:
        _request(sender)
        assert sender.raw("academic_history", "student_id") == [("STU00002",)] * len(SPELLINGS)
    report = _erase(sender, "sTu00001" if is_known else None, names=())

    assert report.findings == []
    assert report.finished
    assert _leaks(sender, *SPELLINGS) == []
    assert "00001" not in _content(sender, unused).decode("utf-16")
    raw = sender.raw("academic_history")
    replay(sender.settings, sender.store, wipe=True)
    assert sender.raw("academic_history") == raw
    assert [sender.upload(upload).status for upload in uploads] == ["loaded"] * len(uploads)


def test_replay_refuses_other_spellings_too(sender: Sender, history: Callable[..., str]) -> None:
    """Where the erasure has not reached the store."""
    for spelling in SPELLINGS:
        sender.hand_in(_spelled(history, spelling))
    _request(sender)
    replay(sender.settings, sender.store, wipe=True)
    assert set(sender.raw("academic_history", "student_id")) == {("STU00002",)}


def test_another_school_keeps_its_student_of_the_same_number(sender: Sender) -> None:
    theirs = sender.hand_in(STUDENTS.replace(PLANTED, "Adeyemi"), "students", school_id="other")
    mixed = sender.hand_in(
        "School ID," + STUDENTS.splitlines()[0] + "\n"
        "main,STU00001,Ada,Zubrowka,Female,13,2011-08-11,JSS1,2023-09-01\n"
        "other,STU00001,Ada,Adeyemi,Female,13,2011-08-11,JSS1,2023-09-01\n",
        "students",
    )
    report = _erase(sender)

    assert report.findings == []
    assert report.finished
    assert b"STU00001" in _content(sender, theirs)
    assert _content(sender, mixed).splitlines()[1] == b""
    assert _content(sender, mixed).splitlines()[2].startswith(b"other,STU00001")
    assert len(sender.raw("students", "school_id")) == 4


def test_scores_stay_when_their_teacher_is_erased(sender: Sender, history: Callable[..., str]) -> None:
    header, *rows = history([1, 2]).splitlines()
    content = "\n".join([f"{header},Teacher ID", f"{rows[0]},TCH00009", f"{rows[1]},TCH00010", ""])
    upload = sender.hand_in(content)
    report = _erase(sender, "TCH00009", "teacher")

    assert report.findings == []
    assert report.finished
    assert sender.raw("academic_history", "student_id", "teacher_id") == [
        ("STU00001", None), ("STU00002", "TCH00010"),
    ]  # fmt: skip
    assert _content(sender, upload).decode() == content.replace("TCH00009", "")
    changed = sender.connection.execute("select count(*) as n from raw.academic_history__changed").fetchone()
    assert changed["n"] == 1

    again = sender.hand_in(content.replace(",40,", ",39,").replace(",60,", ",59,"))
    assert _counts(sender, again)["accepted"] == 2
    assert ("STU00001", "TCH00009") not in sender.raw("academic_history", "student_id", "teacher_id")


def test_a_guardian_goes_and_the_student_stays(sender: Sender) -> None:
    sender.hand_in(STUDENTS, "students")
    sender.hand_in(
        "Parent ID,Student ID,First Name,Last Name\nPAR00001,STU00001,Ngozi,Zubrowka\n"
        "PAR00002,STU00001,Obi,Zubrowka\n",
        "guardians",
    )
    report = _erase(sender, "PAR00001", "guardian", names=("Ngozi",))

    assert report.findings == []
    assert sender.raw("guardians", "parent_id") == [("PAR00002",)]
    assert len(sender.raw("students", "student_id")) == 3


def test_rejected_repeated_and_broken_rows_go_too(sender: Sender, history: Callable[..., str]) -> None:
    lines = history(range(1, 60)).splitlines()
    mine = lines[1]
    wrong = mine.replace(",60", ",61")
    upload = sender.hand_in("\n".join([*lines, mine, wrong, mine.rpartition(",")[0], ""]))
    assert _counts(sender, upload)["rejected"] == 2
    report = _erase(sender)

    assert report.findings == []
    assert _leaks(sender, "STU00001") == []
    assert _counts(sender, upload) == {
        "read": 62, "accepted": 59, "rejected": 2, "repeated": 1, "loaded": 58, "erased": 4,
    }  # fmt: skip
    assert sender.upload(upload).remaining_rejects == 0
    assert b"".join(rejects_csv(sender.connection, sender.store, upload)).count(b"\n") == 1


def test_the_line_that_a_fix_corrected_goes_with_it(sender: Sender, history: Callable[..., str]) -> None:
    nameless = ",JSS1,Mathematics,First Term,20,40,60,Zubrowka"
    lines = history(range(1, 40), columns=",Remark").splitlines()
    parent = sender.hand_in("\n".join([lines[0], *(f"{line}," for line in lines[1:]), nameless, ""]))
    fixed = b"".join(rejects_csv(sender.connection, sender.store, parent)).decode()
    fix = sender.hand_in(fixed.replace("\r\n,JSS1", "\r\nSTU00077,JSS1"), fixes=parent)
    assert sender.upload(fix).status == "loaded"
    report = _erase(sender, "STU00077")

    assert report.findings == []
    assert _leaks(sender, PLANTED, "STU00077") == []
    assert sender.upload(parent).status == "loaded"
    before = [(sender.upload(each).status, _counts(sender, each)) for each in (parent, fix)]
    replay(sender.settings, sender.store, wipe=True)
    assert [(sender.upload(each).status, _counts(sender, each)) for each in (parent, fix)] == before


def test_a_line_that_a_fix_gave_to_somebody_else_stays_theirs_in_a_replay(
    sender: Sender, history: Callable[..., str]
) -> None:
    wrong = "STU00001,JSS9,Mathematics,First Term,20,40,60"
    content = history(range(1, 40), faults={1: wrong}) + wrong.replace("00001", "00078") + "\n"
    parent = sender.hand_in(content)
    fixed = b"".join(rejects_csv(sender.connection, sender.store, parent)).decode()
    fixed = fixed.replace("STU00001,JSS9", "STU00077,JSS1")
    fix = sender.hand_in(fixed, fixes=parent)
    assert sender.upload(fix).status == "loaded"
    assert _erase(sender).findings == []

    def state() -> list[object]:
        uploads = [(sender.upload(each), _counts(sender, each)) for each in (parent, fix)]
        lines = sender.connection.execute("select upload_id, line from ops.fixed_lines").fetchall()
        return [
            sender.raw("academic_history"),
            lines,
            [(found.status, found.remaining_rejects, counts) for found, counts in uploads],
        ]

    before = state()
    assert "STU00077" in str(before)
    assert sender.upload(parent).remaining_rejects == 1  # STU00078
    replay(sender.settings, sender.store, wipe=True)
    assert state() == before
    again = sender.hand_in(fixed.replace(",60", ",60 "), fixes=parent)  # that line waits for nobody
    assert sender.upload(again).status == "rejected"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("Name;Number\nZubrowka;STU00001\nObi;STU00002\n", id="other columns"),
        pytest.param('Student ID,Grade Level\nSTU00001,"Zubrowka\nSTU00002,x\n', id="a quote without end"),
        pytest.param(
            b"Student ID,Name\r\nSTU00001,Zubrowka \xe9\r\nSTU00002,\xc3\xa9\r\n", id="two encodings"
        ),
        pytest.param("STU00001,Ada,Zubrowka\nSTU00002,Bola,Eze\n", id="no header"),
    ],
)
def test_files_that_are_no_table_lose_the_lines_with_the_identifier(sender: Sender, content) -> None:
    upload = sender.hand_in(content, "students")
    assert sender.upload(upload).status == "rejected"
    report = _erase(sender)

    assert report.findings == []
    assert _leaks(sender, "STU00001", PLANTED) == []
    assert b"STU00002" in _content(sender, upload)


def test_replay_brings_nobody_back_and_changes_nothing(anywhere: Sender, history: Callable[..., str]) -> None:
    sender = anywhere
    over_limit = history(range(1, 11), faults={n: f"STU{n:05},JSS9,X,First Term,1,1,2" for n in (1, 2)})
    rejected = sender.hand_in(over_limit)
    students = sender.hand_in(STUDENTS, "students")
    alone = sender.hand_in(history([1]))
    waiting = sender.send(history([1, 4])).upload_id
    _erase(sender)
    sender.load(waiting)
    before = {
        upload: (sender.upload(upload).status, _counts(sender, upload))
        for upload in (rejected, students, alone, waiting)
    }
    raw = [sender.raw(dataset) for dataset in ("students", "academic_history")]
    assert before[rejected][0] == "rejected"
    assert before[alone][0] == "loaded"

    replay(sender.settings, sender.store, wipe=True)

    assert _leaks(sender, "STU00001", PLANTED) == []
    assert [sender.raw(dataset) for dataset in ("students", "academic_history")] == raw
    after = {upload: (sender.upload(upload).status, _counts(sender, upload)) for upload in before}
    assert after == before


def test_replay_into_an_empty_database_knows_who_was_erased(sender: Sender, history, tmp_path) -> None:
    """Also where the store is an older copy, from before the rows were taken out."""
    upload = sender.hand_in(STUDENTS, "students")
    key, original = sender.upload(upload).current.object_key, _content(sender, upload)
    _erase(sender)
    sender.connection.execute("delete from ops.erasures")
    sender.store.put(key, [original], replace=True)

    replay(sender.settings, sender.store, wipe=True)
    assert sender.raw("students", "student_id") == []  # the bytes are not those of the ledger: not loaded

    report = _erase(sender, None, names=())
    assert report.finished == report.erasures != []
    sender.load(upload)
    assert [row[0] for row in sender.raw("students", "student_id")] == ["STU00002", "STU00003"]
    assert _leaks(sender, "STU00001", PLANTED) == []


def test_a_restored_database_is_put_right_by_the_tombstones_alone(sender: Sender) -> None:
    upload = sender.hand_in(STUDENTS, "students")
    rows = sender.connection.execute("select * from raw.students where student_id = 'STU00001'").fetchall()
    _erase(sender)
    columns = ", ".join(rows[0])
    sender.connection.execute(
        f"insert into raw.students ({columns}) values ({', '.join(['%s'] * len(rows[0]))})",
        list(rows[0].values()),
    )
    sender.connection.execute("update ops.erasures set finished_at = null")

    report = _erase(sender, None, names=())
    assert report.finished == report.erasures != []
    assert _leaks(sender, "STU00001", PLANTED) == []
    assert sender.upload(upload).status == "loaded"


@pytest.mark.parametrize("is_replayed", [False, True])
def test_dropped_files_go_once_their_bytes_are_copied(anywhere: Sender, is_replayed: bool) -> None:
    sender = anywhere
    sender.store.put("students/drop.csv", [STUDENTS.encode()])
    sender.store.put("misc/unknown.csv", [b"Name,Number\nZubrowka,STU00001\nObi,STU00002\n"])
    for pending in discover(sender.settings, sender.store):
        sender.load(pending.upload_id, pending.version)
    report = _erase(sender)

    assert report.findings == []
    assert report.finished
    keys = {item.key for item in sender.store.list()}
    assert "students/drop.csv" not in keys
    assert "misc/unknown.csv" in keys
    assert discover(sender.settings, sender.store) == []

    if is_replayed:
        replay(sender.settings, sender.store, wipe=True)
    # Who drops the same file again has it looked at again.
    sender.store.put("students/drop.csv", [STUDENTS.encode()])
    for pending in discover(sender.settings, sender.store):
        sender.load(pending.upload_id, pending.version)
    assert len(sender.raw("students", "student_id")) == 2
    assert _erase(sender, None, names=()).findings == []
    assert _leaks(sender, "STU00001", PLANTED) == []


def test_predictions_and_pseudonyms_go_and_predictions_stay_append_only(sender: Sender) -> None:
    for student in ("STU00001", "STU00002"):
        sender.connection.execute(PREDICTION, (student,))
        sender.connection.execute(
            "insert into ops.pseudonyms values ('student', 'main', %s, %s, 1)", (student, f"p{student[-1]}")
        )
    report = _erase(sender)

    left = sender.connection.execute("select student_id from ml.predictions").fetchall()
    assert [row["student_id"] for row in left] == ["STU00002"]
    assert sum(report.counts[report.erasures[0]].values()) == 2
    with pytest.raises(Exception, match="append only"):
        sender.connection.execute("delete from ml.predictions")


def test_notes_about_others_that_name_the_person_are_replaced(sender: Sender) -> None:
    def add(action: str, note: str | None, school_id: str = "main") -> UUID:
        return add_intervention(
            sender.connection, sender.settings, sender.admin, school_id, "STU00002",
            done_on=date(2026, 1, 1), action=action, note=note,
        ).intervention_id  # fmt: skip

    by_number = add("Talk", "Sits beside stu00001 now")
    by_name = add("Away from ada zubrowka", "Later")
    other = add("Talk", "With STU000012")
    elsewhere = add("Talk", "With STU00001", "other")
    report = _erase(sender)

    assert report.findings == []
    assert report.finished
    assert report.counts[report.erasures[0]]["ops.interventions.note"] == 2
    rows = sender.connection.execute("select intervention_id, action, note from ops.interventions").fetchall()
    assert {row["intervention_id"]: (row["action"], row["note"]) for row in rows} == {
        by_number: ("Talk", NAMED), by_name: (NAMED, "Later"),
        other: ("Talk", "With STU000012"), elsewhere: ("Talk", "With STU00001"),
    }  # fmt: skip
    with pytest.raises(Exception, match="append only"):
        sender.connection.execute("update ops.interventions set note = null")


def test_notes_and_disputes_go_with_the_student_and_forget_whom_they_name(sender: Sender) -> None:
    for student, text in (("STU00001", "Is often late"), ("STU00002", "Copies from Zubrowka")):
        add_note(sender.connection, sender.settings, sender.admin, "main", student, text)
        for name in ("GUA1", "GUA2"):
            figure = Figure(
                "main", student, "mart_guardians", "full_name", {"parent_id": f"{name} ada zubrowka"}, text
            )
            raise_dispute(
                sender.connection, sender.settings, sender.admin, figure, should_be=None, reason=text
            )
    report = _erase(sender)

    assert report.findings == []
    assert report.finished
    counts = report.counts[report.erasures[0]]
    assert {place: count for place, count in counts.items() if place.startswith("ops.")} == {
        "ops.student_notes": 1, "ops.disputes": 2, "ops.student_notes.note": 1, "ops.disputes.note": 2,
    }  # fmt: skip
    assert [(note.note) for note in list_notes(sender.connection, "main", "STU00002")] == [NAMED]
    left = list_disputes(sender.connection, "main", "STU00002")
    assert [(dispute.shown, dispute.reason) for dispute in left] == [(NAMED, NAMED)] * 2
    assert _leaks(sender, "STU00001", PLANTED) == []


def test_a_disputed_row_of_a_guardian_is_emptied_by_its_identifier_alone(sender: Sender) -> None:
    """17 may stand in any text; and nobody says again who it is, so only the tombstone knows the number."""

    def dispute(school_id: str, parent_id: str, column: str, shown: str | None = "0801 234 5678") -> None:
        figure = Figure(school_id, "STU00002", "mart_guardians", column, {"parent_id": parent_id}, shown)
        raised = raise_dispute(
            sender.connection, sender.settings, sender.admin, figure, should_be="0809", reason="Rang 0801"
        )
        settle_dispute(
            sender.connection, sender.settings, sender.admin, raised.dispute_id,
            outcome="corrected", why="It is 0809",
        )  # fmt: skip

    dispute("main", "P 17", "phone_number")
    dispute("main", "p17", "email", None)
    dispute("main", "P170", "phone_number")
    dispute("other", "P17", "phone_number")
    _request(sender, "P17", "guardian")
    report = _erase(sender, None, names=())

    assert report.finished == report.erasures
    assert report.counts[report.erasures[0]] == {"ops.disputes.note": 2}
    left = list_disputes(sender.connection, "main", "STU00002")
    assert [each.row_key.get("parent_id") for each in left] == ["P170", None, None]
    for shown, each in zip((None, NAMED), left[1:], strict=True):
        assert (each.shown, each.should_be, each.reason, each.settled_why) == (shown, *[NAMED] * 3)
    whole = [left[0], *list_disputes(sender.connection, "other", "STU00002")]
    assert [each.reason for each in whole] == ["Rang 0801"] * 2


def test_the_search_finds_a_guardian_in_what_a_disputed_row_is_known_by(sender: Sender, monkeypatch) -> None:
    figure = Figure("main", "STU00002", "mart_guardians", "email", {"parent_id": "17"}, None)
    raise_dispute(sender.connection, sender.settings, sender.admin, figure, should_be=None, reason="x")
    monkeypatch.setattr("elt.privacy.erasure.replace_notes", lambda *_: {})
    report = _erase(sender, "17", "guardian", names=())
    assert Finding("ops.disputes", "identifier") in report.findings
    assert report.finished == []


def test_what_the_search_finds_keeps_the_erasure_open(sender: Sender, tmp_path) -> None:
    sender.send("Note\nSister of STU00001\n", "student_performance")
    (tmp_path / "api.log").write_text("GET /students/STU00001\nname=ZUBROWKA\nSTU000011\n")
    report = _erase(sender, folders=[tmp_path])

    assert {(f.place.partition("/")[0], f.what) for f in report.findings} >= {("uploads", "identifier")}
    assert report.finished == []
    assert [row["finished_at"] for row in list_erasures(sender.connection)] == [None]


@pytest.mark.parametrize("is_shown", [False, True])
def test_the_search_finds_people_in_a_file_that_is_loaded_in_parts(
    sender: Sender, monkeypatch, is_shown: bool
) -> None:
    """By the contract of its dataset, whose columns here are called otherwise than elsewhere."""
    rows = "".join(f"{number},{number},17\n" for number in range(1000, 1060))
    upload_id = sender.send(
        f"ID,Student ID,Staff ID\n{rows}", "rosariosis_discipline_referrals", principal=sender.admin
    ).upload_id
    small = sender.settings.model_copy(update={"split_bytes": 400})
    for part in split_version(small, sender.store, upload_id, 1):
        load_part(small, sender.store, upload_id, 1, part)
    if is_shown:
        sender.load(upload_id)
    [table] = sender.connection.execute(
        r"select oid::regclass::text as name from pg_class where relkind = 'r' and relname ~ '^rows_\w{32}$'"
    ).fetchall()
    for step in ("erasure.discard_unfinished", "erasure.erase_from_raw", "erasure_requests.erase_from_raw"):
        monkeypatch.setattr(f"elt.privacy.{step}", lambda *_: {})

    assert Finding(table["name"], "identifier") in _erase(sender, "17", "teacher", names=()).findings


def test_what_was_found_is_not_gone_because_nobody_says_what_to_look_for(sender: Sender, tmp_path) -> None:
    """Laurel keeps neither number nor name, so the daily maintenance looks for neither."""
    log = tmp_path / "notes.log"
    log.write_text("STU00001 came late\n")
    sender.hand_in(STUDENTS, "students")
    assert [finding.what for finding in _erase(sender, folders=[tmp_path], names=()).findings] == [
        "identifier"
    ]
    assert _erase(sender, None, names=()).finished == []
    log.write_text("Zubrowka came late\n")
    assert [finding.what for finding in _erase(sender, folders=[tmp_path]).findings] == ["name"]
    assert _erase(sender, None, names=()).finished == []
    log.unlink()
    report = _erase(sender, folders=[tmp_path])
    assert report.finished == report.erasures != []


def test_the_reason_must_not_name_the_person(sender: Sender) -> None:
    with pytest.raises(UploadRejected, match="must not name"):
        _request(sender, reason="STU00001 has left")
    with pytest.raises(UploadRejected):
        _request(sender, reason=" ")


def test_nothing_that_is_kept_tells_who_it_was(sender: Sender) -> None:
    sender.hand_in(STUDENTS, "students")
    _erase(sender)
    assert _leaks(sender, "STU00001", PLANTED, "zubrowka", "2011-08-11") == []
    assert _request(sender) == _request(sender)  # the same person is one erasure


SURVEY = (
    "First Name,Last Name,Date of Birth,Gender\n{first},{last},{born},Female\nBola,Eze,2011-09-12,Female\n"
)


@pytest.fixture
def reviewed(sender: Sender) -> tuple[Sender, UUID, UUID]:
    """A student who has answered a survey and was erased; the survey and the erasure."""
    sender.hand_in(STUDENTS, "students")
    survey = sender.hand_in(
        SURVEY.format(first="ADA", last="zubrowka", born="11/08/2011"), "survey_responses",
        options=ReadOptions(date_format="DD/MM/YYYY"),
    )  # fmt: skip
    sender.hand_in(SURVEY.format(first="Ada", last=PLANTED, born="2012-01-01"), "survey_responses")
    assert sender.upload(survey).status == "loaded"
    return sender, survey, _erase(sender, names=()).erasures[0]


def test_rows_without_identifier_are_listed_and_stay_until_somebody_confirms(reviewed) -> None:
    sender, survey, erasure = reviewed
    [found] = find_candidates(sender.settings, sender.connection, sender.store)
    assert found == Candidate(erasure, "survey_responses", survey, 1, 2)
    assert len(sender.raw("survey_responses", "_line")) == 4
    assert {f.what for f in _erase(sender).findings} == {"name"}  # the search sees them all the same

    confirm_candidate(sender.connection, erasure, survey, 1, 2, "user:somebody")
    assert _erase(sender, None, names=()).finished == []  # who knows no name cannot say that it is gone
    assert _erase(sender, names=()).finished == [erasure]  # somebody says that the other is another's
    assert find_candidates(sender.settings, sender.connection, sender.store) == []
    assert b"zubrowka" not in _content(sender, survey)
    assert len(sender.raw("survey_responses", "_line")) == 3
    assert _counts(sender, survey)["erased"] == 1


def test_only_known_erasures_and_versions_can_be_confirmed(reviewed) -> None:
    sender, survey, erasure = reviewed
    for wrong in [(survey, survey, 1), (erasure, survey, 2), (erasure, erasure, 1)]:
        with pytest.raises(NotFound):
            confirm_candidate(sender.connection, *wrong, 2, "user:somebody")


def test_an_older_key_still_knows_whom_it_erased(sender: Sender) -> None:
    _erase(sender)
    old = sender.settings.pseudonym_key.get_secret_value()
    keys = SecretStr(f"a-newer-key-of-pseudonyms-for-tests,{old}")
    sender.settings = sender.settings.model_copy(update={"pseudonym_key": keys})
    sender.hand_in(STUDENTS, "students")
    assert [row[0] for row in sender.raw("students", "student_id")] == ["STU00002", "STU00003"]
    _request(sender)
    assert len(list_erasures(sender.connection)) == 1


def test_admins_ask_by_the_api_for_their_own_school(sender: Sender, admin, client_of) -> None:
    sender.hand_in(STUDENTS, "students")
    body = {"school_id": "main", "id": "STU00001", "reason": "asked for"}
    answer = admin.post("/api/v1/erasures", json=body)

    assert answer.status_code == 202
    assert answer.json["finished_at"] is None
    assert answer.json["counts"] == {"raw.students": 1}
    assert len(sender.raw("students", "student_id")) == 2
    assert [item["id"] for item in admin.get("/api/v1/erasures").json["items"]] == [answer.json["id"]]

    elsewhere = client_of("admin", "other")
    assert elsewhere.post("/api/v1/erasures", json=body).status_code == 403
    assert elsewhere.get("/api/v1/erasures").json["items"] == []
    line = sender.connection.execute("select * from ops.audit where action = 'people:erase'").fetchone()
    assert line["subject"].startswith("student:")
    assert "STU00001" not in str(line)


def test_the_command_erases_and_says_where_it_looked(
    sender: Sender, history: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    """With marts, exports and logs: what the marts showed is gone from them and from what was published."""
    settings = sender.settings
    (tmp_path / "logs").mkdir()
    for name, value in {
        "LAUREL_DATABASE_URL": settings.database_url.get_secret_value(),
        "LAUREL_SECRET_KEY": settings.secret_key.get_secret_value(),
        "LAUREL_PSEUDONYM_KEY": settings.pseudonym_key.get_secret_value(),
        "LAUREL_STORE_URL": settings.store_url,
        "LAUREL_LOG_DIR": str(tmp_path / "logs"),
    }.items():
        monkeypatch.setenv(name, value)
    sender.hand_in(STUDENTS, "students")
    sender.hand_in(history([1, 2, 3]))
    sender.hand_in("Parent ID,Student ID,First Name,Last Name\nPAR1,STU00001,Ngozi,Zubrowka\n", "guardians")
    run(settings, trigger="cli", score=lambda *_: {})
    assert any(key.startswith("marts/") for key in _leaking_objects(sender))
    asked = [
        "erase", "-", "--reason", "asked for", "--name", PLANTED, "--yes", "--json",
    ]  # fmt: skip
    done = CliRunner().invoke(cli, asked, input="STU00001\n")

    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["finished"] == report["erasures"] != []
    assert report["findings"] == []
    assert report["searched"]["tables"] > 40
    assert _leaking_objects(sender) == []
    assert _leaks(sender, PLANTED, "STU00001") == []
    shown = sender.connection.execute("select student_id from marts.mart_student_overview order by 1")
    assert [row["student_id"] for row in shown] == ["STU00002", "STU00003"]

    again = CliRunner().invoke(cli, ["erase", "--all-pending"])
    assert (again.exit_code, "0 of 0" in again.output) == (0, True)
    listed = CliRunner().invoke(cli, ["erase", "--list"])
    assert "finished" in listed.output


def _leaking_objects(sender: Sender) -> list[str]:
    """Objects with the person, also within Parquet."""
    found = []
    for item in sender.store.list():
        with sender.store.open(item.key) as stream:
            content = stream.read()
        if item.key.endswith(".parquet"):
            content = str(pl.read_parquet(content).rows()).encode()
        if PLANTED.encode() in content or b"STU00001" in content:
            found.append(item.key)
    return found


def test_what_was_written_beside_a_file_loses_the_person_too(anywhere: Sender) -> None:
    sender = anywhere
    upload = sender.hand_in(
        STUDENTS, "students", filename="Ada Zubrowka (STU00001).csv", title="For ada zubrowka",
        note="STU00001 is new, STU000012 is not",
    )  # fmt: skip
    theirs = sender.hand_in(
        STUDENTS.replace(PLANTED, "Adeyemi"), "students", school_id="other", title="STU00001"
    )
    report = _erase(sender, names=("Ada Zubrowka", PLANTED))

    assert report.findings == []
    assert report.finished
    found = sender.upload(upload)
    assert (found.title, found.note) == ("For erased", "erased is new, STU000012 is not")
    assert found.current.filename == "erased (erased).csv"
    assert sender.upload(theirs).title == "STU00001"
    assert not [key for key in _all_bytes(sender) if PLANTED in key or "STU00001" in key]
    assert PLANTED.encode() not in b"".join(_all_bytes(sender).values())

    replay(sender.settings, sender.store, wipe=True)
    assert sender.upload(upload).title == "For erased"
    assert len(sender.raw("students", "student_id")) == 5


def test_a_request_does_not_wait_for_an_erasure_that_runs(sender: Sender) -> None:
    sender.hand_in(STUDENTS, "students")
    first = _request(sender)
    asked: list[UUID] = []
    report = erase_pending(
        sender.settings, sender.store, rebuild=lambda: asked.append(_request(sender, "STU00002"))
    )
    assert report.finished == [first]
    assert [row["finished_at"] is None for row in list_erasures(sender.connection)] == [True, False]
    assert _erase(sender, None, names=()).finished == asked
