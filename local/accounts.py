"""The operating system account that an embedded database server runs as, and folders that it can reach.

Database servers refuse to run as root, so then they run as an ordinary account that exists already. Folders
that are not ours are never changed.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elt.errors import ConfigurationError, DiskFull

SHARED_STATE = Path("/var/lib/laurel")
"""Where a root-started server keeps what its account cannot reach below the project's own folder."""

# How PostgreSQL's and MariaDB's programs mark the line that says what went wrong.
_FAULTS = ("error:", "FATAL", "[ERROR]")


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system account that a server runs as when we are root."""

    name: str
    uid: int
    gid: int


def find_account(own: str) -> Account | None:
    """The account for a server: None unless we are root; then its `own` one if there is one, else `nobody`.

    Raises:
        ConfigurationError: we are root and there is neither.
    """
    if os.geteuid() != 0:
        return None
    for name in (own, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        f"Database servers do not run as root, and there is neither an account `{own}` nor `nobody`. "
        "Start the platform as an ordinary user."
    )


def identity(account: Account | None) -> dict[str, Any]:
    """Arguments for subprocess that make the child run as the account, without our groups."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def give(path: Path, account: Account | None) -> None:
    """Make the account the owner of a file or folder of ours."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def run_as(command: Sequence[str], account: Account | None) -> None:
    """Run one of a server's programs to its end.

    Raises:
        DiskFull, ConfigurationError: it failed; the message has its last line.
    """
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/", check=False,
        **identity(account),
    )  # fmt: skip
    if done.returncode == 0:
        return
    output = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
    if any("No space left" in line for line in output):
        raise DiskFull(f"{Path(command[0]).name}: no space left on the disk. Free some, then start again.")
    fault = next((line for line in output if any(word in line for word in _FAULTS)), output[-1])
    raise ConfigurationError(f"{Path(command[0]).name} failed: {fault}")


def succeeds(command: Sequence[str], account: Account) -> bool:
    """Whether the account can run a command, and it ends well."""
    try:
        done = subprocess.run(command, capture_output=True, cwd="/", check=False, **identity(account))
    except PermissionError:
        return False
    return done.returncode == 0


def reachable_root(root: Path, account: Account) -> Path:
    """`root` as a folder of the account's own, or the folder under /var/lib/laurel that it links to.

    That is where it lies when the account cannot pass a folder above `root` (a clone under /root, say).
    """
    if not root.is_symlink():
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        give(root, account)
        if succeeds(["test", "-w", str(root)], account):
            return root
        root.rmdir()
        make_shared_state()
        # A name of its own: a later clone at the same path must not meet this one's data.
        root.symlink_to(tempfile.mkdtemp(prefix="cluster-", dir=SHARED_STATE), target_is_directory=True)
    actual = root.resolve()
    actual.mkdir(mode=0o700, parents=True, exist_ok=True)
    give(actual, account)
    return actual


def make_shared_state() -> None:
    """Make the folder that every account may pass."""
    SHARED_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    SHARED_STATE.chmod(0o755)  # the umask may have taken passing away from the account
