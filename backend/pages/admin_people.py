"""People who may sign in: found, invited, changed, suspended, given a password, signed out."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import Forbidden

from backend.access import allow, principal
from backend.errors import InvalidRequest
from backend.operations import parse_query
from backend.pages.addresses import this_view
from backend.pages.posted import Refusal, again, checked, said
from backend.permissions import ROLES
from backend.routes import users as api
from backend.schemas.people import NewUser, User, UserChange, UserListQuery
from backend.services import services
from elt.errors import AccountRefused, Conflict, NotFound
from elt.people.sessions import count_sessions
from elt.serving.classes import Classes, read_classes

people_pages = Blueprint("people_pages", __name__)

_BLANK_ROWS = 3  # for more classes; after saving there are as many again
_MAY_BE_PUT_RIGHT = (InvalidRequest, AccountRefused, Conflict, Forbidden)


@people_pages.get("/admin/people")
@allow("users:manage")
def show_people() -> str:
    """Of the caller's school, or of all; disabled ones too."""
    query = parse_query(UserListQuery, is_form=True)
    page = api.show_users_for(query)
    return render_template(
        "people.html",
        page=page,
        query=query,
        roles=ROLES,
        following=page.next and this_view(after=page.next),
    )


@people_pages.get("/admin/people/new")
@allow("users:manage")
def show_invitation() -> str:
    """An empty form."""
    return _new({})


@people_pages.post("/admin/people/new")
@allow("users:manage")
def invite() -> Response:
    """Make the account and show its password, this once; or the form again, with what is wrong."""
    try:
        made = api.make_account(checked(NewUser, {**_sent(), "with_password": "password" in request.form}))
    except _MAY_BE_PUT_RIGHT as error:
        return again(_new(_filled(), error), error)
    return make_response(
        render_template("person_password.html", person=made.user, password=made.password), 201
    )


@people_pages.get("/admin/people/<uuid:user_id>")
@allow("users:manage")
def show_person(user_id: UUID) -> str:
    """What is known about an account, and what can be done about it."""
    return _person(api.describe_user(user_id))


@people_pages.post("/admin/people/<uuid:user_id>")
@allow("users:manage")
def change_person(user_id: UUID) -> Response:
    """Save what was changed; or the form again, with what is wrong."""
    person = api.describe_user(user_id)
    try:
        api.change_account(user_id, checked(UserChange, _sent()))
    except _MAY_BE_PUT_RIGHT as error:
        return again(_person(person, _filled(), error), error)
    return _back_to(user_id, done="saved")


@people_pages.post("/admin/people/<uuid:user_id>/suspend")
@allow("users:manage")
def suspend(user_id: UUID) -> Response:
    """They cannot sign in, until they are let in again."""
    return _set_disabled(user_id, is_disabled=True)


@people_pages.post("/admin/people/<uuid:user_id>/return")
@allow("users:manage")
def let_in_again(user_id: UUID) -> Response:
    """Undoes a suspension."""
    return _set_disabled(user_id, is_disabled=False)


@people_pages.post("/admin/people/<uuid:user_id>/sessions")
@allow("users:manage")
def end_sessions(user_id: UUID) -> Response:
    """Sign them out everywhere."""
    api.sign_out_everywhere(user_id)
    return _back_to(user_id, done="signed_out")


@people_pages.post("/admin/people/<uuid:user_id>/password")
@allow("users:manage")
def make_password(user_id: UUID) -> Response:
    """A new password, shown this once."""
    made = api.make_password_for(user_id)
    person = api.describe_user(user_id)
    return make_response(render_template("person_password.html", person=person, password=made.password), 201)


def _set_disabled(user_id: UUID, *, is_disabled: bool) -> Response:
    person = api.describe_user(user_id)
    try:
        api.change_account(user_id, UserChange(disabled=is_disabled))
    except _MAY_BE_PUT_RIGHT as error:
        return again(_person(person, {}, error), error)
    return _back_to(user_id)


def _new(values: dict[str, Any], error: Refusal | None = None) -> str:
    return render_template(
        "person_new.html", values=values, error=said(error), roles=ROLES, classes=_classes(),
        bound=principal().school_id, blank_rows=_BLANK_ROWS,
    )  # fmt: skip


def _person(person: User, values: dict[str, Any] | None = None, error: Refusal | None = None) -> str:
    with services().connection() as connection:
        sessions = count_sessions(connection, person.id)
    return render_template(
        "person.html", person=person, values=values or person.model_dump(), error=said(error), roles=ROLES,
        classes=_classes(), bound=principal().school_id, blank_rows=_BLANK_ROWS, sessions=sessions,
        is_me=principal().id == f"user:{person.id}", done=request.args.get("done"),
    )  # fmt: skip


def _classes() -> Classes:
    """To choose from; nothing before the first run."""
    try:
        with services().reader(principal()) as session:
            return read_classes(session)
    except NotFound:
        return Classes([], [], [])


def _sent() -> dict[str, Any]:
    """The form's fields as the API takes them; what was left empty is none."""
    form = request.form
    sent: dict[str, Any] = {name: form.get(name, "").strip() for name in ("email", "name", "role")}
    rows = zip(*(form.getlist(f"assigned_{name}") for name in ("school", "grade", "subject")), strict=False)
    return {
        **sent,
        "school_id": form.get("school_id", "").strip() or principal().school_id,
        "assignments": [
            {
                "school_id": school.strip(),
                "grade_level": grade.strip() or None,
                "subject": subject.strip() or None,
            }
            for school, grade, subject in rows
            if school.strip() or grade.strip() or subject.strip()
        ],
    }


def _filled() -> dict[str, Any]:
    return {**_sent(), "with_password": "password" in request.form}


def _back_to(user_id: UUID, done: str | None = None) -> Response:
    place = url_for("people_pages.show_person", user_id=user_id, done=done)
    return redirect(place, code=303)  # type: ignore[return-value]
