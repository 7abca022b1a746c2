"""Requests that other sites make in the name of somebody who is signed in are refused.

A request that changes something and carries a session cookie must come from our own pages, as the browser
says (`Sec-Fetch-Site`, or `Origin` where that is missing), and hold a token that only our pages know. Signing
in needs no token, since there may be no session yet, but must not come from another site either. API keys are
not concerned: no browser sends them by itself.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from flask import Flask, current_app, request
from werkzeug.exceptions import Forbidden

from backend.access import action_of
from backend.services import services
from backend.session_cookie import csrf_token, read_session_token

FIELD = "csrf_token"
HEADER = "X-CSRF-Token"
SIGN_IN = "session:create"

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM_TYPE = "application/x-www-form-urlencoded"
_LARGEST_FORM = 64 * 1024


def register_csrf(app: Flask) -> None:
    """Check every request before its view runs, after it is known who calls."""
    app.before_request(_check)


def _check() -> None:
    if request.url_rule is None or request.method in _SAFE_METHODS or "Authorization" in request.headers:
        return
    is_ours = _comes_from_ourselves()
    if is_ours is False:
        raise Forbidden("This request comes from another site.")
    session_token = read_session_token()
    if session_token is None or action_of(current_app, request.endpoint) == SIGN_IN:
        return
    if is_ours is None:
        raise Forbidden(
            "With a session, send `Origin` or `Sec-Fetch-Site`, as browsers do; or use an API key."
        )
    if not hmac.compare_digest(_sent_token().encode(errors="replace"), csrf_token(session_token).encode()):
        if request.mimetype == _FORM_TYPE:
            raise Forbidden(
                "Somebody has signed in or out since this page was opened. Open it again and repeat."
            )
        raise Forbidden(f"With a session, send its `{FIELD}` as `{HEADER}`. GET /api/v1/session tells it.")


def _comes_from_ourselves() -> bool | None:
    """What the browser says about it; None: it says nothing."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is None:
        return None
    public = urlsplit(services().settings.public_url).netloc
    return urlsplit(origin).netloc in {request.host, public or request.host}


def _sent_token() -> str:
    if HEADER in request.headers or request.mimetype != _FORM_TYPE:
        return request.headers.get(HEADER, "")
    request.max_content_length = _LARGEST_FORM
    return request.form.get(FIELD, "")
