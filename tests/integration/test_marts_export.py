"""`laurel export`."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from cli.main import cli
from elt.errors import NotFound, UploadRejected
from elt.settings import Settings
from elt.warehouse import Connection


@pytest.fixture
def run(settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAUREL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("LAUREL_SECRET_KEY", settings.secret_key.get_secret_value())
    monkeypatch.setenv("LAUREL_PSEUDONYM_KEY", settings.pseudonym_key.get_secret_value())
    connection.execute(
        "create schema marts; create table marts.mart_x (student_id text primary key, score integer);"
        "insert into marts.mart_x values ('001', 50), ('002', 60), ('003', null)"
    )

    def call(*arguments: str | Path) -> Result:
        return CliRunner().invoke(cli, ["export", *map(str, arguments)])

    return call


def test_csv_goes_to_standard_output(run) -> None:
    assert run("mart_x").stdout == "student_id,score\n001,50\n002,60\n003,\n"


def test_the_ending_of_the_file_names_the_format(run, tmp_path: Path) -> None:
    for name in ("a.csv", "a.json", "a.parquet"):
        result = run("mart_x", "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "a.json").read_text())[0] == {"student_id": "001", "score": 50}
    assert pl.read_parquet(tmp_path / "a.parquet")["score"].to_list() == [50, 60, None]
    assert (tmp_path / "a.csv").read_text().startswith("student_id,score\n")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "a.csv",
        "a.json",
        "a.parquet",
    ]


def test_columns_conditions_and_limit_are_kept(run) -> None:
    chosen = run(
        "mart_x",
        "--columns",
        "score",
        "--where",
        "student_id=001",
        "--where",
        "student_id=002",
        "--limit",
        "1",
    )
    assert chosen.stdout == "score\n50\n"
    assert run("mart_x", "--where", "score__gt=50").stdout == "student_id,score\n002,60\n"


def test_a_failed_export_leaves_the_file_that_was_there(run, tmp_path: Path) -> None:
    kept = tmp_path / "kept.csv"
    kept.write_text("old")
    assert isinstance(run("mart_none", "-o", kept).exception, NotFound)
    assert isinstance(run("mart_x", "--columns", "nope", "-o", kept).exception, UploadRejected)
    assert run("mart_x", "--where", "nope", "-o", kept).exit_code == 2
    assert kept.read_text() == "old"
    missing = run("mart_x", "-o", tmp_path / "no folder" / "x.csv")
    assert missing.exit_code == 1
    assert "x.csv" in missing.output
