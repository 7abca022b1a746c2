"""The demo's country databases: made on a server, prepared for the follower, listed as sources, taken away.

What is kept: `demo-pisa.yaml` and `demo-pisa.env` in the folder of sources, for whoever reads the databases,
and `demo/pisa-collectors.json` in `LAUREL_HOME`, for whoever submits to them. All hold secrets but the first.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import yaml
from psycopg import sql
from pydantic import SecretStr

from demo.pisa import (
    Login,
    country_address,
    create_countries,
    drop_countries,
    drop_unfinished,
    find_countries,
)
from elt.errors import ConfigurationError, DatabaseUnavailable
from elt.live.prepare import prepare
from elt.settings import Settings
from elt.sources.configuration import Source, read_source_file, sources_dir

READER = "demo_pisa_reader"
"""Whom Laurel reads with: it may read the responses, and what `laurel live prepare` grants; nothing else."""

COLLECTOR = "demo_pisa_collector"
"""Whom the databases belong to, and who submits responses. No superuser either."""

_HEADING = "# Written by laurel demo-pisa; to take all of it away: laurel demo-pisa --drop\n"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be there. `columns`: of the table of responses. The seed draws what respondents answer."""

    countries: Sequence[str]
    columns: int
    responses: int
    seed: int


def set_up(settings: Settings, server_url: str, wanted: Wanted, say: Say) -> None:
    """Make what is missing and list it as sources. Databases that are there stay as they are.

    Killed anywhere, it leaves no half database, and may be called again.

    Args:
        server_url: a database of the server, with a role that may create databases and roles.

    Raises:
        ConfigurationError: the server does not let us, or a database is there that is not ours.
        DatabaseUnavailable: it does not answer.
        ValueError: the table cannot have so many columns.
    """
    reader, collector = (Login(role, secrets.token_urlsafe(24)) for role in (READER, COLLECTOR))
    owners = {each: country_address(server_url, each, collector) for each in wanted.countries}
    with _in_our_words():
        _make_roles(server_url, (reader, collector))
        drop_unfinished(server_url, COLLECTOR)
        there = find_countries(server_url)
        if missing := [each for each in wanted.countries if each not in there]:
            say(f"Making {len(missing)} country databases with {wanted.responses} responses each …")
            create_countries(
                server_url, missing, wanted.columns, wanted.responses, wanted.seed, owner=collector
            )
        for address in owners.values():
            _let_read(address)
    _collectors_file(settings).parent.mkdir(parents=True, exist_ok=True)
    _write(_collectors_file(settings), json.dumps(owners))
    _list_sources(settings, owners, {each: country_address(server_url, each, reader) for each in owners})


def read_collectors(settings: Settings) -> dict[str, str]:
    """The address of each country's database for whoever submits; none where nothing is set up."""
    try:
        addresses: dict[str, str] = json.loads(_collectors_file(settings).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return addresses


def take_away(settings: Settings, server_url: str) -> list[str]:
    """Undo `set_up`; returns the codes of the countries. Sources go first, so that nobody misses them.

    Raises:
        ConfigurationError: the server does not let us.
        DatabaseUnavailable: it does not answer.
    """
    for file in (_sources_file(settings), _sources_file(settings).with_suffix(".env")):
        file.unlink(missing_ok=True)
    _collectors_file(settings).unlink(missing_ok=True)
    with _in_our_words():
        drop_unfinished(server_url, COLLECTOR)
        dropped = drop_countries(server_url)
        with psycopg.connect(server_url, autocommit=True) as server:
            for role in (READER, COLLECTOR):
                server.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))
    return dropped


def _make_roles(server_url: str, logins: Sequence[Login]) -> None:
    with psycopg.connect(server_url, autocommit=True) as server:
        for role, password in logins:
            known = server.execute("select from pg_roles where rolname = %s", (role,)).fetchone()
            name = sql.Identifier(role)
            if known is None:
                server.execute(sql.SQL("create role {}").format(name))
            server.execute(sql.SQL("alter role {} login password {}").format(name, sql.Literal(password)))
            # Whoever is no superuser makes and drops others' databases only as their member.
            server.execute(sql.SQL("grant {} to current_user").format(name))


def _let_read(owner_url: str) -> None:
    with psycopg.connect(owner_url) as country:
        database, reader = sql.Identifier(country.info.dbname), sql.Identifier(READER)
        country.execute(sql.SQL("revoke all on database {} from public").format(database))
        country.execute(sql.SQL("grant connect on database {} to {}").format(database, reader))
        country.execute(sql.SQL("grant select on responses to {}").format(reader))


def _list_sources(settings: Settings, owners: Mapping[str, str], readers: Mapping[str, str]) -> None:
    """Let the countries be sources that call. What is read by others is moved into place, the list last."""
    file = _sources_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    addresses = "".join(f"DEMO_PISA_{country}_URL='{address}'\n" for country, address in readers.items())
    _write(file.with_suffix(".env"), _HEADING + addresses)
    each = {"country": list(owners)}
    described = {"name": "demo-pisa", "kind": "pisa", "address": "DEMO_PISA_{country}_URL", "each": each}
    draft = file.with_suffix(".draft")
    draft.write_text(_HEADING + yaml.safe_dump(described, sort_keys=False), "utf-8")
    sources = read_source_file(draft, settings.default_school_id)
    asyncio.run(_prepare({source.parameters["country"]: source for source in sources}, owners))
    draft.replace(file)


async def _prepare(sources: Mapping[str, Source], owners: Mapping[str, str]) -> None:
    for country, source in sources.items():
        await prepare(SecretStr(owners[country]), source, READER)


def _sources_file(settings: Settings) -> Path:
    return sources_dir(settings) / "demo-pisa.yaml"


def _collectors_file(settings: Settings) -> Path:
    return settings.home / "demo" / "pisa-collectors.json"


def _write(file: Path, text: str) -> None:
    """A file with secrets, whole at any moment."""
    draft = file.with_name(f"{file.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text, "utf-8")
    draft.replace(file)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.DuplicateDatabase as error:
        raise ConfigurationError(
            f"{error.diag.message_primary}, and this command did not make it. Choose fewer countries or "
            "another server, or rename that database."
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"The server refuses: {error.diag.message_primary}. Name one with --server where you may create "
            "databases and roles."
        ) from None
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(
            f"The server of the country databases does not answer ({type(error).__name__}). "
            "./start.sh status, or name another one with --server."
        ) from None
