"""What an operation takes and answers, declared beside its view with the models that validate it.

The declaration does two things: it checks each request against the models before the view runs, and it is
what `backend.openapi` makes the API document from. So the document cannot say anything else than the code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Flask, Response, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from backend.errors import InvalidRequest

JSON_TYPE = "application/json"

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Answer:
    """One documented answer: a JSON model, other media types, or nothing (204)."""

    description: str
    model: type[BaseModel] | None = None
    media: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """What one view takes and answers. `problems` are the statuses beside those that every view can have."""

    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    problems: tuple[int, ...] = ()


def operation(
    summary: str,
    answers: Mapping[int, Answer],
    *,
    description: str = "",
    query: type[BaseModel] | None = None,
    headers: type[BaseModel] | None = None,
    body: type[BaseModel] | None = None,
    form: type[BaseModel] | None = None,
    problems: tuple[int, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Declare a view. It is called with `query`, `headers` and `body` as instances of the given models.

    `form` names what may be said about a file, in the query or in the fields of a form. Such bodies are
    streamed, so the view reads them itself (`backend.bodies`) and calls `parse_fields`. A view returns a
    model, a model and a status, those and headers, or a finished response.
    """
    declared = Operation(summary, answers, description, query, headers, body, form, problems)

    def wrap(view: Callable[..., Any]) -> Callable[..., Response]:
        @functools.wraps(view)
        def run(**arguments: Any) -> Response:
            if query is not None:
                arguments["query"] = parse_query(query)
            if headers is not None:
                arguments["headers"] = _parse_headers(headers)
            if body is not None:
                arguments["body"] = _parse_body(body)
            return _respond(view(**arguments))

        run.laurel_operation = declared  # type: ignore[attr-defined]
        return run

    return wrap


def operation_of(app: Flask, endpoint: str) -> Operation | None:
    """What the view behind an endpoint declares; None if it is not part of the document."""
    return getattr(app.view_functions[endpoint], "laurel_operation", None)


def parse_fields(model: type[Model], fields: Mapping[str, str]) -> Model:
    """What is said about a file: the query's parameters and the form's fields, of which the latter win.

    Raises:
        InvalidRequest: something is missing, unknown or wrong.
    """
    try:
        return model.model_validate_strings({**_query_values(), **fields})
    except ValidationError as error:
        raise InvalidRequest.of(error, "In what is said about the file") from None


def parse_query(model: type[Model], *, is_form: bool = False) -> Model:
    """The parameters of the address; of a form, what was left empty is left out.

    Raises:
        InvalidRequest: one is missing, unknown or wrong.
    """
    takes_any = model.model_config.get("extra") == "allow"
    values = _query_values(set(model.model_fields) if takes_any else None)
    if is_form:
        values = {name: value for name, value in values.items() if value}
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        raise InvalidRequest.of(error, "In the address" if is_form else "In the query") from None


def _query_values(once: set[str] | None = None) -> dict[str, str]:
    """The first value of each parameter; only those named (default: all) must not come twice."""
    sent = request.args.to_dict(flat=False)
    twice = [name for name, values in sent.items() if len(values) > 1 and (once is None or name in once)]
    if twice:
        raise InvalidRequest(f"Given more than once: {', '.join(twice)}.")
    return {name: values[0] for name, values in sent.items()}


def _parse_headers(model: type[BaseModel]) -> BaseModel:
    names = [info.alias or name for name, info in model.model_fields.items()]
    sent = {name: request.headers[name] for name in names if name in request.headers}
    try:
        return model.model_validate_strings(sent, by_alias=True)
    except ValidationError as error:
        raise InvalidRequest.of(error, "In the headers") from None


def _parse_body(model: type[BaseModel]) -> BaseModel:
    if request.mimetype != JSON_TYPE:
        raise UnsupportedMediaType(f"Send this as {JSON_TYPE}.")
    try:
        return model.model_validate_json(request.get_data())
    except ValidationError as error:
        if any(fault["type"] == "json_invalid" for fault in error.errors()):
            raise BadRequest("The body is not valid JSON.") from None
        raise InvalidRequest.of(error, "In the body") from None


def _respond(result: Any) -> Response:
    if isinstance(result, Response):
        return result
    status, headers = 200, dict[str, str]()
    if isinstance(result, tuple):
        result, status, *rest = result
        headers = rest[0] if rest else {}
    if result is None:
        return Response(status=status, headers=headers)
    return Response(
        result.model_dump_json(by_alias=True), status=status, headers=headers, content_type=JSON_TYPE
    )
