"""Every error that Laurel raises on purpose.

    LaurelError
    ├── ConfigurationError      a setting is missing or wrong; ops must act
    ├── ContractError           a contract file of ours is wrong; we must act
    ├── UploadRejected          the file or the request is wrong; its sender must act; never retried
    │   ├── UnknownDataset
    │   ├── DigestMismatch
    │   ├── TruncatedUpload
    │   ├── TooLarge
    │   └── AccountRefused      a person's account cannot be like this
    │       └── WeakPassword
    ├── SignInRefused           e-mail and password do not belong to an active account
    ├── PasswordChangeNeeded    the password was made by another; its owner must choose one
    ├── NotFound                no such upload, mart, run … (or not yours)
    ├── Conflict                the request does not fit the state the thing is in
    ├── SchemaMismatch          the database's tables are of another version than the code
    ├── TransientError          may pass by itself; retried with backoff
    │   ├── DatabaseUnavailable
    │   ├── StoreUnavailable
    │   ├── SourceUnavailable   a database or API that we read does not answer
    │   ├── DiskFull
    │   ├── BuildInterrupted    dbt was ended from outside before it had finished
    │   ├── TooManyRequests     one caller, or one address, asks too often
    │   └── TooManyTries        too many failed sign-ins
    ├── SourceFault             a source answers, but not with what its configuration says
    ├── LoadError               a load failed for a reason that is ours
    ├── TransformError          dbt failed; names the models and tests
    └── BackupError             a backup could not be taken, is damaged, or could not be restored

Messages say where, what was found, what was expected and what to do. Values of personal columns never
appear in them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]

MAX_FOUND = 80


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with a file: where, which rule, what was found, what to do.

    `line` is the physical line where the record starts (the header is line 1); None for the whole file.
    `column` is the contract's column name; None for the whole row or file. `found` is None for personal
    columns. `hint` says in words what was expected.
    """

    rule: str
    hint: str
    line: int | None = None
    column: str | None = None
    found: str | None = None
    severity: Severity = "error"

    def to_dict(self) -> dict[str, Any]:
        """The issue as plain JSON values."""
        return asdict(self)


def shorten(cell: str | None) -> str | None:
    """A cell as it is shown in a message."""
    return f"{cell[:MAX_FOUND]}…" if cell is not None and len(cell) > MAX_FOUND else cell


class LaurelError(Exception):
    """Base of all of Laurel's own errors. `title` is a short constant text per class."""

    title = "Laurel could not do this"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ConfigurationError(LaurelError):
    """A setting is missing or wrong."""

    title = "The configuration is incomplete"


class ContractError(LaurelError):
    """A contract file is wrong. Names the file and the key."""

    title = "A contract is wrong"


class UploadRejected(LaurelError):
    """What was handed in cannot be taken. Carries all issues found, up to a cap."""

    title = "The file was not accepted"

    def __init__(self, detail: str, issues: list[Issue] | None = None) -> None:
        super().__init__(detail)
        self.issues: list[Issue] = issues or []


class UnknownDataset(UploadRejected):
    """No contract has this name."""

    title = "Unknown dataset"


class DigestMismatch(UploadRejected):
    """The bytes that arrived are not those the sender described."""

    title = "The digest does not match the bytes"


class TruncatedUpload(UploadRejected):
    """The body ended before its announced length, or before the form's last boundary."""

    title = "The upload was cut short"


class TooLarge(UploadRejected):
    """The body is larger than the limit."""

    title = "The file is too large"


class AccountRefused(UploadRejected):
    """A person's account cannot be like this."""

    title = "The account is not valid"


class WeakPassword(AccountRefused):
    """The password is too short or too easy to guess."""

    title = "The password is too weak"


class SignInRefused(LaurelError):
    """Nobody was let in. After a password the message says no more than that.

    `subject` is for the audit trail: the account that was tried, empty if there is none.
    """

    title = "Sign-in refused"

    def __init__(
        self, subject: str = "", detail: str = "E-mail and password do not belong to an active account."
    ) -> None:
        super().__init__(detail)
        self.subject = subject


class PasswordChangeNeeded(LaurelError):
    """The password is right, but somebody else has seen it."""

    title = "Choose a password of your own"


class NotFound(LaurelError):
    """There is no such thing, or it is not the caller's."""

    title = "Not found"


class NoFiguresYet(NotFound):
    """No run has built the marts."""

    title = "No figures yet"


class Conflict(LaurelError):
    """The thing is in a state that does not allow this."""

    title = "Not possible in this state"


class SchemaMismatch(LaurelError):
    """The database's tables are older or newer than this version of the code."""

    title = "Database and code are of different versions"


class TransientError(LaurelError):
    """Something that may pass by itself. `retry_after` is in seconds."""

    title = "Not available right now"

    def __init__(self, detail: str, retry_after: int = 10) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class DatabaseUnavailable(TransientError):
    """The database did not answer."""

    title = "The database is not available"


class StoreUnavailable(TransientError):
    """The object store did not answer."""

    title = "The object store is not available"


class SourceUnavailable(TransientError):
    """A source does not answer, or not in time."""

    title = "A source does not answer"


class DiskFull(TransientError):
    """There is no room left where the bytes should go."""

    title = "No room left"


class BuildInterrupted(TransientError):
    """dbt was ended from outside: services are being stopped, or memory was short."""

    title = "Building the marts was interrupted"


class TooManyRequests(TransientError):
    """One caller, or one address, asks more often than it may."""

    title = "Too many requests"


class TooManyTries(TransientError):
    """Too many failed sign-ins, for this account or from this address."""

    title = "Too many tries"


class SourceFault(LaurelError):
    """A source answers, but not with what its configuration says: a table is gone, a right is missing."""

    title = "A source cannot be read"


class LoadError(LaurelError):
    """A load failed for a reason that is ours, not the file's."""

    title = "The load failed"


class BackupError(LaurelError):
    """A backup could not be taken, is not what it was, or could not be restored."""

    title = "The backup failed"


class TransformError(LaurelError):
    """dbt failed. `failures` holds one line per model or test that failed."""

    title = "Building the marts failed"

    def __init__(self, detail: str, failures: list[str] | None = None) -> None:
        super().__init__(detail)
        self.failures: list[str] = failures or []


def public_text(error: BaseException | None) -> str:
    """What may be told about a failure: Laurel's own words, and no more than the type of any other error.

    The text of other libraries' errors may hold values of rows. None: a process ended without an error.
    """
    if error is None:
        return "the task's process ended without a word; was it killed, or out of memory?"
    return error.detail if isinstance(error, LaurelError) else type(error).__name__
