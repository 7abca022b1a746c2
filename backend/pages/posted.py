"""What the forms of pages send, and where the reader goes after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from flask import Response, redirect, request
from pydantic import BaseModel, ValidationError

from backend.errors import InvalidRequest
from backend.next_page import safe_next

Model = TypeVar("Model", bound=BaseModel)


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


def back() -> Response:
    """To where the form said that it was."""
    return redirect(safe_next(request.form.get("next")), code=303)  # type: ignore[return-value]
