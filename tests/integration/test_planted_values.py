"""Values meant to harm, in every text cell and header of a file: they are kept, shown, and harm nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import pyarrow.parquet
import pytest
from playwright.sync_api import sync_playwright

from elt.contracts import get_contract, load_contracts
from elt.loading.loader import load_version
from elt.reading.spreadsheets import NUMBER, unguard
from elt.store.base import open_store
from elt.store.object_keys import new_object_key
from elt.transforming.transform import transform
from elt.warehouse import connect
from tests.conftest import PostgresServer
from tests.e2e.chromium import CHROMIUM, FLAGS
from tests.served_api import ApiServer, serve

PLANTED = [
    "<script>window.planted=1</script>",
    '"><img src=x onerror="window.planted=1">',
    "javascript:window.planted=1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("https://evil.example","x")',
    "+SUM(1,1)",
    "-2+3+cmd",
    "@SUM(A1)",
    "'=1+1",
    "＝1+1",
    "../../../../etc/passwd",
    "..\\..\\windows",
    "'; drop schema raw cascade; --",
    '"; delete from ops.uploads; --',
    "$$; drop table ops.keys; --",
    "{{7*7}}${7*7}%n%s%d",
    "\u202egnp.exe",
]
FORMULA = tuple("=+-@\t\r＝＋－＠")
API = "/api/v1"
_TEXT = [
    each.name
    for each in get_contract("students").fields
    if each.type == "string" and not each.constraints.enum and not each.constraints.pattern
]


@dataclass
class World:
    """A served Laurel into which the file was handed, loaded and built."""

    server: ApiServer
    tables: set[tuple[str, str]]
    client: httpx.Client
    sent: dict[str, str] = field(default_factory=dict)
    upload: dict[str, Any] = field(default_factory=dict)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.client.get(f"{API}/{path}", params=parameters)


def a_row(number: int, planted: str, **changed: str) -> dict[str, str]:
    """A student whose every free text is the planted one; the number keeps keys apart."""
    row = dict.fromkeys(_TEXT, planted) | {
        "school_id": "main", "student_id": f"{planted}{number}", "gender": "Female", "grade_level": "JSS1",
        "date_of_birth": "2010-01-01", "living_arrangement": "Day",
    }  # fmt: skip
    return row | changed


def the_file() -> str:
    """All planted values in rows that load, in rows that are rejected, and as headers of unknown columns."""
    rows = [a_row(number, planted) for number, planted in enumerate(PLANTED)]
    rows += [a_row(100 + number, planted, gender=planted) for number, planted in enumerate(PLANTED)]
    rows += [a_row(1000 + number, "Ada") for number in range(20 * len(PLANTED))]
    buffer = io.StringIO(newline="")
    titles = {each.name: each.title for each in get_contract("students").fields if each.name in rows[0]}
    writer = csv.writer(buffer)
    writer.writerow([*titles.values(), *PLANTED])
    for row in rows:
        writer.writerow([*(row[name] for name in titles), *PLANTED])
    return buffer.getvalue()


@pytest.fixture(scope="module")
def world(
    postgres_server: PostgresServer, built_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with serve(postgres_server, built_template, tmp_path_factory.mktemp("planted")) as server:
        key = server.make_key("admin")
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
            made = World(server, tables_of(server), client)
            sent = client.post(
                f"{API}/uploads",
                files={"file": (f"{PLANTED[0]}{PLANTED[10]}.csv", the_file())},
                data={
                    "dataset": "students",
                    "title": PLANTED[0],
                    "note": PLANTED[3] + PLANTED[12],
                    "delimiter": ",",
                },
            )
            assert sent.status_code == 201, sent.text
            made.sent = sent.json()
            settings = server.settings
            load_version(settings, open_store(settings.resolved_store_url), UUID(made.sent["id"]), 1)
            made.upload = made.get(f"uploads/{made.sent['id']}").json()
            assert made.upload["status"] == "loaded", made.upload["reason"]
            transform(settings, uuid4())
            yield made


def tables_of(server: ApiServer) -> set[tuple[str, str]]:
    with connect(server.settings.database_url.get_secret_value()) as connection:
        found = connection.execute(
            "select schemaname, tablename from pg_tables where schemaname in ('ops', 'raw', 'ml')"
        )
        return {(row["schemaname"], row["tablename"]) for row in found}


def is_safe(cell: str) -> bool:
    return not cell.startswith(FORMULA) or re.match(NUMBER, cell) is not None


def test_every_value_is_loaded_as_it_was_sent(world: World) -> None:
    with connect(world.server.settings.database_url.get_secret_value()) as connection:
        rows = connection.execute("select * from raw.students where student_id not like 'Ada%'").fetchall()
    assert {row["first_name"] for row in rows} == set(PLANTED)
    for row in rows:
        assert {row[name] for name in _TEXT} - {row["student_id"], "main"} == {row["first_name"]}


def test_no_table_is_gone_and_every_upload_is_there(world: World) -> None:
    assert tables_of(world.server) >= world.tables
    assert world.get("uploads").json()["items"][0]["id"] == world.sent["id"]
    assert world.get("keys").status_code == 200


def test_no_name_of_an_object_comes_from_what_was_sent(world: World) -> None:
    home = world.server.settings.home
    keys = [each.key for each in open_store(world.server.settings.resolved_store_url).list()]
    [upload] = [key for key in keys if key.startswith("uploads/")]
    assert re.fullmatch(r"uploads/\d{4}-\d\d-\d\d/[0-9a-f-]{36}/1/[A-Za-z0-9._-]+", upload)
    assert {path.name for path in home.iterdir()} <= {"store", "gunicorn.log", "logs", "dbt", "tmp"}
    for planted in (*PLANTED, "", ".", "..", "/", "a/../b", "x" * 400, "CON", "a\nb", "a\0b"):
        key = new_object_key(UUID(int=7), 1, planted)
        assert re.fullmatch(r"uploads/1970-01-01/[0-9a-f-]{36}/1/[A-Za-z0-9._-]{1,200}", key), planted
        assert not {".", ".."} & set(key.split("/"))


def test_rejected_rows_go_back_safely_and_come_back_exactly(world: World) -> None:
    answer = world.get(f"uploads/{world.sent['id']}/rejects.csv")
    rows = list(csv.reader(io.StringIO(answer.content.decode(), newline="")))
    assert len(rows) == len(PLANTED) + 1
    assert [cell for row in rows for cell in row if not is_safe(cell)] == []
    assert [unguard(cell) for cell in rows[0]][-len(PLANTED) - 4 : -4] == PLANTED
    gender = rows[0].index("Gender")
    for row in rows[1:]:
        row[gender] = "Female"
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    fix = world.client.post(
        f"{API}/uploads?dataset=students&delimiter=,&fixes={world.sent['id']}",
        content=buffer.getvalue().encode(),
    ).json()
    settings = world.server.settings
    load_version(settings, open_store(settings.resolved_store_url), UUID(fix["id"]), 1)
    with connect(settings.database_url.get_secret_value()) as connection:
        found = connection.execute(
            "select student_id, first_name from raw.students where _upload_id = %s order by _line",
            (fix["id"],),
        ).fetchall()
    wanted = [(f"{planted}{100 + number}", planted) for number, planted in enumerate(PLANTED)]
    assert [(row["student_id"], row["first_name"]) for row in found] == wanted


def test_marts_are_safe_as_csv_and_exact_otherwise(world: World) -> None:
    seen = set()
    for mart in world.get("marts").json()["items"]:
        as_csv = world.get(f"marts/{mart['name']}", format="csv")
        rows = list(csv.reader(io.StringIO(as_csv.content.decode(), newline="")))
        assert [cell for row in rows for cell in row if not is_safe(cell)] == [], mart["name"]
        exact = world.get(f"marts/{mart['name']}").json()
        parquet = world.get(f"marts/{mart['name']}", format="parquet").content
        texts = [[each for each in row.values() if isinstance(each, str)] for row in exact]
        table = pyarrow.parquet.read_table(io.BytesIO(parquet)).to_pylist()
        for row, line in zip(table, exact, strict=True):
            for name, value in line.items():
                if isinstance(value, str) and isinstance(row[name], str):
                    assert row[name] == value, (mart["name"], name)
        seen |= {text for row in texts for text in row}
    assert set(PLANTED) <= seen  # admins see names


def test_typed_sql_is_safe_as_csv(world: World) -> None:
    asked = {"sql": 'select first_name as "=1+1" from mart_students', "format": "csv"}
    answer = world.client.post(f"{API}/query", json=asked)
    assert answer.status_code == 200, answer.text
    rows = list(csv.reader(io.StringIO(answer.content.decode(), newline="")))
    assert [cell for row in rows for cell in row if not is_safe(cell)] == []
    assert {unguard(row[0]) for row in rows[1:]} >= set(PLANTED)


def test_templates_hold_no_formula(world: World) -> None:
    for name in load_contracts():
        [header] = csv.reader(
            io.StringIO(world.get(f"datasets/{name}/template.csv").content.decode("utf-8-sig"))
        )
        assert all(map(is_safe, header))


@pytest.mark.parametrize("planted", PLANTED)
def test_no_answer_lets_a_browser_run_what_was_sent(world: World, planted: str) -> None:
    """Wherever text can be put: it comes back as JSON at most, which no browser takes for a page."""
    shown = world.sent["id"]
    answers = [
        world.get(f"uploads/{shown}"),
        world.get(f"uploads/{shown}/issues", after=planted),
        world.get("uploads", dataset=planted, status=planted),
        world.get("marts/" + planted.replace("/", "%2F").replace("%n", "")),
        world.get("marts/mart_students", columns=planted, first_name=planted),
        world.get("marts/mart_students", **{planted: planted}),
        world.get("provenance", mart=planted, key=planted, column=planted),
        world.get("students", q=planted),
        world.get("models/" + planted.replace("/", "%2F").replace("%n", "")),
        world.client.get("/" + planted.replace("%n", "")),
        world.client.get("/apidocs/", params={"url": planted}),
        world.client.get("/sign-in", params={"next": planted}),
        world.client.post("/sign-in", data={"email": planted, "password": planted}),
        world.client.post(f"{API}/session", json={"email": planted, "password": planted}),
        world.client.post(f"{API}/keys", json={"name": planted, "role": planted, planted: planted}),
        world.client.post(f"{API}/keys", json={"name": planted, "role": "teacher"}),
        world.client.post(f"{API}/query", json={"sql": planted}),
        world.client.post(f"{API}/datasets/students/check", content=f"{planted}\n{planted}\n".encode()),
        world.client.post(f"{API}/datasets", content=f"{planted}\n{planted}\n".encode()),
        world.client.patch(f"{API}/uploads/{shown}", json={"title": planted, "note": planted}),
        world.client.post(
            f"{API}/uploads?dataset=students", content=b"x", headers={"Idempotency-Key": ascii(planted)}
        ),
    ]
    for answer in answers:
        assert answer.status_code < 500, answer.request.url
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "'unsafe" not in answer.headers["Content-Security-Policy"]
        assert not answer.headers.get("Location", "/").startswith(("http", "//", "javascript")), planted
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            assert planted not in answer.text or not {"<", ">", '"'} & set(planted), answer.request.url
        else:
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_downloads_name_is_one_plain_header(world: World) -> None:
    for part in ("content", "rejects.csv"):
        told = world.get(f"uploads/{world.sent['id']}/{part}").headers["Content-Disposition"]
        assert re.fullmatch(
            r"attachment; filename=\"[A-Za-z0-9._ -]+\"; filename\*=UTF-8''[\w.%~-]+", told
        ), told


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; install one or name it in $CHROMIUM")
def test_a_browser_runs_none_of_it(world: World) -> None:
    ran: list[str] = []
    authorization = {"Authorization": world.client.headers["Authorization"]}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(extra_http_headers=authorization)
        page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
        addresses = [
            f"{API}/uploads",
            f"{API}/uploads/{world.sent['id']}",
            f"{API}/marts/mart_students?limit=50",
        ]
        addresses += [f"/sign-in?next={json.dumps(planted)[1:-1]}" for planted in PLANTED[:3]]
        addresses += [f"/apidocs/?url={PLANTED[0]}", f"/{PLANTED[0]}", f"{API}/marts/{PLANTED[1]}"]
        for address in addresses:
            page.goto(world.server.url + address)
            assert page.evaluate("window.planted") is None, address
            ours = "[...document.scripts].every(script => script.src.startsWith(location.origin))"
            assert page.evaluate(ours) or "/apidocs/" in address, address
        browser.close()
    assert ran == []
