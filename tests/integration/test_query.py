"""SQL that admins and analysts type: what it answers, and that it widens nobody's sight whatever it tries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.routes import query as typed_sql
from elt.errors import UploadRejected
from elt.people.principals import Principal
from elt.serving.sessions import reader
from elt.serving.typed_query import Answer, run_typed
from elt.settings import Settings
from elt.warehouse import Connection, connect

ADDRESS = "/api/v1/query"


@pytest.fixture
def ask(uneven_settings: Settings) -> Iterator[Callable[..., Answer]]:
    """Run a statement as an analyst; the session is shared by the statements of a test."""
    with reader(uneven_settings, Principal("user:test", "analyst")) as session:
        yield lambda statement, **limits: run_typed(session, statement, **limits)


@pytest.fixture
def owner(uneven_settings: Settings) -> Iterator[Connection]:
    """The owner's connection to the database that `ask` asks."""
    with connect(uneven_settings.database_url.get_secret_value()) as opened:
        yield opened


def one(connection: Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return next(iter(row.values()))


@pytest.mark.usefixtures("uneven_school")
def test_an_analyst_asks_and_gets_json_or_csv(client_of: Callable[..., FlaskClient]) -> None:
    analyst = client_of("analyst")
    sql = """
        select school_id, grade_level, student_count, '=1+1' as note from mart_class_summary
        where term = 'First Term' and grade_level = 'JSS1' order by 1; -- the large ones
    """.replace(";", "")
    found = analyst.post(ADDRESS, json={"sql": sql})
    assert found.json == {
        "columns": ["school_id", "grade_level", "student_count", "note"],
        "is_cut": False,
        "rows": [
            {"school_id": "main", "grade_level": "JSS1", "student_count": 34, "note": "=1+1"},
            {"school_id": "north", "grade_level": "JSS1", "student_count": None, "note": "=1+1"},
            {"school_id": "south", "grade_level": "JSS1", "student_count": 22, "note": "=1+1"},
        ],
    }
    table = analyst.post(ADDRESS, json={"sql": sql, "format": "csv"})
    assert table.text.splitlines()[:3] == [
        "school_id,grade_level,student_count,note",
        "main,JSS1,34,'=1+1",
        "north,JSS1,,'=1+1",
    ]
    assert table.headers["Laurel-Is-Cut"] == "false"


@pytest.mark.usefixtures("uneven_school")
def test_an_admin_asks_read_only_and_sees_names(client_of: Callable[..., FlaskClient]) -> None:
    admin = client_of("admin")
    names = "select full_name from mart_students where school_id = 'north' order by student_id limit 1"
    assert admin.post(ADDRESS, json={"sql": names}).json["rows"] == [{"full_name": "Pupil1 OfnorthJSS1"}]
    for statement in ("delete from mart_students", "select * from ops.users", "select * from raw.students"):
        answer = admin.post(ADDRESS, json={"sql": statement})
        assert (answer.status_code, answer.content_type) == (422, "application/problem+json")


@pytest.mark.usefixtures("uneven_school")
def test_slow_statements_leave_threads_to_others(client_of: Callable[..., FlaskClient]) -> None:
    analyst = client_of("analyst")
    taken = 0
    while typed_sql._slots.acquire(blocking=False):
        taken += 1
    try:
        refused = analyst.post(ADDRESS, json={"sql": "select 1 as one"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
        assert analyst.get("/api/v1/marts").status_code == 200
    finally:
        for _ in range(taken):
            typed_sql._slots.release()
    for _ in range(taken + 1):
        assert analyst.post(ADDRESS, json={"sql": "select wrong"}).status_code == 422


@pytest.mark.parametrize("role", ["researcher", "teacher"])
def test_others_may_not_ask(client_of: Callable[..., FlaskClient], role: str) -> None:
    assert client_of(role).post(ADDRESS, json={"sql": "select 1 as one"}).status_code == 403


@pytest.mark.usefixtures("uneven_school")
def test_the_statement_is_in_the_audit_trail_with_its_values_veiled(
    client_of: Callable[..., FlaskClient], connection: Connection
) -> None:
    sql = "select count(*) from mart_students where full_name = 'Ngozi Okafor'"
    client_of("analyst").post(ADDRESS, json={"sql": sql})
    detail = str(one(connection, "select detail from ops.audit where action = 'query:run'"))
    assert "from mart_students" in detail
    assert "Ngozi" not in detail


@pytest.mark.parametrize(
    "statement",
    [
        "select 1 as a; select 2 as b",
        "select 1 as a; reset role",
        "begin",
        "reset role",
        "set role laurel",
        "set laurel.scope = 'x'",
        "show laurel.scope",
        "explain select * from mart_student_overview",
        "explain analyze select * from mart_student_overview",
        "copy mart_class_summary to stdout",
        "declare c cursor for select 1",
        "select 1 as a into x",
        "create table x as select 1 as a",
        "with gone as (delete from mart_students returning *) select * from gone",
        "do $$ begin perform 1; end $$",
        "execute x",
        "table mart_student_overview for update",
        "",
        "-- nothing",
        "select $1 as a",
        "select 1 as a, 2 as a",
        "select served.run('select 1', 1, 1)",
        "select pg_read_file('/etc/passwd')",
        "select lo_import('/etc/passwd')",
        "select lastval()",
        "select * from pg_authid",
        "select set_config('role', 'laurel', false)",
        "select set_config('role', 'laurel_reader', false)",
        "select set_config('role', 'none', false)",
        "select set_config('session_authorization', 'laurel', false)",
        "select query_to_xml('explain select * from mart_student_overview', true, true, '')",
        "select query_to_xml('select * from marts.mart_student_overview', true, true, '')",
        "select query_to_xml('reset role', true, true, '')",
        "select * from marts.mart_student_overview",
        "select * from intermediate.int_class_disclosure",
        "select * from ops.scopes",
    ],
)
def test_what_does_more_than_read_the_served_marts_is_refused(
    ask: Callable[..., Answer], statement: str
) -> None:
    with pytest.raises(UploadRejected):
        ask(statement)


def test_no_setting_that_a_statement_changes_shows_it_more(
    ask: Callable[..., Answer], owner: Connection
) -> None:
    hidden = "select count(*) as n from served.mart_student_overview"
    for changed in (
        "select set_config('laurel.scope', '', false) as x",
        "select set_config('search_path', 'marts, core, raw', false) as x",
        "select set_config('row_security', 'off', false) as x",
        "select set_config('default_transaction_read_only', 'off', false) as x",
    ):
        ask(changed)
        assert ask(hidden).rows == ['{"n":0}'], changed
    with pytest.raises(UploadRejected):
        ask("select set_config('transaction_read_only', 'off', false) as x")
    assert one(owner, "select count(*) from marts.mart_student_overview") > 0


def test_even_who_knows_the_token_of_another_session_is_not_in_it(
    uneven_settings: Settings, ask: Callable[..., Answer]
) -> None:
    with reader(uneven_settings, Principal("user:admin", "admin")) as admin:
        token = one(admin, "select current_setting('laurel.scope')")
        assert one(admin, "select count(*) from served.mart_student_overview") > 0
        assert token not in ask("select string_agg(query, ' ') as queries from pg_stat_activity").rows[0]
        ask(f"select set_config('laurel.scope', '{token}', false) as x")
        assert ask("select count(*) as n from mart_student_overview").rows == ['{"n":0}']


def test_sessions_of_others_are_neither_seen_nor_ended(
    uneven_settings: Settings, ask: Callable[..., Answer]
) -> None:
    with reader(uneven_settings, Principal("user:admin", "admin")) as admin:
        admin.execute("select 'a name that nobody else may read' as secret")
        pid = admin.info.backend_pid
        seen = ask(f"select query from pg_stat_activity where pid = {pid}").rows[0]
        assert "nobody else" not in seen
        for function in ("pg_terminate_backend", "pg_cancel_backend"):
            with pytest.raises(UploadRejected):
                ask(f"select {function}({pid})")
            with pytest.raises(UploadRejected):
                ask(f"select set_config('role', 'none', false), {function}({pid})")
        assert admin.execute("select 1 as one").fetchone() == {"one": 1}


def test_errors_of_a_statement_tell_nothing_of_hidden_rows(
    ask: Callable[..., Answer], owner: Connection
) -> None:
    """Without a barrier the planner may run a cheap condition on rows that the view leaves out."""
    names = [row["name"] for row in owner.execute("select full_name as name from marts.mart_students")]
    for statement in (
        "select * from mart_students where full_name::int > 0",
        "select * from mart_students where (full_name || '1')::date > now()",
        "select * from mart_student_overview where 1 / (subject_count - subject_count) > 0",
        "select * from mart_student_overview where student_id::int > 0 limit 1",
    ):
        assert ask(statement).rows == []
    small = "school_id = 'main' and grade_level = 'JSS3'"
    for statement in (
        f"select ('x' || student_count)::int as n from mart_class_summary where {small}",
        f"select * from mart_class_summary where {small} and ('x' || average_score)::int > 0",
        f"select 1 / (student_count - 6) as n from mart_class_summary where {small}",
    ):
        assert all("6" not in row for row in ask(statement).rows if "null" not in row)
    with pytest.raises(UploadRejected) as shown:
        ask("select ('x' || student_count)::int as n from mart_class_summary where student_count = 34")
    assert "x34" in shown.value.detail
    assert not any(name in shown.value.detail for name in names)


def test_statistics_of_hidden_columns_are_not_to_be_had(
    ask: Callable[..., Answer], owner: Connection
) -> None:
    owner.execute("analyze")
    assert one(owner, "select count(*) from pg_stats where schemaname = 'marts'") > 0
    assert (
        ask("select * from pg_stats where schemaname not in ('pg_catalog', 'information_schema')").rows == []
    )


def test_long_answers_are_cut_and_said_to_be(ask: Callable[..., Answer]) -> None:
    found = ask("select n from generate_series(1, 100) as n", max_rows=7)
    assert (len(found.rows), found.is_cut) == (7, True)
    assert ask("select n from generate_series(1, 7) as n", max_rows=7).is_cut is False
    with pytest.raises(UploadRejected, match="too large"):
        ask("select repeat('x', 1000000) as x from generate_series(1, 100)")


def test_a_statement_that_takes_too_long_is_stopped(ask: Callable[..., Answer]) -> None:
    with pytest.raises(UploadRejected, match="took longer"):
        ask("select pg_sleep(60)", seconds=1)
    with pytest.raises(UploadRejected, match="took longer"):
        ask("select set_config('statement_timeout', '0', false), pg_sleep(60)", seconds=1)
    ask("select set_config('statement_timeout', '0', false) as x")
    with pytest.raises(UploadRejected, match="took longer"):
        ask("select pg_sleep(60)", seconds=1)


def test_a_session_is_as_good_after_a_wrong_statement(ask: Callable[..., Answer]) -> None:
    with pytest.raises(UploadRejected, match="syntax error"):
        ask("selec 1")
    with pytest.raises(UploadRejected, match="does not exist"):
        ask("select nothing from mart_class_summary")
    assert ask("select 1 as one").rows == ['{"one":1}']


@pytest.mark.parametrize(
    ("statement", "line", "said"),
    [
        ("select 1 as one,\n  nope\nfrom mart_class_summary", 2, '"nope" does not exist'),
        ("select\n\n  'é' as letter, +", 3, "end of input"),
        ("selekt 1", 1, "Type one statement that reads"),
        ("select 1; select 2", None, "Type one statement that reads"),
        ("select 1 / (1 - number) from generate_series(1, 2) as number", None, "division by zero"),
    ],
)
def test_an_error_names_its_line(
    ask: Callable[..., Answer], statement: str, line: int | None, said: str
) -> None:
    with pytest.raises(UploadRejected, match=said) as refused:
        ask(statement)
    assert [issue.line for issue in refused.value.issues] == [line]
    assert (f"(line {line})" in refused.value.detail) == (line is not None)
