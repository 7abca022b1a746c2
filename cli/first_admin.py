"""The first person who can sign in on a platform that was just started on this machine."""

from __future__ import annotations

import click

from elt.people.users import FIRST_ADMIN, make_first_admin
from elt.settings import Settings
from elt.warehouse import connect
from local.environment import is_embedded
from local.services import local_url


def show_sign_in(settings: Settings) -> None:
    """Say how to sign in; where nobody has an account yet, make the first and show its password, this once.

    Where the database is somebody else's, accounts are made by `laurel users add` only.
    """
    password = None
    if is_embedded():
        with connect(
            settings.database_url.get_secret_value(), application_name="laurel-first-admin"
        ) as opened:
            password = make_first_admin(opened)
    page = f"Sign in  {local_url(settings, settings.port)}/sign-in   "
    if password is not None:
        click.echo(f"{page}(user {FIRST_ADMIN}, password {password}")
        click.echo("         It is shown this once, is good for a week, and you choose your own with it.)")
        return
    click.echo(f"{page}(forgotten: .venv/bin/laurel users password EMAIL --generate)")
