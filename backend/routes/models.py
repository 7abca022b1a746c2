"""The models: their versions and what the gate said."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from flask import Blueprint, Response

from backend.access import allow
from backend.operations import Answer, operation
from backend.schemas.risk import CardQuery, ModelDetail, ModelList, ModelSummary, ModelVersion
from backend.services import services
from elt.errors import NotFound

models = Blueprint("models", __name__)

_VERSIONS = """
select model_id, target, version, algorithm, created_at, code_version, is_published,
       accepted_by, accepted_at, accepted_reason, data_window, features, gate,
       metrics - 'reference' as metrics -- how single features spread tells of single students
from ml.model_versions
where %(target)s::text is null or target = %(target)s
order by target, version desc
"""


@models.get("/models")
@allow("models:read")
@operation("List models", {200: Answer("Each target with its newest version.", ModelList)})
def show_models() -> ModelList:
    """One line per target."""
    return list_models()


def list_models() -> ModelList:
    """Each target with its newest version."""
    found = groupby(_versions(None), key=lambda version: version.target)
    return ModelList(items=[_summary(name, list(versions)) for name, versions in found])


@models.get("/models/<name>")
@allow("models:read")
@operation("Show a model", {200: Answer("All versions, newest first.", ModelDetail)})
def show_model(name: str) -> ModelDetail:
    """Versions, metrics, gate results."""
    return describe_model(name)


def describe_model(name: str) -> ModelDetail:
    """A target with all its versions.

    Raises:
        NotFound: nothing was trained for it.
    """
    versions = _versions(name)
    if not versions:
        raise NotFound(f"There is no model {name[:80]!r}.")
    return ModelDetail(name=name, published_version=_published(versions), versions=versions)


@models.get("/models/<name>/card")
@allow("models:read")
@operation(
    "Show a model card",
    {200: Answer("A page of its own, to read or to keep.", media=("text/html",))},
    description=(
        "Purpose, data, how it was judged, what the gate found, groups of students, limits, how to contest. "
        "Of the newest version unless another is named."
    ),
    query=CardQuery,
)
def show_card(name: str, query: CardQuery) -> Response:
    """As it was written when the version was trained."""
    versions = _versions(name)
    version = query.version or (versions[0].version if versions else 0)
    if version not in {each.version for each in versions}:
        raise NotFound(f"There is no version {version} of the model {name[:80]!r}.")
    try:
        with services().store.open(f"models/{name}/{version}.html") as stream:
            page = stream.read()
    except NotFound:
        raise NotFound(f"Version {version} of {name} was trained before there were cards.") from None
    return Response(page, content_type="text/html; charset=utf-8")


def _versions(target: str | None) -> list[ModelVersion]:
    if target is not None and "\0" in target:
        return []  # PostgreSQL knows no such text
    parameters: dict[str, Any] = {"target": target}
    with services().connection() as connection:
        rows = connection.execute(_VERSIONS, parameters).fetchall()
    for row in rows:
        for group in row["metrics"].get("groups", []):
            if group["is_small"]:
                group["students"] = None
    return [ModelVersion.model_validate(row) for row in rows]


def _summary(name: str, versions: list[ModelVersion]) -> ModelSummary:
    return ModelSummary(
        name=name, versions=len(versions), published_version=_published(versions), newest=versions[0]
    )


def _published(versions: list[ModelVersion]) -> int | None:
    return next((version.version for version in versions if version.is_published), None)
