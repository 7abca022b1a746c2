"""Which revision of the schema the database has, and which one this version of the code expects.

Cheap enough for each check of health: one query, and Alembic is not loaded.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from elt.errors import SchemaMismatch
from elt.warehouse import Connection

MIGRATIONS = Path(__file__).parent / "migrations"

REVISIONS = tuple(sorted(path.stem[1:].partition("_")[0] for path in (MIGRATIONS / "versions").glob("v*.py")))
"""All revisions that this code knows, the oldest first. Their files are versions/v<revision>_<what>.py."""

HEAD = REVISIONS[-1]


def read_revision(connection: Connection) -> str | None:
    """The database's revision; None where it has no tables yet, or was taken back to none."""
    found = connection.execute("select to_regclass('ops.alembic_version') as versions").fetchone()
    if found is None or found["versions"] is None:
        return None
    row = connection.execute("select version_num from ops.alembic_version").fetchone()
    return str(row["version_num"]) if row else None


def steps_from(revision: str | None) -> list[str]:
    """The revisions that `elt.migrate.migrate` would run on a database at this one, in order.

    Raises:
        SchemaMismatch: as `require_known`.
    """
    require_known(revision)
    return [step for step in REVISIONS if revision is None or step > revision]


def require_known(revision: str | None) -> None:
    """Make sure that the database is not newer than the code.

    Raises:
        SchemaMismatch: this code has no migration of that revision.
    """
    if revision is not None and revision not in REVISIONS:
        raise SchemaMismatch(
            f"The database is at revision {revision}; Laurel {version('laurel')} knows those up to {HEAD}: "
            "a newer version has migrated it. Start that version again, or let it take the database back "
            f"first (laurel migrate --back-to {HEAD}), or restore a backup made with this one."
        )


def require_head(connection: Connection) -> None:
    """Make sure that database and code fit together.

    Raises:
        SchemaMismatch: the database is older or newer than the code, or has no tables.
    """
    revision = read_revision(connection)
    require_known(revision)
    if revision != HEAD:
        raise SchemaMismatch(
            f"The database is at revision {revision or 'none: it has no tables'}, "
            f"this version of Laurel needs {HEAD}. Run laurel migrate."
        )
