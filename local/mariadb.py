"""A private MariaDB server, for tests, demo and benchmarks: made in a folder of its own, started, stopped.

Its programs come from the system's packages (`PACKAGES`). A server that the package `mariadb-server` sets up
is neither used nor touched. Only the loopback address is listened on.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pymysql

from elt.errors import ConfigurationError, DatabaseUnavailable
from local.accounts import Account, find_account, give, identity, reachable_root, run_as

USER = "laurel"
"""Who may do everything in this server. Nobody else can sign in."""

PACKAGES = "mariadb-server-core mariadb-client-core"
"""What Debian and Ubuntu call the programs alone, without a server that starts by itself."""

# Where packages put a server's program, which an ordinary user's PATH does not name.
_PROGRAM_FOLDERS = "/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/bin:/usr/local/bin:/opt/homebrew/bin"

_SETTINGS: Mapping[str, str] = {
    "character-set-server": "utf8mb4",
    "default-time-zone": "+00:00",
    "innodb-buffer-pool-size": "128M",
    "skip-name-resolve": "1",
    "skip-log-bin": "1",
    "local-infile": "0",
}
TEST_SETTINGS: Mapping[str, str] = {
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-flush-method": "nosync",
    "innodb-doublewrite": "0",
    "innodb-stats-persistent": "0",
}


@dataclass(frozen=True, slots=True)
class Server:
    """One server: its folder (owned by its account), its program, its port on the loopback address."""

    root: Path
    program: Path
    port: int
    account: Account | None

    @property
    def data(self) -> Path:
        """The data directory proper; it is there once the server was made."""
        return self.root / "data"

    def url(self, password: str, database: str = "mysql") -> str:
        """The address of one database."""
        return f"mysql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def connect(self, password: str, database: str | None = None) -> pymysql.Connection:
        """A connection that commits each statement; in no database unless one is named.

        Raises:
            pymysql.err.OperationalError: the server does not take it.
        """
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=password, database=database,
            charset="utf8mb4", autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def create_database(self, password: str, name: str, charset: str = "utf8mb4") -> str:
        """Make an empty database; returns its address."""
        with self.connect(password) as connection, connection.cursor() as cursor:
            cursor.execute(f"create database `{name}` character set {charset}")
        return self.url(password, name)

    def drop_database(self, password: str, name: str) -> None:
        """Drop a database if it is there."""
        with self.connect(password) as connection, connection.cursor() as cursor:
            cursor.execute(f"drop database if exists `{name}`")

    def command(self, settings: Mapping[str, str] | None = None) -> list[str]:
        """The command line that runs the server in the foreground."""
        options = {
            "datadir": str(self.data), "port": str(self.port), "bind-address": "127.0.0.1",
            "socket": "", "pid-file": str(self.root / "pid"), "tmpdir": str(self.root),
            "init-file": str(self.root / "init.sql"), **_SETTINGS, **(settings or {}),
        }  # fmt: skip
        flags = [f"--{name}={value}" for name, value in options.items()]
        return [str(self.program), "--no-defaults", *flags]


def find_program() -> Path | None:
    """The server's program, None where MariaDB is not installed."""
    found = shutil.which("mariadbd") or shutil.which("mariadbd", path=_PROGRAM_FOLDERS)
    return Path(found) if found else None


def prepare(root: Path, port: int) -> Server:
    """Make the server's folder, owned by its account and within its reach (see `local.accounts`).

    Raises:
        ConfigurationError: MariaDB is not installed.
    """
    program = find_program()
    if program is None:
        raise ConfigurationError(
            f"MariaDB is not installed: there is no program `mariadbd`. Debian: apt-get install {PACKAGES}"
        )
    account = find_account("mysql")
    if account is None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        root = reachable_root(root, account)
    return Server(root, program, port, account)


def initialise(server: Server) -> None:
    """Make the data directory unless it is there. Its own account `root` has no password that is right.

    Raises:
        DiskFull: there is no room for it.
        ConfigurationError: mariadb-install-db is missing, or failed for another reason; says why.
    """
    if server.data.exists():
        return
    installer = shutil.which("mariadb-install-db") or shutil.which(
        "mariadb-install-db", path=_PROGRAM_FOLDERS
    )
    if installer is None:
        raise ConfigurationError(
            f"MariaDB is here without `mariadb-install-db`. Debian: apt-get install {PACKAGES}"
        )
    # A cut start leaves a half-made directory, which the server would take for a broken one.
    draft = server.root / f"new-{secrets.token_hex(4)}"
    draft.mkdir(mode=0o700)
    give(draft, server.account)
    try:
        run_as(
            [
                installer, "--no-defaults", f"--datadir={draft}", f"--tmpdir={server.root}", "--skip-test-db",
                "--skip-name-resolve", "--auth-root-authentication-method=socket",
            ],
            server.account,
        )  # fmt: skip
        draft.rename(server.data)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def start(
    server: Server, password: str, *, log: Path, settings: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start the server as a child, give `USER` the password, and wait until it answers.

    Raises:
        DatabaseUnavailable: it ended or did not answer in time; names its log.
    """
    write_init_file(server, password)
    with log.open("ab") as output:
        process = subprocess.Popen(
            server.command(settings), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            cwd=server.root, start_new_session=True, **identity(server.account),
        )  # fmt: skip
    try:
        _wait_until_ready(server, password, process)
    except DatabaseUnavailable as error:
        stop(process)
        raise DatabaseUnavailable(f"{error.detail} Its log: {log}") from None
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server: clients are disconnected, data are written. Killed if it does not end in 30 s."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def write_init_file(server: Server, password: str) -> None:
    """What the server runs when it starts: so it never listens with an account without a password."""
    file = server.root / "init.sql"
    file.touch(mode=0o600)
    quoted = password.replace("\\", "\\\\").replace("'", "''")
    file.write_text(
        f"create or replace user {USER}@'127.0.0.1' identified by '{quoted}';\n"
        f"grant all privileges on *.* to {USER}@'127.0.0.1' with grant option;\n"
    )
    give(file, server.account)


def _wait_until_ready(server: Server, password: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            server.connect(password).close()
        except pymysql.err.OperationalError as error:
            if process.poll() is not None:
                raise DatabaseUnavailable("MariaDB ended while it started.") from None
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(f"MariaDB does not answer (error {error.args[0]}).") from None
            time.sleep(0.05)
        else:
            return
