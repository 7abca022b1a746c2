"""`laurel live …` as people use it: what it shows, and what it says where something is not right."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from psycopg import sql

from cli.main import main
from elt.live.once import follow_once
from elt.settings import Settings
from elt.warehouse import Connection
from tests.conftest import PostgresServer
from tests.countries import Country, configure, following, make_countries

Call = Callable[..., tuple[int, str, str]]
_STRANGER = "live_stranger_for_tests"


@pytest.fixture
def call(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command on the test's platform: its exit status, output and errors."""
    monkeypatch.setenv("LAUREL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("LAUREL_SECRET_KEY", settings.secret_key.get_secret_value())
    monkeypatch.setenv("LAUREL_PSEUDONYM_KEY", settings.pseudonym_key.get_secret_value())

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["laurel", "live", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


@pytest.fixture
def countries(
    postgres_server: PostgresServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> list[Country]:
    made = make_countries(postgres_server, ["ALB", "ARG"])
    for country in made:
        country.fill(1, 30)
    configure(settings, made, monkeypatch.setenv)
    return made


def test_without_sources_it_says_where_they_are_looked_for(call: Call, settings: Settings) -> None:
    folder = str(settings.home / "sources")
    for arguments, status in ((("status",), 0), (("check",), 0), (("prepare", "--all"), 1)):
        found = call(*arguments)
        assert found[0] == status
        assert folder in "".join(found[1:])
    assert call("status", "--json")[1] == "[]\n"
    assert call("prepare", "pisa-alb")[0] == 1


def test_sources_are_shown_and_nobody_following_is_said(
    call: Call, settings: Settings, countries: list[Country]
) -> None:
    for country in countries:
        follow_once(settings, country.name)
    status, output, errors = call("status")
    assert (status, errors) == (0, "Nobody follows now; `laurel live` does.\n")
    assert [line.split()[:5] for line in output.splitlines()[1:]] == [
        ["pisa-alb", "ALB", "poll", "30", "0"], ["pisa-arg", "ARG", "poll", "30", "0"],
    ]  # fmt: skip
    with following(settings):
        end = time.monotonic() + 90
        while call("status")[2]:
            assert time.monotonic() < end
            time.sleep(0.1)
    assert [(each["source"], each["responses"]) for each in json.loads(call("status", "--json")[1])] == [
        ("pisa-alb", 30), ("pisa-arg", 30),
    ]  # fmt: skip
    assert call("check") == (0, "Nothing differs.\n", "")
    assert call("rejects", "--source", "pisa-alb") == (0, "No row is rejected.\n", "")
    status, _, errors = call("rejects", "--source", "pisa-xyz")
    assert (status, "pisa-alb, pisa-arg" in errors) == (1, True)


def test_what_keeps_a_source_away_is_told_and_never_a_password(
    call: Call, settings: Settings, connection: Connection, countries: list[Country],
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    password = postgres_server.owner_password
    postgres_server.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(_STRANGER)))
    postgres_server.execute(
        sql.SQL("create role {} login password {}").format(sql.Identifier(_STRANGER), password)
    )
    address = countries[0].url
    for changed, said in (
        (address.replace(password, "wrong-secret"), "password authentication failed"),
        (address.replace(password, "wrong@secret"), "postgresql://role:password@host:5432/database"),
        (address.replace("laurel:", f"{_STRANGER}:"), "permission denied for table responses"),
        (address.replace(f":{postgres_server.cluster.port}/", ":9/"), "Connection refused"),
    ):
        monkeypatch.setenv(countries[0].variable, changed)
        with following(settings):
            end = time.monotonic() + 90
            while said not in "".join((found := call("status"))[1].split("\n")):
                assert time.monotonic() < end, found
                time.sleep(0.1)
        assert found[0] == 1
        checked, prepared = call("check"), call("prepare", "--all")
        assert checked[0] == prepared[0] == 1
        assert "pisa-alb: " in prepared[2]
        assert prepared[1] == "pisa-arg: calls from now on.\n"
        for text in (*found[1:], *checked[1:], *prepared[1:]):
            assert password not in text
            assert "secret" not in text
    monkeypatch.delenv(countries[0].variable)
    assert countries[0].variable in call("prepare", "pisa-alb")[2]


def test_what_is_printed_prepares_and_undoes(
    call: Call, countries: list[Country], monkeypatch: pytest.MonkeyPatch
) -> None:
    alb = countries[0]
    with alb.connect() as owner:
        for arguments, is_there in ((("--print",), True), (("--undo", "--print"), False)):
            status, statements, _ = call("prepare", "pisa-alb", *arguments)
            assert status == 0
            owner.execute(statements)
            assert owner.execute("select to_regnamespace('laurel_live') is not null").fetchone() == (
                is_there,
            )
        assert owner.execute("select count(*) from pg_trigger where not tgisinternal").fetchone() == (0,)
    assert call("prepare")[0] == 2
    # Whoever takes it away need not read the table.
    monkeypatch.setenv("OWNER", alb.url)
    monkeypatch.delenv(alb.variable)
    undone = call("prepare", "pisa-alb", "--owner-url-variable", "OWNER", "--undo")
    assert undone == (0, "pisa-alb: looked at again.\n", "")
