"""The account of who has signed in: who they are, and which e-mails they get."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, redirect, render_template, request, url_for

from backend.access import allow, may, principal
from backend.services import services
from elt.errors import Conflict
from elt.mail import can_mail
from elt.people.principals import user_id_of
from elt.people.users import choose_mails, get_user
from elt.serving.subscriptions import list_subscriptions, unsubscribe

account_pages = Blueprint("account_pages", __name__)


@account_pages.get("/account")
@allow("mails:choose")
def show_account() -> str:
    """E-mails about files handed in, and weekly reports of classes."""
    user_id = own_user_id()
    with services().connection() as connection:
        person, reports = get_user(connection, user_id), list_subscriptions(connection, user_id)
    return render_template(
        "account.html",
        person=person,
        reports=reports,
        may_hand_in=may("uploads:create"),
        may_read_reports=may("reports:read"),
        can_mail=can_mail(services().settings),
        is_saved="saved" in request.args,
    )


@account_pages.post("/account/mails")
@allow("mails:choose")
def choose() -> Response:
    """Which files the caller hears of by e-mail; a box that is not ticked is not sent."""
    user_id = own_user_id()
    with services().connection() as connection:
        choose_mails(
            connection, user_id, loaded="loaded" in request.form, troubled="troubled" in request.form
        )
    return _back(saved="")


@account_pages.post("/account/reports/<uuid:subscription_id>/end")
@allow("mails:choose")
def end_report(subscription_id: UUID) -> Response:
    """No longer send the caller a weekly report."""
    user_id = own_user_id()
    with services().connection() as connection:
        unsubscribe(connection, user_id, subscription_id)
    return _back()


def own_user_id() -> UUID:
    """The caller's account.

    Raises:
        Conflict: a program calls, which has none.
    """
    user_id = user_id_of(principal().id)
    if user_id is None:
        raise Conflict("A key has no account page and gets no e-mail; sign in as a person.")
    return user_id


def _back(**query: Any) -> Response:
    return redirect(url_for("account_pages.show_account", **query), code=303)  # type: ignore[return-value]
