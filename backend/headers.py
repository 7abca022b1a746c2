"""Headers that every answer carries, the request's id, and one log event per request."""

from __future__ import annotations

import time
import uuid

import structlog
from flask import Flask, Response, g, request

from backend.session_cookie import is_behind_tls
from elt.log import get_logger

_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_API_POLICY = f"{_NOTHING_ELSE}; sandbox"
# Swagger UI draws its icons from data: addresses; scripts and styles are files of our own.
_DOCS_POLICY = "; ".join(
    (
        _NOTHING_ELSE,
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
    )
)
_PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)
# A card is a page of its own, with its style and pictures inside and nothing else.
_CARD_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}

_log = get_logger(__name__)


def register_headers(app: Flask) -> None:
    """Give each request an id, each answer its headers, and write one event about both."""
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    g.request_id = str(uuid.uuid4())
    g.arrived = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _policy(response: Response) -> str:
    """What a browser may do with the answer; a view whose page is somebody else's says so itself."""
    if own := g.get("content_policy"):
        return str(own)
    if request.path == "/apidocs/":
        return _DOCS_POLICY
    if request.endpoint == "models.show_card":
        return _CARD_POLICY
    return _PAGE_POLICY if response.mimetype == "text/html" else _API_POLICY


def _finish(response: Response) -> Response:
    response.headers.update(_COMMON)
    if is_behind_tls():
        response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    if response.mimetype == "text/html":  # with `no-referrer` browsers would hide where a form comes from
        response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Request-Id"] = g.request_id
    response.headers["Content-Security-Policy"] = _policy(response)
    if request.endpoint != "flasgger.static":
        response.headers.setdefault("Cache-Control", "no-store")
    caller = g.get("principal")
    # The route, not the address: addresses and queries may hold a student's identifier.
    _log.info(
        "request_answered",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        caller=caller.id if caller else None,
        seconds=round(time.perf_counter() - g.arrived, 4),
    )
    return response
