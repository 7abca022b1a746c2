"""What schools hand in beside marks, from their files to the marts, counted by hand or by pandas."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pandas as pd
import pytest
from flask.testing import FlaskClient

from elt.serving.provenance import provenance
from elt.settings import Settings
from elt.transforming.transform import TransformResult, transform
from elt.uploads.lifecycle import withdraw_upload
from elt.warehouse import Connection
from tests.conftest import MakeTemplate, Sender

STUDENTS = "Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level\n" + "".join(
    f"S{number},A,B,Female,2008-01-01,SS3\n" for number in range(1, 13)
)


@pytest.fixture(scope="module")
def students_template(make_template: MakeTemplate, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with the marts of a school that has handed in its students."""
    from tests.small_school import build_school

    return make_template(
        "students_template",
        tmp_path_factory.mktemp("school"),
        lambda url, home: build_school(url, home, {"students": STUDENTS}),
    )


@pytest.fixture
def template(students_template: str) -> str:
    return students_template


@pytest.fixture
def build(settings: Settings) -> Callable[..., TransformResult]:
    return lambda **options: transform(settings, uuid4(), **options)


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in connection.execute(query.encode())]


def results(connection: Connection) -> list[tuple[Any, ...]]:
    return rows(
        connection,
        "select exam_year, exam_number, subject, student_id, coalesce(grade, score::text)"
        " from core.fct_exam_results order by 1, 2, 3",
    )


def test_a_number_belongs_to_a_student_by_exam_and_year(
    sender: Sender, build: Callable[..., TransformResult]
) -> None:
    """The exam board starts its numbers again every year."""
    sender.hand_in(
        "Exam,Exam Year,Exam Number,Subject,Grade,Score,Student ID\n"
        "WASSCE,2023,4123456001,Mathematics,B3,,S1\n"
        "WASSCE,2023,4123456001,English Language,C4,,\n"
        "WASSCE,2024,4123456001,Mathematics,F9,,S2\n"
        "WASSCE,2024,4123456001,English Language,E8,,\n"
        "SAT,2024,4123456001,Overall,,1010,\n"
        "JAMB,2024,77,Overall,,250,S3\n"
        "JAMB,2024,78,Overall,,180,\n",
        "exam_results",
    )
    build()
    assert results(sender.connection) == [
        (2023, "4123456001", "English Language", "S1", "C4"),
        (2023, "4123456001", "Mathematics", "S1", "B3"),
        (2024, "4123456001", "English Language", "S2", "E8"),
        (2024, "4123456001", "Mathematics", "S2", "F9"),
        (2024, "77", "Overall", "S3", "250"),
    ]
    unmatched = rows(
        sender.connection,
        "select exam, exam_number, mismatch from intermediate.int_exam_results_matched"
        " where mismatch is not null order by 1",
    )
    assert unmatched == [("JAMB", "78", "no_student"), ("SAT", "4123456001", "no_student")]


def test_a_number_of_several_students_is_nobodys_and_is_counted(
    sender: Sender, build: Callable[..., TransformResult]
) -> None:
    first = sender.hand_in(
        "Exam,Exam Year,Exam Number,Subject,Grade,Student ID\n"
        "WASSCE,2024,001,Mathematics,B3,S1\nWASSCE,2024,002,Mathematics,A1,S2\n",
        "exam_results",
    )
    second = sender.hand_in(
        "Exam,Exam Year,Exam Number,Subject,Grade,Student ID\nWASSCE,2024,001,Art,C6,S5\n", "exam_results"
    )
    build()
    assert results(sender.connection) == [(2024, "002", "Mathematics", "S2", "A1")]
    found = "select rule, row_count from marts.mart_data_quality where dataset = 'exam_results'"
    assert rows(sender.connection, found) == [("several_students", 2)]

    withdraw_upload(sender.connection, sender.store, second, sender.admin)
    build()
    assert results(sender.connection) == [
        (2024, "001", "Mathematics", "S1", "B3"),
        (2024, "002", "Mathematics", "S2", "A1"),
    ]
    assert rows(sender.connection, found) == []
    assert sender.upload(first).status == "loaded"


def test_a_board_that_names_nobody_does_not_take_the_student_from_the_result(
    sender: Sender, build: Callable[..., TransformResult]
) -> None:
    """The school says whose number it is, the board only what became of the number."""
    header = "Exam,Exam Year,Exam Number,Subject,Score,Student ID\n"
    school = sender.hand_in(
        header + "SAT,2024,1,Overall,1000,S1\nSAT,2024,2,Overall,900,S3\n", "exam_results"
    )
    sender.hand_in(header + "SAT,2024,1,Overall,1100,\nSAT,2024,3,Overall,1200,\n", "exam_results")
    build()
    assert results(sender.connection) == [
        (2024, "1", "Overall", "S1", "1100"),
        (2024, "2", "Overall", "S3", "900"),
    ]
    sender.hand_in(header + "SAT,2024,1,Overall,1100,S2\n", "exam_results")
    build()
    assert results(sender.connection)[0] == (2024, "1", "Overall", "S2", "1100")
    withdraw_upload(sender.connection, sender.store, school, sender.admin)
    build()
    assert results(sender.connection) == [(2024, "1", "Overall", "S2", "1100")]


def test_a_result_that_is_gone_at_its_source_goes_and_may_come_back(
    sender: Sender, build: Callable[..., TransformResult]
) -> None:
    header = "Exam,Exam Year,Exam Number,Subject,Grade,Score,Student ID,Is Deleted\n"
    sound = "SAT,2024,1,Overall,,1200,S1,\nSAT,2024,2,Overall,,900,S2,false\n"
    sender.hand_in(header + sound, "exam_results")
    build()
    assert len(results(sender.connection)) == 2

    gone = sender.hand_in(header + "SAT,2024,1,Overall,,,,true\n", "exam_results")
    build()
    assert results(sender.connection) == [(2024, "2", "Overall", "S2", "900")]
    assert rows(sender.connection, "select 1 from marts.mart_data_quality where rule = 'no_student'") == []

    sender.hand_in(header + "SAT,2024,1,Overall,,1210,,\n", "exam_results")
    build()
    assert results(sender.connection)[0] == (2024, "1", "Overall", "S1", "1210")
    withdraw_upload(sender.connection, sender.store, gone, sender.admin)
    build()
    assert results(sender.connection)[0] == (2024, "1", "Overall", "S1", "1210")


def test_exactly_ninety_percent_of_the_days_is_no_chronic_absence(
    sender: Sender, build: Callable[..., TransformResult]
) -> None:
    days = pd.bdate_range("2024-09-02", periods=20)
    lines = ["Student ID,Date,Status,Minutes Present,Minutes Expected"]
    for number, absences in ((1, 2), (2, 3), (3, 0)):
        for place, day in enumerate(days):
            here = place >= absences
            status = "Absent" if not here else "Late" if place == absences else "Present"
            lines.append(f"S{number},{day:%Y-%m-%d},{status},{350 if here else 0},360")
    lines += ["S1,2024-12-24,Present,,", "S1,2025-01-06,Absent,,", "S1,2025-08-31,Present,,"]
    upload = sender.hand_in("\n".join(lines) + "\n", "attendance")
    built = build()

    found = rows(
        sender.connection,
        "select student_id, school_year, term, day_count, present_day_count, late_day_count, attendance_pct,"
        " is_chronically_absent, minutes_present, minutes_expected, minutes_pct"
        " from marts.mart_student_attendance order by 1, 2, term_order",
    )
    percent = Decimal
    assert found == [
        # Christmas Eve lies in the holidays: the First Term is the one that began last.
        ("S1", "2024/2025", "First Term", 21, 19, 1, percent("90.48"), False, 6300, 7200, percent("87.50")),
        ("S1", "2024/2025", "Second Term", 1, 0, 0, percent("0.00"), True, None, None, None),
        ("S1", "2024/2025", "Third Term", 1, 1, 0, percent("100.00"), False, None, None, None),
        ("S2", "2024/2025", "First Term", 20, 17, 1, percent("85.00"), True, 5950, 7200, percent("82.64")),
        ("S3", "2024/2025", "First Term", 20, 20, 1, percent("100.00"), False, 7000, 7200, percent("97.22")),
    ]
    assert (built.models, built.skipped) == (1, False)
    assert "mart_student_attendance" in built.changed_marts
    assert "mart_student_terms" not in built.changed_marts

    sender.hand_in("Student ID,Date,Status\nS1,2024-12-24,Excused\n", "attendance")
    build()
    exact = rows(
        sender.connection,
        "select day_count, present_day_count, excused_day_count, is_chronically_absent"
        " from marts.mart_student_attendance where student_id = 'S1' and term = 'First Term'",
    )
    assert exact == [(21, 18, 1, True)]  # 85.7 %

    key = {"school_id": "main", "student_id": "S2", "school_year": "2024/2025", "term": "First Term"}
    traced = provenance(sender.connection, "mart_student_attendance", key, "attendance_pct")
    assert traced.total == 20
    assert {line.upload_id for line in traced.lines} == {upload}


def test_eighteen_of_twenty_days_are_exactly_the_mark(
    sender: Sender, build: Callable[..., TransformResult]
) -> None:
    lines = ["Student ID,Date,Status"]
    for place, day in enumerate(pd.bdate_range("2024-09-02", periods=20)):
        lines.append(f"S1,{day:%Y-%m-%d},{'Absent' if place < 2 else 'Present'}")
    sender.hand_in("\n".join(lines) + "\n", "attendance")
    build()
    found = "select attendance_pct, is_chronically_absent from marts.mart_student_attendance"
    assert rows(sender.connection, found) == [(Decimal("90.00"), False)]


def test_the_calendar_has_every_day_that_a_fact_has(
    sender: Sender, build: Callable[..., TransformResult]
) -> None:
    """A calendar that ends would lose facts in silence. A slip of the pen adds its day, no century."""
    sender.hand_in("Student ID,Date,Status\nS1,1999-03-01,Present\nS1,2204-09-16,Late\n", "attendance")
    sender.hand_in("Incident ID,Student ID,Date,Offence\nI1,S1,1998-01-05,Lateness\n", "discipline")
    build(full=True)  # with the test that every day of a fact is there
    outside = rows(
        sender.connection,
        "select date_day::text, school_year from core.dim_dates"
        " where date_day < '2000-09-01' or calendar_year > 2100 order by 1",
    )
    assert outside == [
        ("1998-01-05", "1997/1998"), ("1999-03-01", "1998/1999"), ("2204-09-16", "2204/2205"),
    ]  # fmt: skip
    running = "select max(date_day) > current_date + 200 from core.dim_dates where calendar_year < 2100"
    assert rows(sender.connection, running) == [(True,)]


def test_what_a_school_has_is_told_per_student_and_teacher(
    sender: Sender, build: Callable[..., TransformResult], client_of: Callable[..., FlaskClient]
) -> None:
    history = [
        "Student ID,Academic Year,Grade Level,Subject,Term,Teacher ID,Test Score,Exam Score,Total Score"
    ]
    for number in range(1, 13):
        for term in ("First Term", "Second Term"):
            history.append(f"S{number},2023/2024,SS3,Art,{term},T{number % 2},20,40,60")
    sender.hand_in("\n".join(history) + "\n")
    sender.hand_in(
        "Academic Year,Term,Class Name,Weekday,Period,Subject,Teacher ID,Minutes\n"
        "2023/2024,First Term,SS3 A,Monday,1,Art,T1,40\n"
        "2023/2024,First Term,SS3 B,Monday,1,Art,T1,40\n"
        "2023/2024,First Term,SS3 A,Monday,2,Art,T1,80\n"
        "2023/2024,First Term,SS3 A,Tuesday,1,Music,T9,40\n"
        "2023/2024,First Term,SS3 A,Tuesday,2,Music,,40\n",
        "timetables",
    )
    sender.hand_in(
        "Session,Infrastructure,Count,Condition,Remark\n"
        "2023/2024,Classrooms,5,Good,\n2023/2024,Library Books,30,Fair,\n2023/2024,Computers,0,Poor,\n"
        "2023/2024,Toilets,4,Poor,two broken\n2023/2024,Electricity,7.5,,\n2022/2023,Classrooms,4,,\n",
        "school_resources",
    )
    build()
    found = sender.connection.execute("select * from marts.mart_school_resources order by school_year desc")
    now, before = found.fetchall()
    expected = {
        "student_count": 12, "teacher_count": 3, "students_per_teacher": 4, "classroom_count": 5,
        "students_per_classroom": Decimal("2.40"), "library_book_count": 30,
        "library_books_per_student": Decimal("2.50"), "computer_count": 0, "students_per_computer": None,
        "toilet_count": 4, "students_per_toilet": 3, "electricity_hours": Decimal("7.5"),
        "water_hours": None, "laboratory_count": None, "students_per_laboratory": None,
        "resource_count": 5, "poor_resource_count": 2,
    }  # fmt: skip
    assert {name: now[name] for name in expected} == expected
    assert (before["classroom_count"], before["student_count"], before["students_per_classroom"]) == (
        4,
        None,
        None,
    )
    shown = client_of("analyst").get("/api/v1/marts/mart_school_resources?school_year=2023/2024").json[0]
    assert (shown["student_count"], shown["toilet_count"], shown["poor_resource_count"]) == (12, 4, 2)
    # Three teachers are too few to be told, and follow from the ratio.
    assert (shown["teacher_count"], shown["students_per_teacher"]) == (None, None)
    loads = rows(
        sender.connection,
        "select teacher_id, term, student_count, periods_per_week, minutes_per_week, timetable_load_ratio"
        " from marts.mart_teacher_load order by 1, term_order",
    )
    assert loads == [
        ("T0", "First Term", 6, None, None, None),
        ("T0", "Second Term", 6, None, None, None),
        ("T1", "First Term", 6, 2, 120, Decimal("1.5000")),
        ("T1", "Second Term", 6, None, None, None),
        ("T9", "First Term", 0, 1, 40, Decimal("0.5000")),
    ]


def test_activities_and_incidents_are_facts_and_unknown_students_are_counted(
    sender: Sender, build: Callable[..., TransformResult]
) -> None:
    sender.hand_in(
        "Student ID,School Year,Activity,Status\nS1,2023/2024,Debate,Active\nS1,2023/2024,Chess,Not active\n"
        "S99,2023/2024,Chess,Active\n",
        "activities",
    )
    sender.hand_in(
        "Incident ID,Student ID,Staff ID,Date,Offence,Action Taken\n"
        "I1,S1,T1,2023-10-02,Class disruption,Warning\nI2,S1,,2024-08-31,Class disruption,\n"
        "I3,S98,,2024-09-01,Lateness,Warning\n",
        "discipline",
    )
    build()
    assert rows(
        sender.connection,
        "select student_id, activity, is_active from core.fct_activities order by 1, 2",
    ) == [("S1", "Chess", False), ("S1", "Debate", True), ("S99", "Chess", True)]
    assert rows(
        sender.connection,
        "select incident_id, school_year, teacher_id, action_taken from core.fct_discipline order by 1",
    ) == [
        ("I1", "2023/2024", "T1", "Warning"),
        ("I2", "2023/2024", None, None),
        ("I3", "2024/2025", None, "Warning"),
    ]
    assert rows(
        sender.connection,
        "select dataset, rule, row_count from marts.mart_data_quality order by 1",
    ) == [("activities", "unknown_student", 1), ("discipline", "unknown_student", 1)]


def test_pisa_keeps_the_country_na_and_takes_na_for_no_number(
    sender: Sender, build: Callable[..., TransformResult], shared_data: Path
) -> None:
    sender.hand_in(
        "CNT,ID,ESCS,TMINS,BELONG,DURECEC,Time Submitted\n"
        "NA,1,NA,NA,NA,NA,2018-04-12T09:30:00+02:00\nNA,2,0.25,1530,-0.5,3,\n",
        "pisa_responses",
    )
    content = (shared_data / "pisa2018/student_subset_2018.csv").read_bytes()
    real: UUID = sender.hand_in(content, "pisa_responses")
    build()
    assert rows(
        sender.connection,
        "select country_code, respondent_id, escs, tmins, submitted_at at time zone 'UTC' is null"
        " from core.fct_pisa_responses where country_code = 'NA' order by 2",
    ) == [("NA", 1, None, None, False), ("NA", 2, Decimal("0.25"), 1530, True)]

    file = pd.read_csv(
        shared_data / "pisa2018/student_subset_2018.csv", keep_default_na=False, na_values=["", "NA"]
    )
    expected = file.groupby("country").agg(n=("escs", "size"), mean=("escs", "mean"))
    found = {
        row["country_code"]: row
        for row in sender.connection.execute(
            "select country_code, count(*) as n, avg(escs)::float8 as mean, min(school_id) as school_id"
            " from core.fct_pisa_responses where country_code <> 'NA' group by country_code"
        )
    }
    assert sender.upload(real).status == "loaded"
    assert set(found) == set(expected.index)
    for country, row in expected.iterrows():
        assert found[country]["n"] == row["n"]
        assert found[country]["mean"] == pytest.approx(row["mean"])
        assert found[country]["school_id"] == "main"
