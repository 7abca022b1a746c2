"""The address of a page as it is looked at: its filters stand in it, so that a view can be shared."""

from __future__ import annotations

from typing import Any

from flask import request, url_for


def this_view(**changes: str | None) -> str:
    """The address of this view with some parameters changed, or taken away (None)."""
    assert request.endpoint is not None  # noqa: S101 - a page is being rendered
    shown = {name: values for name, values in request.args.to_dict(flat=False).items() if any(values)}
    arguments: dict[str, Any] = {**(request.view_args or {}), **shown, **changes}
    return url_for(request.endpoint, **arguments)
