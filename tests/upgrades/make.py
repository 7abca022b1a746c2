"""Makes `revision_<number>.sql.gz`: the database of an older version of Laurel, for tests of upgrades.

Call it in a checkout of that version, with its environment:

    git worktree add /tmp/older 62a8ec9 && cd /tmp/older && ./start.sh setup dev
    PYTHONPATH=. .venv/bin/python <this file> <folder of this file>

It holds the two schools of `tests.small_school` as that version loads and builds them, marts too, and lines
that people and runs leave. Everybody in it is made up; its keys and hashes open nothing.
"""

from __future__ import annotations

import gzip
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg

from elt.migrate import migrate
from local import ports, postgres
from tests.small_school import build_small_school

# In columns of revision 0008.
WRITTEN = """
insert into ops.users (user_id, email, name, role, created_by)
    values ('00000000-0000-7000-8000-000000000001', 'ada@example.org', 'Ada', 'teacher', 'cli:test');
insert into ops.assignments (user_id, school_id, grade_level, created_by)
    values ('00000000-0000-7000-8000-000000000001', 'main', 'JSS1', 'cli:test');
insert into ops.keys (key_id, name, role, prefix, key_sha256, created_by, owner, scopes)
    values ('00000000-0000-7000-8000-000000000002', 'K', 'researcher', 'lk', '\\x03', 'cli:test', 'cli:test',
            '{uploads:read}');
insert into ops.erasures (erasure_id, kind, school_id, tombstone, reason, requested_by, traces, found)
    values ('00000000-0000-7000-8000-000000000004', 'student', 'main', 't', 'asked', 'user:1', '{a}', '{b}');
insert into ops.interventions (intervention_id, school_id, student_id, done_on, done_by, action)
    values ('00000000-0000-7000-8000-000000000005', 'main', 'STU001', '2025-01-01', 'user:1', 'Talked');
insert into ops.alerts (event, sent_at) values ('run_failed', '2026-01-01');
insert into ops.sources (source, status, started_at) values ('s', 'succeeded', '2026-01-01');
insert into ml.models (model_id, target, version, algorithm, code_version, data_window, features, metrics,
                       gate, is_published)
    values ('00000000-0000-7000-8000-00000000000c', 'at_risk', 1, 'a', '1', '{}', '{}', '{}', '{}', false);
insert into ml.acceptances (model_id, accepted_by, reason, gaps)
    values ('00000000-0000-7000-8000-00000000000c', 'user:1', 'small school', '[]');
"""


def main(folder: Path) -> None:
    """Build the schools in a server of their own, and write the dump."""
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o711)  # the server's account must pass
        password = secrets.token_urlsafe(16)
        cluster = postgres.prepare(Path(root) / "postgres", ports.find_free_port())
        postgres.initialise(cluster, password)
        process = postgres.start(cluster, password, log=Path(root) / "log", settings=postgres.TEST_SETTINGS)
        try:
            postgres.create_owner_and_database(cluster.url(password), "laurel", password, "elt")
            url = f"postgresql://laurel:{password}@127.0.0.1:{cluster.port}/elt"
            migrate(url)
            build_small_school(url, Path(root) / "home")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(WRITTEN.encode())
                found = connection.execute("select version_num from ops.alembic_version").fetchone()
            dump = _dump(postgres.find_binaries() / "pg_dump", cluster.port, password)
        finally:
            postgres.stop(process)
    revision = found[0] if found else "none"
    target = folder / f"revision_{revision}.sql.gz"
    target.write_bytes(gzip.compress(dump, mtime=0))
    print(f"{target}: {target.stat().st_size} bytes")


def _dump(program: Path, port: int, password: str) -> bytes:
    """The database as SQL that servers of all versions take."""
    address = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "elt"}
    written = subprocess.run(
        [program], env={**os.environ, **address, "PGPASSWORD": password}, capture_output=True, check=True
    ).stdout
    # Settings and commands of psql that only the newest know.
    skipped = (b"SET transaction_timeout", b"\\restrict", b"\\unrestrict")
    return b"".join(line for line in written.splitlines(keepends=True) if not line.startswith(skipped))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
