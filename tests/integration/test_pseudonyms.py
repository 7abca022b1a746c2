"""Pseudonyms: the same for a person everywhere and always, until they are renewed on purpose."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from cli.pseudonyms import pseudonyms as command
from elt.errors import Conflict
from elt.privacy.pseudonyms import make_pseudonym, name_new_people, rename_everybody
from elt.privacy.tombstones import tombstones_of
from elt.settings import Settings
from elt.transforming.transform import transform
from elt.warehouse import Connection
from local.environment import Paths, ensure_env_file, put_pseudonym_key_in_front
from tests.conftest import Sender

pytestmark = pytest.mark.usefixtures("small_school")


def known(connection: Connection) -> dict[tuple[str, str, str], str]:
    rows = connection.execute("select kind, school_id, source_id, pseudonym from ops.pseudonyms")
    return {(row["kind"], row["school_id"], row["source_id"]): row["pseudonym"] for row in rows}


def with_keys(settings: Settings, keys: str) -> Settings:
    return settings.model_copy(update={"pseudonym_key": SecretStr(keys)})


def test_everybody_whom_a_mart_names_has_one_of_their_own(connection: Connection) -> None:
    found = known(connection)
    assert ("student", "main", "STU/4") in found
    assert ("guardian", "north", "PAR001") in found
    assert found["student", "main", "STU001"] != found["student", "north", "STU001"]
    assert len(set(found.values())) == len(found)
    assert {(kind[0], name[:2]) for (kind, _, _), name in found.items()} == {("s", "s_"), ("g", "g_")}


def test_it_cannot_be_made_without_the_key(settings: Settings, connection: Connection) -> None:
    found = known(connection)["student", "main", "STU001"]
    assert make_pseudonym(settings, "student", "main", "STU001") == found
    assert make_pseudonym(with_keys(settings, "another"), "student", "main", "STU001") != found
    kept = connection.execute("select count(*) as n from pg_settings where setting like '%for-tests-only%'")
    assert kept.fetchone() == {"n": 0}


def test_parts_of_an_identifier_do_not_run_together(settings: Settings) -> None:
    assert make_pseudonym(settings, "student", "a", "b1") != make_pseudonym(settings, "student", "ab", "1")


def test_a_build_names_new_people_and_leaves_the_others(sender: Sender, settings: Settings) -> None:
    before = known(sender.connection)
    header = "School ID,Student ID,First Name,Last Name,Gender,Date of Birth,Grade Level\n"
    sender.hand_in(header + "north,NEW1,A,B,Male,2012-01-01,JSS1\n", "students")
    transform(settings, uuid4())
    after = known(sender.connection)
    assert set(after) - set(before) == {("student", "north", "NEW1")}
    assert {who: after[who] for who in before} == before
    assert name_new_people(sender.connection, settings) == 0


def test_a_new_key_renames_everybody_once(settings: Settings, connection: Connection) -> None:
    before = known(connection)
    renewed = with_keys(settings, f"new-key,{settings.pseudonym_key.get_secret_value()}")
    assert rename_everybody(connection, renewed) == len(before)
    after = known(connection)
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())
    with pytest.raises(Conflict, match="LAUREL_PSEUDONYM_KEY"):
        rename_everybody(connection, renewed)
    assert known(connection) == after


def test_a_new_key_lets_no_erased_person_come_back(settings: Settings) -> None:
    renewed = with_keys(settings, f"newest,new,{settings.pseudonym_key.get_secret_value()}")
    who = ("student", "main", "STU001")
    assert set(tombstones_of(settings, *who)) < set(tombstones_of(renewed, *who))


def test_the_command_needs_a_new_key_where_secrets_are_not_ours_to_make(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = known(connection)
    monkeypatch.setenv("LAUREL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("LAUREL_SECRET_KEY", settings.secret_key.get_secret_value())
    monkeypatch.setenv("LAUREL_PSEUDONYM_KEY", settings.pseudonym_key.get_secret_value())
    refused = CliRunner().invoke(command, ["rotate"])
    assert isinstance(refused.exception, Conflict)
    assert known(connection) == before

    secret = "a-new-key-0123456789-abcdefghijklmnopqrstuvwxyz"
    monkeypatch.setenv("LAUREL_PSEUDONYM_KEY", f"{secret},{settings.pseudonym_key.get_secret_value()}")
    done = CliRunner().invoke(command, ["rotate", "--json"])
    assert json.loads(done.output) == {"renamed": len(before)}
    assert known(connection) != before


def test_the_embedded_platform_keeps_earlier_keys_behind_the_new_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Paths(settings.home)
    ensure_env_file(where)
    before = where.env_file.read_text()
    [first] = [line for line in before.splitlines() if line.startswith("LAUREL_PSEUDONYM_KEY=")]
    put_pseudonym_key_in_front(where, "new-key")
    after = where.env_file.read_text()
    assert after == before.replace(first, first.replace("='", "='new-key,"))
    assert where.env_file.stat().st_mode & 0o777 == 0o600
