"""The boards' API described: the OpenAPI document, and a page made of it."""

from __future__ import annotations

from typing import Any

from flask import render_template_string

from demo.exam_records import RecordKind

MAX_LIMIT = 1000
DEFAULT_LIMIT = 10

Json = dict[str, Any]


def describe(paths: dict[str, RecordKind], *, needs_key: bool) -> Json:
    """The OpenAPI document. `paths`: what each gives out."""
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Examination results",
            "version": "1",
            "description": "Results of made-up candidates, as examination boards give them to schools.",
        },
        "paths": {path: {"get": _operation(kind, needs_key=needs_key)} for path, kind in paths.items()},
        "components": {"schemas": {"Refusal": _object({"detail": {}})}},
    }
    if needs_key:
        scheme = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        document["components"]["securitySchemes"] = {"key": scheme}
    return document


def _operation(kind: RecordKind, *, needs_key: bool) -> Json:
    refusals = {"404": "There are none.", "422": "A parameter is missing or wrong."}
    if needs_key:
        refusals["401"] = "The key is missing or wrong."
    schema = {"$ref": "#/components/schemas/Refusal"}
    operation: Json = {
        "summary": f"{kind.name} of a school in a year, page by page",
        "parameters": [
            _parameter(kind.school, required=True),
            _parameter("exam_year", required=True),
            _parameter("skip", minimum=0, default=0),
            _parameter("limit", minimum=1, maximum=MAX_LIMIT, default=DEFAULT_LIMIT),
        ],
        "responses": {
            "200": {"description": "A page of them.", "content": _json(_envelope(kind))},
            **{
                status: {"description": text, "content": _json(schema)}
                for status, text in sorted(refusals.items())
            },
        },
    }
    return {**operation, "security": [{"key": []}]} if needs_key else operation


def _parameter(name: str, *, required: bool = False, **limits: int) -> Json:
    return {"name": name, "in": "query", "required": required, "schema": {"type": "integer", **limits}}


def _envelope(kind: RecordKind) -> Json:
    item = {
        column: {"type": "integer" if column in kind.whole_numbers else "string"} for column in kind.columns
    }
    number = {"type": "integer"}
    return _object(
        {
            "status": {"const": "success"},
            "records": {**number, "description": "How many are in this page."},
            "total": {**number, "description": "How many there are in all."},
            "data": {"type": "array", "items": _object(item)},
        }
    )


def _object(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def render_page(document: Json) -> str:
    """The document as a page for people."""
    return render_template_string(_PAGE, document=document)


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{{ document.info.title }}</title>
<style>body { font: 1rem/1.5 sans-serif; margin: 2rem auto; max-width: 46rem; padding: 0 1rem }</style>
<h1>{{ document.info.title }}</h1>
<p>{{ document.info.description }} Described for programs in <a href="/openapi.json">openapi.json</a>.
{% if document.components.securitySchemes %}The key goes into the header X-API-Key.{% endif %}</p>
{% for path, operations in document.paths.items() %}
<h2><code>GET {{ path }}</code></h2>
<p>{{ operations["get"].summary }}.</p>
<h3>Parameters</h3>
<ul>{% for each in operations["get"].parameters %}
  <li><code>{{ each.name }}</code>, {{ "required" if each.required else "default " ~ each.schema.default }}
  {%- if each.schema.maximum %}, at most {{ each.schema.maximum }}{% endif %}</li>{% endfor %}
</ul>
<h3>Answers</h3>
<ul>{% for status, each in operations["get"].responses.items() %}
  <li>{{ status }}: {{ each.description }}</li>{% endfor %}
</ul>
{% endfor %}
</html>
"""
