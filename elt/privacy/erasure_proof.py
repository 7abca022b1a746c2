"""Searches everything for people who should be gone: the store, every table, the log files.

Rows of another school with the same number are somebody else's and do not count. An identifier that any cell
may hold (a plain small number) is looked for in columns that name people only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
from psycopg import sql

from elt.contracts import Identity, load_contracts
from elt.errors import NotFound, UploadRejected
from elt.privacy.disputed_people import disputes_that_name
from elt.privacy.erase_rows import find_people
from elt.privacy.erase_versions import ObjectEraser
from elt.privacy.text_search import Opened, Text, holds, open_log
from elt.privacy.tombstones import KINDS, TRACES, Person, canonical, is_distinctive, person_columns, plain
from elt.privacy.traces import canonical_sql
from elt.reading.file_rows import FileRows
from elt.store.object_keys import BACKUPS
from elt.warehouse import Connection

_CHUNK = 1 << 20

# What tables of ours and of dbt's call people, and what leads to them. Those of raw are called by contracts.
_COLUMNS: dict[Identity, list[tuple[str, ...]]] = {
    "student": [("student_id",)],
    "guardian": [("parent_id",), ("guardian_id",)],
    "teacher": [("teacher_id",)],
    "student_course": [("student_course_id",)],
    "candidate": [("exam", "exam_year", "exam_number")],
}
_OWNER = "student_id"


@dataclass(frozen=True, slots=True)
class Finding:
    """Where something of a person still stands, never what. `what`: identifier or name."""

    place: str
    what: str


@dataclass(slots=True)
class Proof:
    """How many places of each kind were searched, and what was found."""

    searched: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def saw(self, kind: str) -> None:
        """Count a place."""
        self.searched[kind] = self.searched.get(kind, 0) + 1

    def found(self, place: str, what: str) -> None:
        """Note that something stands there."""
        if (finding := Finding(place, what)) not in self.findings:
            self.findings.append(finding)


def search(
    connection: Connection,
    objects: ObjectEraser,
    people: Sequence[Person],
    names: Sequence[str],
    folders: Sequence[Path],
) -> Proof:
    """Look everywhere for people by their tombstones, and by what is known of them."""
    proof, texts = Proof(), texts_of(people, names)
    _search_store(objects, texts, proof)
    _search_database(connection, people, texts, proof)
    if disputes_that_name(connection, people):
        proof.found("ops.disputes", "identifier")
    if find_people(connection, objects.tombstones):
        proof.found("raw", "identifier")
    for folder in folders:
        _search_folder(folder, texts, proof)
    return proof


def texts_of(people: Iterable[Person], names: Sequence[str]) -> list[Text]:
    """What can be looked for in any place: names, and identifiers that nothing else looks like."""
    identifiers = {
        (" ".join(identifier.lower().split()), school_id)
        for kind, school_id, identifier in people
        if kind in KINDS and is_distinctive(plain(identifier))
    }
    found = [Text("identifier", identifier, school_id) for identifier, school_id in sorted(identifiers)]
    return found + [Text("name", name.strip()) for name in names if name.strip()]


def _search_store(objects: ObjectEraser, texts: list[Text], proof: Proof) -> None:
    store = objects.store
    for item in store.list():
        if item.key.startswith(BACKUPS):
            continue
        proof.saw("objects")
        _search_object(objects, item.key, "", partial(store.open, item.key), texts, proof)
    for old in store.old_versions():
        if old.key.startswith(BACKUPS):
            continue
        proof.saw("earlier versions of objects")
        _search_object(objects, old.key, " (an earlier version)", partial(store.open_old, old), texts, proof)


def _search_object(
    objects: ObjectEraser, key: str, note: str, opened: Opened, texts: list[Text], proof: Proof
) -> None:
    is_file = key.startswith("uploads/") or key.lower().endswith(".csv")
    try:
        if key.startswith("marts/") and key.endswith((".csv", ".parquet")):
            for text in _held_by_mart(opened, texts, is_csv=key.endswith(".csv")):
                proof.found(key + note, text.what)
            return
        if is_file and objects.names_somebody(opened, key):
            proof.found(key + note, "identifier")
        for text in texts:
            if not holds(opened, text):
                continue
            if is_file and _is_of_another_school(objects, key, opened, text):
                continue
            if text.school_id and _school_of_event(objects.connection, key) not in (None, text.school_id):
                continue
            proof.found(key + note, text.what)
    except NotFound:  # removed meanwhile
        return


def _is_of_another_school(objects: ObjectEraser, key: str, opened: Opened, text: Text) -> bool:
    """Whether an identifier stands in rows of other schools only."""
    if text.school_id is None:
        return False
    try:
        with opened() as stream:
            rows = FileRows(stream, objects.form_of(key))
            return not any(
                text.pattern.search(row.text.encode())
                for row in rows.rows()
                if not row.is_sound or rows.value(row, "school_id") == text.school_id
            )
    except UploadRejected:
        return False


def _school_of_event(connection: Connection, key: str) -> str | None:
    """The school of the upload that an event is about; None for other objects."""
    row = connection.execute(
        """
        select u.school_id from ops.events e join ops.uploads u using (upload_id)
        where e.event_id::text = split_part(split_part(%(key)s, '/', 3), '.', 1) and %(key)s like 'events/%%'
        """,
        {"key": key},
    ).fetchone()
    return row["school_id"] if row else None


def _held_by_mart(opened: Opened, texts: list[Text], *, is_csv: bool) -> list[Text]:
    """Those of the texts that some cell of a published table holds."""
    with tempfile.NamedTemporaryFile() as copy:
        with opened() as stream:
            while chunk := stream.read(_CHUNK):
                copy.write(chunk)
        copy.flush()
        table = pl.scan_csv(copy.name, infer_schema=False) if is_csv else pl.scan_parquet(copy.name)
        schema = table.collect_schema()
        cells = [pl.col(name) for name, type_ in schema.items() if type_ == pl.String]
        if not cells:
            return []
        return [
            text
            for text in texts
            if table.select(_holds_cell(text, cells, "school_id" in schema)).collect().item()
        ]


def _holds_cell(text: Text, cells: list[pl.Expr], has_school: bool) -> pl.Expr:
    held = pl.any_horizontal(cell.str.contains(f"(?i){text.regex}") for cell in cells)
    if text.school_id and has_school:
        held &= pl.col("school_id") == text.school_id
    return held.any()


def _search_database(
    connection: Connection, people: Sequence[Person], texts: list[Text], proof: Proof
) -> None:
    tables = connection.execute(
        """
        select n.nspname as schema, c.relname as name, array_agg(a.attname::text) as columns,
            case n.nspname
                when 'raw' then coalesce((
                    select dataset.relname
                    from pg_inherits join pg_class dataset on dataset.oid = inhparent
                    where inhrelid = c.oid
                ), c.relname)::text
                when 'parts' then (
                    select u.dataset
                    from ops.splits s join ops.uploads u using (upload_id)
                    where c.relname = 'rows_' || replace(s.split_id::text, '-', '')
                )
            end as dataset
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
        group by n.nspname, c.oid order by 1, 2
        """
    ).fetchall()
    for table in tables:
        proof.saw("tables")
        place, columns = f"{table['schema']}.{table['name']}", set(table["columns"])
        where = sql.Identifier(table["schema"], table["name"])
        for text in texts:
            holds_text = sql.SQL("t::text ~* %s")
            if _exists(connection, where, columns, holds_text, text.regex, text.school_id):
                proof.found(place, text.what)
        for (kind, school_id), group in groupby(sorted(people), key=lambda person: person[:2]):
            identifiers = sorted({canonical(kind, identifier) for _, _, identifier in group})
            for names in _columns_of(kind, table["dataset"], columns):
                named = sql.SQL("{} = any(%s)").format(canonical_sql("t", names))
                if kind in TRACES and _OWNER in columns:  # who is named there is told from the student
                    named = sql.SQL("{} and t.{} is null").format(named, sql.Identifier(_OWNER))
                if _exists(connection, where, columns, named, identifiers, school_id):
                    proof.found(place, "identifier")


def _columns_of(kind: Identity, dataset: str | None, columns: set[str]) -> list[tuple[str, ...]]:
    """Which columns of a table name a kind of people; `dataset` is that of its rows, if it holds such."""
    if dataset and (contract := load_contracts().get(dataset)):
        return [column.names for column in person_columns(contract) if column.kind == kind]
    return [names for names in _COLUMNS[kind] if set(names) <= columns]


def _exists(
    connection: Connection,
    table: sql.Identifier,
    columns: set[str],
    condition: sql.Composable,
    value: str | list[str],
    school_id: str | None,
) -> bool:
    """Whether a row meets the condition; of one school only, where it is of one and the table says which."""
    values: list[Any] = [value]
    of_school = sql.SQL("")
    if school_id is not None and {"school_id", "upload_id"} & columns:
        of_school = sql.SQL(
            " and t.school_id = %s"
            if "school_id" in columns
            else " and t.upload_id not in (select upload_id from ops.uploads where school_id <> %s)"
        )
        values.append(school_id)
    row = connection.execute(
        sql.SQL("select exists (select from {} t where {}{}) as found").format(table, condition, of_school),
        values,
    ).fetchone()
    return bool(row and row["found"])


def _search_folder(folder: Path, texts: list[Text], proof: Proof) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        proof.saw("log files")
        for text in texts:
            try:
                if holds(partial(open_log, path), text):
                    proof.found(str(path), text.what)
            except FileNotFoundError:  # rotated away meanwhile
                break
