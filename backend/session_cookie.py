"""The cookie that holds a session, and the token that proves that a form is ours."""

from __future__ import annotations

import base64
import hmac

from flask import Response, request

from backend.services import services
from elt.people.sessions import LONGEST

_NAME = "laurel_session"
_NAME_BEHIND_TLS = f"__Host-{_NAME}"  # browsers take it over TLS only, and from no other host


def is_behind_tls() -> bool:
    """Whether people reach Laurel over TLS, here or at a server in front of it."""
    return request.is_secure or services().settings.public_url.startswith("https://")


def read_session_token() -> str | None:
    """The value of the caller's session cookie."""
    return request.cookies.get(_name()) or None


def set_session_cookie(response: Response, token: str) -> None:
    """Give the browser its session."""
    response.set_cookie(
        _name(), token, max_age=LONGEST, path="/", secure=is_behind_tls(), httponly=True, samesite="Lax"
    )


def clear_session_cookie(response: Response) -> None:
    """Take the session from the browser."""
    response.delete_cookie(_name(), path="/", secure=is_behind_tls(), httponly=True, samesite="Lax")


def csrf_token(session_token: str) -> str:
    """What forms send along: only who knows the cookie can tell it, and other sites cannot read it."""
    digest = hmac.digest(session_token.encode(errors="replace"), b"laurel csrf", "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _name() -> str:
    return _NAME_BEHIND_TLS if is_behind_tls() else _NAME
