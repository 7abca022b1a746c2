"""Migrations forward and back: the schema is the same at each revision, and what it can hold stays."""

from __future__ import annotations

import subprocess

from alembic import command

from elt.migrate import BASE, alembic, downgrade, migrate
from elt.schema_version import REVISIONS
from local.postgres import find_binaries

OURS = ("ops", "raw", "ml", "live", "served")


def schema_of(database_url: str) -> str:
    """Our schemas as pg_dump writes them: tables, defaults, constraints, functions, rights, comments."""
    options = [f"--schema={name}" for name in OURS]
    dump = subprocess.run(
        [
            find_binaries() / "pg_dump",
            "--schema-only",
            "--exclude-table=ops.alembic_version",
            *options,
            database_url,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # Each dump has a key of its own in these two lines.
    return "\n".join(
        line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))
    )


def upgrade(database_url: str, revision: str) -> None:
    with alembic(database_url) as (config, _):
        command.upgrade(config, revision)


def test_each_revision_back_and_forward_again_is_the_same_schema(empty_database_url: str) -> None:
    migrate(empty_database_url)
    downgrade(empty_database_url, BASE, lose_data=True)
    known = {BASE: schema_of(empty_database_url)}
    for before, revision in zip((BASE, *REVISIONS), REVISIONS, strict=False):
        upgrade(empty_database_url, revision)
        known[revision] = schema_of(empty_database_url)
        downgrade(empty_database_url, before)
        assert schema_of(empty_database_url) == known[before], f"{revision} → {before}"
        upgrade(empty_database_url, revision)
        assert schema_of(empty_database_url) == known[revision], f"{before} → {revision}"
