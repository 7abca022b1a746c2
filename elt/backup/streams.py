"""`pg_dump` and `pg_restore`, read and fed in pieces: a dump is never whole in memory or on this disk."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from elt.backup.manifest import Dump
from elt.errors import BackupError
from elt.postgres_programs import connection_environment, require_success, running
from elt.store.base import Store

_CHUNK = 1 << 20


def dump_database(program: Path, url: str, snapshot: str) -> Iterator[bytes]:
    """The bytes of a dump of what an exported snapshot sees, in PostgreSQL's custom format.

    Raises:
        BackupError: `pg_dump` failed.
        DatabaseUnavailable: it lost the server.
    """
    arguments = ["--format=custom", "--no-password", f"--snapshot={snapshot}"]
    environment = connection_environment(url)
    with running(program, arguments, environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as (
        process,
        errors,
    ):
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        while chunk := process.stdout.read(_CHUNK):
            yield chunk
        require_success(process, errors, "pg_dump")


def restore_database(program: Path, store: Store, dump: Dump, url: str, *, rights: bool) -> None:
    """Restore a dump into an empty database; all of it becomes the property of who connects.

    Args:
        rights: whether to give again what roles may do; they must exist then.

    Raises:
        BackupError: the dump is not what was stored, or `pg_restore` failed.
        DatabaseUnavailable: it lost the server.
    """
    environment = connection_environment(url)
    # A dump names owners; to give things away is what elt.serving.database_roles knows how to do.
    arguments = ["--exit-on-error", "--no-owner", "--no-password", f"--dbname={environment['PGDATABASE']}"]
    if not rights:
        arguments.append("--no-privileges")
    digest = hashlib.sha256()
    with (
        running(program, arguments, environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as (
            process,
            errors,
        ),
        store.open(dump.key) as stream,
    ):
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            with suppress(BrokenPipeError):  # it has ended; below it says why
                process.stdin.write(chunk)
        if digest.hexdigest() != dump.sha256:
            raise BackupError(
                f"{dump.key} is damaged: its SHA-256 is not the one in the manifest. Use another backup "
                "(laurel backup list)."
            )
        with suppress(BrokenPipeError):
            process.stdin.close()
        require_success(process, errors, f"pg_restore of {dump.key}")
