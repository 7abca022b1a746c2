"""The demo school in a real MariaDB: the people and totals of its files, and RosarioSIS's awkward spots."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest
from click.testing import CliRunner

from cli.demo import demo_school
from demo.exams import draw_candidates
from demo.figures import rows_in_force
from demo.large_rosariosis import fill_large_school
from demo.rosariosis import create_tables, table_names, write_rosariosis
from demo.school import DemoSchool, draw_demo_school
from elt.contracts import get_contract
from elt.errors import ConfigurationError, Conflict, DatabaseUnavailable
from elt.sources.configuration import kinds
from tests.conftest import MariaDBServer

SCHOOL = "epe"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def drawn() -> DemoSchool:
    return draw_demo_school(seed=5, students=300)


@pytest.fixture(scope="module")
def written(mariadb_server: MariaDBServer, drawn: DemoSchool) -> Iterator[pymysql.Connection]:
    """A connection to a database with one of the schools, for tests that only read."""
    write_rosariosis(mariadb_server.create_database("demo_rosariosis"), drawn, SCHOOL)
    with mariadb_server.connect("demo_rosariosis") as connection:
        yield connection
    mariadb_server.drop_database("demo_rosariosis")


def ask(connection: pymysql.Connection, query: str) -> list[Row]:
    with connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def dump(connection: pymysql.Connection) -> dict[str, list[Row]]:
    return {name: ask(connection, f"select * from `{name}`") for name in table_names()}


@pytest.fixture
def connect(mariadb_server: MariaDBServer, mariadb_url: str) -> Iterator[pymysql.Connection]:
    """A connection to the test's own database."""
    with mariadb_server.connect(urlsplit(mariadb_url).path[1:]) as connection:
        yield connection


def test_the_tables_are_those_that_the_kind_rosariosis_reads() -> None:
    assert set(table_names()) == {table.table for table in kinds()["rosariosis"].tables}


def test_each_table_has_the_columns_and_the_key_of_its_contract(written: pymysql.Connection) -> None:
    for table in kinds()["rosariosis"].table_specs():
        contract = get_contract(table.dataset)
        theirs = [name for name in contract.columns if name not in ("school_id", "is_deleted")]
        columns = ask(written, f"show columns from `{table.table}`")
        assert {column["Field"] for column in columns} == set(map(table.source_column, theirs))
        key = {column["Field"] for column in columns if column["Key"] == "PRI"}
        assert key == set(contract.primary_key) - {"school_id"}, table.table


def test_the_points_of_a_term_add_up_to_the_files_total_score(
    written: pymysql.Connection, drawn: DemoSchool
) -> None:
    files = next(table for table in drawn.handed_in if table.dataset == "academic_history")
    history = rows_in_force(files)
    history = history[history["school_id"] == SCHOOL]
    expected = {
        (row.student_id, row.grade_level, row.subject, row.term): int(row.total_score)
        for row in history.itertuples()
    }
    found = {
        (f"STU{row['student_id']:04}", row["class"], row["title"], row["term"]): row["points"]
        for row in ask(
            written,
            """
            select taken.student_id, classes.short_name as class, courses.title, periods.mp_type as term,
                sum(grades.points) as points
            from student_assessment_grades as grades
            join students_courses as taken using (student_course_id)
            join courses using (course_id)
            join school_gradelevels as classes on classes.id = taken.grade_level_id
            join marking_periods as periods using (marking_period_id)
            group by 1, 2, 3, 4
            """,
        )
    }
    assert len(expected) > 5_000
    assert {key: found[key] for key in expected} == expected
    # Rows that are broken on purpose in the file are whole in the database.
    assert 0 < len(found) - len(expected) < 40


def test_points_are_halves_within_what_each_assessment_brings(written: pymysql.Connection) -> None:
    rows = ask(
        written,
        """
        select max(grades.points) <= periods.points and min(grades.points) >= 0 as fits,
            sum(grades.points * 2 != floor(grades.points * 2)) as uneven, count(*) as n
        from student_assessment_grades as grades join marking_periods as periods using (marking_period_id)
        group by periods.marking_period_id, periods.points
        """,
    )
    courses = ask(written, "select count(*) as n from students_courses")[0]["n"]
    assert [(row["fits"], row["uneven"], row["n"]) for row in rows] == [(1, 0, courses)] * 9


def test_students_and_teachers_are_those_of_the_files(written: pymysql.Connection, drawn: DemoSchool) -> None:
    for dataset, table, number in (("students", "students", "student_id"), ("teachers", "teachers", "id")):
        rows = drawn.table(dataset)
        place = [rows.position(name) for name in (rows.header[0], "First Name", "Last Name")]
        expected = {
            tuple(row.cells[each] for each in place)
            for row in rows.rows
            if row.cells[rows.position("School ID")] == SCHOOL
        }
        written_as = "STU%04d" if dataset == "students" else "TCH%03d"
        found = {
            (written_as % row[number], row["first_name"], row["last_name"])
            for row in ask(written, f"select * from `{table}`")
        }
        assert found == expected


def test_attendance_is_the_mean_of_the_files_terms(written: pymysql.Connection, drawn: DemoSchool) -> None:
    history = drawn.table("academic_history")
    place = [history.position(name) for name in ("School ID", "Student ID", "Grade Level", "Subject")]
    percent: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row in history.rows:
        key = tuple(row.cells[each] for each in place)
        percent[key].append(int(row.cells[history.position("Attendance")]))
    rows = ask(
        written,
        """
        select taken.student_id, classes.short_name, courses.title, total_minutes, minutes_present
        from attendance_day join students_courses as taken using (student_course_id)
        join courses using (course_id) join school_gradelevels as classes on classes.id = taken.grade_level_id
        """,
    )
    for row in rows:
        terms = percent[SCHOOL, f"STU{row['student_id']:04}", row["short_name"], row["title"]]
        assert Decimal(100) * row["minutes_present"] * len(terms) == row["total_minutes"] * sum(terms)


def test_every_number_leads_to_a_row(written: pymysql.Connection) -> None:
    rows = dump(written)
    names = {
        table: {row[key] for row in rows[table]}
        for table, key in [
            ("students", "student_id"), ("courses", "course_id"), ("students_courses", "student_course_id"),
            ("marking_periods", "marking_period_id"), ("school_gradelevels", "id"), ("teachers", "id"),
            ("parent", "parent_id"), ("eligibility_activities", "id"),
        ]
    }  # fmt: skip
    for table, column, target in [
        ("students", "parent_id", "parent"), ("students", "grade_level_id", "school_gradelevels"),
        ("courses", "teacher_id", "teachers"), ("courses", "grade_level", "school_gradelevels"),
        ("students_courses", "student_id", "students"), ("students_courses", "course_id", "courses"),
        ("attendance_day", "student_course_id", "students_courses"),
        ("student_assessment_grades", "student_course_id", "students_courses"),
        ("student_assessment_grades", "marking_period_id", "marking_periods"),
        ("discipline_referrals", "student_id", "students"), ("discipline_referrals", "staff_id", "teachers"),
        ("eligibility", "student_id", "students"), ("eligibility", "activity_id", "eligibility_activities"),
        ("portal_polls", "students_teacher_id", "teachers"),
        ("student_sat_reg_numbers", "student_id", "students"),
        ("student_waec_reg_numbers", "student_id", "students"),
    ]:  # fmt: skip
        assert rows[table], table
        assert {row[column] for row in rows[table]} <= names[target], (table, column)


def test_former_students_are_in_classes_that_name_the_year(written: pymysql.Connection) -> None:
    rows = ask(
        written,
        """
        select classes.id, title, count(*) as students from students
        join school_gradelevels as classes on classes.id = grade_level_id
        where classes.id > 6 group by 1, 2 order by 1
        """,
    )
    assert [(row["id"], row["title"]) for row in rows] == [
        (7, "Alumni 2026"), (8, "Alumni 2025"), (9, "Alumni 2024"), (10, "Alumni 2023"),
    ]  # fmt: skip


def test_examination_numbers_repeat_from_year_to_year_but_not_within_one(written: pymysql.Connection) -> None:
    for exam in ("waec", "sat"):
        rows = ask(
            written,
            f"""
            select grade_level_id, {exam}_registration_number as number
            from student_{exam}_reg_numbers join students using (student_id)
            """,
        )
        by_class = Counter((row["grade_level_id"], row["number"]) for row in rows)
        assert set(by_class.values()) == {1}
        assert len({number for _, number in by_class}) < len(by_class)
        assert {number[:7] for _, number in by_class} == {"4123457"}


def test_examination_numbers_are_those_of_the_boards_records(
    written: pymysql.Connection, drawn: DemoSchool
) -> None:
    position = drawn.roster.schools.index(SCHOOL)
    candidates = draw_candidates(drawn.seed, drawn.roster, drawn.marks, drawn.last_year)
    expected = {
        int(drawn.roster.number[each.student]): each.waec_number
        for each in candidates
        if drawn.roster.school[each.student] == position
    }
    rows = ask(written, "select * from student_waec_reg_numbers")
    assert {row["student_id"]: row["waec_registration_number"] for row in rows} == expected


def test_awkward_spots_are_there(written: pymysql.Connection) -> None:
    rows = dump(written)
    referred = Counter(row["student_id"] for row in rows["discipline_referrals"])
    assert max(referred.values()) > 1  # who joins offences without care multiplies rows
    assert {row["title"] for row in rows["portal_polls"]} == {"Best", "Worst"}
    assert {row["is_active"] for row in rows["eligibility"]} == {0, 1}
    assert rows["schools"][0]["syear"] == Decimal("2026.00")
    assert ask(written, "select count(*) as n from discipline_referrals where referral_date = 0")[0]["n"] > 0
    assert ask(written, "select count(*) as n from parent where created_at = 0")[0]["n"] > 0
    latin1 = ask(written, "select hex(middle_name) as name from parent where middle_name = 'Noémie'")
    assert {row["name"] for row in latin1} == {"Noémie".encode("latin1").hex().upper()}
    assert any("Ọ" in (row["middle_name"] or "") for row in rows["students"])
    assert min(row["marking_period_id"] for row in rows["marking_periods"]) > 9


def test_the_server_notes_when_a_row_changes(
    connect: pymysql.Connection, mariadb_url: str, drawn: DemoSchool
) -> None:
    write_rosariosis(mariadb_url, drawn, SCHOOL)
    (before,) = ask(connect, "select updated_at from students where student_id = 1")
    with connect.cursor() as cursor:
        cursor.execute("update students set bus_pickup = 'X' where student_id = 1")
    (after,) = ask(connect, "select updated_at, now() as now from students where student_id = 1")
    assert before["updated_at"] is None
    assert abs((after["now"] - after["updated_at"]).total_seconds()) < 60


def test_the_same_seed_gives_the_same_rows(
    written: pymysql.Connection, connect: pymysql.Connection, mariadb_url: str
) -> None:
    counts = write_rosariosis(mariadb_url, draw_demo_school(seed=5, students=300), SCHOOL)
    again = dump(connect)
    assert again == dump(written)
    assert {name: len(rows) for name, rows in again.items()} == counts


def test_a_database_with_tables_is_left_as_it_is_unless_they_are_an_earlier_demo_school(
    connect: pymysql.Connection, mariadb_url: str, drawn: DemoSchool
) -> None:
    with connect.cursor() as cursor:
        cursor.execute("create table own (n int)")
        with pytest.raises(Conflict, match="has tables already: own"):
            write_rosariosis(mariadb_url, drawn, SCHOOL)
        write_rosariosis(mariadb_url, drawn, SCHOOL, replace=True)
        cursor.execute("delete from students")
        with pytest.raises(Conflict, match="--force"):
            write_rosariosis(mariadb_url, drawn, SCHOOL)
        write_rosariosis(mariadb_url, drawn, SCHOOL, replace=True)
        assert cursor.execute("select * from students") == len(drawn.roster.school) // 3
        cursor.execute("show tables like 'own'")
        assert cursor.fetchall() == (("own",),)


def test_a_real_school_is_never_replaced(
    connect: pymysql.Connection, mariadb_url: str, drawn: DemoSchool
) -> None:
    with connect.cursor() as cursor:
        cursor.execute("create table students (student_id int)")
        cursor.execute("insert into students values (1)")
        for replace in (False, True):
            with pytest.raises(Conflict, match="students"):
                write_rosariosis(mariadb_url, drawn, SCHOOL, replace=replace)
        cursor.execute("select * from students")
        assert cursor.fetchall() == ((1,),)
        cursor.execute("show tables")
        assert len(cursor.fetchall()) == 1


@pytest.mark.parametrize(
    "address",
    [
        "mysql://u:letmein@host:99999/x", "mysql://u:letmein@/x", "mysql://u:letmein@host",
        "postgresql://u:letmein@h/x", "mysql://[u:letmein@h/x",
    ],
)  # fmt: skip
def test_no_message_repeats_the_password(address: str, drawn: DemoSchool) -> None:
    with pytest.raises(ConfigurationError) as caught:
        write_rosariosis(address, drawn, SCHOOL)
    assert "letmein" not in caught.value.detail


def test_a_refusing_server_is_named_without_the_password(
    mariadb_server: MariaDBServer, drawn: DemoSchool
) -> None:
    port = mariadb_server.server.port
    with pytest.raises(DatabaseUnavailable) as caught:
        write_rosariosis(f"mysql://laurel:letmein@127.0.0.1:{port}/x", drawn, SCHOOL)
    assert f"laurel@127.0.0.1:{port}/x: MySQL error 1045" in caught.value.detail
    assert "letmein" not in caught.value.detail


def test_the_command_writes_the_school_that_is_named(
    connect: pymysql.Connection, mariadb_url: str, tmp_path: Path
) -> None:
    options = ["--students", "60", "--into", mariadb_url]
    run = CliRunner().invoke
    refused = run(demo_school, [*options, "--school", "lagos"])
    assert refused.exit_code == 2
    assert "no school 'lagos'; there are ikeja, epe, badagry" in refused.output

    done = run(demo_school, [str(tmp_path), *options, "--school", "badagry", "--json"])
    assert done.exit_code == 0
    written = json.loads(done.output)
    assert written["tables"]["students"] == len(ask(connect, "select * from students")) == 20
    assert ask(connect, "select title from schools") == [{"title": "Badagry High School"}]
    assert (tmp_path / "students.csv").exists()

    again = run(demo_school, options)
    assert isinstance(again.exception, Conflict)
    replaced = run(demo_school, [*options, "--force"])
    assert re.search(r"students +20 rows of ikeja", replaced.output)
    assert urlsplit(mariadb_url).password not in refused.output + done.output + replaced.output


def test_neither_folder_nor_database_is_refused() -> None:
    refused = CliRunner().invoke(demo_school, [])
    assert refused.exit_code == 2
    assert "Name a DIRECTORY for files, or a database with --into." in refused.output


def test_any_number_of_rows_is_made_inside_the_server(connect: pymysql.Connection) -> None:
    create_tables(connect)
    assert fill_large_school(connect, 10_000) == 10_008
    (grades,) = ask(
        connect,
        """
        select count(*) as n, count(distinct student_course_id) as courses, min(points) as low,
            max(points) as high
        from student_assessment_grades
        """,
    )
    assert grades == {"n": 10_008, "courses": 1_112, "low": Decimal(0), "high": Decimal(70)}
    courses = ask(connect, "select student_course_id from students_courses order by 1")
    assert [row["student_course_id"] for row in courses] == list(range(1, 1_113))
    before = ask(connect, "select * from student_assessment_grades")
    fill_large_school(connect, 10_000)
    assert ask(connect, "select * from student_assessment_grades") == before
    assert len(list(itertools.groupby(before, key=lambda row: row["points"]))) > 5_000
