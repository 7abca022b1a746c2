"""Rows that name nobody by an identifier, but by name and birth date somebody who was erased.

Two people can share both, so nothing goes by itself: a person looks at the row and says whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from elt.audit.trail import record
from elt.contracts import Contract, load_contracts
from elt.errors import NotFound, UploadRejected
from elt.privacy.tombstones import person_columns, person_tombstones_of
from elt.reading.dialect import DATE_FORMATS, ReadOptions
from elt.reading.file_rows import FileForm, FileRows
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection

_WHO = ("first_name", "last_name", "date_of_birth")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that may be of somebody who was erased, by its place only."""

    erasure_id: UUID
    dataset: str
    upload_id: UUID
    version: int
    line: int


def find_candidates(settings: Settings, connection: Connection, store: Store) -> list[Candidate]:
    """Rows of files without identifiers, of all versions that the store still holds."""
    erased = {
        mark: row["erasure_id"]
        for row in connection.execute("select erasure_id, person_tombstones from ops.erasures")
        for mark in row["person_tombstones"]
    }
    contracts = [contract for contract in load_contracts().values() if _names_people_only(contract)]
    if not erased or not contracts:
        return []
    versions = connection.execute(
        """
        select u.dataset, u.school_id, v.upload_id, v.version, v.object_key, v.options
        from ops.uploads u join ops.upload_versions v using (upload_id)
        where u.dataset = any(%s) and v.bytes_removed_at is null order by v.upload_id, v.version
        """,
        ([contract.name for contract in contracts],),
    ).fetchall()
    return [candidate for version in versions for candidate in _in_version(settings, store, version, erased)]


def confirm_candidate(
    connection: Connection, erasure_id: UUID, upload_id: UUID, version: int, line: int, by: str
) -> None:
    """Say that a row is of the erased person: the next erasure takes it out.

    Raises:
        NotFound: there is no such erasure or version.
    """
    with connection.transaction():
        known = connection.execute(
            """
            insert into ops.erasure_lines (upload_id, version, line, erasure_id, confirmed_by)
            select v.upload_id, v.version, %s, e.erasure_id, %s from ops.upload_versions v, ops.erasures e
            where v.upload_id = %s and v.version = %s and e.erasure_id = %s
            on conflict (upload_id, version, line) do update set confirmed_by = excluded.confirmed_by
            """,
            (line, by, upload_id, version, erasure_id),
        )
        if known.rowcount == 0:
            raise NotFound(
                f"There is no erasure {erasure_id}, or no version {version} of upload {upload_id}."
            )
        connection.execute("update ops.erasures set finished_at = null where erasure_id = %s", (erasure_id,))
        facts = {"erasure": str(erasure_id), "version": version, "line": line}
        record(connection, by, "people:erase", f"upload:{upload_id}", facts)


def _names_people_only(contract: Contract) -> bool:
    return set(_WHO) <= set(contract.columns) and not person_columns(contract)


def _in_version(
    settings: Settings, store: Store, version: dict[str, Any], erased: dict[str, UUID]
) -> Iterator[Candidate]:
    options = ReadOptions.from_dict(version["options"])
    form = FileForm(load_contracts()[version["dataset"]], options, version["school_id"])
    try:
        with store.open(version["object_key"]) as stream:
            rows = FileRows(stream, form)
            for row in rows.rows():
                who = [rows.value(row, column) for column in _WHO] if row.is_sound else [None]
                if None in who:
                    continue
                first, last, born = map(str, who)
                marks = person_tombstones_of(settings, first, last, _iso(born, options.date_format))
                for erasure_id in {erased[mark] for mark in marks if mark in erased}:
                    yield Candidate(
                        erasure_id, version["dataset"], version["upload_id"], version["version"], row.line
                    )
    except (UploadRejected, NotFound):
        return


def _iso(text: str, date_format: str | None) -> str:
    """A date in the file's order as ISO; what is none stays as it is."""
    if date_format is not None:
        with suppress(ValueError):
            return datetime.strptime(text, DATE_FORMATS[date_format]).date().isoformat()
    return text
