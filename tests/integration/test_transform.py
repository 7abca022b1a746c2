"""Building what changed: whatever is handed in or withdrawn, the marts end as if built from scratch."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from uuid import UUID

import pytest
from psycopg import sql
from uuid6 import uuid7

from elt.errors import TransformError
from elt.settings import Settings
from elt.transforming.transform import end_orphans, transform
from elt.uploads.lifecycle import withdraw_upload
from elt.warehouse import Connection, connect

SUBJECTS = ("Mathematics", "English Studies", "Yoruba")
TERMS = ("First Term", "Second Term", "Third Term")
GRADES = ("JSS1", "JSS2", "JSS3")
LEFT_OUT = {"mart_freshness", "int_changed_students"}


@pytest.fixture
def template(built_template: str) -> str:
    """Tests begin with built, empty marts."""
    return built_template


@pytest.fixture
def build(settings: Settings) -> Callable[..., object]:
    """One build; its result."""
    return lambda **options: transform(settings, UUID(int=uuid7().int), **options)


def contents(connection: Connection) -> dict[str, str]:
    """A checksum of every table and view that dbt makes, the lists of a build and times of loading aside."""
    relations = connection.execute(
        r"""
        select relnamespace::regnamespace::text as schema, relname as name from pg_class
        where relnamespace::regnamespace::text in ('staging', 'intermediate', 'core', 'marts')
            and relkind in ('r', 'v') and relname not like '%\_\_changed'
        """
    ).fetchall()
    sums = {}
    for relation in relations:
        if relation["name"] in LEFT_OUT:
            continue
        query = sql.SQL("select md5(string_agg(t::text, E'\\n' order by t::text)) as sum from {} t").format(
            sql.Identifier(relation["schema"], relation["name"])
        )
        row = connection.execute(query).fetchone()
        assert row is not None
        sums[relation["name"]] = row["sum"]
    return sums


def count(connection: Connection, relation: str, condition: str = "true") -> int:
    """Rows of a table or view."""
    row = connection.execute(f"select count(*) as n from {relation} where {condition}").fetchone()
    assert row is not None
    return row["n"]


class School:
    """Makes random files of a small school, and does with uploads what people do."""

    def __init__(self, sender, seed: int) -> None:
        self.sender = sender
        self.random = random.Random(seed)
        self.live: list[tuple[UUID, str]] = []

    def history(self) -> str:
        """Rows of some students; with and without the academic year; scores around the pass mark."""
        dated = self.random.random() < 0.5
        lines = [
            "Student ID,Grade Level,Subject,Term,Teacher ID,Test Score,Exam Score,Total Score,Attendance"
        ]
        lines[0] += ",Academic Year" if dated else ""
        for number in self.random.sample(range(8), self.random.randint(1, 4)):
            for level in range(self.random.randint(1, 3)):
                for subject in self.random.sample(SUBJECTS, self.random.randint(1, 3)):
                    for term in self.random.sample(TERMS, self.random.randint(1, 3)):
                        test, exam = self.random.randint(15, 35), self.random.randint(20, 40)
                        attendance = self.random.choice(["", str(self.random.randint(80, 100))])
                        line = f"S{number},{GRADES[level]},{subject},{term},T{self.random.randint(0, 3)}"
                        line += f",{test},{exam},{test + exam},{attendance}"
                        lines.append(line + (f",{2023 + level}/{2024 + level}" if dated else ""))
        return "\n".join(lines) + "\n"

    def students(self) -> str:
        header = "Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level,Health Status"
        lines = [f"{header},Extracurricular Activities"]
        for number in self.random.sample(range(8), self.random.randint(1, 6)):
            health = self.random.choice(["Good", "Average", "Poor"])
            lines.append(f"S{number},A,B,Female,2011-01-01,{self.random.choice(GRADES)},{health},None")
        return "\n".join(lines) + "\n"

    def teachers(self) -> str:
        lines = ["Teacher ID,First Name,Last Name,Age,Years of Experience"]
        for number in self.random.sample(range(4), self.random.randint(1, 4)):
            lines.append(f"T{number},A,B,50,{self.random.randint(0, 20)}")
        return "\n".join(lines) + "\n"

    def guardians(self) -> str:
        lines = ["Parent ID,Student ID,First Name,Last Name,Engagement in School Activities"]
        for number in self.random.sample(range(8), self.random.randint(1, 4)):
            lines.append(f"P{self.random.randint(0, 2)},S{number},A,B,{self.random.choice(['High', 'Low'])}")
        return "\n".join(lines) + "\n"

    def performance(self) -> str:
        score = self.random.randint(0, 100)
        return (
            "gender,race/ethnicity,parental level of education,lunch,test preparation course,math score,"
            f"reading score,writing score\nfemale,group A,high school,standard,none,{score},50,60\n"
        )

    def attendance(self) -> str:
        lines = ["Student ID,Date,Status,Minutes Present,Minutes Expected"]
        for number in self.random.sample(range(8), self.random.randint(1, 4)):
            for day in self.random.sample(range(10, 30), self.random.randint(1, 6)):
                status = self.random.choice(["Present", "Late", "Absent,0", "Excused,0"])
                minutes = "" if "," in status else f",{self.random.choice(['', '200'])}"
                lines.append(f"S{number},2024-12-{day},{status}{minutes},300")
        return "\n".join(lines) + "\n"

    def results(self) -> str:
        """Numbers that come and go, of students who are named, named twice, or not at all."""
        lines = ["Exam,Exam Year,Exam Number,Subject,Score,Student ID,Is Deleted"]
        for number in self.random.sample(range(6), self.random.randint(1, 4)):
            named = self.random.choice(["", "S1", f"S{number}"])
            score, gone = self.random.choice([("", "true"), ("200", ""), ("201", "false")])
            lines.append(f"JAMB,2024,{number},Overall,{score},{named},{gone}")
        return "\n".join(lines) + "\n"

    def pisa(self) -> str:
        lines = ["CNT,ID,ESCS,Is Deleted"]
        for number in self.random.sample(range(9), self.random.randint(1, 6)):
            index, gone = self.random.choice([("", "true"), ("NA", ""), (f"0.{number}", "")])
            lines.append(f"{self.random.choice(['NA', 'ALB'])},{number},{index},{gone}")
        return "\n".join(lines) + "\n"

    def act(self) -> None:
        """Hand in a file, or replace or withdraw an upload that is live."""
        dice = self.random.random()
        if self.live and dice < 0.2:
            upload_id, _ = self.live.pop(self.random.randrange(len(self.live)))
            withdraw_upload(self.sender.connection, self.sender.store, upload_id, self.sender.admin)
        elif self.live and dice < 0.4:
            upload_id, dataset = self.random.choice(self.live)
            version = self.sender.replace(upload_id, self._file(dataset), self.sender.admin)
            self.sender.load(upload_id, version)
        else:
            small = ["students", "teachers", "guardians", "attendance", "exam_results", "pisa_responses"]
            dataset = self.random.choice(["academic_history"] * 4 + small)
            upload_id = self.sender.hand_in(self._file(dataset), dataset)
            if self.sender.upload(upload_id).status == "loaded":
                self.live.append((upload_id, dataset))

    def _file(self, dataset: str) -> str:
        makers = {
            "academic_history": self.history, "students": self.students, "teachers": self.teachers,
            "guardians": self.guardians, "student_performance": self.performance,
            "attendance": self.attendance, "exam_results": self.results, "pisa_responses": self.pisa,
        }  # fmt: skip
        return makers[dataset]()


@pytest.mark.parametrize("seed", [11, 12])
def test_after_any_sequence_the_marts_equal_a_build_from_scratch(sender, build, seed):
    school = School(sender, seed)
    for _ in range(3):
        for _ in range(12):
            school.act()
        assert not build().skipped
    incremental = contents(sender.connection)

    rebuilt = build(full=True)

    assert rebuilt.tests > 30
    assert contents(sender.connection) == incremental
    assert count(sender.connection, "core.fct_assessments") > 0


def test_nothing_waiting_starts_no_dbt(sender, build, history):
    sender.hand_in(history(range(3)))
    first = build()
    assert (first.loads, first.skipped) == (1, False)
    assert first.models > 0
    assert "mart_student_terms" in first.changed_marts

    second = build()

    assert second.skipped
    assert (second.loads, second.models, second.tests, second.changed_marts) == (0, 0, 0, ())


def test_a_withdrawal_shows_what_it_had_overridden(sender, build, history):
    sender.hand_in(history(range(3)))
    build()
    second = sender.hand_in(history([1, 5], exam=10))
    build()
    scores = "select student_id, average_score::int as average from marts.mart_student_overview order by 1"
    found = [tuple(row.values()) for row in sender.connection.execute(scores)]
    assert found == [("STU00000", 60), ("STU00001", 30), ("STU00002", 60), ("STU00005", 30)]

    withdraw_upload(sender.connection, sender.store, second, sender.admin)
    build()

    found = [tuple(row.values()) for row in sender.connection.execute(scores)]
    assert found == [("STU00000", 60), ("STU00001", 60), ("STU00002", 60)]
    assert (
        sender.connection.execute("select count(*) as n from raw.academic_history__changed").fetchone()["n"]
        == 0
    )


def test_an_earlier_file_that_arrives_late_does_not_override(sender, build, history):
    sender.hand_in(history(range(3), exam=10))
    build()
    late = sender.hand_in(history(range(3)))
    sender.connection.execute(
        "update ops.upload_versions set ranked_at = ranked_at - interval '1 day' where upload_id = %s",
        (late,),
    )
    build()

    row = sender.connection.execute(
        "select max(average_score)::int as highest from marts.mart_student_overview"
    ).fetchone()
    assert row["highest"] == 30


def test_only_what_is_built_from_the_changed_dataset_is_built(sender, build, history, settings):
    sender.hand_in(history(range(3)))
    build()
    sender.hand_in(School(sender, 1).performance(), "student_performance")

    result = build()

    assert (result.loads, result.models, result.skipped) == (1, 0, False)
    assert "mart_student_scores" in result.changed_marts
    assert "mart_student_terms" not in result.changed_marts
    assert (
        sender.connection.execute("select count(*) as n from marts.mart_student_scores").fetchone()["n"] == 1
    )


def test_a_build_killed_between_two_tables_is_done_again_without_counting_twice(sender, build, history):
    sender.hand_in(history(range(5)))
    build()
    sender.hand_in(history(range(3, 9), exam=10))
    with connect(sender.settings.database_url.get_secret_value()) as blocker, blocker.transaction():
        blocker.execute("lock table marts.mart_student_overview in access exclusive mode")
        process = start_build(sender.settings)
        wait_until(lambda: count(sender.connection, "intermediate.int_class_scores", "average_score = 30"))
        process.send_signal(signal.SIGKILL)
        process.wait()
    unbuilt = sender.connection.execute(
        "select count(*) as n from ops.loads where built_at is null"
    ).fetchone()
    assert unbuilt["n"] == 1

    assert build().loads == 1

    incremental = contents(sender.connection)
    build(full=True)
    assert contents(sender.connection) == incremental


def test_building_everything_again_keeps_views_and_is_done_again_when_killed(sender, build, history):
    sender.hand_in(history(range(5)))
    build()
    before = contents(sender.connection)
    view = "select 'marts.mart_student_terms'::regclass::oid as oid"
    identity = sender.connection.execute(view).fetchone()
    with connect(sender.settings.database_url.get_secret_value()) as blocker, blocker.transaction():
        blocker.execute("lock table marts.mart_student_overview in access exclusive mode")
        process = start_build(sender.settings, full=True)
        wait_until(
            lambda: count(
                blocker, "pg_locks", "not granted and relation = 'marts.mart_student_overview'::regclass"
            )
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert sender.connection.execute(view).fetchone() == identity

    again = build()

    assert (again.skipped, again.loads) == (False, 0)
    assert contents(sender.connection) == before
    assert build().skipped


def test_a_failed_build_names_the_model_and_leaves_the_loads(sender, build, history):
    sender.hand_in(history(range(3)))
    build()
    sender.hand_in(history(range(9)))
    sender.connection.execute(
        "alter table marts.mart_student_overview add constraint broken check (false) not valid"
    )

    with pytest.raises(TransformError) as failure:
        build()

    assert any("mart_student_overview" in line for line in failure.value.failures)
    assert "STU0000" not in " ".join([failure.value.detail, *failure.value.failures])
    sender.connection.execute("alter table marts.mart_student_overview drop constraint broken")
    assert build().loads == 1


def test_two_builds_at_once_do_it_once(sender, history):
    sender.hand_in(history(range(3)))
    processes = [start_build(sender.settings) for _ in range(2)]

    outcomes = sorted(process.communicate()[0].decode().strip().splitlines()[-1] for process in processes)

    assert outcomes == ["built 0", "built 1"]


def test_sessions_of_a_killed_build_are_ended(settings, connection):
    with connect(settings.database_url.get_secret_value(), application_name="laurel-dbt") as orphan:
        end_orphans(connection)
        with pytest.raises(Exception, match=r"terminat|closed"):
            orphan.execute("select 1")


def start_build(settings: Settings, *, full: bool = False) -> subprocess.Popen[bytes]:
    """A build in a process of its own; it prints how many loads it built."""
    program = (
        "from uuid import uuid4; from elt.settings import load_settings; "
        "from elt.transforming.transform import transform;"
        f"print('built', transform(load_settings(), uuid4(), full={full}).loads)"
    )
    environment = {
        **os.environ,
        "LAUREL_HOME": str(settings.home),
        "LAUREL_DATABASE_URL": settings.database_url.get_secret_value(),
        "LAUREL_SECRET_KEY": "a-key-for-tests-only-0123456789abcdef",
        "LAUREL_PSEUDONYM_KEY": "a-key-for-tests-only-0123456789abcdef",
    }
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE)


def wait_until(condition: Callable[[], object], seconds: float = 240) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)
