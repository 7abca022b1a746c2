"""`laurel sources` and `GET /sources` as people use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from cli.main import cli
from tests.conftest import PostgresServer
from tests.integration.sources_world import SourceWorld, source_world

__all__ = ["source_world"]

RESPONSES = """
create table responses (id bigint primary key, cnt text not null, escs numeric, tmins integer);
insert into responses select n, 'ALB', 0.5, 100 from generate_series(1, 12) as n;
"""


@pytest.fixture
def call(source_world: SourceWorld, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Run a command on the test's platform: its exit status, output and errors."""
    settings = source_world.settings
    monkeypatch.setenv("LAUREL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("LAUREL_SECRET_KEY", settings.secret_key.get_secret_value())
    monkeypatch.setenv("LAUREL_PSEUDONYM_KEY", settings.pseudonym_key.get_secret_value())
    monkeypatch.setenv("LAUREL_STORE_URL", settings.store_url)

    def call(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli, ["sources", *arguments])
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def country(source_world: SourceWorld, postgres_server: PostgresServer) -> str:
    url = postgres_server.create_database("country_of_cli")
    with psycopg.connect(url) as connection:
        connection.execute(RESPONSES)
    source_world.configure("albania", url, kind="pisa", school_id="pisa")
    return url


@pytest.fixture(autouse=True)
def drop_country(postgres_server: PostgresServer) -> None:
    postgres_server.drop_database("country_of_cli")


def test_without_sources_it_says_where_their_files_go(
    call: Callable[..., tuple[int, str, str]], source_world: SourceWorld
) -> None:
    status, output, _ = call("list")
    assert status == 0
    assert f"No sources yet. Put a file into {source_world.settings.home / 'sources'}" in output
    assert call("list", "--json")[1] == "[]\n"


def test_a_source_is_listed_read_and_listed_again(
    call: Callable[..., tuple[int, str, str]], country: str
) -> None:
    (before,) = json.loads(call("list", "--json")[1])
    assert (before["status"], before["rows"], before["tables"][0]["synced_at"]) == ("never", 0, None)
    status, output, _ = call("run", "albania")
    assert (status, output.splitlines()[0]) == (0, "albania: 12 rows new or changed, 0 gone, 1 uploads.")
    (after,) = json.loads(call("list", "--json")[1])
    assert (after["status"], after["rows"], after["school_id"]) == ("succeeded", 12, "pisa")
    assert "succeeded" in call("list")[1]


def test_running_all_goes_on_after_one_that_fails_and_says_so_by_its_status(
    call: Callable[..., tuple[int, str, str]], country: str, source_world: SourceWorld
) -> None:
    source_world.configure("aaa", "postgresql://u:hush@127.0.0.1:1/none", kind="pisa")
    source_world.configure("unset", "NOWHERE_URL", kind="pisa")
    status, output, errors = call("run", "--json")
    assert status == 1
    results = {result["source"]: result for result in json.loads(output)}
    assert results["albania"]["error"] is None
    assert results["albania"]["tables"][0]["changed"] == 12
    assert "PostgreSQL:" in results["aaa"]["error"]
    assert "NOWHERE_URL is not set" in results["unset"]["error"]
    assert "hush" not in output + errors
    listed = {source["name"]: source["status"] for source in json.loads(call("list", "--json")[1])}
    assert listed == {"aaa": "failed", "albania": "succeeded", "unset": "not_configured"}


def test_a_name_that_is_none_and_a_broken_file_are_one_clear_line(
    source_world: SourceWorld,
    country: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cli.main import main
    from elt.settings import load_settings

    for name in ("database_url", "secret_key", "pseudonym_key"):
        monkeypatch.setenv(f"LAUREL_{name.upper()}", getattr(source_world.settings, name).get_secret_value())
    monkeypatch.setenv("LAUREL_STORE_URL", source_world.settings.store_url)
    assert load_settings().home == source_world.settings.home
    monkeypatch.setattr("sys.argv", ["laurel", "sources", "run", "algeria"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "There is no source 'algeria'" in capsys.readouterr().err
    Path(source_world.settings.home / "sources" / "broken.yaml").write_text("name: [")
    monkeypatch.setattr("sys.argv", ["laurel", "sources", "list"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "broken.yaml: this is no YAML" in capsys.readouterr().err


def test_the_api_shows_an_administrator_the_same(
    source_world: SourceWorld, country: str, client_of: Callable[..., FlaskClient]
) -> None:
    source_world.sync("albania")
    listed = client_of("admin").get("/api/v1/sources").get_json()["items"]
    assert [(source["name"], source["rows"]) for source in listed] == [("albania", 12)]
    assert client_of("admin", "pisa").get("/api/v1/sources/albania").get_json()["status"] == "succeeded"
    assert client_of("admin", "elsewhere").get("/api/v1/sources/albania").status_code == 404
    assert client_of("researcher").get("/api/v1/sources").status_code == 403
