"""`laurel users`: people who may sign in."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, get_args

import click
from rich.markup import escape
from rich.table import Column, Table

from cli.account import caller
from cli.tables import print_table
from elt.people.passwords import LONGEST, SHORTEST, new_password
from elt.people.principals import Assignment, Role
from elt.people.user_passwords import make_password, set_password
from elt.people.users import UserRecord, change_user, create_user, find_user, get_user, list_users
from elt.settings import load_settings
from elt.warehouse import Connection, connect

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_generate = click.option("--generate", is_flag=True, help="Make a password and show it, this once.")


@click.group()
def users() -> None:
    """Add, list, disable people; give them classes and passwords.

    Example: laurel users add ada@school.example --role teacher --name "Ada Obi" --generate
    """


@users.command(
    epilog='Example: laurel users add ada@school.example --role admin --name "Ada Obi"',
)
@click.argument("email")
@click.option("--role", required=True, type=click.Choice(get_args(Role)), help="What they may do.")
@click.option("--name", default=None, help="Their name. [default: the e-mail]")
@click.option("--school", default=None, help="Limit them to one school. [default: any]")
@_generate
@click.option("--no-password", is_flag=True, help="They sign in by OpenID Connect.")
@_as_json
def add(
    email: str,
    role: str,
    name: str | None,
    school: str | None,
    generate: bool,
    no_password: bool,
    as_json: bool,
) -> None:
    """Add a person who signs in as EMAIL.

    Asks for a password unless one is made. A made one is good for a week, and only for choosing another at
    the first sign-in.
    """
    if generate and no_password:
        raise click.UsageError("--generate and --no-password exclude each other.")
    made = new_password() if generate else None
    chosen = None if generate or no_password else _ask()
    with _connect() as connection:
        user_id = create_user(
            connection, email.strip(), name or email, role, caller(),
            school_id=school, password=made or chosen, is_made=generate,
        )  # fmt: skip
        user = get_user(connection, user_id)
    _show_with_password(user, made, as_json)


@users.command("list", epilog="Example: laurel users list --json")
@_as_json
def list_command(as_json: bool) -> None:
    """Show everybody, newest first, disabled accounts too."""
    with _connect() as connection:
        found = list_users(connection)
    if as_json:
        click.echo(json.dumps([_to_dict(user) for user in found], indent=2))
        return
    table = Table(
        Column("e-mail", overflow="fold"),
        "name",
        "role",
        "school",
        "classes",
        "state",
        "last sign-in",
        box=None,
    )
    for user in found:
        last = f"{user.last_sign_in_at:%Y-%m-%d}" if user.last_sign_in_at else "never"
        classes = ", ".join(_describe(each) for each in user.assignments)
        cells = (user.email, user.name, user.role, user.school_id or "any", classes, user.state, last)
        table.add_row(*map(escape, cells))
    print_table(table)


@users.command(epilog="Example: laurel users disable ada@school.example")
@click.argument("email")
@click.option("--undo", is_flag=True, help="Let them sign in again; their keys work again.")
@_as_json
def disable(email: str, undo: bool, as_json: bool) -> None:
    """Sign EMAIL out everywhere, let them in no more, and suspend the keys that they made."""
    with _connect() as connection:
        user = find_user(connection, email)
        user = change_user(connection, user.user_id, caller(), disabled=not undo)
    _show(user, as_json)


@users.command(epilog="Example: laurel users assign ada@school.example --school main --grade JSS1")
@click.argument("email")
@click.option("--school", required=True, help="The school.")
@click.option("--grade", default=None, help="The class. [default: every class]")
@click.option("--subject", default=None, help="The subject. [default: every subject]")
@click.option("--remove", is_flag=True, help="Take it away instead.")
@_as_json
def assign(
    email: str, school: str, grade: str | None, subject: str | None, remove: bool, as_json: bool
) -> None:
    """Give the teacher EMAIL a class: they see its students."""
    assignment = Assignment(school, grade, subject)
    with _connect() as connection:
        user = find_user(connection, email)
        others = tuple(each for each in user.assignments if each != assignment)
        wanted = others if remove else (*others, assignment)
        user = change_user(connection, user.user_id, caller(), assignments=wanted)
    _show(user, as_json)


@users.command(epilog="Example: laurel users password admin@laurel.local --generate")
@click.argument("email")
@_generate
@_as_json
def password(email: str, generate: bool, as_json: bool) -> None:
    """Give EMAIL another password and sign them out everywhere.

    Asks for it unless one is made. A made one is good for a week, and only for choosing another.
    """
    with _connect() as connection:
        user = find_user(connection, email)
    typed = None if generate else _ask()
    with _connect() as connection:
        made = None
        if typed is None:
            made, _ = make_password(connection, user.user_id, caller())
        else:
            set_password(connection, user.user_id, typed, caller())
        user = get_user(connection, user.user_id)
    _show_with_password(user, made, as_json)


def _ask() -> str:
    """Never an argument: those are seen in lists of processes and in the shell's history."""
    typed: str = click.prompt(
        f"Password ({SHORTEST} to {LONGEST} characters)", hide_input=True, confirmation_prompt=True, err=True
    )
    return typed


def _connect() -> Connection:
    return connect(load_settings().database_url.get_secret_value(), application_name="laurel-users")


def _show_with_password(user: UserRecord, made: str | None, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**_to_dict(user), "password": made}))
        return
    _show(user, as_json=False)
    if made:
        click.echo(made)
        click.echo("It is not shown again. They choose another one when they first sign in.", err=True)


def _show(user: UserRecord, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_to_dict(user)))
        return
    classes = ", ".join(_describe(each) for each in user.assignments)
    reach = user.school_id or "any school"
    click.echo(f"{user.email}: {user.role}, {reach}, {user.state}" + (f", {classes}" if classes else ""))


def _describe(assignment: Assignment) -> str:
    return "/".join(
        part for part in (assignment.school_id, assignment.grade_level, assignment.subject) if part
    )


def _to_dict(user: UserRecord) -> dict[str, Any]:
    values = asdict(user)
    times = {name: value.isoformat() for name, value in values.items() if hasattr(value, "isoformat")}
    return {"id": str(values.pop("user_id")), **values, **times, "state": user.state}
