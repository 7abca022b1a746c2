"""Models of uploads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from backend.schemas.common import Answered, IssueModel, Name, PageQuery, Sent, Text, Uuid
from backend.schemas.datasets import DatasetName, ReadFields
from elt.errors import Issue
from elt.uploads.ledger import Counts, UploadRecord, VersionRecord

Status = Literal["stored", "loading", "loaded", "rejected", "held", "withdrawn", "failed"]


class UploadFields(ReadFields):
    """What may be said about a file beside its dataset."""

    school_id: Name | None = Field(
        default=None, description="School of rows that name none; default: the main school."
    )
    title: Text | None = Field(default=None, description="A short name for people.")
    note: Text | None = Field(default=None, description="Anything worth knowing about the file.")
    fixes: Uuid | None = Field(
        None,
        description="The upload whose rejected rows this file corrects. It keeps that one's rank and lines.",
    )


class UploadQuery(UploadFields):
    """The parameters of a new upload. A field of the same name in a form wins over one in the query."""

    dataset: DatasetName = Field(description="What the file holds.")
    filename: Name | None = Field(
        default=None, description="The file's name, where the body is the file itself."
    )


class UploadHeaders(Sent):
    """Headers that make repeating a request harmless."""

    idempotency_key: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")] | None = Field(
        None,
        alias="Idempotency-Key",
        description="Any text of yours. The same request sent again with it answers with the first upload.",
    )


class ReplaceQuery(ReadFields):
    """The parameters of a new version."""

    filename: Name | None = Field(
        default=None, description="The file's name, where the body is the file itself."
    )


class UploadListQuery(PageQuery):
    """Which uploads."""

    dataset: DatasetName | None = Field(default=None, description="Only of this dataset.")
    status: Status | None = Field(default=None, description="Only in this status.")


class IssuesQuery(Sent):
    """Where in the issues to start."""

    limit: int = Field(default=50, ge=1, le=1000, description="How many at most.")
    after: int | None = Field(
        default=None, ge=0, le=2**53, description="Continue behind these: the `next` of the page before."
    )


class ContentQuery(Sent):
    """Which version."""

    version: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="A version's number; default: the newest."
    )


class UploadChange(Sent):
    """What can be changed about an upload without its bytes. What is left out stays; null empties it."""

    title: Text | None = None
    note: Text | None = None


class CountsModel(Answered):
    """Rows of a version; null until it has been read. `read` = `accepted` + `rejected` + `repeated`."""

    read: int | None = None
    accepted: int | None = Field(default=None, description="Passed all rules.")
    rejected: int | None = Field(default=None, description="Broke a rule and are not loaded.")
    repeated: int | None = Field(default=None, description="Are exact repeats of another row of the file.")
    loaded: int | None = Field(default=None, description="Are in the warehouse now.")
    warnings: int | None = Field(
        default=None, description="Findings about rows that are loaded all the same."
    )
    erased: int = Field(default=0, description="Of the rows read, those of people who were erased since.")


class VersionModel(Answered):
    """One version of an upload: its bytes and what became of them."""

    version: int
    status: Status
    reason: str | None
    filename: str
    media_type: str | None
    size_bytes: int
    sha256: str
    options: dict[str, Any] = Field(description="How to read the file, as its sender stated it.")
    detected: dict[str, Any] | None = Field(description="How the file was read.")
    counts: CountsModel
    received_at: datetime
    loading_at: datetime | None
    loaded_at: datetime | None
    approved_at: datetime | None
    attempts: int

    @classmethod
    def of(cls, record: VersionRecord) -> VersionModel:
        """From the ledger."""
        return cls.model_validate(record)


class Upload(Answered):
    """A file that was handed in, and what became of it. All but the identity is its newest version's."""

    id: UUID
    dataset: str
    status: Status
    reason: str | None = Field(default=None, description="Why it is rejected, held or failed.")
    counts: CountsModel = Field(default_factory=CountsModel)
    remaining_rejects: int | None = Field(
        default=None, description="Rejected rows that no fix has brought since."
    )
    title: str | None = None
    note: str | None = None
    filename: str
    media_type: str | None = None
    size_bytes: int
    sha256: str
    school_id: str
    uploader: str
    origin: str = "api"
    parent_id: UUID | None = Field(
        default=None, description="The upload whose rejected rows this one corrects."
    )
    fixes: list[UUID] = Field(default=[], description="Uploads that correct rejected rows of this one.")
    version: int = Field(default=1, description="The newest version.")
    live_version: int | None = Field(default=None, description="The version whose rows are in the warehouse.")
    versions: list[VersionModel] = Field(default=[])
    runs: list[UUID] = Field(default=[], description="Runs that loaded it or built it into the marts.")
    created_at: datetime
    received_at: datetime
    loading_at: datetime | None = None
    loaded_at: datetime | None = None
    in_marts_at: datetime | None = Field(
        default=None, description="When the marts showed all that it changed; null: not yet, or nothing."
    )
    withdrawn_at: datetime | None = None

    @classmethod
    def of(cls, record: UploadRecord) -> Upload:
        """From the ledger."""
        return cls(**_upload_fields(record))


class UploadDetail(Upload):
    """An upload with the first of its issues."""

    detected: dict[str, Any] | None = Field(
        default=None, description="How the file was read: encoding, delimiter, header."
    )
    issues: list[IssueModel] = Field(default=[], description="The first 50: about the file, then about rows.")
    more_issues: str | None = Field(default=None, description="Where the other issues are.")

    @classmethod
    def with_issues(cls, record: UploadRecord, rows: list[Issue], total: str | None) -> UploadDetail:
        """From the ledger and the first findings about rows; `total` is where the others are."""
        about_file = [IssueModel.model_validate(issue) for issue in record.current.issues]
        return cls(
            **_upload_fields(record),
            detected=record.current.detected,
            issues=about_file + [IssueModel.model_validate(issue) for issue in rows],
            more_issues=total,
        )


class WithdrawalPreview(Answered):
    """What would become of the figures if an upload were withdrawn."""

    leaving: int = Field(description="Rows that would leave the warehouse, those of its corrections too.")
    corrections: int = Field(description="How many corrected files would be withdrawn with it.")
    shown: int | None = Field(description="Of those, rows that figures show now; null: it has no key.")
    coming_back: int | None = Field(description="Older rows of other files that would show again.")
    lost: int | None = Field(description="Rows that would be gone from figures.")


class UploadPage(Answered):
    """A page of uploads, newest first."""

    items: list[Upload]
    next: str | None = Field(description="Give it as `after` to get the next page; null: this is the last.")


class IssuePage(Answered):
    """A page of findings about rows, in the order of lines."""

    items: list[IssueModel]
    next: int | None = Field(description="Give it as `after` to get the next page; null: this is the last.")


def _upload_fields(record: UploadRecord) -> dict[str, Any]:
    current = record.current
    return {
        "id": record.upload_id,
        "dataset": record.dataset,
        "status": current.status,
        "reason": current.reason,
        "counts": _counts(current.counts),
        "remaining_rejects": record.remaining_rejects,
        "title": record.title,
        "note": record.note,
        "filename": current.filename,
        "media_type": current.media_type,
        "size_bytes": current.size_bytes,
        "sha256": current.sha256,
        "school_id": record.school_id,
        "uploader": record.uploader,
        "origin": record.origin,
        "parent_id": record.parent_id,
        "fixes": record.fixes,
        "version": record.version,
        "live_version": record.live_version,
        "versions": [VersionModel.of(version) for version in record.versions],
        "runs": record.runs,
        "created_at": record.created_at,
        "received_at": current.received_at,
        "loading_at": current.loading_at,
        "loaded_at": current.loaded_at,
        "in_marts_at": record.in_marts_at,
        "withdrawn_at": record.withdrawn_at,
    }


def _counts(counts: Counts) -> CountsModel:
    return CountsModel.model_validate(counts)
