"""`laurel pseudonyms`: what researchers see in place of identifiers."""

from __future__ import annotations

import json
import secrets

import click

from cli.account import caller
from elt.audit.trail import record
from elt.privacy.pseudonyms import rename_everybody
from elt.settings import load_settings
from elt.warehouse import connect
from local.environment import is_embedded, paths, put_pseudonym_key_in_front


@click.group()
def pseudonyms() -> None:
    """Manage pseudonyms.

    Example: laurel pseudonyms rotate
    """


@pseudonyms.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rotate(as_json: bool) -> None:
    """Give everybody a new pseudonym, made with a new key.

    The embedded platform makes the key itself; restart it afterwards. Elsewhere first put a new one in front
    of LAUREL_PSEUDONYM_KEY, with a comma. What researchers have exported no longer matches what they read
    from then on.

    Example: laurel pseudonyms rotate
    """
    if is_embedded():
        put_pseudonym_key_in_front(paths(), secrets.token_urlsafe(32))
    settings = load_settings()
    url = settings.database_url.get_secret_value()
    with connect(url, application_name="laurel-pseudonyms") as connection, connection.transaction():
        renamed = rename_everybody(connection, settings)
        record(connection, caller(), "pseudonyms:rotate", detail={"people": renamed})
    click.echo(json.dumps({"renamed": renamed}) if as_json else f"{renamed} people have new pseudonyms.")
