"""The API document and Swagger UI, published by flasgger with the parts it lacks put in their place.

Its own document maker, its bundled Swagger UI (of 2020) and that one's template are not used: the document
comes from `backend.openapi`, the UI from `backend/static/vendor/swagger-ui`.
"""

from __future__ import annotations

from typing import Any

from flasgger import Swagger
from flask import Flask

from backend.access import allow
from backend.openapi import build_document

_CONFIG: dict[str, Any] = {
    "headers": [],
    "title": "Laurel API",
    "specs": [
        {"endpoint": "openapi", "route": "/openapi.json"},
        {"endpoint": "apispec_1", "route": "/apispec_1.json"},
    ],
    "specs_route": "/apidocs/",
    "oauth_redirect": "/apidocs/oauth2-redirect.html",
    "static_folder": "static",  # relative to the blueprint; replaced below by ours
    "static_url_path": "/static",
}


class _Publisher(Swagger):  # type: ignore[misc]
    """flasgger with our document."""

    def get_apispecs(self, endpoint: str = "apispec_1") -> dict[str, Any]:  # noqa: ARG002 - both are the same
        """The document, made once: routes do not change while the process runs."""
        if self._document is None:
            self._document = build_document(self.app)
        return self._document

    _document: dict[str, Any] | None = None


def register_docs(app: Flask) -> None:
    """Publish /apidocs/, /openapi.json and /apispec_1.json; call it after all other routes are there."""
    publisher = _Publisher(config={**_CONFIG, "static_folder": f"{app.root_path}/static"})
    publisher.init_app(app, decorators=[allow("docs:read")])
    for endpoint, view in app.view_functions.items():
        if endpoint.startswith("flasgger."):
            app.view_functions[endpoint] = allow("docs:read")(_own(view))


def _own(view: Any) -> Any:
    """A function that can carry an attribute, around a view that may be a bound method."""

    def call(*arguments: Any, **named: Any) -> Any:
        return view(*arguments, **named)

    return call
