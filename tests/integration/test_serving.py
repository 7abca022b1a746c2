"""What each role sees of the marts, and that nothing a build does takes views or rights away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import yaml
from flask import Flask
from psycopg import sql
from psycopg.conninfo import make_conninfo

from elt.migrate import migrate
from elt.people.principals import Assignment, Principal, Role
from elt.privacy.column_classes import PROPERTIES, read_mart_classes
from elt.serving.mart_catalogue import list_marts
from elt.serving.sessions import reader, serve
from elt.settings import Settings
from elt.transforming.transform import transform
from elt.warehouse import Connection, connect

pytestmark = pytest.mark.usefixtures("uneven_school")

STUDENT_MARTS = ("mart_student_overview", "mart_student_terms", "mart_student_features", "mart_students")


class Sessions:
    """Sessions of people, closed at the end of the test."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack

    def __call__(self, role: Role, school_id: str | None = None, *assignments: Assignment) -> Connection:
        principal = Principal("user:test", role, school_id, assignments=assignments)
        return self._stack.enter_context(reader(self._settings, principal))


@pytest.fixture
def session_of(settings: Settings) -> Iterator[Sessions]:
    with ExitStack() as stack:
        yield Sessions(settings, stack)


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in connection.execute(query)]


def test_admins_see_every_row_of_every_mart_as_it_is(session_of: Sessions, connection: Connection) -> None:
    session = session_of("admin")
    for mart in list_marts(connection):
        columns = ", ".join(f'"{column.name}"::text' for column in mart.columns)
        served = rows(session, f"select {columns} from served.{mart.name} order by 1, 2, 3")
        assert sorted(served, key=repr) == sorted(
            rows(connection, f"select {columns} from marts.{mart.name}"), key=repr
        ), mart.name


def test_who_is_bound_to_a_school_sees_no_other(session_of: Sessions, connection: Connection) -> None:
    for role in ("admin", "researcher", "analyst"):
        session = session_of(role, "north")
        for mart in list_marts(connection):
            if any(column.name == "school_id" for column in mart.columns):
                assert rows(session, f"select distinct school_id from served.{mart.name}") in (
                    [("north",)],
                    [],
                ), (role, mart.name)
        assert rows(session, "select count(*) from served.mart_insights") == [(0,)]


def test_counts_of_all_schools_are_suppressed_for_who_may_not_see_them_all(
    session_of: Sessions, connection: Connection
) -> None:
    connection.execute(
        """
        insert into ops.row_issues (upload_id, version, line, rule, severity)
        select upload_id, live_version, line, 'required', 'error'
        from ops.uploads, generate_series(1, case dataset when 'guardians' then 3 else 40 end) as line
        where dataset in ('guardians', 'students')
        """
    )
    quality = "select dataset, row_count from served.mart_data_quality order by 1"
    freshness = "select live_row_count from served.mart_freshness"
    suppressed, whole = [("guardians", None), ("students", 40)], [("guardians", 3), ("students", 40)]
    for role, school_id in (
        ("admin", "north"), ("researcher", "north"), ("analyst", "north"), ("teacher", "north"),
        ("teacher", None), ("analyst", None),
    ):  # fmt: skip
        session = session_of(role, school_id)
        assert rows(session, quality) == suppressed, (role, school_id)
        assert {count for (count,) in rows(session, freshness)} == {None}, (role, school_id)
    for role in ("admin", "researcher"):
        assert rows(session_of(role), quality) == whole, role


def test_teachers_see_the_students_of_their_classes_with_all_their_terms(session_of: Sessions) -> None:
    session = session_of("teacher", None, Assignment("main", "JSS1"), Assignment("south", "JSS2", "Yoruba"))
    seen = rows(session, "select school_id, student_id from served.mart_student_overview")
    assert sum(school == "main" for school, _ in seen) == 34
    assert sum(school == "south" for school, _ in seen) == 12
    assert {student[:4] for school, student in seen if school == "main"} == {"JSS1"}
    for mart in ("mart_student_terms", "mart_student_features", "mart_students"):
        students = rows(session, f"select distinct school_id, student_id from served.{mart}")
        assert set(students) == set(seen), mart
    subjects = rows(
        session, "select distinct school_id, grade_level, subject from served.mart_subject_performance"
    )
    assert {subject for subject in subjects if subject[0] == "south"} == {("south", "JSS2", "Yoruba")}
    assert rows(session, "select count(*) from served.mart_teacher_load") == [(0,)]


def test_a_teacher_without_classes_sees_nobody(session_of: Sessions) -> None:
    session = session_of("teacher", "main")
    for mart in (*STUDENT_MARTS, "mart_class_summary", "mart_student_risk"):
        assert rows(session, f"select count(*) from served.{mart}") == [(0,)], mart


def test_researchers_see_pseudonyms_that_join_the_marts_and_no_identifier(
    session_of: Sessions, connection: Connection
) -> None:
    session = session_of("researcher")
    known = {
        source_id
        for (source_id,) in rows(
            connection,
            "select student_id from raw.students union select parent_id from raw.guardians "
            "union select teacher_id from raw.teachers",
        )
    }
    for mart in list_marts(connection):
        for row in rows(session, f"select * from served.{mart.name}"):
            assert not known & {str(cell) for cell in row}, mart.name
    joined = """
        select count(*) as terms, count(distinct overview.student_id) as students
        from served.mart_student_overview as overview
        join served.mart_student_terms as terms using (school_id, student_id)
        where terms.term = 'First Term' and overview.student_id like 's\\_%'
    """
    [(terms, students)] = rows(session, joined)
    assert terms == students == 34 + 14 + 6 + 12 + 26 + 7 + 22 + 19
    assert rows(session, "select distinct left(teacher_id, 2) from served.mart_teacher_load") == [("t_",)]


def test_researchers_see_age_bands_and_no_names(session_of: Sessions) -> None:
    columns = "first_name, last_name, full_name, email, phone_number, home_address, date_of_birth"
    found = session_of("researcher").execute("select * from served.mart_students").fetchall()
    assert found
    for row in found:
        assert {row.get(name) for name in columns.split(", ")} - {row["date_of_birth"]} == {None}
        first, _, last = row["date_of_birth"].partition(" to ")
        assert int(last) - int(first) == 2
        today = date.today()
        assert int(first) <= today.year - 2011 - ((today.month, today.day) < (5, 1)) <= int(last)
    [born] = rows(
        session_of("admin"),
        "select min(date_of_birth) from served.mart_students where grade_level = 'SS2'",
    )
    assert born[0].startswith("2011-0")


def test_analysts_see_no_row_about_one_person(session_of: Sessions, connection: Connection) -> None:
    session = session_of("analyst")
    for mart in list_marts(connection):
        names = {column.name for column in mart.columns}
        if names & {"student_id", "teacher_id", "parent_id", "upload_id"}:
            assert rows(session, f"select count(*) from served.{mart.name}") == [(0,)], mart.name


def test_a_session_without_a_scope_or_with_anothers_sees_nothing(
    session_of: Sessions, connection: Connection
) -> None:
    session = session_of("admin")
    assert rows(session, "select count(*) from served.mart_student_overview") != [(0,)]
    for token in ("", "x" * 43):
        session.execute("select set_config('laurel.scope', %s, false)", (token,))
        for mart in list_marts(connection):
            assert rows(session, f"select count(*) from served.{mart.name}") == [(0,)], mart.name


def test_a_scope_ends_with_its_session(settings: Settings, connection: Connection) -> None:
    with reader(settings, Principal("user:test", "admin")) as session:
        token = rows(session, "select current_setting('laurel.scope')")[0][0]
        assert token not in str(rows(connection, "select * from ops.scopes"))
        assert rows(connection, "select count(*) from ops.scopes") == [(1,)]
    assert rows(connection, "select count(*) from ops.scopes") == [(0,)]


def test_the_reader_may_touch_nothing_but_the_served_views(
    session_of: Sessions, connection: Connection
) -> None:
    session = session_of("admin")
    for relation in (
        "ops.pseudonyms", "ops.scopes", "ops.users", "raw.students", "marts.mart_student_overview",
        "core.dim_students", "staging.stg_students", "ml.predictions",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(f"select * from {relation}")
    for statement in (
        "create table served.x (a int)",
        "create schema mine",
        "drop view served.mart_students",
    ):
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            session.execute(statement)
    session.execute("set default_transaction_read_only = off")
    for statement in ("create table served.x (a int)", "create schema x", "drop view served.mart_students"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(statement)


def test_no_role_is_a_superuser_or_reaches_another(connection: Connection) -> None:
    found = connection.execute(
        """
        select rolname, rolcanlogin,
               rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication as is_mighty
        from pg_roles where rolname like 'laurel\\_%'
        """
    ).fetchall()
    assert {row["rolname"] for row in found} == {
        "laurel_app", "laurel_loader", "laurel_query", "laurel_reader", "laurel_transformer",
    }  # fmt: skip
    assert not any(row["is_mighty"] for row in found)
    assert [row["rolname"] for row in found if row["rolcanlogin"]] == ["laurel_reader"]
    memberships = "select count(*) from pg_auth_members where member = any (array[%s])"
    members = ", ".join(f"'{row['rolname']}'::regrole" for row in found)
    assert rows(connection, memberships % members) == [(0,)]


def test_the_api_works_under_a_role_that_reads_no_mart_and_changes_no_table(api: Flask) -> None:
    with api.extensions["laurel"].connection() as connection:
        assert rows(connection, "select current_user::text") == [("laurel_app",)]
        for statement in (
            "select * from marts.mart_student_overview",
            "select * from core.dim_students",
            "select * from served.mart_student_overview",
            "select * from live.responses",
            "drop table ops.audit",
            "update ops.audit set actor = ''",
            "create schema x",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_loader_cannot_read_who_signs_in(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("set local role laurel_loader")
        for table in ("users", "assignments", "sessions", "keys"):
            statement = sql.SQL("select * from {}").format(sql.Identifier("ops", table))
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)


def granted(connection: Connection) -> list[tuple[Any, ...]]:
    """Every right of the readers; views with their barrier, functions with whose rights they run."""
    return rows(
        connection,
        """
        select c.relname, c.reloptions::text, c.relowner::regrole::text, r.rolname,
               string_agg(distinct g.privilege_type, ',' order by g.privilege_type)
        from pg_class as c
        cross join lateral aclexplode(c.relacl) as g
        join pg_roles as r on r.oid = g.grantee
        where r.rolname in ('laurel_reader', 'laurel_query')
        group by 1, 2, 3, 4
        union all
        select p.oid::regprocedure::text, p.prosecdef::text, p.proowner::regrole::text, r.rolname, 'EXECUTE'
        from pg_proc as p
        cross join lateral aclexplode(p.proacl) as g
        left join pg_roles as r on r.oid = g.grantee
        where p.pronamespace = 'served'::regnamespace and g.grantee <> p.proowner
        order by 1, 4
        """,
    )


def test_views_and_rights_are_the_same_after_every_kind_of_build(
    settings: Settings, connection: Connection, sender: Any
) -> None:
    before = granted(connection)
    marts = [mart.name for mart in list_marts(connection)]
    views = {name: (options, owner) for name, options, owner, *_ in before if name.startswith("mart_")}
    assert sorted(views) == marts
    assert set(views.values()) == {("{security_barrier=true}", "laurel")}
    assert len(before) == 2 * len(marts) + 5

    students = "School ID,Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level\n"
    sender.hand_in(students + "main,NEW1,A,B,Male,2011-01-01,JSS1\n", "students")
    assert not transform(settings, uuid4()).skipped
    assert granted(connection) == before
    transform(settings, uuid4(), full=True)
    assert granted(connection) == before
    connection.execute("comment on schema staging is 'Built by other code.'")
    transform(settings, uuid4())
    assert granted(connection) == before
    assert transform(settings, uuid4()).skipped
    with reader(settings, Principal("user:test", "researcher")) as session:
        unnamed = "select count(*) from served.mart_student_overview where student_id is null"
        assert rows(session, unnamed) == [(0,)]


def test_views_are_made_again_only_when_something_differs(connection: Connection) -> None:
    assert serve(connection) is False
    connection.execute("create table marts.mart_new (school_id text, student_id text, secret text)")
    assert serve(connection) is True
    connection.execute("drop view served.mart_new")
    assert serve(connection) is True
    assert serve(connection) is False


def test_a_column_that_nobody_declared_is_shown_to_no_researcher(
    settings: Settings, connection: Connection
) -> None:
    connection.execute(
        """
        create table marts.mart_new (school_id text, student_id text, parent_id text, term text, secret text);
        insert into marts.mart_new values ('main', 'JSS1-01', 'PJSS11', 'First Term', 'a secret')
        """
    )
    serve(connection)
    with reader(settings, Principal("user:test", "researcher")) as session:
        [(school, student, parent, term, secret)] = rows(session, "select * from served.mart_new")
    assert (school, term, secret) == ("main", "First Term", None)
    assert student.startswith("s_")
    assert parent.startswith("g_")
    with reader(settings, Principal("user:test", "analyst")) as session:
        assert rows(session, "select * from served.mart_new") == []


def test_every_column_of_every_mart_has_a_class() -> None:
    classes = read_mart_classes()
    undeclared = [
        f"{model['name']}.{column['name']}"
        for model in yaml.safe_load(PROPERTIES.read_text())["models"]
        for column in model["columns"]
        if classes[model["name"]].of(column["name"]) is None
    ]
    assert undeclared == []


def test_roles_and_rights_can_be_made_by_a_superuser_and_twice(postgres_server: Any) -> None:
    postgres_server.create_database("of_a_superuser")
    try:
        url = postgres_server.cluster.url(postgres_server.superuser_password, "of_a_superuser")
        for _ in range(2):
            migrate(url)
        with connect(url) as connection:
            owner = "select proowner::regrole::text from pg_proc where oid = 'served.run'::regproc"
            assert rows(connection, owner) == [("laurel_query",)]
    finally:
        postgres_server.drop_database("of_a_superuser")


def test_the_readers_password_is_none_that_others_know(settings: Settings) -> None:
    with reader(settings, Principal("user:test", "admin")):
        pass
    url = settings.database_url.get_secret_value()
    for password in ("", "laurel_reader", settings.secret_key.get_secret_value()):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(make_conninfo(url, user="laurel_reader", password=password))


def test_many_may_be_the_first_readers(settings: Settings, connection: Connection) -> None:
    def read(_number: int) -> int:
        with reader(settings, Principal("user:test", "admin")) as session:
            return len(rows(session, "select 1"))

    for _ in range(5):
        connection.execute("alter role laurel_reader password null")
        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(read, range(16))) == 16
