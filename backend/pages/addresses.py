"""The address of a page as it is looked at: its filters stand in it, so that a view can be shared."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import request, url_for


def this_view(**changes: str | list[str] | None) -> str:
    """The address of this view with some parameters changed, or taken away (None)."""
    assert request.endpoint is not None  # noqa: S101 - a page is being rendered
    sent = request.args.to_dict(flat=False).items()
    shown = {name: [value for value in values if value] for name, values in sent}
    query = {name: value for name, value in (shown | changes).items() if value}
    path = url_for(request.endpoint, **(request.view_args or {}))
    return f"{path}?{urlencode(query, doseq=True)}" if query else path
