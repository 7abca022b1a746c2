"""API keys in the database and on the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner

from cli.main import cli
from elt.errors import NotFound, UploadRejected
from elt.migrations.versions.v0004_key_owners import OWNERS
from elt.people.keys import create_key, list_keys, person_behind, revoke_key, verify_key
from elt.people.users import change_user, create_user
from elt.settings import Settings
from elt.warehouse import Connection, connect


def test_a_key_identifies_who_calls(connection: Connection) -> None:
    key_id, plaintext = create_key(connection, "Reading study", "researcher", "north", "cli:test")
    caller = verify_key(connection, plaintext)
    assert caller is not None
    assert (caller.id, caller.role, caller.school_id, caller.name) == (
        f"key:{key_id}",
        "researcher",
        "north",
        "Reading study",
    )


def test_the_key_itself_is_not_stored(connection: Connection) -> None:
    _, plaintext = create_key(connection, "x", "admin", None, "cli:test")
    row = connection.execute("select row_to_json(k)::text as line, key_sha256 from ops.keys k").fetchone()
    assert row is not None
    assert plaintext[12:40] not in row["line"]
    assert len(row["key_sha256"]) == 32


def test_unknown_malformed_revoked_and_expired_keys_are_refused(connection: Connection) -> None:
    key_id, revoked = create_key(connection, "a", "admin", None, "cli:test")
    revoke_key(connection, key_id, "test")
    _, expired = create_key(connection, "b", "admin", None, "cli:test", datetime.now(UTC) + timedelta(days=1))
    assert verify_key(connection, expired) is not None
    connection.execute("update ops.keys set expires_at = now() where name = 'b'")
    _, unknown = create_key(connection, "c", "admin", None, "cli:test")
    connection.execute("delete from ops.keys where name = 'c'")
    for text in (revoked, expired, unknown, unknown[:-1], "", "lrl_\0", "' or true --"):
        assert verify_key(connection, text) is None


def test_revoking_is_final_and_may_be_repeated(connection: Connection) -> None:
    key_id, _ = create_key(connection, "a", "admin", None, "cli:test")
    first = revoke_key(connection, key_id, "test")
    assert revoke_key(connection, key_id, "test").revoked_at == first.revoked_at
    with pytest.raises(NotFound, match="laurel keys list"):
        revoke_key(connection, uuid4(), "test")


def test_last_use_is_noted_at_most_once_a_minute(connection: Connection) -> None:
    _, plaintext = create_key(connection, "a", "admin", None, "cli:test")
    verify_key(connection, plaintext)
    first = list_keys(connection)[0].last_used_at
    assert first is not None
    verify_key(connection, plaintext)
    assert list_keys(connection)[0].last_used_at == first
    connection.execute("update ops.keys set last_used_at = now() - interval '2 minutes'")
    verify_key(connection, plaintext)
    renewed = list_keys(connection)[0].last_used_at
    assert renewed is not None
    assert renewed > first - timedelta(minutes=1)


def test_a_request_does_not_wait_for_another_that_notes_its_use(
    connection: Connection, database_url: str
) -> None:
    _, plaintext = create_key(connection, "a", "admin", None, "cli:test")
    with connect(database_url) as other, other.transaction():
        other.execute("update ops.keys set last_used_at = null")
        connection.execute("set lock_timeout = '2s'")
        assert verify_key(connection, plaintext) is not None


@pytest.mark.parametrize(
    ("name", "role", "days", "why"),
    [
        ("a", "root", 1, "role"),
        (" ", "admin", 1, "name"),
        ("x" * 201, "admin", 1, "name"),
        ("a", "admin", -1, "expired"),
    ],
)
def test_what_makes_no_sense_is_refused(
    connection: Connection, name: str, role: str, days: int, why: str
) -> None:
    with pytest.raises(UploadRejected, match=why):
        create_key(connection, name, role, None, "cli:test", datetime.now(UTC) + timedelta(days=days))
    assert list_keys(connection) == []


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAUREL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("LAUREL_SECRET_KEY", settings.secret_key.get_secret_value())
    monkeypatch.setenv("LAUREL_PSEUDONYM_KEY", settings.pseudonym_key.get_secret_value())

    def call(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli, ["keys", *arguments])
        assert result.exit_code == code, result.output
        return result.stdout

    return call


def test_the_command_makes_lists_and_revokes(run, connection: Connection) -> None:
    made = json.loads(
        run("create", "--role", "researcher", "--school", "north", "--expires-days", "30", "--json")
    )
    caller = verify_key(connection, made["key"])
    assert caller is not None
    assert caller.school_id == "north"
    plain = run("create", "--role", "admin", "--name", "Backup job").strip()
    assert verify_key(connection, plain) is not None
    listed = json.loads(run("list", "--json"))
    assert [(key["name"], key["role"], key["state"]) for key in listed] == [
        ("Backup job", "admin", "active"),
        ("researcher", "researcher", "active"),
    ]
    assert made["key"] not in json.dumps(listed)
    revoked = json.loads(run("revoke", made["key_id"], "--json"))
    assert (revoked["key_id"], revoked["state"]) == (made["key_id"], "revoked")
    assert "Revoked" in run("revoke", made["key_id"])
    assert verify_key(connection, made["key"]) is None
    assert "revoked" in run("list")
    assert made["key_id"] in run("list")  # whole, on a narrow screen too
    run("create", "--role", "root", code=2)
    run("create", "--role", "admin", "--expires-days", "9999999", code=2)


def test_a_key_that_ends_makes_none_that_ends_later(connection: Connection) -> None:
    soon, later = (datetime.now(UTC) + timedelta(days=days) for days in (1, 2))
    maker, _ = create_key(connection, "maker", "admin", None, "cli", soon)
    for expires_at in (None, later):
        with pytest.raises(UploadRejected, match="ends sooner"):
            create_key(connection, "made", "admin", None, f"key:{maker}", expires_at)
    create_key(connection, "made", "admin", None, f"key:{maker}", soon)
    assert [key.name for key in list_keys(connection)] == ["made", "maker"]


@pytest.fixture
def account(connection: Connection) -> UUID:
    """An admin, who is not the only one."""
    create_user(connection, "other@school.example", "Other", "admin", "test")
    return create_user(connection, "ada@school.example", "Ada", "admin", "test")


def states(connection: Connection) -> dict[str, str]:
    """The keys by name, with what they are worth."""
    return {key.name: key.state(datetime.now(UTC)) for key in list_keys(connection)}


def test_keys_of_an_account_are_worth_nothing_while_it_is_disabled(
    run, connection: Connection, account: UUID
) -> None:
    first, own = create_key(connection, "own", "admin", None, f"user:{account}")
    _, made_by_it = create_key(connection, "made by it", "analyst", "north", f"key:{first}")
    ended, _ = create_key(connection, "revoked", "admin", None, f"user:{account}")
    _, others = create_key(connection, "of the command line", "admin", None, "cli:test")
    revoke_key(connection, ended, "cli:test")
    assert {key.owner for key in list_keys(connection)} == {
        f"user:{account}", f"key:{list_keys(connection)[0].key_id}",
    }  # fmt: skip

    change_user(connection, account, "test", disabled=True)
    assert (verify_key(connection, own), verify_key(connection, made_by_it)) == (None, None)
    assert verify_key(connection, others) is not None
    assert states(connection) == {
        "own": "suspended", "made by it": "suspended", "revoked": "revoked", "of the command line": "active",
    }  # fmt: skip
    assert {key["state"] for key in json.loads(run("list", "--json"))} == {"suspended", "revoked", "active"}

    change_user(connection, account, "test", disabled=False)
    assert verify_key(connection, own) is not None
    assert verify_key(connection, made_by_it) is not None
    assert (states(connection)["own"], states(connection)["revoked"]) == ("active", "revoked")


def test_keys_of_an_account_that_is_gone_are_worth_nothing(connection: Connection, account: UUID) -> None:
    _, key = create_key(connection, "own", "researcher", None, f"user:{account}")
    connection.execute("delete from ops.users where user_id = %s", (account,))
    assert verify_key(connection, key) is None
    assert states(connection) == {"own": "suspended"}


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"role": "researcher"}, {"research of north", "research"}),
        ({"school_id": "north"}, {"research of north", "admin of north"}),
        ({"role": "researcher", "school_id": "north"}, {"research of north"}),
        ({"role": "teacher"}, set()),
        ({"name": "Ada Obi"}, {"research of north", "research", "admin of north", "admin"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_no_key_may_do_more_than_the_account_that_made_it(
    connection: Connection, account: UUID, changes: Any, left: set[str]
) -> None:
    keys = {
        "research of north": ("researcher", "north"), "research": ("researcher", None),
        "admin of north": ("admin", "north"), "admin": ("admin", None),
    }  # fmt: skip
    made = {name: create_key(connection, name, *reach, f"user:{account}")[1] for name, reach in keys.items()}
    change_user(connection, account, "test", **changes)
    assert {name for name, key in made.items() if verify_key(connection, key)} == left
    assert {name for name, state in states(connection).items() if state == "active"} == left


def test_keys_that_were_made_before_owners_were_kept_have_them(connection: Connection, account: UUID) -> None:
    own, _ = create_key(connection, "own", "admin", None, f"user:{account}")
    second, _ = create_key(connection, "second", "admin", None, f"key:{own}")
    create_key(connection, "third", "admin", None, f"key:{second}")
    root, _ = create_key(connection, "of the command line", "admin", None, "cli:test")
    create_key(connection, "made by it", "admin", None, f"key:{root}")
    before = {key.name: key.owner for key in list_keys(connection)}
    assert set(before.values()) == {f"user:{account}", f"key:{root}"}
    connection.execute("alter table ops.keys drop column owner")
    connection.execute(OWNERS)
    assert {key.name: key.owner for key in list_keys(connection)} == before


def test_a_person_is_their_sessions_and_all_their_keys(connection: Connection, account: UUID) -> None:
    own, _ = create_key(connection, "own", "admin", None, f"user:{account}")
    second, _ = create_key(connection, "second", "admin", None, f"key:{own}")
    root, _ = create_key(connection, "of the command line", "admin", None, "cli:test")
    assert {person_behind(connection, who) for who in (f"user:{account}", f"key:{own}", f"key:{second}")} == {
        f"user:{account}"
    }
    for who in (f"key:{root}", "key:unknown", "cli:test", "inbox", "system", ""):
        assert person_behind(connection, who) == who


def test_a_key_can_be_narrowed_to_some_actions_of_its_role(run, connection: Connection) -> None:
    made = json.loads(run("create", "--role", "researcher", "--scope", "uploads:create", "--json"))
    found = verify_key(connection, made["key"])
    assert found is not None
    assert found.actions == frozenset({"uploads:create"})
    [listed] = json.loads(run("list", "--json"))
    assert listed["scopes"] == made["scopes"] == ["uploads:create"]
    run("create", "--role", "teacher", "--scope", "keys:manage", code=2)


def test_a_name_is_no_markup_for_the_lists(run, connection: Connection) -> None:
    """Who may name a key or a person must not be able to break the command that shows it."""
    create_key(connection, "a [/b] name", "analyst", None, "test")
    create_user(connection, "c@school.example", "B [/i]", "teacher", "test")
    assert "[/b]" in run("list")
    people = CliRunner().invoke(cli, ["users", "list"])
    assert people.exit_code == 0
    assert "[/i]" in people.stdout
