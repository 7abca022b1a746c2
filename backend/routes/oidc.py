"""Signing in by OpenID Connect where a provider is configured: code flow with PKCE, state and nonce."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.flask_client import OAuth
from flask import Blueprint, Flask, Response, current_app, redirect, request, session, url_for
from joserfc.errors import JoseError
from requests import RequestException

from backend.access import allow
from backend.auditing import note_for_audit
from backend.csrf import SIGN_IN
from backend.next_page import safe_next
from backend.routes.session import replace_session
from backend.routes.session_pages import show_refusal
from backend.services import services
from backend.session_cookie import read_session_token, set_session_cookie
from elt.errors import ConfigurationError, NotFound, SignInRefused, TransientError
from elt.log import get_logger
from elt.people.linked_accounts import Identity, find_account
from elt.people.sessions import describe_session
from elt.people.sign_in import begin as begin_session
from elt.settings import Settings
from elt.warehouse import Connection

oidc = Blueprint("oidc", __name__)

_PATH = "/sign-in/oidc"
_NAME = "provider"
_TIMEOUT_SECONDS = 10
_NEAR = frozenset({"localhost", "127.0.0.1", "::1"})
_log = get_logger(__name__)


class ProviderUnavailable(TransientError):
    """The OpenID provider did not answer."""

    title = "The provider is not available"


def register_oidc(app: Flask, settings: Settings) -> None:
    """Prepare the client; what it must remember until the browser comes back lies in a signed cookie.

    Raises:
        ConfigurationError: the issuer's address is not one for TLS.
    """
    app.register_blueprint(oidc)
    app.secret_key = hmac.digest(
        settings.secret_key.get_secret_value().encode(), b"laurel openid state", "sha256"
    )
    is_behind_tls = settings.public_url.startswith("https://")
    app.config.update(
        SESSION_COOKIE_NAME="__Host-laurel_oidc" if is_behind_tls else "laurel_oidc",
        SESSION_COOKIE_PATH="/",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",  # the provider leads back from another site
        SESSION_COOKIE_SECURE=is_behind_tls,
    )
    if not settings.oidc_issuer:
        return
    issuer = urlsplit(settings.oidc_issuer)
    if issuer.scheme != "https" and issuer.hostname not in _NEAR:
        raise ConfigurationError("LAUREL_OIDC_ISSUER must begin with https://")
    secret = settings.oidc_client_secret
    OAuth(app).register(
        _NAME,
        client_id=settings.oidc_client_id,
        client_secret=secret.get_secret_value() if secret else None,
        server_metadata_url=f"{settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid email",
            "code_challenge_method": "S256",
            "default_timeout": _TIMEOUT_SECONDS,
        },
    )


@oidc.get(_PATH)
@allow("session:forms")
def begin() -> Response:
    """Send the browser to the provider."""
    session["next"] = safe_next(request.args.get("next"))
    here = services().settings.public_url.rstrip("/") or request.host_url.rstrip("/")
    try:
        return _client().authorize_redirect(here + url_for("oidc.finish"))  # type: ignore[no-any-return]
    except RequestException:
        raise ProviderUnavailable("The OpenID provider does not answer.") from None


@oidc.get(f"{_PATH}/callback")
@allow(SIGN_IN)
def finish() -> Response:
    """The browser comes back: ask the provider who it is, and begin a session."""
    following = safe_next(session.get("next"))
    try:
        identity = _identify()
        with services().connection() as connection:
            user_id = find_account(connection, identity, _signed_in(connection))
            token = begin_session(connection, user_id, request.remote_addr or "", "openid")
            replace_session(connection)
    except SignInRefused as refused:
        note_for_audit(refused.subject)
        return show_refusal(refused, following)
    finally:
        session.clear()
    response: Response = redirect(following, 303)  # type: ignore[assignment]
    set_session_cookie(response, token)
    return response


def _identify() -> Identity:
    """Exchange the code for what the provider says, checked: signature, issuer, audience, time, nonce.

    Raises:
        SignInRefused: something about it does not fit.
        ProviderUnavailable: the provider did not answer.
    """
    issuer, client_id = services().settings.oidc_issuer, services().settings.oidc_client_id
    expected = {
        "iss": {"essential": True, "value": issuer},
        "aud": {"essential": True, "value": client_id},
        "sub": {"essential": True},
    }
    try:
        said: dict[str, Any] = _client().authorize_access_token(claims_options=expected)
    except RequestException:
        raise ProviderUnavailable("The OpenID provider does not answer.") from None
    except (AuthlibBaseError, JoseError, ValueError) as error:
        _log.warning("openid_refused", error=type(error).__name__)
        raise SignInRefused(detail="Signing in at your provider did not work. Try again.") from None
    claims = said.get("userinfo")
    if claims is None:
        raise SignInRefused(detail="Your provider does not tell who you are.")
    is_verified = claims.get("email_verified") in (True, "true")
    return Identity(issuer, str(claims["sub"]), claims.get("email") if is_verified else None)


def _signed_in(connection: Connection) -> UUID | None:
    token = read_session_token()
    found = describe_session(connection, token) if token else None
    return found.user_id if found else None


def _client() -> Any:
    """The provider's client.

    Raises:
        NotFound: no provider is configured.
    """
    clients: OAuth | None = current_app.extensions.get("authlib.integrations.flask_client")
    if clients is None:
        raise NotFound("Signing in by OpenID Connect is not set up here.")
    return clients.create_client(_NAME)
