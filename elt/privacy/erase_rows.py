"""Takes people out of the database: raw, with the keys that the marts build anew, and our other tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from psycopg import sql

from elt.contracts import Contract, Identity, load_contracts
from elt.loading.raw_tables import changed_table, raw_table, row_key_sql
from elt.privacy.disputed_people import people_in_disputes
from elt.privacy.tombstones import Person, PersonColumn, Tombstones, person_columns, plain
from elt.privacy.traces import identifier_sql, without_owner
from elt.uploads.apply import lock_with_fixes
from elt.uploads.removal import write_ledger_line
from elt.warehouse import Connection

# What other tables of ours call a student. Those that dbt makes follow raw with the next build.
_STUDENT = "student_id"
_OWN_SCHEMAS = ("ml", "ops", "live")

_AT_ONCE = 10_000


def find_people(connection: Connection, tombstones: Tombstones) -> dict[UUID, set[Person]]:
    """Who of the erased is still named in raw or beside it, in all spellings: erasures keep hashes only.

    With what leads to them. Reads every identifier that raw has of the kinds.
    """
    found: dict[UUID, set[Person]] = {}
    schools = sorted(tombstones.schools)
    for people in (_in_raw(connection, schools, tombstones.kinds), _beside_raw(connection, schools)):
        for person in people:
            if erasure_id := tombstones.find(*person):
                found.setdefault(erasure_id, set()).add(person)
    return found


def find_spellings(connection: Connection, person: Person) -> list[Person]:
    """The spellings in which raw, or a table of ours beside it, names a person."""
    kind, school_id, identifier = person
    found = {*_in_raw(connection, [school_id], {kind}), *_beside_raw(connection, [school_id])}
    return sorted(who for who in found if who[0] == kind and plain(who[2]) == plain(identifier))


def erase_from_raw(connection: Connection, people: Iterable[Person]) -> dict[str, int]:
    """Remove people, and rows that lead to them, from raw in one transaction.

    Returns:
        How many rows of which table went or changed.
    """
    counts: dict[str, int] = {}
    with connection.transaction():
        for (kind, school_id), group in groupby(sorted(people), key=lambda person: person[:2]):
            identifiers = [identifier for _, _, identifier in group]
            for contract, column in _columns_of(kind):
                place = f"raw.{contract.name}"
                if rows := _erase_from_table(connection, contract, column, school_id, identifiers):
                    counts[place] = counts.get(place, 0) + rows
    return counts


def erase_beside_raw(connection: Connection, person: Person) -> dict[str, int]:
    """Remove a person from all other tables of ours: predictions, interventions, pseudonyms."""
    kind, school_id, identifier = person
    with connection.transaction():
        counts = _erase_student(connection, school_id, identifier) if kind == "student" else {}
        pseudonyms = connection.execute(
            "delete from ops.pseudonyms where kind = %s and school_id = %s and source_id = %s", person
        )
    return {**counts, "ops.pseudonyms": pseudonyms.rowcount} if pseudonyms.rowcount else counts


def erase_lines(
    connection: Connection, contract: Contract, upload_id: UUID, version: int, lines: Sequence[int]
) -> int:
    """Remove lines of a live version from raw, in the caller's transaction; returns how many there were."""
    condition = sql.SQL("old._upload_id = %(upload_id)s and old._line = any(%(lines)s)")
    return _change(connection, contract, condition, upload_id, version, {"lines": list(lines)})


def _columns_of(kind: Identity) -> Iterator[tuple[Contract, PersonColumn]]:
    for contract in load_contracts().values():
        for column in person_columns(contract):
            if column.kind == kind:
                yield contract, column


def _erase_from_table(
    connection: Connection, contract: Contract, column: PersonColumn, school_id: str, identifiers: list[str]
) -> int:
    people = {"school_id": school_id, "identifiers": identifiers}
    condition = sql.SQL("old.school_id = %(school_id)s and {} = any(%(identifiers)s){}").format(
        identifier_sql("old", column.names), without_owner("old", column)
    )
    uploads = connection.execute(
        sql.SQL(
            "select distinct u.upload_id, u.live_version, coalesce(u.parent_id, u.upload_id) as root_id "
            "from {} old join ops.uploads u on u.upload_id = old._upload_id where {}"
        ).format(raw_table(contract), condition),
        people,
    ).fetchall()
    for root_id in sorted({upload["root_id"] for upload in uploads}):
        lock_with_fixes(connection, root_id)
    of_upload = sql.SQL("old._upload_id = %(upload_id)s and {}").format(condition)
    emptied = None if column.drops_row else column.names[0]
    return sum(
        _change(
            connection, contract, of_upload, upload["upload_id"], upload["live_version"], people, emptied
        )
        for upload in uploads
    )  # fmt: skip


def _change(
    connection: Connection,
    contract: Contract,
    condition: sql.Composable,
    upload_id: UUID,
    version: int,
    values: dict[str, Any],
    emptied: str | None = None,
) -> int:
    """Delete the rows of an upload, or empty one column of them, with ledger line and affected keys."""
    table = raw_table(contract)
    change = (
        sql.SQL("delete from {} old").format(table)
        if emptied is None
        else sql.SQL("update {} old set {} = null").format(table, sql.Identifier(emptied))
    )
    statement = sql.SQL("{} where {}").format(change, condition)
    values = {**values, "upload_id": upload_id}
    line = write_ledger_line(connection, upload_id, version, contract.name, "erase", 0)
    if contract.is_keyed:
        statement = sql.SQL(
            "with touched as ({statement} returning {key} as row_key) "
            "insert into {changed} (row_key, load_id) select row_key, %(load_id)s from touched"
        ).format(statement=statement, key=row_key_sql(contract, "old"), changed=changed_table(contract))
    rows = connection.execute(statement, {**values, "load_id": line}).rowcount
    if rows == 0:
        connection.execute("delete from ops.loads where load_id = %s", (line,))
        return 0
    connection.execute("update ops.loads set rows = %s where load_id = %s", (rows, line))
    if emptied is None:
        connection.execute(
            """
            update ops.upload_versions set rows_loaded = rows_loaded - %s
            where upload_id = %s and version = %s
            """,
            (rows, upload_id, version),
        )
    return rows


def _erase_student(connection: Connection, school_id: str, student_id: str) -> dict[str, int]:
    """From every table of ours that says something about a student: predictions, interventions …"""
    connection.execute("select set_config('laurel.erasing', 'on', true)")
    counts: dict[str, int] = {}
    for schema, table in _student_tables(connection):
        deleted = connection.execute(
            sql.SQL("delete from {} where school_id = %s and {} = %s").format(
                sql.Identifier(schema, table), sql.Identifier(_STUDENT)
            ),
            (school_id, student_id),
        )
        if deleted.rowcount:
            counts[f"{schema}.{table}"] = deleted.rowcount
    connection.execute("select set_config('laurel.erasing', '', true)")
    return counts


def _student_tables(connection: Connection) -> list[tuple[str, str]]:
    rows = connection.execute(
        """
        select c.table_schema, c.table_name
        from information_schema.columns c
        join information_schema.tables t using (table_schema, table_name)
        where t.table_type = 'BASE TABLE' and c.table_schema = any(%s)
          and c.column_name in ('school_id', %s)
        group by 1, 2 having count(*) = 2 order by 1, 2
        """,
        (list(_OWN_SCHEMAS), _STUDENT),
    )
    return [(row["table_schema"], row["table_name"]) for row in rows]


def _in_raw(connection: Connection, schools: list[str], kinds: Collection[Identity]) -> Iterator[Person]:
    """All who are named in raw, of some schools and kinds. Read piece by piece: traces are many."""
    for kind in sorted(kinds):
        for contract, column in _columns_of(kind):
            people = sql.SQL(
                "select distinct r.school_id, {0} as id from {1} as r "
                "where r.school_id = any(%s) and {0} is not null{2}"
            ).format(identifier_sql("r", column.names), raw_table(contract), without_owner("r", column))
            with connection.transaction(), connection.cursor(name="people_in_raw") as cursor:
                cursor.itersize = _AT_ONCE
                for row in cursor.execute(people, (schools,)):
                    yield kind, row["school_id"], row["id"]


def _beside_raw(connection: Connection, schools: list[str]) -> Iterator[Person]:
    """All who are named in our other tables, of some schools."""
    for schema, table in _student_tables(connection):
        people = sql.SQL("select distinct school_id, {} as id from {} where school_id = any(%s)")
        statement = people.format(sql.Identifier(_STUDENT), sql.Identifier(schema, table))
        for row in connection.execute(statement, (schools,)):
            yield "student", row["school_id"], row["id"]
    for row in connection.execute("select * from ops.pseudonyms where school_id = any(%s)", (schools,)):
        yield row["kind"], row["school_id"], row["source_id"]
    for _, person in people_in_disputes(connection, schools):
        yield person
