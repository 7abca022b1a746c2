"""What `docs/scale.md` says of the key by which Citus would spread tables is so."""

from __future__ import annotations

import re

from elt.contracts import load_contracts
from elt.settings import PROJECT_DIR

_MODELS = PROJECT_DIR / "dbt" / "models"
_ACROSS_SCHOOLS = {"mart_insights"}  # stays on the coordinator


def test_every_dataset_and_every_primary_key_has_the_school() -> None:
    contracts = list(load_contracts().values())
    assert len(contracts) > 25
    for contract in contracts:
        assert "school_id" in contract.columns, contract.name
        assert not contract.is_keyed or "school_id" in contract.primary_key, contract.name


def test_every_unique_index_has_the_school_or_is_the_key_of_the_row() -> None:
    found = {
        (path.stem, tuple(re.findall(r"'(\w+)'", columns)))
        for path in _MODELS.rglob("*.sql")
        for columns in re.findall(r"'columns':\s*\[([^\]]+)\],\s*'unique': true", path.read_text())
    }
    assert len(found) > 20
    without = {(model, columns) for model, columns in found if "school_id" not in columns}
    assert {columns for model, columns in without if model not in _ACROSS_SCHOOLS} == {("row_key",)}
    assert all(model.startswith("stg_") for model, _columns in without if model not in _ACROSS_SCHOOLS)
