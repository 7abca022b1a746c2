"""What leaves a line in the audit trail, what is veiled in it, and how many denials it takes."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from backend.auditing import NOT_WRITTEN, WRITTEN_HERE, WRITTEN_IN_THE_ACT
from backend.denials import LINES_OF_ALL, LINES_PER_CALLER, WINDOW_SECONDS, DenialLimit
from backend.permissions import PERMISSIONS
from elt.audit.sql import veil_values
from elt.settings import Settings

SETTINGS = Settings(
    database_url=SecretStr("postgresql://nowhere"),
    secret_key=SecretStr("x" * 32),
    pseudonym_key=SecretStr("y" * 32),
)


def test_every_action_is_either_written_or_known_to_need_no_line() -> None:
    sets = (WRITTEN_IN_THE_ACT, WRITTEN_HERE, NOT_WRITTEN)
    assert set().union(*sets) == set(PERMISSIONS)
    assert sum(map(len, sets)) == len(PERMISSIONS)


def veiled(statement: str) -> str:
    return veil_values(SETTINGS, statement)


@pytest.mark.parametrize(
    "value",
    [
        "'Ngozi'", "'O''Ngozi'", r"E'it\'s Ngozi'", "$$Ngozi$$", "$a$Ngozi $$ $a$", "-- Ngozi",
        "/* Ngozi\n*/", "'Ngozi", "$$Ngozi", "/*Ngozi", "'\ud800Ngozi'", "8023456789", "8_023_456_789",
        '"Ngozi Obi"', '"Ngozi ""Obi"""', '"ngozi"', '"Ngozi', "/* a /* b */ Ngozi */",
    ],
)  # fmt: skip
def test_no_value_of_a_statement_is_kept(value: str) -> None:
    kept = veiled(f"select full_name from marts.x1 where grade_level = {value}")
    assert kept.startswith("select full_name from marts.x1 where grade_level = '~")
    assert "Ngozi" not in kept
    assert "8023456789" not in kept.replace("_", "")


def test_a_type_that_ends_in_e_begins_no_text_with_backslashes() -> None:
    assert "Ngozi" not in veiled(r"select name'\', 'Ngozi'")


def test_the_same_value_has_the_same_mark_and_the_rest_stays_readable() -> None:
    kept = veiled(
        "select 'Ada', \"first_name\", total > 49.5 from a where $1 = 'Ada' and b = 'Obi' limit 100"
    )
    first, rest = kept.split(", ", 1)
    assert first.removeprefix("select ") in rest
    assert rest.startswith('"first_name", total > 49.5 from a where $1 = ')
    assert kept.endswith(" limit 100")
    assert kept.count("'~") == 3


def test_denials_of_one_caller_are_written_a_few_times_a_minute() -> None:
    now = [0.0]
    limit = DenialLimit(lambda: now[0])
    assert [limit.admit("a") for _ in range(LINES_PER_CALLER)] == [0] * LINES_PER_CALLER
    assert {limit.admit("a") for _ in range(100)} == {None}
    assert limit.admit("b") == 100  # who comes next says how many there were
    now[0] += WINDOW_SECONDS
    assert limit.admit("a") == 0


def test_denials_of_ever_new_callers_are_limited_too() -> None:
    now = [0.0]
    limit = DenialLimit(lambda: now[0])
    written = [limit.admit(str(number)) for number in range(5000)]
    assert len(written) - written.count(None) == LINES_OF_ALL
    now[0] += WINDOW_SECONDS
    assert limit.admit("again") == 5000 - LINES_OF_ALL
