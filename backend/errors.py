"""Every error as `application/problem+json` (RFC 9457): one mapping from Laurel's errors to HTTP.

Beside the API, who asks for a page gets the same as a page.
"""

from __future__ import annotations

import json
import re
import traceback
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, redirect, render_template, request, url_for
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from elt.errors import (
    Conflict,
    DigestMismatch,
    Issue,
    LaurelError,
    NotFound,
    PasswordChangeNeeded,
    SignInRefused,
    TooLarge,
    TooManyRequests,
    TooManyTries,
    TransientError,
    TruncatedUpload,
    UnknownDataset,
    UploadRejected,
)
from elt.log import get_logger

PROBLEM_TYPE = "application/problem+json"
_MAX_ISSUES = 50

_STATUS: dict[type[LaurelError], int] = {
    UnknownDataset: 404,
    DigestMismatch: 400,
    TruncatedUpload: 400,
    TooLarge: 413,
    UploadRejected: 422,
    NotFound: 404,
    Conflict: 409,
    SignInRefused: 401,
    PasswordChangeNeeded: 403,
    TooManyRequests: 429,
    TooManyTries: 429,
    TransientError: 503,
    LaurelError: 500,
}

_log = get_logger(__name__)


class InvalidRequest(LaurelError):
    """The request itself is wrong: a parameter, a header, the JSON body. Nothing was done."""

    title = "The request is not valid"

    def __init__(self, detail: str, issues: list[Issue] | None = None) -> None:
        super().__init__(detail)
        self.issues = issues or []

    @classmethod
    def of(cls, error: ValidationError, where: str) -> InvalidRequest:
        """The findings of Pydantic as issues; what was sent is not repeated."""
        issues = [
            Issue(
                rule=str(fault["type"]),
                column=".".join(str(part) for part in fault["loc"]) or None,
                hint=_hint(fault["type"], fault["msg"]),
            )
            for fault in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        named = "; ".join(
            f"{issue.column}: {issue.hint}" if issue.column else issue.hint for issue in issues[:5]
        )
        return cls(f"{where}: {named}.", issues)


def _hint(kind: str, message: str) -> str:
    """What Pydantic says, without its own words for errors and without patterns."""
    if kind == "string_pattern_mismatch":
        return "is not written as it has to be here; /apidocs/ says how"
    return message.removeprefix("Value error, ")


def status_of(error: LaurelError) -> int:
    """The HTTP status for an error: its class's own, else its nearest ancestor's."""
    if isinstance(error, InvalidRequest):
        return 422
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    kind: str = "about:blank",
    issues: list[Issue] | None = None,
    headers: dict[str, str] | None = None,
    **extra: Any,
) -> Response:
    """A problem document as a response, or a page. `instance` names this one occurrence, as in the log."""
    body: dict[str, Any] = {
        "type": kind,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:uuid:{g.request_id}",
        "issues": [issue.to_dict() for issue in (issues or [])[:_MAX_ISSUES]],
        **extra,
    }
    if _is_for_a_person():
        text, kind_of_text = render_template("problem.html", **body), "text/html; charset=utf-8"
    else:
        text, kind_of_text = json.dumps(body, ensure_ascii=False), PROBLEM_TYPE
    # It may repeat half a character.
    response = Response(text.encode(errors="replace"), status=status, content_type=kind_of_text)
    response.headers.update(headers or {})
    return response


def _is_for_a_person() -> bool:
    """Whether a browser is to show the answer: it asks for pages, and of the API not even then."""
    if request.path.startswith("/api/"):
        return False
    return request.accept_mimetypes.best_match((PROBLEM_TYPE, "application/json", "text/html")) == "text/html"


def problem_kind(error_class: type[LaurelError]) -> str:
    """The stable name of a kind of problem: `UploadRejected` → `urn:laurel:problem:upload-rejected`."""
    words = re.findall(r"[A-Z][a-z]*", error_class.__name__)
    return "urn:laurel:problem:" + "-".join(word.lower() for word in words)


def register_errors(app: Flask) -> None:
    """Answer every error of the application with a problem document."""
    app.register_error_handler(LaurelError, problem_of)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _of_bug)


def problem_of(error: LaurelError) -> Response:
    """The answer to one of Laurel's own errors."""
    status = status_of(error)
    if status == 500:
        return _of_bug(error)
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, TransientError) else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="laurel"'
    if status == 503:
        _log.warning("dependency_unavailable", error=type(error).__name__, detail=error.detail)
    issues = error.issues if isinstance(error, UploadRejected | InvalidRequest) else []
    return problem(
        status, error.title, error.detail, kind=problem_kind(type(error)), issues=issues, headers=headers
    )


def _of_http(error: HTTPException) -> Response:
    """Keep what the framework's error says in headers (Allow, WWW-Authenticate, Location)."""
    kept = {
        name: value
        for name, value in error.get_headers()
        if name.lower() not in {"content-type", "content-length"}
    }
    if error.code is None or error.code < 400:
        response: Response = error.get_response()  # type: ignore[assignment]
        return response
    if error.code == 401 and request.method == "GET" and _is_for_a_person():
        return _ask_to_sign_in()
    detail = error.description or error.name
    if error.code == 404:
        detail = f"There is nothing at {request.path}. The routes are listed at /apidocs/."
    elif error.code == 405:
        detail = f"{request.method} is not possible here; allowed: {kept.get('Allow', 'nothing')}."
    return problem(error.code, error.name, detail, headers=kept)


def _ask_to_sign_in() -> Response:
    """Who wants to see a page signs in first, and comes back to it."""
    asked = request.query_string.decode("latin-1")
    wanted = f"{quote(request.path)}?{asked}" if asked else quote(request.path)
    return redirect(url_for("session_pages.show_sign_in", next=wanted), 303)  # type: ignore[return-value]


def _trace(error: BaseException) -> dict[str, Any]:
    """Where it happened. Messages of other libraries are left out: a database's may hold cells of a file."""
    kinds, cause = [type(error).__name__], error.__cause__ or error.__context__
    while cause is not None:
        kinds.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    said = {"detail": error.detail} if isinstance(error, LaurelError) else {}
    return {"error": " from ".join(kinds), "trace": "".join(traceback.format_tb(error.__traceback__)), **said}


def _of_bug(error: Exception) -> Response:
    _log.error("request_failed", **_trace(error))
    return problem(
        500,
        "Something went wrong on our side",
        f"The fault is logged. Tell the operators the id {g.request_id}, or try again later.",
    )
