"""All that Laurel holds about a student, for a subject access request: one zip with JSON, CSV and a README.

Rows of raw come with their upload and line; rows that are in a file but not in raw (rejected, replaced,
withdrawn) are read from the file. What is worked out from them is read as the administrator sees it. The
student is found in every spelling of the number, and by what leads to them, as an erasure would find them.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

from psycopg import sql

from elt.audit.reading import AuditFilter, list_lines, student_subjects
from elt.contracts import Contract, Identity, load_contracts
from elt.errors import NotFound, UploadRejected
from elt.loading.raw_tables import raw_table
from elt.privacy.erase_rows import find_spellings
from elt.privacy.tombstones import (
    TRACES,
    Person,
    PersonColumn,
    canonical,
    identifier_of,
    person_columns,
    plain,
)
from elt.privacy.traces import canonical_sql, find_traces, identifier_sql, without_owner
from elt.reading.dialect import ReadOptions
from elt.reading.file_rows import FileForm, FileRow, FileRows
from elt.reading.spreadsheets import guard
from elt.settings import Settings
from elt.store.base import Store
from elt.warehouse import Connection

_README = """\
Everything that Laurel held about the student {student_id} of the school {school_id}
on {exported_at}.

Numbers that differ in small and capital letters and in spaces only are one student's. Found were:
{spellings}

record.json          all of it, exactly
csv/*.csv            the same, a file per table, for spreadsheet programs

Rows that name no student are here if they name a course that this one took, or the number under which they
sat an exam in a year.

raw.<dataset>        rows of files that are in use; _filename, _upload_id and _line say where each came from,
                     _uploaded_at and _uploader when and from whom
files.<dataset>      rows of files that are not in use: refused, replaced or withdrawn; _status says which
marts.<mart>         what was worked out from them
predictions          what was predicted, when, by what, for which reasons
outcomes             what came of it
interventions        what was done to help the student
assignments          who looked after the student, when
notes                what was noted about the student, and by whom
disputes             values that somebody said are wrong, and what came of it
audit                who looked at the record or changed it, when and why

Rows about guardians hold data of other people; check what may be handed out. Not in here: answers to surveys
that give no student number, backups, and the log, which holds no names and no numbers of students.
{unread}"""

_PREDICTIONS = """
select * from ml.predictions where school_id = %s and student_id = any(%s) order by prediction_id
"""
_OUTCOMES = """
select * from ml.outcomes where school_id = %s and student_id = any(%s) order by outcome_id
"""
_INTERVENTIONS = """
select * from ops.interventions where school_id = %s and student_id = any(%s) order by intervention_id
"""
_NOTES = """
select * from ops.student_notes where school_id = %s and student_id = any(%s) order by note_id
"""
_DISPUTES = """
select * from ops.disputes where school_id = %s and student_id = any(%s) order by dispute_id
"""
_ASSIGNMENTS = """
select a.*, u.name as _name from ops.student_assignments as a left join ops.users as u using (user_id)
where a.school_id = %s and a.student_id = any(%s) order by a.assignment_id
"""


@dataclass(slots=True)
class StudentExport:
    """Rows by the name of their table, and the files that could not be read.

    `student_id` is the number as it was asked for, `spellings` are those that were found, `traces` what else
    leads to the student.
    """

    school_id: str
    student_id: str
    exported_at: datetime
    spellings: set[str] = field(default_factory=set)
    traces: set[Person] = field(default_factory=set)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def is_of(self, kind: Identity, identifier: str) -> bool:
        """Whether a number, in whatever spelling, is the student's."""
        if kind in TRACES:
            return (kind, self.school_id, canonical(kind, identifier)) in self.traces
        return plain(identifier) == plain(self.student_id)

    def identifiers(self, kind: Identity) -> list[str]:
        """The student's numbers of a kind."""
        if kind in TRACES:
            return sorted(identifier for each, _, identifier in self.traces if each == kind)
        return sorted(self.spellings)

    def add_traces(self, traces: Iterable[Person]) -> None:
        """Note what leads to the student, in whatever spelling."""
        self.traces |= {(kind, school, canonical(kind, identifier)) for kind, school, identifier in traces}

    def write(self, output: BinaryIO) -> None:
        """The zip."""
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", self._readme())
            archive.writestr("record.json", self._json())
            for name, rows in self.tables.items():
                archive.writestr(f"csv/{name}.csv", _csv(rows))

    def _readme(self) -> str:
        unread = "".join(f"\nCould not be read, look at it by hand: {name}" for name in self.unread)
        return _README.format(
            school_id=self.school_id,
            student_id=self.student_id,
            exported_at=f"{self.exported_at:%Y-%m-%d %H:%M} UTC",
            spellings="\n".join(json.dumps(each, ensure_ascii=False) for each in sorted(self.spellings)),
            unread=unread,
        )

    def _json(self) -> str:
        document = {
            "school_id": self.school_id,
            "student_id": self.student_id,
            "spellings": sorted(self.spellings),
            "exported_at": self.exported_at,
            "tables": self.tables,
            "unread": self.unread,
        }
        return json.dumps(document, default=str, ensure_ascii=False, indent=2)


def export_student(
    settings: Settings,
    connection: Connection,
    session: Connection,
    store: Store,
    school_id: str,
    student_id: str,
) -> StudentExport:
    """Gather all about a student.

    Args:
        settings: for the keyed hashes by which the audit trail names people.
        connection: Laurel's own.
        session: an administrator's, of `elt.serving.sessions.reader`.
        store: where the files are.
        school_id: the school.
        student_id: its number of the student, in any spelling.

    Raises:
        NotFound: there is nothing.
    """
    export = StudentExport(school_id, student_id, datetime.now(UTC))
    spelled = find_spellings(connection, ("student", school_id, student_id))
    export.spellings = {spelling for _, _, spelling in spelled}
    person = (school_id, sorted(export.spellings))
    export.add_traces(find_traces(connection, school_id, export.spellings))
    for contract, column in _datasets():
        _keep(export, f"raw.{contract.name}", _raw_rows(connection, contract, column, export))
        _keep(export, f"files.{contract.name}", _file_rows(connection, store, contract, column, export))
    for mart in _marts(session):
        query = sql.SQL("select * from served.{} where school_id = %s and student_id = any(%s)")
        found = session.execute(query.format(sql.Identifier(mart)), person).fetchall()
        _keep(export, f"marts.{mart}", found)
    _keep(export, "predictions", connection.execute(_PREDICTIONS, person).fetchall())
    _keep(export, "outcomes", connection.execute(_OUTCOMES, person).fetchall())
    _keep(export, "interventions", connection.execute(_INTERVENTIONS, person).fetchall())
    _keep(export, "assignments", connection.execute(_ASSIGNMENTS, person).fetchall())
    _keep(export, "notes", connection.execute(_NOTES, person).fetchall())
    _keep(export, "disputes", connection.execute(_DISPUTES, person).fetchall())
    if not export.tables:
        raise NotFound(f"Nothing is held about a student of this number in the school {school_id[:80]!r}.")
    subjects = student_subjects(connection, settings, school_id, student_id)
    _keep(export, "audit", list_lines(connection, AuditFilter(subjects=subjects), limit=None))
    return export


def _keep(export: StudentExport, name: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        export.tables[name] = export.tables.get(name, []) + rows


def _datasets() -> list[tuple[Contract, PersonColumn]]:
    """The datasets that name students, and the columns that do; then those that name what leads to one."""
    columns = [
        (contract, column) for contract in load_contracts().values() for column in person_columns(contract)
    ]
    return [
        *((contract, column) for contract, column in columns if column.kind == "student"),
        *((contract, column) for contract, column in columns if column.kind in TRACES),
    ]


def _raw_rows(
    connection: Connection, contract: Contract, column: PersonColumn, export: StudentExport
) -> list[dict[str, Any]]:
    is_trace = column.kind in TRACES
    identifier = (canonical_sql if is_trace else identifier_sql)("found", column.names)
    query = sql.SQL(
        """
        select found.*, versions.filename as _filename, versions.received_at as _uploaded_at,
               versions.uploader as _uploader
        from {} as found
        join ops.uploads as uploads on uploads.upload_id = found._upload_id
        join ops.upload_versions as versions
            on versions.upload_id = uploads.upload_id and versions.version = uploads.live_version
        where found.school_id = %s and {} = any(%s){}
        order by found._upload_id, found._line
        """
    ).format(raw_table(contract), identifier, without_owner("found", column))
    return connection.execute(query, (export.school_id, export.identifiers(column.kind))).fetchall()


def _file_rows(
    connection: Connection, store: Store, contract: Contract, column: PersonColumn, export: StudentExport
) -> list[dict[str, Any]]:
    """Rows in files of which raw does not hold all."""
    versions = connection.execute(
        """
        select u.school_id, v.upload_id, v.version, v.object_key, v.filename, v.options, v.status,
               v.received_at, v.uploader, v.version is not distinct from u.live_version as is_live
        from ops.uploads as u join ops.upload_versions as v using (upload_id)
        where u.dataset = %s and v.bytes_removed_at is null
          and (v.version is distinct from u.live_version or v.rows_rejected > 0 or v.rows_repeated > 0)
        order by v.upload_id, v.version
        """,
        (contract.name,),
    ).fetchall()
    found: list[dict[str, Any]] = []
    for version in versions:
        try:
            found += _rows_of_version(connection, store, contract, column, export, version)
        except (UploadRejected, NotFound):
            named = (
                version["filename"] if version["school_id"] == export.school_id else "another school's file"
            )
            export.unread.append(f"{named} (upload {version['upload_id']})")
    return found


def _rows_of_version(
    connection: Connection,
    store: Store,
    contract: Contract,
    column: PersonColumn,
    export: StudentExport,
    version: dict[str, Any],
) -> list[dict[str, Any]]:
    form = FileForm(contract, ReadOptions.from_dict(version["options"]), version["school_id"])
    found = []
    with store.open(version["object_key"]) as stream:
        rows = FileRows(stream, form)
        for row in rows.rows():
            found_as = _found_as(rows, row, column) if row.is_sound else None
            if found_as is None or not export.is_of(column.kind, found_as):
                continue
            if rows.value(row, "school_id") != export.school_id:
                continue
            if column.kind == "student":
                export.spellings.add(found_as)
                export.add_traces(_traces_in(rows, row, contract, export.school_id))
            if version["is_live"] and _is_in_raw(connection, contract, version["upload_id"], row.line):
                continue
            found.append(
                {
                    **{name: rows.value(row, name) for name in contract.columns},
                    "_upload_id": version["upload_id"],
                    "_line": row.line,
                    "_filename": version["filename"],
                    "_uploaded_at": version["received_at"],
                    "_uploader": version["uploader"],
                    "_status": "not loaded" if version["is_live"] else version["status"],
                }
            )
    return found


def _found_as(rows: FileRows, row: FileRow, column: PersonColumn) -> str | None:
    if column.owner and rows.value(row, column.owner) is not None:
        return None
    return identifier_of([rows.value(row, name) for name in column.names])


def _traces_in(rows: FileRows, row: FileRow, contract: Contract, school_id: str) -> Iterator[Person]:
    for kind, names in contract.identities.items():
        trace = identifier_of([rows.value(row, name) for name in names])
        if kind in TRACES and trace is not None:
            yield kind, school_id, trace


def _is_in_raw(connection: Connection, contract: Contract, upload_id: Any, line: int) -> bool:
    query = sql.SQL("select from {} where _upload_id = %s and _line = %s").format(raw_table(contract))
    return connection.execute(query, (upload_id, line)).rowcount > 0


def _marts(session: Connection) -> list[str]:
    """The marts that have rows of single students."""
    rows = session.execute(
        """
        select c.relname as name
        from pg_class as c join pg_attribute as a on a.attrelid = c.oid
        where c.relnamespace = 'served'::regnamespace and c.relkind = 'v'
            and a.attname in ('school_id', 'student_id') and not a.attisdropped
        group by c.relname having count(*) = 2 order by c.relname
        """
    )
    return [row["name"] for row in rows]


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return f"\ufeff{text.getvalue()}"  # so that spreadsheet programs know that it is UTF-8


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return guard(str(value))
