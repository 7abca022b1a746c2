"""Erasing people whom sources tell of: gone wherever something leads to them, nothing brings them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from elt.privacy.erasure import ErasureReport, Sought, erase_pending
from elt.privacy.erasure_requests import list_erasures, request_erasure
from elt.transforming.transform import transform
from tests.conftest import PostgresServer, Sender
from tests.integration.sources_world import SourceWorld, source_world

__all__ = ["source_world"]

# Chidi and his rows are marked by texts and numbers that stand nowhere else.
SCHOOL: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "teachers": ("id text primary key, last_name text, first_name text", [("T5", "Planted", "Tola")]),
    "parent": ("parent_id text primary key, last_name text, first_name text", [("P9", "Okekes", "Grace")]),
    "students": (
        "student_id text primary key, parent_id text, last_name text, first_name text, grade_level_id int",
        [("17", "P9", "Zubrowka", "Chidi", 7), ("18", "P9", "Obi", "Bola", 8)],
    ),
    "courses": (
        "course_id int primary key, teacher_id text, title text", [(1, "T5", "Mathematics")],
    ),
    "students_courses": (
        "student_course_id int primary key, student_id text, course_id int",
        [(777001, "17", 1), (777002, "17", 1), (888001, "18", 1)],
    ),
    "attendance_day": (
        "student_course_id int primary key, total_minutes int, minutes_present int",
        [(777001, 600, 300), (777002, 600, 300), (888001, 600, 599)],
    ),
    "student_assessment_grades": (
        "student_course_id int, marking_period_id int, points numeric, "
        "primary key (student_course_id, marking_period_id)",
        [(777001, 1, 61), (777001, 2, 62), (888001, 1, 63)],
    ),
    "discipline_referrals": (
        "id int primary key, student_id text, staff_id text, offence text",
        [(1, "17", "T5", "Planted offence"), (2, "18", "T5", "Late")],
    ),
    "student_waec_reg_numbers": (
        "student_id text primary key, waec_registration_number text",
        [("17", "4123456017"), ("18", "4123456018")],
    ),
    "school_gradelevels": (
        "id int primary key, short_name text, title text, sort_order int",
        [(7, "A21", "Alumni 2021", 7), (8, "A20", "Alumni 2020", 8)],
    ),
}  # fmt: skip
KIND = {
    "title": "A part of RosarioSIS",
    "tables": [{"table": name, "dataset": f"rosariosis_{name}"} for name in SCHOOL],
}
PLANTED = ("Zubrowka", "Planted offence", "777001", "777002")
# One number in two years is two students'.
RESULTS = """\
Exam,Exam Year,Exam Number,Subject,Grade,Student ID
WASSCE,2021,4123456017,Mathematics,A1,
WASSCE,2021,4123456017,Biology,B2,
WASSCE,2020,4123456018,Mathematics,C4,
WASSCE,2019,4123456017,Mathematics,C5,
"""


class School:
    """A school's own database, as a source of the platform."""

    def __init__(self, world: SourceWorld, sender: Sender, database: psycopg.Connection[Any]) -> None:
        self.world = world
        self.sender = sender
        self.database = database
        self.rebuild: Callable[[], object] = lambda: None

    def read(self) -> list[UUID]:
        """Read the source and load what it brought; returns the batches."""
        return self.world.sync("school").uploads

    def run(self, statement: str, *values: Any) -> None:
        """Change something at the source."""
        self.database.execute(statement.encode(), values)

    def erase(self, identifier: str, kind: str = "student", names: tuple[str, ...] = ()) -> ErasureReport:
        """Erase as the command does, but without marts."""
        facts = {"kind": kind, "school_id": "main", "identifier": identifier, "reason": "asked for"}
        erasure_id = request_erasure(
            self.sender.settings, self.sender.connection, self.sender.store, principal=self.sender.admin,
            **facts,  # type: ignore[arg-type]
        )  # fmt: skip
        people: Any = {erasure_id: (kind, "main", identifier)}
        return self._erase(Sought(people, names))

    def erase_pending(self) -> ErasureReport:
        """Go on with what waits, as the daily maintenance does: nobody says who it is."""
        return self._erase(Sought())

    def _erase(self, sought: Sought) -> ErasureReport:
        return erase_pending(self.sender.settings, self.sender.store, rebuild=self.rebuild, sought=sought)

    def leaks(self, *texts: str) -> list[str]:
        """Objects and tables in which a text stands, looked for without the code under test."""
        found = []
        for item in self.sender.store.list():
            with self.sender.store.open(item.key) as stream:
                content = stream.read()
            found += [f"{item.key}: {text}" for text in texts if text.encode() in content]
        tables = self.sender.connection.execute(
            "select schemaname, tablename from pg_tables where schemaname in ('raw', 'ops', 'ml', 'live')"
        ).fetchall()
        for table in tables:
            query = sql.SQL("select t::text as row from {} t").format(sql.Identifier(*table.values()))
            for row in self.sender.connection.execute(query):
                found += [f"{table['tablename']}: {text}" for text in texts if text in row["row"]]
        return found

    def raw(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """What raw has of a table of the source."""
        return self.sender.raw(f"rosariosis_{table}", *columns)


@pytest.fixture
def school(source_world: SourceWorld, sender: Sender, postgres_server: PostgresServer) -> Iterator[School]:
    """A school's database that was read once."""
    name = f"school_{uuid4().hex[:8]}"
    url = postgres_server.create_database(name)
    with psycopg.connect(url, autocommit=True) as database:
        for table, (columns, rows) in SCHOOL.items():
            database.execute(f"create table {table} ({columns})".encode())
            for row in rows:
                values = sql.SQL(", ").join(map(sql.Literal, row))
                database.execute(sql.SQL("insert into {} values ({})").format(sql.Identifier(table), values))
        source_world.configure("school", url, kind=KIND)
        school = School(source_world, sender, database)
        assert len(school.read()) == len(SCHOOL)
        yield school
    postgres_server.drop_database(name)


def test_a_student_is_gone_from_every_table_that_leads_to_them(school: School) -> None:
    assert school.leaks("Zubrowka")
    report = school.erase("17", names=("Zubrowka", "Planted offence"))

    assert (report.findings, report.problems) == ([], [])
    assert report.finished == report.erasures != []
    assert school.leaks(*PLANTED, "4123456017") == []
    assert school.raw("attendance_day", "student_course_id") == [(888001,)]
    assert school.raw("student_assessment_grades", "student_course_id") == [(888001,)]
    assert school.raw("students", "student_id", "parent_id") == [("18", "P9")]
    assert report.counts[report.erasures[0]]["objects"] == 6


def test_no_reading_brings_the_student_back(school: School) -> None:
    school.erase("17")
    school.run("update students set last_name = 'Zubrowka-Planted' where student_id = '17'")
    school.run("update attendance_day set minutes_present = 1 where student_course_id = 777001")
    school.run("update attendance_day set minutes_present = 2 where student_course_id = 888001")
    batches = school.read()

    assert len(batches) == 1  # of attendance; the student's changed row alone is no batch
    assert school.leaks(*PLANTED) == []
    assert school.raw("attendance_day", "minutes_present")[-1] == (599,)
    assert all(row["finished_at"] for row in list_erasures(school.sender.connection))
    assert school.read() == []


def test_a_course_that_the_student_takes_later_is_kept_out_with_all_that_names_it(school: School) -> None:
    school.erase("17")
    school.run("insert into students_courses values (777003, '17', 1)")
    school.run("insert into student_assessment_grades values (777003, 1, 99)")
    assert school.read() == []
    assert school.leaks("777003") == []


def test_rows_that_came_before_it_was_known_whose_they_are_go_with_the_next_erasing(school: School) -> None:
    school.erase("17")
    school.run("insert into attendance_day values (777003, 600, 1)")
    school.read()
    assert school.leaks("777003")
    school.run("insert into students_courses values (777003, '17', 1)")
    school.read()
    assert [row["finished_at"] for row in list_erasures(school.sender.connection)] == [None]

    report = school.erase_pending()
    assert report.finished == report.erasures != []
    assert school.leaks("777003") == []


def test_what_is_read_anew_after_its_state_was_lost_lacks_the_student(school: School) -> None:
    school.erase("17")
    school.sender.connection.execute("delete from ops.source_tables")
    school.read()
    assert school.leaks(*PLANTED) == []
    assert school.raw("students", "student_id")[-1] == ("18",)


def test_a_course_that_became_another_students_stays(school: School) -> None:
    school.run("update students_courses set student_id = '18' where student_course_id = 777002")
    school.read()
    school.erase("17")
    assert school.raw("attendance_day", "student_course_id") == [(777002,), (888001,)]


def test_a_teacher_goes_and_courses_stay_without_them(school: School) -> None:
    report = school.erase("t5", kind="teacher", names=("Tola",))
    assert report.findings == []
    assert school.raw("teachers", "id") == []
    assert school.raw("courses", "course_id", "teacher_id") == [(1, None)]
    school.run("update courses set title = 'Further Mathematics'")
    school.run("update teachers set first_name = 'Tolani'")
    assert len(school.read()) == 1
    assert school.leaks("Tola", "T5") == []
    titles = [row for row in school.raw("courses", "title", "teacher_id") if row[0] != "Mathematics"]
    assert titles == [("Further Mathematics", None)]


def test_a_parent_goes_and_their_children_stay(school: School) -> None:
    assert school.erase("P9", kind="guardian", names=("Okekes",)).findings == []
    assert school.raw("parent", "parent_id") == []
    assert school.raw("students", "student_id", "parent_id") == [("17", None), ("18", None)]
    assert school.leaks("Okekes", "P9") == []


@pytest.mark.usefixtures("built_marts")
def test_results_of_the_students_examination_number_go_with_them(school: School) -> None:
    sender = school.sender
    sender.hand_in(RESULTS, "exam_results")
    transform(sender.settings, uuid4())
    owner = sender.connection.execute(
        "select student_id from core.fct_exam_results where exam_number = '4123456017'"
    ).fetchall()
    assert {row["student_id"] for row in owner} == {"17"}
    left = [("4123456017", 2019), ("4123456018", 2020)]  # the number of another year is another's

    school.rebuild = lambda: transform(sender.settings, uuid4())
    report = school.erase("17")
    assert report.findings == []
    assert report.finished == report.erasures != []
    assert sender.raw("exam_results", "exam_number", "exam_year") == left
    again = sender.hand_in(RESULTS, "exam_results")
    assert sender.upload(again).status == "loaded"
    assert sender.raw("exam_results", "exam_number", "exam_year") == sorted(left * 2)
    school.erase_pending()
    for item in sender.store.list("uploads/"):
        with sender.store.open(item.key) as stream:
            assert b"2021,4123456017" not in stream.read()


def test_a_result_that_names_its_student_stays_whatever_the_number_says(sender: Sender) -> None:
    named = RESULTS.replace("2021,4123456017,Mathematics,A1,", "2021,4123456017,Mathematics,A1,17").replace(
        "2021,4123456017,Biology,B2,", "2021,4123456017,Biology,B2,19"
    )
    sender.hand_in(named, "exam_results")
    sender.hand_in(RESULTS.replace("Biology", "Physics"), "exam_results")
    request_erasure(
        sender.settings, sender.connection, sender.store, principal=sender.admin, kind="student",
        school_id="main", identifier="17", reason="asked for",
    )  # fmt: skip
    report = erase_pending(sender.settings, sender.store, rebuild=lambda: None)
    assert report.findings == []
    # Two students claim the number, so results that name neither are nobody's, and stay.
    assert ("Biology", "19") in sender.raw("exam_results", "subject", "student_id")
    assert ("Physics", None) in sender.raw("exam_results", "subject", "student_id")


def test_a_line_with_the_students_number_leads_to_lines_without(sender: Sender) -> None:
    upload = sender.hand_in(RESULTS.replace("Mathematics,A1,", "Mathematics,A1,17"), "exam_results")
    request_erasure(
        sender.settings, sender.connection, sender.store, principal=sender.admin, kind="student",
        school_id="main", identifier="17", reason="asked for",
    )  # fmt: skip
    assert erase_pending(sender.settings, sender.store, rebuild=lambda: None).findings == []
    with sender.store.open(sender.upload(upload).current.object_key) as stream:
        assert b"2021,4123456017" not in stream.read()
    assert len(sender.raw("exam_results", "_line")) == 2
