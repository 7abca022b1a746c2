"""Sessions begin, last, and end when they should."""

from __future__ import annotations

from uuid import UUID

import pytest

from elt.people.principals import Assignment
from elt.people.sessions import describe_session, end_session, find_session, start_session
from elt.people.user_passwords import make_password, set_password
from elt.people.users import change_user, create_user
from elt.warehouse import Connection

PASSWORD = "violin tractor ninety"


@pytest.fixture
def teacher(connection: Connection) -> UUID:
    return create_user(
        connection, "t@school.example", "T", "teacher", "test",
        school_id="main", assignments=[Assignment("main", "JSS1", "Mathematics")],
    )  # fmt: skip


def age(connection: Connection, column: str, interval: str) -> None:
    """Make all sessions look as if time had passed."""
    connection.execute(f"update ops.sessions set {column} = {column} - interval '{interval}'")


def test_a_session_tells_who_it_is(connection: Connection, teacher: UUID) -> None:
    found = find_session(connection, start_session(connection, teacher))
    assert found is not None
    assert (found.id, found.role, found.school_id) == (f"user:{teacher}", "teacher", "main")
    assert found.assignments == (Assignment("main", "JSS1", "Mathematics"),)


def test_the_cookie_is_not_kept(connection: Connection, teacher: UUID) -> None:
    token = start_session(connection, teacher)
    kept = connection.execute("select * from ops.sessions").fetchall()
    assert len(kept) == 1
    assert token not in str(kept)
    assert len(token) >= 43  # 256 bits
    assert token != start_session(connection, teacher)


@pytest.mark.parametrize("token", ["", "x", "\x00", "ü" * 50, "\ud800"])
def test_an_unknown_cookie_is_nobody(connection: Connection, teacher: UUID, token: str) -> None:
    start_session(connection, teacher)
    assert find_session(connection, token) is None


def test_signing_out_ends_one_session(connection: Connection, teacher: UUID) -> None:
    first, second = start_session(connection, teacher), start_session(connection, teacher)
    assert end_session(connection, first) == teacher
    assert find_session(connection, first) is None
    assert find_session(connection, second) is not None
    assert end_session(connection, first) is None


def test_a_session_that_is_not_used_ends(connection: Connection, teacher: UUID) -> None:
    token = start_session(connection, teacher)
    age(connection, "last_seen_at", "61 minutes")
    assert find_session(connection, token) is None
    assert describe_session(connection, token) is None


def test_using_a_session_prolongs_it(connection: Connection, teacher: UUID) -> None:
    token = start_session(connection, teacher)
    for _ in range(3):
        age(connection, "last_seen_at", "40 minutes")
        assert find_session(connection, token) is not None


def test_even_a_used_session_ends(connection: Connection, teacher: UUID) -> None:
    token = start_session(connection, teacher)
    age(connection, "expires_at", "12 hours")
    assert find_session(connection, token) is None


def test_ended_sessions_are_swept_when_another_begins(connection: Connection, teacher: UUID) -> None:
    start_session(connection, teacher)
    age(connection, "last_seen_at", "61 minutes")
    start_session(connection, teacher)
    assert len(connection.execute("select from ops.sessions").fetchall()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"disabled": True},
        {"role": "researcher"},
        {"school_id": None},
        {"assignments": []},
        {"email": "other@school.example"},
    ],
)
def test_a_change_of_what_somebody_may_do_ends_their_sessions(
    connection: Connection, teacher: UUID, changes: dict[str, object]
) -> None:
    token = start_session(connection, teacher)
    change_user(connection, teacher, "test", **changes)  # type: ignore[arg-type]
    assert find_session(connection, token) is None


def test_another_password_ends_all_sessions(connection: Connection, teacher: UUID) -> None:
    for change in (
        lambda: set_password(connection, teacher, PASSWORD, "test"),
        lambda: make_password(connection, teacher, "test"),
    ):
        tokens = [start_session(connection, teacher) for _ in range(2)]
        change()
        assert [find_session(connection, token) for token in tokens] == [None, None]


def test_another_name_ends_nothing(connection: Connection, teacher: UUID) -> None:
    token = start_session(connection, teacher)
    change_user(connection, teacher, "test", name="Other")
    found = find_session(connection, token)
    assert found is not None
    assert found.name == "Other"


def test_a_disabled_person_has_no_session_even_if_one_was_left(connection: Connection, teacher: UUID) -> None:
    change_user(connection, teacher, "test", disabled=True)
    assert find_session(connection, start_session(connection, teacher)) is None
