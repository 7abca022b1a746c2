"""Planted values, sent every way there is, through success and failure: no log or wrong answer holds them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import sql

from elt.people.keys import create_key
from elt.people.users import create_user
from elt.settings import PROJECT_DIR
from elt.warehouse import Connection, connect
from tests.conftest import PostgresServer
from tests.served_api import ApiServer, serve

API = "/api/v1"
PEOPLE = {
    "first_name": "Zqfirstname", "last_name": "Zqlastname", "home_address": "Zqstreet 5",
    "email": "zqmail@example.org", "phone": "+234 80 5559 1717",
}  # fmt: skip
BAD_CELLS = {
    "disorder": "Zqill",
    "email": "zqnomail at example",
    "date_of_birth": "Zqbirthday",
    "student_id": "ZQSTUDENT1",
}
SECRETS = {
    "password": "Zqcorrect-horse-battery-9", "wrong password": "Zqwrong-horse-battery-9",
    "key in an address": "lrl_ZqInAnAddress", "webhook": "zq-webhook-path-secret",
    "secret key": "zq-secret-key-0123456789abcdefghi", "pseudonym key": "zq-pseudonym-key-0123456789abcdef",
    "airflow password": "zq-airflow-password-01234567",
}  # fmt: skip


@dataclass
class World:
    """A served Laurel and all that was written or answered while everything was tried."""

    server: ApiServer
    secrets: dict[str, str]
    written: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    def run(self, name: str, *arguments: str) -> None:
        """A command, with secrets of its own in its environment."""
        settings = self.server.settings
        environment = {each: value for each, value in os.environ.items() if not each.startswith("LAUREL_")}
        environment |= {
            "LAUREL_HOME": str(settings.home),
            "LAUREL_DATABASE_URL": settings.database_url.get_secret_value(),
            "LAUREL_STORE_URL": settings.store_url,
            "LAUREL_SECRET_KEY": SECRETS["secret key"],
            "LAUREL_PSEUDONYM_KEY": SECRETS["pseudonym key"],
            "LAUREL_AIRFLOW_PASSWORD": SECRETS["airflow password"],
            "LAUREL_AIRFLOW_URL": "http://127.0.0.1:9",
            "LAUREL_ALERT_WEBHOOK_URL": f"http://127.0.0.1:9/{SECRETS['webhook']}",
            "LAUREL_OUTGOING_ALLOW": "127.0.0.1",
        }
        laurel = str(Path(sys.executable).with_name("laurel"))
        ran = subprocess.run(
            [laurel, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT_DIR,
        )
        self.written[name] = f"{ran.returncode}\n{ran.stdout}\n{ran.stderr}"


def students(first: int, count: int, faults: int = 2) -> str:
    """A file of students who all have the planted cells; the last rows have faults as well."""
    titles = (
        "Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level,Home Address,Disorder,Email,Phone"
    )
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(titles.split(","))
    for number in range(first, first + count):
        row = {"student_id": f"ZQSTUDENT{number}", "date_of_birth": "2010-01-01", **PEOPLE}
        if number >= first + count - faults:
            row |= {name: BAD_CELLS[name] for name in ("email", "date_of_birth", "disorder")}
        writer.writerow(
            [row["student_id"], row["first_name"], row["last_name"], "Female", row["date_of_birth"], "JSS1",
             row["home_address"], row.get("disorder", ""), row["email"], row["phone"]]
        )  # fmt: skip
    return buffer.getvalue()


@pytest.fixture(scope="module")
def world(
    postgres_server: PostgresServer, built_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with (
        serve(postgres_server, built_template, tmp_path_factory.mktemp("redaction")) as server,
        connect(server.settings.database_url.get_secret_value()) as connection,
    ):
        made = World(server, dict(SECRETS))
        made.secrets["database password"] = postgres_server.owner_password
        made.secrets["server's secret key"] = server.settings.secret_key.get_secret_value()
        made.secrets["server's pseudonym key"] = server.settings.pseudonym_key.get_secret_value()
        try_everything(made, connection)
        made.written["gunicorn"] = server.log.read_text()
        made.written["PostgreSQL"] = (postgres_server.cluster.root.parent / "log").read_text()
        yield made


def try_everything(world: World, connection: Connection) -> None:
    """Sign-in, uploads, loads, builds and questions; the good ones first, then each kind of failure."""
    create_user(connection, "zq@example.org", "Head", "admin", "test", password=SECRETS["password"])
    _, key = create_key(connection, "study", "researcher", None, "test")
    _, admin = create_key(connection, "admin", "admin", None, "test")
    world.secrets |= {"key": key, "admin's key": admin}
    with httpx.Client(base_url=world.server.url, timeout=60) as client:
        sign_in_and_out(world, client)
        ask_with_wrong_keys(client)
        sender = {"Authorization": f"Bearer {key}"}
        address = f"{API}/uploads?dataset=students"
        sent = client.post(address, content=students(1, 60).encode(), headers=sender).json()
        client.post(f"{API}/datasets/students/check", content=students(1, 60).encode(), headers=sender)
        world.run("a run", "run")
        assert "1 loaded" in world.written["a run"], world.written["a run"]
        world.run("status", "status", sent["id"])
        fail_to_build(world, client, connection, sender)
        fail_to_load(world, client, connection, sender)
        fail_to_answer(client, connection, sender, sent["id"])
        gather_answers(world, client, sent["id"], sender, {"Authorization": f"Bearer {admin}"})
    world.run("keys list", "keys", "list", "--json")
    world.run("audit verify", "audit", "verify")


def sign_in_and_out(world: World, client: httpx.Client) -> None:
    right = {"email": "zq@example.org", "password": SECRETS["password"]}
    begun = client.post(f"{API}/session", json=right)
    assert begun.status_code == 201, begun.text
    world.secrets["session"] = client.cookies["laurel_session"]
    world.secrets["csrf token"] = begun.json()["csrf_token"]
    client.cookies.clear()
    attempts = [
        {"email": "zq@example.org", "password": SECRETS["wrong password"]},
        {"email": SECRETS["wrong password"], "password": "typed into the wrong field"},
        {"email": "zq@example.org", "password": {"nested": SECRETS["wrong password"]}},
        {"email": "zq@example.org", "passwort": SECRETS["wrong password"]},
    ]
    for number, attempt in enumerate(attempts):
        world.answers[f"sign-in {number}"] = client.post(f"{API}/session", json=attempt).text
        if isinstance(attempt.get("password"), str):
            world.answers[f"page {number}"] = client.post("/sign-in", data=attempt).text.replace(
                str(attempt["email"]), ""
            )  # what was typed into that field stands there again
    client.cookies.clear()


def ask_with_wrong_keys(client: httpx.Client) -> None:
    wrong = SECRETS["key in an address"]
    client.get(f"{API}/uploads", params={"key": wrong, "api_key": wrong}, headers={"X-Api-Key": wrong})
    client.get(f"{API}/uploads", headers={"Authorization": f"Bearer {wrong}"})
    client.get(f"{API}/uploads", headers={"Cookie": f"laurel_session={wrong}"})


def fail_to_build(world: World, client: httpx.Client, connection: Connection, sender: dict[str, str]) -> None:
    connection.execute(
        "alter table staging.stg_students add constraint broken check (student_id is null) not valid"
    )
    client.post(f"{API}/uploads?dataset=students", content=students(100, 3, 0).encode(), headers=sender)
    world.run("a run whose build fails", "run")
    assert world.written["a run whose build fails"].startswith("1"), world.written["a run whose build fails"]
    connection.execute("alter table staging.stg_students drop constraint broken")


def fail_to_load(world: World, client: httpx.Client, connection: Connection, sender: dict[str, str]) -> None:
    connection.execute("alter table raw.students add constraint broken check (first_name = 'x') not valid")
    client.post(f"{API}/uploads?dataset=students", content=students(200, 60).encode(), headers=sender)
    world.run("a run whose load fails", "run")
    [failed] = connection.execute("select reason from ops.upload_versions where status = 'failed'").fetchall()
    assert "CheckViolation" in failed["reason"]
    connection.execute("alter table raw.students drop constraint broken")
    damaged = client.post(
        f"{API}/uploads?dataset=students", content=students(300, 60).encode(), headers=sender
    )
    [path] = world.server.settings.home.glob(f"store/uploads/*/{damaged.json()['id']}/1/*")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"JSS1", b"JSS2"))
    world.run("a run that finds a damaged file", "run")


def fail_to_answer(
    client: httpx.Client, connection: Connection, sender: dict[str, str], upload_id: str
) -> None:
    connection.execute("alter table ops.uploads add constraint broken check (title is null) not valid")
    body = {"title": PEOPLE["first_name"]}
    assert client.patch(f"{API}/uploads/{upload_id}", json=body, headers=sender).status_code == 500
    connection.execute("alter table ops.uploads drop constraint broken")


def gather_answers(
    world: World, client: httpx.Client, upload_id: str, sender: dict[str, str], admin: dict[str, str]
) -> None:
    """Answers that may hold none of it, to the sender and to an admin."""
    name = PEOPLE["first_name"]
    for path in (
        f"uploads/{upload_id}",
        f"uploads/{upload_id}/issues",
        "uploads",
        "runs",
        "datasets/students",
    ):
        answer = client.get(f"{API}/{path}", headers=sender)
        assert answer.status_code == 200, answer.text
        world.answers[path] = answer.text
    for path in (f"marts/mart_students?{name}=1", f"marts/mart_students?age={name}", f"marts/{name}"):
        client.get(f"{API}/{path}", headers=admin)
    for statement in (
        f"select * from mart_students where first_name = '{name}'",
        f"select 1/0 from mart_students where first_name = '{name}'",
        f"select '{name}'::integer",
    ):
        client.post(f"{API}/query", json={"sql": statement}, headers=admin)
    for path in ("keys", "users", "audit?limit=200", "runs", "models", "marts", "metrics", "readyz"):
        world.answers[f"admin: {path}"] = client.get(f"{API}/{path}", headers=admin).text


def found_in(texts: dict[str, str], planted: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (what, where) for where, text in texts.items() for what, value in planted.items() if value in text
    ]


def test_everything_was_tried(world: World) -> None:
    """Otherwise the other tests find nothing because nothing happened."""
    assert "upload_stored" in world.written["gunicorn"]
    assert "request_failed" in world.written["gunicorn"]
    assert world.written["a run"].startswith("0")
    assert world.written["keys list"].startswith("0")
    assert "stg_students" in world.written["a run whose build fails"]
    assert json.loads(world.answers["runs"])["items"]
    assert '"rule"' in world.answers["uploads/" + json.loads(world.answers["uploads"])["items"][-1]["id"]]


def test_no_log_and_no_output_holds_a_cell_or_a_secret(world: World) -> None:
    planted = {**PEOPLE, **BAD_CELLS, **world.secrets}
    logs = {str(path): path.read_text(errors="replace") for path in log_files(world)}
    assert found_in({**world.written, **logs}, planted) == []


def log_files(world: World) -> Iterator[Path]:
    """What dbt and others leave on the disk. The store is where the files belong."""
    for folder in (world.server.settings.home, PROJECT_DIR / "logs"):
        for path in folder.rglob("*"):
            if path.is_file() and "store" not in path.relative_to(folder).parts:
                yield path


def test_no_answer_holds_what_it_should_not(world: World) -> None:
    assert found_in(world.answers, {**PEOPLE, **BAD_CELLS, **world.secrets}) == []


def test_the_ledger_keeps_neither_secrets_nor_cells(world: World) -> None:
    texts: dict[str, str] = {}
    with connect(world.server.settings.database_url.get_secret_value()) as connection:
        for row in connection.execute("select tablename as name from pg_tables where schemaname = 'ops'"):
            query = sql.SQL("select t::text as line from {} as t").format(sql.Identifier("ops", row["name"]))
            lines: list[dict[str, Any]] = connection.execute(query).fetchall()
            texts[row["name"]] = "\n".join(line["line"] for line in lines)
    assert "study" in texts["keys"]
    bad = {name: value for name, value in BAD_CELLS.items() if name != "student_id"}
    assert found_in(texts, {**PEOPLE, **bad, **world.secrets}) == []
