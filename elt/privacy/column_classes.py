"""How personal each column of a mart is, and hence who may see it.

A column that is named like a field of a contract has that field's class; dbt's properties declare the others
(`config: {meta: {personal: …}}`). A column of which neither says anything counts as personal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from elt.contracts import Personal, load_contracts
from elt.errors import ContractError
from elt.settings import PROJECT_DIR

PROPERTIES = PROJECT_DIR / "dbt" / "models" / "marts" / "_marts.yml"

PSEUDONYM_KINDS = {
    "student_id": "student", "parent_id": "guardian", "guardian_id": "guardian", "teacher_id": "teacher"
}  # fmt: skip
"""The identifiers that have pseudonyms, by their columns."""

_FROM_LEAST: tuple[Personal, ...] = ("none", "sensitive", "identifier", "direct")


@dataclass(frozen=True, slots=True)
class MartClasses:
    """What is declared about a mart. `has_people` False: it tells of no person, alone or in groups."""

    has_people: bool = True
    declared: Mapping[str, Personal] = field(default_factory=dict)

    def of(self, column: str) -> Personal | None:
        """The column's class, of contract and declaration the one that protects more; None if undeclared."""
        found = [each for each in (_contract_classes().get(column), self.declared.get(column)) if each]
        return max(found, key=_FROM_LEAST.index, default=None)


def read_mart_classes(properties: Path = PROPERTIES) -> dict[str, MartClasses]:
    """What dbt's properties declare, by mart.

    Raises:
        ContractError: a class that there is not.
    """
    models: list[dict[str, Any]] = yaml.safe_load(properties.read_text(encoding="utf-8"))["models"]
    return {model["name"]: _mart_classes(model) for model in models}


@cache
def mart_classes() -> Mapping[str, MartClasses]:
    """What dbt's properties declare; read once, for those who ask at every request."""
    return read_mart_classes()


def _mart_classes(model: dict[str, Any]) -> MartClasses:
    declared = {
        column["name"]: _meta(column)["personal"]
        for column in model.get("columns", ())
        if "personal" in _meta(column)
    }
    if wrong := sorted(name for name, found in declared.items() if found not in _FROM_LEAST):
        raise ContractError(
            f"{model['name']}: `personal` of {', '.join(wrong)} is none of {', '.join(_FROM_LEAST)}."
        )
    return MartClasses(bool(_meta(model).get("people", True)), declared)


def _meta(part: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = part.get("config", {}).get("meta", {})
    return found


@cache
def _contract_classes() -> dict[str, Personal]:
    """By column; where contracts differ, the class that protects most."""
    found: dict[str, Personal] = {}
    for contract in load_contracts().values():
        for column in contract.fields:
            known = found.get(column.name, "none")
            found[column.name] = max(known, column.personal, key=_FROM_LEAST.index)
    return found
