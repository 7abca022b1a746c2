"""The API document (OpenAPI 3.1), made from the declarations of the views and their Pydantic models."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from backend.access import action_of
from backend.errors import PROBLEM_TYPE
from backend.limits import UNLIMITED
from backend.operations import JSON_TYPE, Answer, Operation, operation_of
from backend.permissions import scope_of
from backend.schemas.common import Problem
from elt.contracts import load_contracts

_REF = "#/components/schemas/{model}"
_PROBLEMS = {
    400: "The request is malformed, or the bytes are not those announced.",
    401: "No API key or session, or one that is wrong, revoked or expired.",
    403: "The caller's role may not do this, or the request comes from another site.",
    404: "There is no such thing, or it is not yours.",
    409: "The thing is in a state that does not allow this.",
    413: "The file is larger than the limit.",
    415: "The body has a media type that is not understood.",
    422: "What was sent is not valid; `issues` says what and where.",
    429: "Too often; try again after `Retry-After` seconds.",
    500: "A fault of ours; it is logged under the id in `instance`.",
    503: "Database or store is away; try again after `Retry-After` seconds.",
}
_PROBLEM_HEADERS = {
    401: {"WWW-Authenticate": "How to authenticate."},
    429: {"Retry-After": "Seconds to wait."},
    503: {"Retry-After": "Seconds to wait."},
}
_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "session": {
        "type": "apiKey", "in": "cookie", "name": "laurel_session",
        "description": "A person's session (`POST /api/v1/session`); `__Host-laurel_session` behind TLS.",
    },
}  # fmt: skip
_ROWS = {"type": "array", "items": {"type": "object"}}
_BYTES = {"type": "string", "format": "binary"}
_TAG_OF = {"upload_files": "uploads", "models": "risk", "live_public": "live"}
_PATH_SCHEMAS: dict[str, dict[str, Any]] = {
    "uuid": {"type": "string", "format": "uuid"},
    "path": {"type": "string", "minLength": 1},  # it may hold slashes
    "dataset": {"type": "string", "enum": sorted(load_contracts())},
}
_TAGS = {
    "uploads": "Hand in files and follow what becomes of them.",
    "datasets": "What can be handed in: the contracts.",
    "marts": "The figures, and where each comes from.",
    "students": "Students, as you may see them, and what was done to help them.",
    "risk": "Students who may need help, and the model that says so.",
    "live": "The country databases to the second.",
    "runs": "Runs of the pipeline.",
    "session": "Sign in and out, as a person.",
    "users": "People who may sign in.",
    "keys": "API keys.",
    "audit": "Who did what, and when.",
    "health": "Is the platform alive and ready.",
}
_DESCRIPTION = """\
Hand in CSV files, follow them, and read what is made of them.

Press **Authorize** and paste an API key (`laurel keys create` makes one). Every error is a problem document
(RFC 9457): `title` and `detail` say what happened, `issues` lists what is wrong with a file or request.
Lists are newest first; give the `next` of one page as `after` to get the following one.
"""


def build_document(app: Flask) -> dict[str, Any]:
    """Describe every view that declares an operation."""
    models = _Models()
    paths: dict[str, Any] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        declared = operation_of(app, rule.endpoint)
        if declared is None or rule.endpoint.startswith("health_too."):
            continue
        path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _describe(app, rule, declared, models)
    problem_ref = models.ref(Problem, "serialization")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Laurel", "version": version("laurel"), "description": _DESCRIPTION},
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": models.resolve(paths),
        "components": {
            "securitySchemes": _SCHEMES,
            "responses": {
                f"Problem{status}": models.resolve(_problem_response(status, problem_ref))
                for status in _PROBLEMS
            },
            "schemas": models.definitions(),
        },
    }


class _Models:
    """Collects models while paths are described, then names them all at once, as Pydantic wants it."""

    def __init__(self) -> None:
        self._wanted: list[tuple[type[BaseModel], Any]] = []
        self._made: tuple[dict[Any, Any], dict[str, Any]] | None = None

    def ref(self, model: type[BaseModel], mode: str) -> dict[str, Any]:
        """A placeholder that `resolve` turns into the reference to the model's schema."""
        if (model, mode) not in self._wanted:
            self._wanted.append((model, mode))
        return {"$model": (model, mode)}

    def resolve(self, node: Any) -> Any:
        """The node with placeholders replaced."""
        if isinstance(node, dict):
            if "$model" in node:
                return self._make()[0][node["$model"]]
            return {key: self.resolve(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self.resolve(value) for value in node]
        return node

    def definitions(self) -> dict[str, Any]:
        """The schemas of all models."""
        found: dict[str, Any] = self._make()[1].get("$defs", {})
        return found

    def _make(self) -> tuple[dict[Any, Any], dict[str, Any]]:
        if self._made is None:
            self._made = models_json_schema(self._wanted, ref_template=_REF)
        return self._made


def _describe(app: Flask, rule: Rule, declared: Operation, models: _Models) -> dict[str, Any]:
    resource, _, name = rule.endpoint.partition(".")
    described: dict[str, Any] = {
        "tags": [_TAG_OF.get(resource, resource)],
        "operationId": name,
        "summary": declared.summary,
        "parameters": _path_parameters(rule)
        + _query_parameters(declared.query or declared.form)
        + _header_parameters(declared.headers),
        "responses": _responses(app, rule, declared, models),
    }
    if declared.description:
        described["description"] = declared.description
    described.update(_security(app, rule))
    if declared.body is not None:
        reference = models.ref(declared.body, "validation")
        described["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": reference}}}
    if declared.form is not None:
        described["requestBody"] = {"required": True, "content": _file_bodies()}
    return described


def _security(app: Flask, rule: Rule) -> dict[str, Any]:
    action = action_of(app, rule.endpoint)
    if scope_of("anonymous", action):
        return {"security": []}
    known: list[dict[str, list[str]]] = [{name: []} for name in _SCHEMES]
    return {"security": [{}, *known] if scope_of("local", action) else known}


def _path_parameters(rule: Rule) -> list[dict[str, Any]]:
    found = []
    for name in sorted(rule.arguments):
        kind = re.search(rf"<(\w+):{name}>", rule.rule)
        schema = _PATH_SCHEMAS[kind[1]] if kind else {"type": "string", "minLength": 1}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found


def _query_parameters(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema()
    found = _parameters(schema, "query")
    others = schema.get("additionalProperties")
    if isinstance(others, dict):  # any further parameter, by name
        found.append(
            {
                "name": "filters",
                "in": "query",
                "style": "form",
                "explode": True,
                "description": " ".join(schema.get("description", "").split()),
                "schema": {"type": "object", "additionalProperties": others},
                "example": {},
            }
        )
    return found


def _header_parameters(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    return [] if model is None else _parameters(model.model_json_schema(by_alias=True), "header")


def _parameters(schema: dict[str, Any], where: str) -> list[dict[str, Any]]:
    found = []
    for name, described in schema.get("properties", {}).items():
        parameter = {
            "name": name,
            "in": where,
            "required": name in schema.get("required", []),
            "schema": _without_null(described),
        }
        if "description" in described:
            parameter["description"] = parameter["schema"].pop("description")
        found.append(parameter)
    return sorted(found, key=lambda parameter: not parameter["required"])


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be absent cannot be null: the query has no word for it."""
    plain = {key: value for key, value in schema.items() if key not in {"title", "default", "anyOf"}}
    for choice in schema.get("anyOf", []):
        if choice != {"type": "null"}:
            plain = {**choice, **plain}
    if schema.get("default") is not None:
        plain["default"] = schema["default"]
    return plain


def _file_bodies() -> dict[str, Any]:
    """A file in a form, or its bytes as the whole body.

    What is said about the file is documented once, in the query, though it may be fields of the form as well.
    """
    file = {"type": "string", "contentMediaType": "text/csv", "pattern": "[\\r\\n]"}
    form = {
        "type": "object",
        "properties": {"file": file},
        "required": ["file"],
        "additionalProperties": False,
    }
    return {
        "multipart/form-data": {"schema": form, "encoding": {"file": {"contentType": "text/csv"}}},
        "text/csv": {"schema": file},
    }


def _responses(app: Flask, rule: Rule, declared: Operation, models: _Models) -> dict[str, Any]:
    found: dict[str, Any] = {
        str(status): _response(answer, models) for status, answer in sorted(declared.answers.items())
    }
    statuses = {500, *declared.problems}
    action = action_of(app, rule.endpoint)
    if not scope_of("anonymous", action):
        statuses |= {401, 403}
    if action not in UNLIMITED:
        statuses |= {429, 503}
    if rule.arguments:
        statuses.add(404)
    if declared.query or declared.headers or declared.body or declared.form:
        statuses.add(422)
    if declared.body:
        statuses |= {400, 413, 415}
    if declared.form:
        statuses |= {400, 413, 415}
    for status in sorted(statuses - set(declared.answers)):
        found[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    return found


def _response(answer: Answer, models: _Models) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    content: dict[str, Any] = {}
    if answer.model is not None:
        content[JSON_TYPE] = {"schema": models.ref(answer.model, "serialization")}
    for media in answer.media:
        content.setdefault(media, {"schema": _ROWS if media == JSON_TYPE else _BYTES})
    if content:
        described["content"] = content
    if answer.headers:
        described["headers"] = _headers(answer.headers)
    return described


def _problem_response(status: int, reference: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": _PROBLEMS[status],
        "content": {PROBLEM_TYPE: {"schema": reference}},
    }
    if status in _PROBLEM_HEADERS:
        described["headers"] = _headers(_PROBLEM_HEADERS[status])
    return described


def _headers(described: Any) -> dict[str, Any]:
    return {
        name: {"description": text, "required": True, "schema": {"type": "string"}}
        for name, text in described.items()
    }
