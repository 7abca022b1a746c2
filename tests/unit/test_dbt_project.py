"""The dbt project fits the contracts, and says of everything what it is."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from elt.contracts import load_contracts
from elt.loading.raw_tables import raw_ddl
from elt.privacy.column_classes import read_mart_classes
from elt.serving.publish import NEVER_PUBLISHED
from elt.settings import PROJECT_DIR

DBT = PROJECT_DIR / "dbt"
KEYED = (
    "students", "teachers", "guardians", "academic_history", "attendance", "discipline", "activities",
    "school_resources", "timetables", "exam_results", "pisa_responses", "rosariosis_students",
    "rosariosis_students_courses", "rosariosis_attendance_day", "rosariosis_student_assessment_grades",
)  # fmt: skip
KEYLESS = ("survey_responses", "student_performance")
FOLDERS = ("staging", "intermediate", "core", "marts")
OF_EACH_ROW = ["_upload_id", "_line", "_ranked_at"]


@cache
def described() -> dict[str, dict[str, Any]]:
    """What the properties files say, by model."""
    return {
        model["name"]: model
        for folder in FOLDERS
        for path in (DBT / "models" / folder).glob("_*.yml")
        for model in yaml.safe_load(path.read_text()).get("models", ())
    }


def columns(model: str) -> list[str]:
    return [column["name"] for column in described()[model]["columns"]]


def model_files() -> dict[str, Path]:
    return {path.stem: path for path in (DBT / "models").rglob("*.sql")}


def quoted_words(text: str, name: str) -> list[str]:
    """The list that a model hands to a macro: `name=['a', 'b']`."""
    found = re.search(rf"\b{name}=\[(.*?)\]", text, re.DOTALL)
    assert found, name
    return re.findall(r"'([^']+)'", found[1])


@pytest.mark.parametrize("dataset", KEYED)
def test_staging_keeps_names_types_and_key_of_the_contract(dataset):
    contract = load_contracts()[dataset]
    text = model_files()[f"stg_{dataset}"].read_text()
    types = dict(re.findall(r'^    "(\w+)" ([a-z ]+?)(?: not null)?,?$', raw_ddl(contract), re.MULTILINE))

    assert quoted_words(text, "columns") == contract.columns
    assert quoted_words(text, "key") == contract.primary_key
    assert columns(f"stg_{dataset}") == ["row_key", *contract.columns, *OF_EACH_ROW]
    for column in described()[f"stg_{dataset}"]["columns"]:
        if column["name"] in contract.columns:
            assert column["data_type"] == types[column["name"]], column["name"]


@pytest.mark.parametrize("dataset", KEYLESS)
def test_staging_shows_all_columns_of_a_dataset_without_key(dataset):
    assert columns(f"stg_{dataset}") == [*load_contracts()[dataset].columns, "_upload_id", "_line"]


def test_the_datasets_of_the_freshness_mart_are_those_with_a_staging_model():
    listed = re.findall(r"'(\w+)'", (DBT / "macros" / "datasets.sql").read_text())
    staged = {
        name.removeprefix("stg_")
        for name in model_files()
        if name.startswith("stg_") and not name.endswith("__changed") and "rosariosis" not in name
    }
    assert sorted(listed) == sorted(staged)


def test_every_model_is_described_with_its_columns():
    assert set(described()) == set(model_files())
    for name, model in described().items():
        assert model["description"].strip(), name
        for column in model["columns"]:
            assert column["description"].strip(" ?"), f"{name}.{column['name']}"


def test_every_mart_names_its_grain_in_columns_it_has():
    for name in (name for name in described() if name.startswith("mart_")):
        grain = re.search(r"Grain: ([a-z_, ]+)\.$", described()[name]["description"].strip())
        assert grain, name
        assert set(grain[1].split(", ")) <= set(columns(name)), name


def test_every_data_test_is_for_changed_keys_or_for_whole_runs():
    for name, model in described().items():
        for test in model.get("data_tests", []):
            (settings,) = test.values()
            config = settings["config"]
            assert config["tags"] in (["changed"], ["whole"]), name
            assert ("where" in config) == (config["tags"] == ["changed"]), name
    for path in (DBT / "tests").glob("*.sql"):
        assert "tags=['whole']" in path.read_text(), path.name


def test_published_marts_hold_no_names_and_addresses():
    named = {
        mart
        for mart, classes in read_mart_classes().items()
        if any(classes.of(column) == "direct" for column in columns(mart))
    }
    assert named == {
        "mart_students", "mart_guardians", "mart_jamb_performance", "mart_sat_performance",
        "mart_waec_performance",
    }  # fmt: skip
    assert named <= NEVER_PUBLISHED


def test_the_documents_name_the_marts_that_are_not_written_to_the_store():
    text = (PROJECT_DIR / "docs" / "marts.md").read_text()
    (said,) = re.findall(r"Not written to the store: ([^.]+)\.", text)
    assert set(re.findall(r"`(\w+)`", said)) == NEVER_PUBLISHED


def test_layers_read_only_what_lies_below():
    # dim_dates holds every day that a fact has; facts themselves read no dimension.
    below = {"stg": ("stg",), "int": ("stg", "int", "fct", "dim"), "dim": ("stg", "int", "dim", "fct"),
             "fct": ("stg", "int", "fct"), "mart": ("int", "dim", "fct", "stg", "mart")}  # fmt: skip
    seeds = {path.stem for path in (DBT / "seeds").glob("*.csv")}
    for name, path in model_files().items():
        text = path.read_text()
        layer = name.split("_")[0]
        for used in re.findall(r"ref\('(\w+)'\)", text):
            assert used in seeds or used.split("_")[0] in below[layer], f"{name} reads {used}"
        if "source('raw'" in text:
            assert layer == "stg", name


def test_every_day_of_a_fact_reaches_the_calendar_and_its_test():
    calendar = model_files()["dim_dates"].read_text()
    tested = (DBT / "tests" / "assert_every_fact_day_is_a_date.sql").read_text()
    days = {(name, column) for name in described() if name.startswith("fct_")
            for column in columns(name) if column.endswith("_date")}  # fmt: skip
    assert days >= {("fct_attendance_days", "attendance_date"), ("fct_discipline", "incident_date")}
    for fact, day in days:
        assert re.search(rf"select {day}( as date_day)? from {{{{ ref\('{fact}'\) }}}}", calendar), fact
        assert f"('{fact}', '{day}')" in tested, fact


def test_every_resource_of_the_contract_is_in_the_mart():
    text = model_files()["mart_school_resources"].read_text()
    counted = re.findall(r"resource = '([^']+)'", text)
    assert tuple(counted) == load_contracts()["school_resources"].field("resource").constraints.enum


def test_every_country_of_the_contract_has_a_name():
    with (DBT / "seeds" / "pisa_countries.csv").open(encoding="utf-8", newline="") as file:
        names = {row["country_code"]: row["country_name"] for row in csv.DictReader(file)}
    assert tuple(names) == load_contracts()["pisa_responses"].field("cnt").constraints.enum
    assert all(names.values())


def test_the_sources_of_a_figure_are_columns_that_exist():
    with (DBT / "seeds" / "mart_sources.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["mart"] for row in rows} >= {name for name in described() if name.startswith("mart_")} - {
        "mart_insights",
        "mart_data_quality",
        "mart_freshness",
    }
    for row in rows:
        relation = row["relation"].split(".")[-1] or f"stg_{row['dataset']}"
        known = set(columns(relation))
        assert {"_upload_id", "_line"} <= known
        assert set(row["source_columns"].split(",")) <= known, row
        assert row["column_name"] in {"*", *columns(row["mart"])}, row
        for pair in row["match"].split(","):
            left, right = pair.split("=")
            assert left in columns(row["mart"]), row
            assert right in known, row


def test_no_python_package_hides_the_installed_dbt():
    assert not list(DBT.rglob("*.py"))
