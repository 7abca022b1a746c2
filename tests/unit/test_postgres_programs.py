"""Which of PostgreSQL's programs is used, how it hears where to connect, what is repeated of its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from elt.errors import ConfigurationError
from elt.postgres_programs import connection_environment, find_binaries, find_program, first_error


@pytest.mark.parametrize(("server", "bundled"), [(15, 16), (16, 16), (17, 18), (18, 18)])
def test_the_oldest_program_that_is_not_older_than_the_server_is_used(server: int, bundled: int) -> None:
    assert find_program("pg_dump", server) == find_binaries(bundled) / "pg_dump"


def test_for_a_newer_server_the_installed_program_is_used_if_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "pg_dump"
    installed.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 19.1 (Debian 19.1-1)'\n")
    installed.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert find_program("pg_dump", 19) == installed
    with pytest.raises(ConfigurationError, match="version 20"):
        find_program("pg_dump", 20)


def test_all_of_an_address_goes_into_the_environment() -> None:
    url = "postgresql://laurel:p%40ss@db.example:6432/elt?sslmode=verify-full&sslrootcert=/etc/ca.pem"
    assert connection_environment(url) == {
        "PGHOST": "db.example",
        "PGPORT": "6432",
        "PGUSER": "laurel",
        "PGPASSWORD": "p@ss",
        "PGDATABASE": "elt",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/etc/ca.pem",
    }


def test_an_address_that_is_none_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as raised:
        connection_environment("postgresql://laurel:for-tests-secret@[host/elt")
    assert "secret" not in raised.value.detail


@pytest.mark.parametrize(
    ("said", "repeated"),
    [
        (
            'pg_restore: error: COPY failed for table "students": ERROR:  invalid input syntax: "Ada"\n'
            'CONTEXT:  COPY students, line 1: "Ada"',
            'COPY failed for table "students"',
        ),
        (
            "pg_restore: error: could not execute query: ERROR:  duplicate key value violates a constraint\n"
            "DETAIL:  Key (student_id)=(STU00001) already exists.",
            "could not execute query: ERROR:  duplicate key value violates a constraint",
        ),
        ("pg_dump: warning: something\npg_dump: error: no such table", "no such table"),
        ("", ""),
    ],
)
def test_of_errors_the_first_line_is_told_without_cells(said: str, repeated: str) -> None:
    assert first_error(said) == repeated
