"""The models: their versions and what the gate said."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from flask import Blueprint

from backend.access import allow
from backend.operations import Answer, operation
from backend.schemas.risk import ModelDetail, ModelList, ModelSummary, ModelVersion
from backend.services import services
from elt.errors import NotFound

models = Blueprint("models", __name__)

_VERSIONS = """
select model_id, target, version, algorithm, created_at, code_version, is_published,
       data_window, features, metrics, gate
from ml.models
where %(target)s::text is null or target = %(target)s
order by target, version desc
"""


@models.get("/models")
@allow("models:read")
@operation("List models", {200: Answer("Each target with its newest version.", ModelList)})
def show_models() -> ModelList:
    """One line per target."""
    found = groupby(_versions(None), key=lambda version: version.target)
    return ModelList(items=[_summary(name, list(versions)) for name, versions in found])


@models.get("/models/<name>")
@allow("models:read")
@operation("Show a model", {200: Answer("All versions, newest first.", ModelDetail)})
def show_model(name: str) -> ModelDetail:
    """Versions, metrics, gate results."""
    versions = _versions(name)
    if not versions:
        raise NotFound(f"There is no model {name[:80]!r}.")
    return ModelDetail(name=name, published_version=_published(versions), versions=versions)


def _versions(target: str | None) -> list[ModelVersion]:
    parameters: dict[str, Any] = {"target": target}
    with services().connection() as connection:
        return [ModelVersion.model_validate(row) for row in connection.execute(_VERSIONS, parameters)]


def _summary(name: str, versions: list[ModelVersion]) -> ModelSummary:
    return ModelSummary(
        name=name, versions=len(versions), published_version=_published(versions), newest=versions[0]
    )


def _published(versions: list[ModelVersion]) -> int | None:
    return next((version.version for version in versions if version.is_published), None)
