"""`laurel keys`: API keys of programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import click
from rich.markup import escape
from rich.table import Column, Table

from backend.permissions import actions_of, foreign_actions
from cli.account import caller
from cli.tables import print_table
from elt.people.keys import KeyRecord, create_key, list_keys, revoke_key
from elt.people.principals import Role
from elt.settings import load_settings
from elt.warehouse import Connection, connect


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    Example: laurel keys create --role researcher --name "Reading study" --expires-days 90
    """


@keys.command()
@click.option("--role", required=True, type=click.Choice(get_args(Role)), help="What the key may do.")
@click.option("--name", default=None, help="Who or what uses the key. [default: the role]")
@click.option("--school", default=None, help="Limit the key to one school. [default: any]")
@click.option(
    "--expires-days",
    type=click.IntRange(1, 3650),
    default=None,
    help="Days until it expires. [default: never]",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="Narrow the key to this action of its role, such as uploads:create; may be repeated. [default: all]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(
    role: Role,
    name: str | None,
    school: str | None,
    expires_days: int | None,
    scopes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a key and show it, this once.

    Example: laurel keys create --role researcher --json
    """
    if foreign := foreign_actions(role, scopes):
        possible = ", ".join(sorted(actions_of(role)))
        raise click.BadParameter(f"{', '.join(foreign)}. A {role} may: {possible}.", param_hint="--scope")
    narrowed = list(scopes) or None
    expires_at = datetime.now(UTC) + timedelta(days=expires_days) if expires_days else None
    with _connect() as connection:
        key_id, plaintext = create_key(connection, name or role, role, school, caller(), expires_at, narrowed)
    if as_json:
        made = {
            "key": plaintext,
            "key_id": str(key_id),
            "role": role,
            "school_id": school,
            "scopes": narrowed,
        }
        click.echo(json.dumps(made))
        return
    click.echo(plaintext)
    click.echo(
        f"Key {key_id}. Keep it safe: it is not shown again. Send it as: Authorization: Bearer <key>",
        err=True,
    )


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(as_json: bool) -> None:
    """Show all keys, newest first; never the keys themselves.

    Suspended ones are worthless while the account that made them is disabled or may do less than they may.

    Example: laurel keys list --json
    """
    with _connect() as connection:
        found = list_keys(connection)
    now = datetime.now(UTC)
    if as_json:
        click.echo(json.dumps([_as_json(key, now) for key in found], indent=2))
        return
    table = Table(
        Column("key id", no_wrap=True, min_width=36),  # whole, since `revoke` takes it
        *(Column(name, overflow="fold") for name in ("name", "role", "school", "scopes")),
        Column("state", no_wrap=True),
        *(Column(name, overflow="fold") for name in ("expires", "last used")),
        box=None,
    )
    for key in found:
        table.add_row(
            str(key.key_id),
            escape(key.name),
            key.role,
            escape(key.school_id or "any"),
            ", ".join(key.scopes or ["all"]),
            key.state(now),
            _day(key.expires_at),
            _day(key.last_used_at),
        )
    print_table(table)


@keys.command()
@click.argument("key_id", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def revoke(key_id: UUID, as_json: bool) -> None:
    """Make the key KEY_ID worthless at once.

    Example: laurel keys revoke 0193c0de-0000-7000-8000-000000000000
    """
    with _connect() as connection:
        key = revoke_key(connection, key_id, caller())
    if as_json:
        click.echo(json.dumps(_as_json(key, datetime.now(UTC))))
        return
    click.echo(f"Revoked {key.prefix}… ({key.name}).")


def _connect() -> Connection:
    return connect(load_settings().database_url.get_secret_value(), application_name="laurel-keys")


def _as_json(key: KeyRecord, now: datetime) -> dict[str, Any]:
    values = {name: str(value) if isinstance(value, UUID) else value for name, value in asdict(key).items()}
    times = {name: value.isoformat() for name, value in values.items() if isinstance(value, datetime)}
    return {**values, **times, "state": key.state(now)}


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "never"
