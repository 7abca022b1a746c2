"""A school's MySQL database, on a real MariaDB: types as the server gives them, cursors, locks, kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from elt.errors import ConfigurationError, SourceFault, SourceUnavailable
from elt.sources.configuration import find_source
from tests.conftest import MariaDBServer
from tests.faults.oracle import other_sessions
from tests.faults.world import wait_until
from tests.integration.sources_world import SourceWorld, source_world

__all__ = ["source_world"]

Run = Callable[..., list[tuple[Any, ...]]]

STUDENTS = """
create table students (
    student_id int primary key, parent_id int, last_name varchar(50), first_name varchar(50) character set
    latin1, middle_name varchar(50), grade_level_id tinyint, bus_pickup char(1), bus_dropoff char(1),
    departments varchar(40), gender char(1), health_status tinyint, profile_image varchar(200),
    created_at timestamp null, updated_at timestamp null
)
"""
COURSES = """
create table students_courses (
    student_course_id bigint primary key, student_id int, course_id int, grade_level_id int,
    created_at timestamp null, updated_at timestamp default current_timestamp on update current_timestamp
)
"""
KIND: dict[str, Any] = {
    "title": "A part of RosarioSIS",
    "columns": {"rosariosis_school_id": "school_id"},
    "tables": [
        {"table": "students", "dataset": "rosariosis_students"},
        {"table": "students_courses", "dataset": "rosariosis_students_courses", "cursor": "updated_at"},
    ],
}


@pytest.fixture
def run(mariadb_server: MariaDBServer, mariadb_url: str) -> Run:
    """Run a statement at the source."""
    database = urlsplit(mariadb_url).path.strip("/")

    def run(statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with mariadb_server.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    return run


@pytest.fixture
def school(source_world: SourceWorld, mariadb_url: str, run: Run) -> SourceWorld:
    """A source with two tables, and some pupils."""
    run(STUDENTS)
    run(COURSES)
    run(
        "insert into students (student_id, last_name, first_name, grade_level_id, gender, created_at) "
        "select seq, concat('Öbi', seq), 'Adé', 1 + seq % 6, 'F', '2024-01-01 10:00:00' from seq_1_to_40"
    )
    run(
        "insert into students_courses (student_course_id, student_id, course_id, grade_level_id, updated_at) "
        "select seq, 1 + seq % 40, seq % 9, 1, now() - interval 1 day from seq_1_to_3000"
    )
    source_world.configure("school", mariadb_url, kind=KIND, school_id="zacrac")
    return source_world


def courses(world: SourceWorld, run: Run) -> tuple[Any, Any]:
    """What raw has, and what the source has."""
    columns = ("student_course_id", "student_id", "course_id", "grade_level_id")
    theirs = run(f"select {', '.join(columns)} from students_courses")
    ours = world.live("rosariosis_students_courses", *columns)
    return ours, sorted(((a, str(b), c, d) for a, b, c, d in theirs), key=repr)


def test_first_reading_changes_and_deletions(school: SourceWorld, run: Run) -> None:
    assert school.sync("school").changed == 3040
    ours, theirs = courses(school, run)
    assert ours == theirs
    row = school.connection.execute(
        "select school_id, first_name, last_name, created_at::text as at from raw.rosariosis_students "
        "where student_id = '7'"
    ).fetchone()
    assert row == {
        "school_id": "zacrac",
        "first_name": "Adé",
        "last_name": "Öbi7",
        "at": "2024-01-01 10:00:00+00",
    }
    assert school.sync("school").uploads == []
    run("update students set last_name = 'Bello' where student_id = 7")
    run("delete from students_courses where student_course_id in (5, 1500, 2999)")
    run("insert into students_courses (student_course_id, student_id, course_id) values (7001, 7, 3)")
    report = school.sync("school")
    assert (report.changed, report.removed) == (2, 3)
    ours, theirs = courses(school, run)
    assert ours == theirs


def test_with_a_cursor_only_what_is_new_is_read(school: SourceWorld, run: Run) -> None:
    school.sync("school")
    run("update students_courses set course_id = 77 where student_course_id = 12")
    report = school.sync("school")
    table = {each.table: each for each in report.tables}["students_courses"]
    assert (table.changed, table.compared) == (1, False)
    assert school.sync("school").changed == 0
    ours, theirs = courses(school, run)
    assert ours == theirs


def test_a_change_that_the_cursor_does_not_show_is_found_by_the_next_comparison(
    school: SourceWorld, run: Run, mariadb_url: str
) -> None:
    run("update students_courses set updated_at = now() - interval 9 day where student_course_id = 12")
    school.sync("school")
    run("update students_courses set course_id = 78, updated_at = updated_at where student_course_id = 12")
    assert school.sync("school").changed == 0
    school.configure("school", mariadb_url, kind=KIND, school_id="zacrac", compare_minutes=0)
    assert school.sync("school").changed == 1
    ours, theirs = courses(school, run)
    assert ours == theirs


def test_rows_without_a_cursor_and_rows_that_swap_values_are_seen(school: SourceWorld, run: Run) -> None:
    run("alter table students_courses modify updated_at timestamp null")
    run("update students_courses set updated_at = null where student_course_id < 50")
    school.sync("school")
    run("update students_courses set course_id = 3, updated_at = null where student_course_id = 5")
    run("update students set last_name = if(student_id = 1, 'Öbi2', 'Öbi1') where student_id in (1, 2)")
    assert school.sync("school").changed == 3
    ours, theirs = courses(school, run)
    assert ours == theirs


def test_a_table_that_did_not_change_is_not_read_again(school: SourceWorld, run: Run) -> None:
    school.sync("school")
    time.sleep(3.1)  # the server keeps the time of a change in whole seconds
    school.sync("school")
    report = school.sync("school")
    assert [table.compared for table in report.tables] == [False, False]
    run("update students set last_name = 'Bello' where student_id = 7")
    assert school.sync("school").changed == 1


def test_decimal_years_booleans_zero_dates_and_local_times(
    source_world: SourceWorld, mariadb_url: str, run: Run
) -> None:
    run(
        "create table calendar_events (id int primary key, syear decimal(10,2), school_id decimal(10,0), "
        "school_date date, title text, description text, created_at datetime, updated_at datetime)"
    )
    run(
        "insert into calendar_events values (1, 2019.00, 1, '2019-09-01', 'Say \"hi\",\nall', '', "
        "'2019-09-01 08:30:00', null)"
    )
    run("insert into calendar_events values (2, 2019.50, 1, null, 'Half a year', null, null, null)")
    run(
        "set statement sql_mode = '' for insert into calendar_events "
        "values (3, 2020, 1, '0000-00-00', 'No day', '', '0000-00-00 00:00:00', null)"
    )
    kind = {
        **KIND,
        "tables": [{"table": "calendar_events", "dataset": "rosariosis_calendar_events"}],
    }
    source_world.configure("school", mariadb_url, kind=kind, utc_offset="+01:00")
    source_world.sync("school")
    columns = ("id", "syear", "rosariosis_school_id", "school_date", "title", "created_at")
    rows = [
        [str(cell) if cell is not None else None for cell in row]
        for row in source_world.live("rosariosis_calendar_events", *columns)
    ]
    assert rows == [
        ["1", "2019", "1", "2019-09-01", 'Say "hi",\nall', "2019-09-01 07:30:00+00:00"],
        ["3", "2020", "1", None, "No day", None],
    ]
    rejected = source_world.connection.execute(
        "select column_name, rule from ops.row_issues where severity = 'error'"
    ).fetchall()
    assert rejected == [{"column_name": "syear", "rule": "type"}]


def test_a_locked_table_does_not_stop_the_other(
    school: SourceWorld, run: Run, mariadb_server: MariaDBServer, mariadb_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("elt.sources.mysql._LOCK_WAIT", 1)
    database = urlsplit(mariadb_url).path.strip("/")
    with mariadb_server.connect(database) as locker, locker.cursor() as cursor:
        cursor.execute("lock tables students write")
        with pytest.raises(
            SourceUnavailable, match=r"1 of 2 tables could not be read\. students: MySQL error 1205"
        ):
            school.read("school")
    school.load()
    ours, theirs = courses(school, run)
    assert ours == theirs
    assert school.live("rosariosis_students", "student_id") == []
    school.sync("school")
    assert len(school.live("rosariosis_students", "student_id")) == 40


def test_a_table_that_is_gone_fails_alone_and_its_rows_stay(school: SourceWorld, run: Run) -> None:
    school.sync("school")
    run("drop table students")
    run("update students_courses set course_id = 1 where student_course_id = 1")
    with pytest.raises(SourceFault, match="There is no table students in the database"):
        school.read("school")
    school.load()
    ours, theirs = courses(school, run)
    assert ours == theirs
    assert len(school.live("rosariosis_students", "student_id")) == 40


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mysql://laurel:hush@127.0.0.1:1/none", "MySQL error 2003: no connection"),
        ("{server}/no_such_database", "MySQL error 1049: there is no such database"),
        ("mysql://laurel:hush@{place}/none", "MySQL error 1045: user or password is wrong"),
    ],
)
def test_what_does_not_answer_says_so_without_its_secrets(
    source_world: SourceWorld, mariadb_url: str, address: str, message: str
) -> None:
    server = mariadb_url.rpartition("/")[0]
    place = server.rpartition("@")[2]
    source_world.configure("school", address.format(server=server, place=place), kind=KIND)
    with pytest.raises((SourceUnavailable, SourceFault)) as caught:
        source_world.read("school")
    assert message in caught.value.detail
    assert "hush" not in caught.value.detail


def test_an_address_that_is_not_set_or_of_another_kind_says_which_variable(
    source_world: SourceWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_world.configure("school", "SCHOOL_URL", kind=KIND)
    with pytest.raises(ConfigurationError, match="SCHOOL_URL is not set"):
        source_world.read("school")
    monkeypatch.setenv("SCHOOL_URL", "oracle://user:hush@host/db")
    with pytest.raises(ConfigurationError, match="SCHOOL_URL must begin with mysql://") as caught:
        source_world.read("school")
    assert "hush" not in caught.value.detail
    assert find_source(source_world.settings, "school").name == "school"


KILLED = """
import os, sys
from elt.settings import load_settings
from elt.sources import comparison
from elt.sources.configuration import find_source
from elt.sources.sync import sync_source
from elt.store.base import open_store
comparison.BATCH_ROWS = 300
settings = load_settings()
print("ready", flush=True)
sync_source(settings, open_store(settings.resolved_store_url), find_source(settings, "school"))
print("done", flush=True)
"""


@pytest.mark.parametrize("after", [0.05, 0.25, 0.6, 1.2])
def test_a_process_killed_anywhere_loses_and_doubles_nothing(
    school: SourceWorld, run: Run, after: float
) -> None:
    settings = school.settings
    environment = {
        **os.environ,
        "LAUREL_HOME": str(settings.home),
        "LAUREL_DATABASE_URL": settings.database_url.get_secret_value(),
        "LAUREL_SECRET_KEY": settings.secret_key.get_secret_value(),
        "LAUREL_PSEUDONYM_KEY": settings.pseudonym_key.get_secret_value(),
        "LAUREL_STORE_URL": settings.store_url,
    }
    process = subprocess.Popen([sys.executable, "-c", KILLED], env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Nobody may read a source while the server takes another for its reader.
    wait_until(lambda: not other_sessions(school.connection), "sessions of the dead live on")
    run("delete from students_courses where student_course_id in (10, 2000)")
    school.load()
    school.sync("school")
    school.sync("school")
    ours, theirs = courses(school, run)
    assert ours == theirs
    assert len(school.live("rosariosis_students", "student_id")) == 40
