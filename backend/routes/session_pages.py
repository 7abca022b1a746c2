"""The pages for signing in, choosing a password, and signing out. They work without scripts."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from backend.access import allow
from backend.csrf import SIGN_IN
from backend.next_page import safe_next
from backend.routes.session import enter
from backend.services import services
from backend.session_cookie import (
    clear_session_cookie,
    csrf_token,
    read_session_token,
    set_session_cookie,
)
from elt.errors import (
    LaurelError,
    PasswordChangeNeeded,
    SignInRefused,
    TooManyRequests,
    TooManyTries,
    WeakPassword,
)
from elt.people.passwords import SHORTEST
from elt.people.sessions import describe_session
from elt.people.sign_in import sign_out

session_pages = Blueprint("session_pages", __name__)

_STATUS: dict[type[LaurelError], int] = {
    SignInRefused: 401,
    PasswordChangeNeeded: 403,
    WeakPassword: 422,
    TooManyTries: 429,
    TooManyRequests: 429,
}


@session_pages.get("/sign-in")
@allow("session:forms")
def show_sign_in() -> Response:
    """The form; `next` is the page to go to afterwards."""
    return _show("sign_in.html", next=safe_next(request.args.get("next")))


@session_pages.post("/sign-in")
@allow(SIGN_IN)
def submit_sign_in() -> Response:
    """Sign in, or say why not."""
    return _sign_in("sign_in.html", None)


@session_pages.get("/password")
@allow("session:forms")
def show_password() -> Response:
    """The form for choosing another password; needs the present one, whether signed in or not."""
    return _show("password.html", next=safe_next(request.args.get("next")), email=_own_email())


@session_pages.post("/password")
@allow(SIGN_IN)
def submit_password() -> Response:
    """Change the password, sign in anew, end all other sessions."""
    return _sign_in("password.html", request.form.get("new_password", ""))


@session_pages.get("/sign-out")
@allow("session:forms")
def show_sign_out() -> Response:
    """A button; a link alone must not end a session."""
    return _show("sign_out.html", email=_own_email())


@session_pages.post("/sign-out")
@allow("session:forms")
def submit_sign_out() -> Response:
    """End the session, on the server too."""
    if token := read_session_token():
        with services().connection() as connection:
            sign_out(connection, token)
    response = _see(url_for("session_pages.show_sign_in"))
    clear_session_cookie(response)
    return response


def show_refusal(refused: SignInRefused, following: str) -> Response:
    """The form again, with why somebody was not let in."""
    return _show("sign_in.html", error=refused, next=following)


def _sign_in(template: str, new_password: str | None) -> Response:
    form = {name: request.form.get(name, "") for name in ("email", "password")}
    following = safe_next(request.form.get("next"))
    try:
        token = enter(form["email"], form["password"], new_password)
    except tuple(_STATUS) as error:
        if isinstance(error, PasswordChangeNeeded):
            template = "password.html"
        return _show(template, error=error, next=following, email=form["email"])
    response = _see(following)
    set_session_cookie(response, token)
    return response


def _own_email() -> str:
    """The e-mail of who has signed in; empty: nobody."""
    if token := read_session_token():
        with services().connection() as connection:
            if found := describe_session(connection, token):
                return found.email
    return ""


def _show(template: str, error: LaurelError | None = None, **values: str) -> Response:
    settings, token = services().settings, read_session_token()
    page = render_template(
        template,
        error=error.detail if error else None,
        csrf_token=csrf_token(token) if token else "",
        oidc_name=settings.oidc_name if settings.oidc_issuer else None,
        shortest=SHORTEST,
        **values,
    )
    response = make_response(page, _STATUS[type(error)] if error else 200)
    if isinstance(error, TooManyTries | TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _see(path: str) -> Response:
    return redirect(path, 303)  # type: ignore[return-value]
