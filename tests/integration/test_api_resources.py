"""Datasets, keys, runs, models, marts and worklist over HTTP, in process."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from backend.app import create_app
from elt.contracts import load_contracts
from elt.runs import finish_run, record_stage, start_run
from elt.serving.sessions import serve
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection

BASE = "/api/v1"
ClientOf = Callable[..., FlaskClient]
STUDENT = b"Student ID,First Name\nSTU001,Ada\n"
SCORES = (
    b"gender,race/ethnicity,parental level of education,lunch,test preparation course,"
    b"math score,reading score,writing score\n"
    b"female,group B,bachelor's degree,standard,none,72,72,74\n"
    b"female,group C,some college,standard,completed,101,70,70\n"
)


def test_datasets_are_those_that_have_a_contract(researcher: FlaskClient) -> None:
    found = researcher.get(f"{BASE}/datasets").json["items"]
    assert [item["name"] for item in found] == sorted(load_contracts())
    contract = researcher.get(f"{BASE}/datasets/students").json
    assert contract["primaryKey"] == ["school_id", "student_id"]
    assert researcher.get(f"{BASE}/datasets/pupils").status_code == 404


@pytest.mark.parametrize("name", sorted(load_contracts()))
def test_a_template_has_the_header_of_its_dataset(researcher: FlaskClient, name: str) -> None:
    template = researcher.get(f"{BASE}/datasets/{name}/template.csv")
    [header] = csv.reader(io.StringIO(template.data.decode("utf-8-sig")))
    assert header == [field.title for field in load_contracts()[name].file_fields]
    assert template.headers["Content-Disposition"].startswith("attachment")


def test_a_check_says_what_would_become_of_a_file_and_stores_nothing(
    researcher: FlaskClient, store: Store, connection: Connection
) -> None:
    form = {"delimiter": ",", "file": (io.BytesIO(SCORES), "scores.csv")}
    report = researcher.post(f"{BASE}/datasets/student_performance/check", data=form).json
    assert report["detected"]["delimiter"] == ","
    math = {"position": 6, "header": "math score", "column": "math_score", "type": "integer"}
    assert report["mapping"][5] == math
    assert report["rows"][1]["line"] == 3
    assert report["rows"][1]["cells"][-3:] == ["101", "70", "70"]
    counts = report["counts"]
    assert counts["read"] == counts["accepted"] + counts["rejected"] + counts["repeated"] == 2
    [issue] = [issue for issue in report["issues"] if issue["severity"] == "error"]
    assert (issue["line"], issue["column"], issue["rule"]) == (3, "math_score", "maximum")
    assert report["would_load"] is False
    assert list(store.list()) == []
    assert connection.execute("select count(*) as n from ops.uploads").fetchone() == {"n": 0}


def test_a_check_of_what_cannot_be_read_says_why(researcher: FlaskClient) -> None:
    report = researcher.post(f"{BASE}/datasets/students/check", data=b"a,b;c\n1,2;3\n").json
    assert report["would_load"] is False
    assert "delimiter" in report["reason"]
    assert report["counts"]["read"] == 0


def test_a_check_of_another_kind_of_file_is_refused(researcher: FlaskClient) -> None:
    answer = researcher.post(f"{BASE}/datasets/students/check", data=b"%PDF-1.7 and so on")
    assert answer.status_code == 422
    assert "PDF" in answer.json["detail"]


def test_a_check_heeds_no_field_behind_the_file_in_silence(researcher: FlaskClient) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + SCORES * 9000 + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="encoding"\r\n\r\ncp1252\r\n--b--\r\n'
    )
    answer = researcher.post(
        f"{BASE}/datasets/student_performance/check",
        data=body,
        content_type="multipart/form-data; boundary=b",
    )
    assert answer.status_code == 422
    assert "encoding" in answer.json["detail"]


def test_a_proposal_for_an_unknown_dataset_stores_nothing(researcher: FlaskClient, store: Store) -> None:
    sample = b"Club,Member ID,Fee\nChess,7,2.50\nDrama,8,3\n"
    form = {"name": "clubs", "file": (io.BytesIO(sample), "whatever.csv")}
    contract = researcher.post(f"{BASE}/datasets", data=form).json["contract"]
    assert contract["name"] == "clubs"
    assert [field["name"] for field in contract["fields"]] == ["school_id", "club", "member_id", "fee"]
    assert list(store.list()) == []


def test_a_key_is_made_used_and_revoked(admin: FlaskClient, api: Flask) -> None:
    made = admin.post(f"{BASE}/keys", json={"name": "study", "role": "researcher", "expires_in_days": 3})
    assert made.status_code == 201
    client = api.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {made.json['key']}"
    assert client.get(f"{BASE}/uploads").status_code == 200
    assert client.get(f"{BASE}/keys").status_code == 403
    listed = next(item for item in admin.get(f"{BASE}/keys").json["items"] if item["id"] == made.json["id"])
    assert listed["state"] == "active"
    assert made.json["key"] not in admin.get(f"{BASE}/keys").text
    assert admin.delete(f"{BASE}/keys/{made.json['id']}").json["state"] == "revoked"
    assert client.get(f"{BASE}/uploads").status_code == 401


def test_keys_are_listed_in_pages(admin: FlaskClient, make_key: Callable[..., str]) -> None:
    make_key("teacher")
    make_key("analyst")
    first = admin.get(f"{BASE}/keys?limit=2").json
    assert [key["role"] for key in first["items"]] == ["analyst", "teacher"]
    rest = admin.get(f"{BASE}/keys?limit=2&after={first['next']}").json
    assert ([key["role"] for key in rest["items"]], rest["next"]) == (["admin"], None)


@pytest.mark.parametrize("body", [{}, {"name": "x", "role": "king"}, {"name": "", "role": "admin"}, []])
def test_a_key_that_cannot_be_is_refused_with_the_field_named(admin: FlaskClient, body: Any) -> None:
    answer = admin.post(f"{BASE}/keys", json=body)
    assert answer.status_code == 422
    assert answer.json["issues"]


def test_json_is_asked_for_where_json_is_taken(admin: FlaskClient) -> None:
    assert admin.post(f"{BASE}/keys", data="name=x").status_code == 415
    assert admin.post(f"{BASE}/keys", data="{", content_type="application/json").status_code == 400


@pytest.mark.parametrize("caller", [("analyst", None), ("admin", "main")])
def test_runs_count_people_for_admins_of_all_schools_only(
    client_of: ClientOf, admin: FlaskClient, connection: Connection, caller: tuple[str, str | None]
) -> None:
    run_id = start_run(connection, trigger="cli")
    record_stage(connection, run_id, "load", {"loaded": 2})
    record_stage(
        connection, run_id, "transform", {"models": 3, "warnings": ["test known_in_x: Got 4 results"]}
    )
    record_stage(
        connection, run_id, "score", {"target": "at_risk", "students": 12, "at_risk": 1, "written": 12}
    )
    finish_run(connection, run_id, status="failed", error="transform: dbt: 1 failed. test y: Got 3 results")
    assert admin.get(f"{BASE}/runs/{run_id}").json["stages"]["score"]["at_risk"] == 1
    bound = client_of(*caller)
    shown = bound.get(f"{BASE}/runs/{run_id}").json
    assert shown["stages"] == {
        "load": {"loaded": 2}, "transform": {"models": 3}, "score": {"target": "at_risk"},
    }  # fmt: skip
    assert shown["error"] == "transform: dbt: 1 failed. test y: Got some results"
    assert bound.get(f"{BASE}/runs").json["items"] == [shown]


def test_runs_are_listed_newest_first_and_shown(admin: FlaskClient, connection: Connection) -> None:
    made = []
    for _ in range(3):
        made.append(str(run_id := start_run(connection, trigger="cli")))
        finish_run(connection, run_id, status="succeeded")
    first = admin.get(f"{BASE}/runs?limit=2").json
    assert [run["id"] for run in first["items"]] == made[:0:-1]
    rest = admin.get(f"{BASE}/runs?limit=2&after={first['next']}").json
    assert ([run["id"] for run in rest["items"]], rest["next"]) == (made[:1], None)
    assert admin.get(f"{BASE}/runs/{made[0]}").json["trigger"] == "cli"
    assert admin.get(f"{BASE}/runs/{'0' * 8}-0000-7000-8000-{'0' * 12}").status_code == 404


def test_a_run_is_asked_of_airflow_where_there_is_one(
    admin: FlaskClient, settings: Settings, make_key: Callable[..., str]
) -> None:
    assert admin.post(f"{BASE}/runs").status_code == 409
    with_airflow = settings.model_copy(
        update={"airflow_password": SecretStr("x"), "airflow_url": "http://127.0.0.1:1"}
    )
    app = create_app(with_airflow)
    answer = app.test_client().post(f"{BASE}/runs", headers={"Authorization": f"Bearer {make_key('admin')}"})
    assert (answer.status_code, answer.json) == (202, {"waiting_uploads": 0})
    app.extensions["laurel"].close()


@pytest.fixture
def small_mart(connection: Connection) -> None:
    connection.execute(
        """
        create schema if not exists marts;
        create table marts.mart_small (school_id text, student_id text primary key, total numeric);
        comment on table marts.mart_small is 'A mart of a test.';
        insert into marts.mart_small
        values ('main', 'STU001', 61.5), ('main', 'STU002', 40), ('n', 'STU003', null)
        """
    )
    serve(connection)


@pytest.mark.usefixtures("small_mart")
def test_a_mart_is_described_and_read_in_three_formats(admin: FlaskClient) -> None:
    [mart] = admin.get(f"{BASE}/marts").json["items"]
    assert (mart["name"], mart["grain"]) == ("mart_small", ["student_id"])
    address = f"{BASE}/marts/mart_small"
    assert [row["student_id"] for row in admin.get(address).json] == ["STU001", "STU002", "STU003"]
    picked = admin.get(f"{address}?columns=total,student_id&format=csv&school_id=main&total__gte=50")
    assert picked.data == b"total,student_id\n61.5,STU001\n"
    assert picked.headers["Content-Disposition"].startswith("attachment")
    table = pyarrow.parquet.read_table(io.BytesIO(admin.get(f"{address}?format=parquet").data))
    assert table.num_rows == 3
    either = admin.get(f"{address}?student_id=STU001&student_id=STU003").json
    assert [row["student_id"] for row in either] == ["STU001", "STU003"]
    behind = admin.get(f"{address}?after=student_id=STU001&limit=1").json
    assert [row["student_id"] for row in behind] == ["STU002"]
    ordered = [row["student_id"] for row in admin.get(f"{address}?order=-total").json]
    assert ordered == ["STU001", "STU002", "STU003"]
    place = json.dumps({"total": 40, "student_id": "STU002"})
    [last] = admin.get(address, query_string={"order": "-total", "after": place}).json
    assert (last["student_id"], last["total"]) == ("STU003", None)


@pytest.mark.usefixtures("small_mart")
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("colour=red", 404),
        ("columns=colour", 404),
        ("columns=total,total&format=csv", 422),
        ("columns=total,total&format=parquet", 422),
        ("total=much", 422),
        ("format=xls", 422),
        ("limit=0", 422),
        ("order=colour", 404),
        ("order=-", 422),
        ("order=total&after=student_id=STU001", 422),
    ],
)
def test_what_is_wrong_with_a_question_about_a_mart_is_said(
    admin: FlaskClient, query: str, status: int
) -> None:
    answer = admin.get(f"{BASE}/marts/mart_small?{query}")
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


@pytest.mark.usefixtures("small_mart")
@pytest.mark.parametrize(
    "key",
    [
        '{"student_id":' + "[" * 3000 + "]" * 3000 + "}",
        '{"student_id":' + "1" * 5000 + "}",
        r'{"student_id":"\ud800"}',
        r'{"\ud800":"1"}',
        r'{"student_id":"\u0000"}',
        '{"student_id":}',
    ],
    ids=["deep", "long", "half", "half-name", "nul", "malformed"],
)
def test_a_key_that_is_no_key_is_refused(admin: FlaskClient, key: str) -> None:
    asked = {"mart": "mart_small", "column": "total", "key": key}
    answer = admin.get(f"{BASE}/provenance", query_string=asked)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json"), answer.text
    for address in (f"{BASE}/marts/mart_small", "/marts/mart_small"):
        assert admin.get(address, query_string={"after": key}).status_code == 422


def test_the_worklist_and_source_lines_are_for_teachers_and_admins(client_of: ClientOf) -> None:
    for path in ("/risk", "/provenance?mart=a&key=b=1&column=c"):
        for role in ("researcher", "analyst"):
            assert client_of(role).get(BASE + path).status_code == 403
        for role in ("teacher", "admin"):
            assert client_of(role).get(BASE + path).status_code == 404


@pytest.mark.usefixtures("small_mart")
def test_a_mart_without_declarations_shows_researchers_no_cell_and_others_nothing(
    client_of: ClientOf,
) -> None:
    address = f"{BASE}/marts/mart_small"
    rows = client_of("researcher").get(address).json
    assert [set(row.values()) for row in rows] == [{"main", None}, {"main", None}, {"n", None}]
    assert client_of("researcher", "n").get(address).json == [rows[2]]
    for role in ("teacher", "analyst"):
        assert client_of(role).get(address).json == []
        [listed] = client_of(role).get(f"{BASE}/marts").json["items"]
        assert listed["rows"] is None


@pytest.mark.usefixtures("small_mart")
def test_how_many_rows_all_schools_have_is_told_to_no_school(
    client_of: ClientOf, connection: Connection
) -> None:
    connection.execute("analyze marts.mart_small")
    for caller, rows in ((("admin",), 3), (("admin", "main"), None), (("analyst",), None)):
        [listed] = client_of(*caller).get(f"{BASE}/marts").json["items"]
        assert listed["rows"] == rows, caller


def test_models_are_empty_before_any_training(admin: FlaskClient) -> None:
    assert admin.get(f"{BASE}/models").json == {"items": []}
    assert admin.get(f"{BASE}/models/at_risk").status_code == 404


@pytest.fixture
def worklist(connection: Connection) -> None:
    connection.execute(
        """
        create schema if not exists marts;
        create table marts.mart_student_risk (
            school_id text, student_id text, grade_level text, score float8, is_at_risk boolean,
            reasons jsonb);
        insert into marts.mart_student_risk values
            ('main', 'A', 'SS1', 0.2, false, '[]'), ('main', 'B', 'SS1', 0.7, true, '[{"text": "why"}]'),
            ('main', 'C', 'SS2', 0.9, true, '[]')
        """
    )
    serve(connection)


def test_the_worklist_shows_the_most_urgent_first(admin: FlaskClient, worklist: None) -> None:
    first = admin.get(f"{BASE}/risk?limit=1").json
    assert first["items"][0]["student_id"] == "C"
    rest = admin.get(f"{BASE}/risk", query_string={"limit": 1, "after": first["next"]}).json
    assert (rest["items"][0]["reasons"], rest["next"]) == ([{"text": "why"}], None)
    everyone = admin.get(f"{BASE}/risk?only_at_risk=false&grade_level=SS1").json["items"]
    assert [item["student_id"] for item in everyone] == ["B", "A"]


def test_pages_of_the_worklist_lose_nobody_and_repeat_nobody(
    admin: FlaskClient, connection: Connection, worklist: None
) -> None:
    connection.execute(
        """
        insert into marts.mart_student_risk
        select 'Ṣàgámù, "No. 1" %', 'S/' || n, 'SS1', (n / 3) / 3.0, n % 2 = 0, '[]'
        from generate_series(0, 20) n
        """
    )
    whole = admin.get(f"{BASE}/risk?only_at_risk=false").json["items"]
    found, after = [], {}
    while True:
        page = admin.get(f"{BASE}/risk", query_string={"only_at_risk": "false", "limit": 4, **after}).json
        found += page["items"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
        # Whoever was shown may leave the list meanwhile.
        connection.execute(
            "delete from marts.mart_student_risk where student_id = %s", (page["items"][0]["student_id"],)
        )
    assert len(whole) == 24
    assert [item["student_id"] for item in found] == [item["student_id"] for item in whole]


@pytest.mark.parametrize(
    "place", ["1", "C", "1,x,main,C", "2,0.5,main,C", "1,0.5,main,%00", "1,0.5,main,C,D"]
)
def test_a_place_that_is_none_is_refused(admin: FlaskClient, worklist: None, place: str) -> None:
    assert admin.get(f"{BASE}/risk", query_string={"after": place}).status_code == 422


@pytest.mark.parametrize("place", ["1,1e999,main,C", "0,-0.5,%FF%01,", "1,0.9,,"])
def test_a_place_where_nobody_stands_is_one_all_the_same(
    admin: FlaskClient, worklist: None, place: str
) -> None:
    assert admin.get(f"{BASE}/risk", query_string={"after": place}).status_code == 200


def test_ready_when_database_and_store_answer(api: Flask, settings: Settings) -> None:
    assert api.test_client().get("/readyz").json["checks"] == {"database": "ok", "store": "ok"}
    (settings.home / "store").rename(settings.home / "gone")
    (settings.home / "store").write_text("in the way")
    answer = api.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["detail"] == "store: away"
    assert int(answer.headers["Retry-After"]) > 0


def test_not_ready_where_the_tables_are_of_another_version(api: Flask, connection: Connection) -> None:
    connection.execute("update ops.alembic_version set version_num = '9999'")
    answer = api.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["detail"] == "database: of another version"
    connection.execute("delete from ops.alembic_version")
    assert api.test_client().get("/readyz").status_code == 503
    assert api.test_client().get("/healthz").status_code == 200


class _Unread:
    """A body that must not be touched."""

    def read(self, _size: int = -1) -> bytes:
        raise AssertionError("the body was read")


@pytest.mark.parametrize("away", ["database", "store"])
def test_what_is_away_is_said_before_a_body_is_read(
    settings: Settings, make_key: Callable[..., str], away: str
) -> None:
    key = make_key("researcher")
    if away == "database":
        url = SecretStr("postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
        settings = settings.model_copy(update={"database_url": url})
    app = create_app(settings)
    if away == "store":
        app.extensions["laurel"].store  # noqa: B018 - made, and then taken away
        (settings.home / "store").write_text("in the way")
    answer = app.test_client().post(
        f"{BASE}/uploads?dataset=students",
        headers={"Authorization": f"Bearer {key}"},
        environ_overrides={"wsgi.input": _Unread(), "CONTENT_LENGTH": "10"},
    )
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    app.extensions["laurel"].close()


def test_a_database_lost_after_the_bytes_were_stored_loses_nothing(
    api: Flask, researcher: FlaskClient, connection: Connection, settings: Settings, store: Store
) -> None:
    # The upload's own row cannot be written; its event already is in the store.
    connection.execute(
        """
        create function ops.go_away() returns trigger language plpgsql security definer as $$
        begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$;
        create trigger go_away before insert on ops.uploads for each row execute function ops.go_away();
        """
    )
    answer = researcher.post(f"{BASE}/uploads?dataset=students&filename=s.csv", data=STUDENT)
    assert answer.status_code == 201, answer.text
    assert answer.json["filename"] == "s.csv"
    connection.execute("drop trigger go_away on ops.uploads")
    from elt.uploads.discover import discover

    [waiting] = discover(settings, store)
    assert str(waiting.upload_id) == answer.json["id"]
    assert researcher.get(answer.headers["Location"]).json["sha256"] == answer.json["sha256"]


def test_a_database_lost_before_the_event_leaves_no_object(
    researcher: FlaskClient, connection: Connection, store: Store
) -> None:
    connection.execute(
        """
        alter table ops.idempotency_keys rename to elsewhere;
        create function ops.go_away() returns text language plpgsql security definer as $$
        begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return ''; end $$;
        create view ops.idempotency_keys as select ops.go_away() as principal, ops.go_away() as key,
            '' as fingerprint, gen_random_uuid() as upload_id;
        grant select on ops.idempotency_keys to laurel_app
        """
    )
    answer = researcher.post(
        f"{BASE}/uploads?dataset=students", data=STUDENT, headers={"Idempotency-Key": "once"}
    )
    assert answer.status_code == 503, answer.text
    assert list(store.list()) == []
