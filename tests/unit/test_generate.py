"""Generated files: committed as the contracts say, and complete."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli.generate import generate
from elt.contracts import get_contract, load_contracts, match_header
from elt.generate import (
    DICTIONARY_PATH,
    SOURCES_PATH,
    data_dictionary,
    dbt_sources,
    differing_files,
    template_csv,
    write_files,
)
from elt.settings import PROJECT_DIR


def test_the_committed_files_are_those_that_the_contracts_give() -> None:
    assert differing_files(PROJECT_DIR) == []
    result = CliRunner().invoke(generate, ["--check"])
    assert (result.exit_code, result.output) == (0, "")


def test_a_changed_or_missing_file_is_named_and_written_again(tmp_path: Path) -> None:
    assert write_files(tmp_path) == [SOURCES_PATH, DICTIONARY_PATH]
    assert write_files(tmp_path) == []
    (tmp_path / SOURCES_PATH).write_text("changed")
    (tmp_path / DICTIONARY_PATH).unlink()
    assert differing_files(tmp_path) == [SOURCES_PATH, DICTIONARY_PATH]
    write_files(tmp_path)
    assert differing_files(tmp_path) == []


@pytest.mark.parametrize("dataset", load_contracts())
def test_a_template_has_exactly_the_columns_of_its_dataset(dataset: str) -> None:
    contract = get_contract(dataset)
    template = template_csv(contract)
    assert template.startswith(b"\xef\xbb\xbf")
    (header,) = csv.reader(io.StringIO(template.decode("utf-8-sig")))
    match = match_header(contract, header)
    assert match.columns == [field.name for field in contract.file_fields]
    assert not match.issues


def test_the_source_has_every_raw_column_with_its_description_and_privacy() -> None:
    (source,) = yaml.safe_load(dbt_sources(load_contracts()))["sources"]
    tables = {table["name"]: table for table in source["tables"]}
    assert tables.keys() == load_contracts().keys()
    for name, contract in load_contracts().items():
        columns = {column["name"]: column for column in tables[name]["columns"]}
        assert list(columns) == [*contract.columns, "_upload_id", "_line", "_loaded_at"]
        assert all(column["description"] for column in columns.values())
        for field in contract.fields:
            assert columns[field.name]["config"]["meta"]["personal"] == field.personal


def test_the_dictionary_names_every_column_rule_and_choice() -> None:
    text = data_dictionary(load_contracts())
    for contract in load_contracts().values():
        section = text.split(f"\n## {contract.title}\n")[1].split("\n## ")[0]
        for field in contract.fields:
            assert f"| `{field.name}` |" in section
            assert all(choice in section for choice in field.constraints.enum or ())
        for rule in contract.rules:
            assert f"| `{rule.name}` |" in section


def test_check_fails_and_names_the_files_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.generate.PROJECT_DIR", tmp_path)
    result = CliRunner().invoke(generate, ["--check"])
    assert result.exit_code == 1
    assert f"differs: {SOURCES_PATH}\ndiffers: {DICTIONARY_PATH}\n" in result.output
    assert not (tmp_path / SOURCES_PATH).exists()
    assert CliRunner().invoke(generate, []).exit_code == 0
    assert CliRunner().invoke(generate, ["--check"]).exit_code == 0
