"""Students who left long ago: nobody is due before a school says so, and nobody goes before a person does."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import CapturingLogger

from cli.main import cli
from elt import notify
from elt.errors import ConfigurationError
from elt.pipeline import run
from elt.privacy import retention
from elt.privacy.erasure_requests import list_erasures
from elt.privacy.left_students import LeftStudent, find_left
from elt.privacy.retention import apply_retention, left_before, load_rules, tell_who_decides
from elt.uploads.lifecycle import withdraw_upload
from tests.conftest import Sender

HEAD = (
    "School ID,Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level,Admission Date,"
    "Graduation Date\n"
)
STUDENTS = (
    f"{HEAD}"
    "main,STU001,Ada,Zubrowka,Female,1995-01-01,SS3,2006-09-01,2012-06-30\n"
    "main,STU002,Bola,Nwachukwu,Male,2012-01-01,SS3,2023-09-01,2029-06-30\n"
    "main,STU003,Chidi,Ekwueme,Male,2012-01-01,SS3,2023-09-01,\n"
    "main,STU004,Dayo,Oyelaran,Male,1995-01-01,SS3,2012-09-01,2011-06-30\n"
    "main,STU005,Efe,Igbinedion,Male,1995-01-01,SS3,,2011-06-30\n"
    "north,STU001,Femi,Adebanjo,Male,1995-01-01,SS3,2006-09-01,2013-06-30\n"
)
DUE = [
    LeftStudent("main", "STU001", date(2012, 6, 30)),
    LeftStudent("main", "STU005", date(2011, 6, 30)),
    LeftStudent("north", "STU001", date(2013, 6, 30)),
]
PERSONAL = ("STU00", "Zubrowka", "Ada", "Igbinedion", "Adebanjo", "2012-06-30")


def row(number: str, graduation: str) -> str:
    """A student of `main` who came in 2006."""
    return f"main,{number},Ada,Zubrowka,Female,1995-01-01,SS3,2006-09-01,{graduation}\n"


@pytest.fixture
def switched_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a school had given the rule five years."""
    rules = tmp_path / "retention.yaml"
    text = retention.RULES_FILE.read_text("utf-8")
    assert text.count("rule: left_students\n  days: null") == 1
    rules.write_text(text.replace("rule: left_students\n  days: null", "rule: left_students\n  days: 1826"))
    monkeypatch.setattr(retention, "RULES_FILE", rules)


@pytest.fixture
def laurel(sender: Sender, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Call `laurel retention` on the test's platform."""
    (tmp_path / "logs").mkdir()
    for name, value in {
        "LAUREL_DATABASE_URL": sender.settings.database_url.get_secret_value(),
        "LAUREL_SECRET_KEY": sender.settings.secret_key.get_secret_value(),
        "LAUREL_PSEUDONYM_KEY": sender.settings.pseudonym_key.get_secret_value(),
        "LAUREL_STORE_URL": sender.settings.store_url,
        "LAUREL_LOG_DIR": str(tmp_path / "logs"),
    }.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments, said="": CliRunner().invoke(cli, ["retention", *arguments], input=said)


def due(sender: Sender, dry_run: bool = True) -> int:
    """How many the rules count."""
    kept = apply_retention(sender.settings, sender.store, dry_run=dry_run)
    [found] = [each for each in kept if each.rule.rule == retention.LEFT_STUDENTS]
    assert not found.is_removed
    return found.due


def test_the_rule_is_off_until_a_school_switches_it_on(sender: Sender, laurel: Callable[..., Result]) -> None:
    sender.hand_in(STUDENTS, "students")
    assert due(sender) == 0
    for asked in ("--left", "--erase-left"):
        refused = laurel(asked, "--yes")
        assert refused.exit_code == 1
        assert isinstance(refused.exception, ConfigurationError)
        assert "is off" in str(refused.exception)
    assert len(sender.raw("students")) == 6


def test_it_takes_no_less_than_a_year(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("- {rule: left_students, days: 364, since: x, what: y}")
    with pytest.raises(ConfigurationError, match="365"):
        load_rules(path)
    path.write_text("- {rule: left_students, days: 365, since: x, what: y}")
    assert [rule.days for rule in load_rules(path)] == [365]


@pytest.mark.usefixtures("switched_on")
def test_the_day_is_counted_back_from_today() -> None:
    assert left_before(datetime(2026, 1, 1, 12, tzinfo=UTC)) == date(2021, 1, 1)


def test_those_who_left_before_the_day_are_found(sender: Sender) -> None:
    sender.hand_in(STUDENTS, "students")
    found = find_left(sender.connection, date(2020, 1, 1))
    assert (found.due, found.contradictory) == (DUE, 1)
    assert find_left(sender.connection, date(2020, 1, 1), "north").due == DUE[2:]
    assert find_left(sender.connection, date(2012, 6, 30)).due == DUE[1:2]
    assert find_left(sender.connection, date(2012, 7, 1)).due == DUE[:2]


def test_the_newest_file_says_when_a_student_left(sender: Sender) -> None:
    first = sender.hand_in(HEAD + row("STU001", "2012-06-30") + row("STU002", "2029-06-30"), "students")
    second = sender.hand_in(HEAD + row("STU001", "2030-06-30") + row("STU002", "2012-06-30"), "students")

    def found() -> list[str]:
        return [each.student_id for each in find_left(sender.connection, date(2020, 1, 1)).due]

    assert found() == ["STU002"]
    withdraw_upload(sender.connection, sender.store, second, sender.admin)
    sender.load(second)
    assert found() == ["STU001"]
    sender.replace(first, HEAD + row("STU001", ""))
    sender.load(first, 2)
    assert found() == []


def test_who_is_there_in_another_spelling_has_not_left(sender: Sender) -> None:
    sender.hand_in(HEAD + row("STU001", "2012-06-30") + row("STU002", "2012-06-30"), "students")
    sender.hand_in(HEAD + row("stu 001", "2030-06-30") + row("stu002", "2013-06-30"), "students")
    [found] = find_left(sender.connection, date(2020, 1, 1)).due
    assert (found.student_id, found.left_on) == ("STU002", date(2013, 6, 30))


@pytest.mark.usefixtures("switched_on")
def test_rules_count_them_and_erase_nobody(sender: Sender, laurel: Callable[..., Result]) -> None:
    sender.hand_in(STUDENTS, "students")
    assert (due(sender), due(sender, dry_run=False)) == (3, 3)
    for asked in ("--dry-run", "--apply"):
        done = laurel(asked)
        assert done.exit_code == 0, done.output
        assert "3 due      students by their graduation date" in done.output
        assert not [text for text in PERSONAL if text in done.output]
    assert len(sender.raw("students")) == 6
    assert list_erasures(sender.connection) == []
    assert laurel("--apply", "--erase-left").exit_code == 2


@pytest.mark.usefixtures("switched_on")
def test_people_are_told_how_many_wait_and_never_who(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    sender.hand_in(STUDENTS, "students")
    log = CapturingLogger()  # whichever test has set up logging before
    monkeypatch.setattr(notify, "_log", log)
    tell_who_decides(sender.settings, apply_retention(sender.settings, sender.store, dry_run=False))
    [told] = [call.kwargs for call in log.calls if call.args == ("alert_raised",)]
    assert told["event_name"] == "students_left"
    assert told["detail"].startswith("3 students left more than 1826 days ago.")
    assert not [text for text in PERSONAL if text in str(log.calls)]


@pytest.mark.usefixtures("switched_on")
def test_a_person_sees_who_is_due_and_leaves_a_line(sender: Sender, laurel: Callable[..., Result]) -> None:
    sender.hand_in(STUDENTS, "students")
    listed = laurel("--left")
    assert listed.exit_code == 0, listed.output
    assert listed.stdout.splitlines() == [
        f"{each.school_id}  {each.student_id}  left on {each.left_on}" for each in DUE
    ]
    assert "1 more graduated before they were admitted" in listed.stderr
    of_one_school = json.loads(laurel("--left", "--school", "north", "--json").stdout)
    assert of_one_school == [{"school_id": "north", "student_id": "STU001", "left_on": "2013-06-30"}]
    lines = sender.connection.execute("select detail from ops.audit where action = 'retention:left'")
    assert [line["detail"] for line in lines] == [
        {"school": None, "students": 3}, {"school": "north", "students": 1},
    ]  # fmt: skip


@pytest.mark.usefixtures("switched_on")
def test_nobody_is_erased_by_whoever_says_no(sender: Sender, laurel: Callable[..., Result]) -> None:
    sender.hand_in(STUDENTS, "students")
    for said in ("n\n", ""):
        refused = laurel("--erase-left", said=said)
        assert refused.exit_code == 1
        assert "3 students left before" in refused.output
    assert laurel("--erase-left", "--school", "south").exit_code == 0
    assert list_erasures(sender.connection) == []
    assert len(sender.raw("students")) == 6


@pytest.mark.usefixtures("switched_on")
def test_those_of_a_school_are_erased_for_good(
    sender: Sender, history: Callable[..., str], laurel: Callable[..., Result]
) -> None:
    """With marts, as `laurel erase` does it."""
    students = sender.hand_in(STUDENTS, "students")
    sender.hand_in(history([1, 2]).replace("STU0000", "stu00"))
    run(sender.settings, trigger="cli", score=lambda *_: {})
    done = laurel("--erase-left", "--school", "main", said="y\n")
    assert done.exit_code == 0, done.output
    assert "2 of 2 erasures are finished" in done.output

    assert sender.raw("students", "school_id", "student_id") == [
        ("main", "STU002"), ("main", "STU003"), ("main", "STU004"), ("north", "STU001"),
    ]  # fmt: skip
    assert {number for (number,) in sender.raw("academic_history", "student_id")} == {"stu002"}
    with sender.store.open(sender.upload(students).current.object_key) as stream:
        left = stream.read().decode()
    assert "Zubrowka" not in left
    assert "Igbinedion" not in left
    assert "Adebanjo" in left
    assert {(line["reason"], line["kind"]) for line in list_erasures(sender.connection)} == {
        ("retention: left_students", "student")
    }
    told = sender.connection.execute("select subject, detail from ops.audit where action = 'people:erase'")
    assert [line["subject"].startswith("student:") for line in told] == [True, True]
    again = laurel("--erase-left", "--school", "main", "--yes")
    assert (again.exit_code, "Nobody is due" in again.output) == (0, True)
