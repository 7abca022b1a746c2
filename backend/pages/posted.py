"""What the forms of pages send, and where the reader goes after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from flask import Response, make_response, redirect, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import Forbidden

from backend.errors import InvalidRequest, status_of
from backend.next_page import safe_next
from elt.errors import LaurelError

Model = TypeVar("Model", bound=BaseModel)
Refusal = LaurelError | Forbidden
"""Why a form comes back, to be put right."""


def posted(model: type[Model], where: str) -> Model:
    """What a form says of a model; fields that were left empty are left out, others are not looked at.

    Raises:
        InvalidRequest: something is missing or wrong.
    """
    names: Sequence[str] = [name for name in model.model_fields if request.form.get(name)]
    try:
        return model.model_validate_strings({name: request.form[name] for name in names})
    except ValidationError as error:
        raise InvalidRequest.of(error, where) from None


def checked(model: type[Model], sent: Mapping[str, Any]) -> Model:
    """What a form says, as the API takes it.

    Raises:
        InvalidRequest: something is missing or wrong.
    """
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise InvalidRequest.of(error, "In the form") from None


def said(error: Refusal | None) -> str | None:
    """What is wrong, in the words that the API would use."""
    if error is None:
        return None
    return error.detail if isinstance(error, LaurelError) else error.description


def again(page: str, error: Refusal) -> Response:
    """The form once more, with the status that the API would answer."""
    return make_response(page, status_of(error) if isinstance(error, LaurelError) else error.code)


def back() -> Response:
    """To where the form said that it was."""
    return redirect(safe_next(request.form.get("next")), code=303)  # type: ignore[return-value]
