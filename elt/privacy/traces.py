"""What leads to a student in rows that name none: courses that they took, numbers under which they sat exams.

When a student is erased, so is what leads to them. Which traces those are is known only as long as there are
rows that say so; therefore their keyed hashes are written down with the erasure, and whoever later refuses a
row of the student (a load, a reading of a source) adds the traces that the row tells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from psycopg import sql

from elt.contracts import get_contract, load_contracts
from elt.loading.raw_tables import raw_table
from elt.log import get_logger
from elt.people.principals import SYSTEM
from elt.privacy.tombstones import (
    BETWEEN,
    TRACES,
    Person,
    PersonColumn,
    Tombstones,
    canonical,
    person_columns,
    tombstones_of,
)
from elt.settings import Settings
from elt.store.base import Store
from elt.uploads.apply import adopt_event, new_event
from elt.uploads.events import write_event
from elt.warehouse import Connection

_REGISTRATIONS = ("intermediate", "int_exam_registrations")
"""Made by dbt, which knows in which year a student sits an exam: numbers start again every year."""

log = get_logger(__name__)


def identifier_sql(alias: str, names: Collection[str]) -> sql.Composable:
    """The identifier in some columns of a table, as a text; null where a part is missing."""
    parts = [sql.SQL("{}::text").format(sql.Identifier(alias, name)) for name in names]
    return sql.SQL("({})").format(sql.SQL(f" || '{BETWEEN}' || ").join(parts))


def canonical_sql(alias: str, names: Collection[str]) -> sql.Composable:
    """The same as `canonical` of `elt.privacy.tombstones` gives it."""
    return sql.SQL("lower(regexp_replace({}, '\\s', '', 'g'))").format(identifier_sql(alias, names))


def without_owner(alias: str, column: PersonColumn) -> sql.Composable:
    """Of rows that a trace is found in, only those count that name no student themselves."""
    if column.owner is None:
        return sql.SQL("")
    return sql.SQL(" and {} is null").format(sql.Identifier(alias, column.owner))


def find_traces(connection: Connection, school_id: str, spellings: Collection[str]) -> set[Person]:
    """What leads to a student, by what is in raw and was last built from it.

    Args:
        school_id: the student's school.
        spellings: all ways in which the student's number is written.
    """
    found: set[Person] = set()
    for contract in load_contracts().values():
        traces = [(kind, names) for kind, names in contract.identities.items() if kind in TRACES]
        for column in person_columns(contract) if traces else ():
            if column.kind == "student":
                for kind, names in traces:
                    identifiers = _own(
                        connection, raw_table(contract), column.names[0], names, school_id, spellings
                    )
                    found |= {(kind, school_id, identifier) for identifier in identifiers}
    if _is_built(connection):
        names = get_contract("exam_results").identities["candidate"]
        numbers = _own(connection, sql.Identifier(*_REGISTRATIONS), "student_id", names, school_id, spellings)
        found |= {("candidate", school_id, number) for number in numbers}
    return found


def note_traces(
    settings: Settings, connection: Connection, store: Store, found: Mapping[UUID, Iterable[Person]]
) -> dict[UUID, set[Person]]:
    """Add traces to erasures, in the caller's transaction; returns those that were added.

    Left out is what raw gives to somebody else, such as a course that was first entered for another student.
    """
    added: dict[UUID, set[Person]] = {}
    for erasure_id, traces in sorted(found.items()):
        erasure = connection.execute(
            "select * from ops.erasures where erasure_id = %s for update", (erasure_id,)
        ).fetchone()
        if erasure is None:
            continue
        known = Tombstones(settings, [erasure])
        new = {trace for trace in traces if known.find(*trace) is None}
        if not (new := new - _of_others(connection, known, new)):
            continue
        told = ("kind", "school_id", "tombstone", "person_tombstones", "reason")
        marks = sorted({tombstones_of(settings, *trace)[0] for trace in new})
        body = {**{name: erasure[name] for name in told}, "traces": marks}
        event = new_event(connection, "erasing", erasure_id, SYSTEM.id, body)
        write_event(store, event)
        adopt_event(connection, event)
        added[erasure_id] = new
        log.info("traces_noted", erasure_id=str(erasure_id), count=len(marks))
    return added


def reopen(connection: Connection, erasures: Collection[UUID]) -> None:
    """Say that copies may be left: the next erasing looks everywhere again."""
    if erasures:
        connection.execute(
            """
            update ops.erasures set finished_at = null, reopened_at = clock_timestamp()
            where erasure_id = any(%s)
            """,
            (list(erasures),),
        )


def _of_others(connection: Connection, erased: Tombstones, traces: Collection[Person]) -> set[Person]:
    """Those of some traces that a row in raw gives to a student who is not the erased one."""
    found = set()
    for contract in load_contracts().values():
        for kind, names in contract.identities.items():
            mine = {canonical(*trace[::2]): trace for trace in traces if trace[0] == kind}
            students = [column for column in person_columns(contract) if column.kind == "student"]
            if not mine or not students:
                continue
            [student] = students[0].names
            query = sql.SQL(
                "select distinct r.school_id, {identifier} as identifier, r.{student} as student "
                "from {table} as r where {identifier} = any(%s) and r.{student} is not null"
            ).format(
                identifier=identifier_sql("r", names),
                student=sql.Identifier(student),
                table=raw_table(contract),
            )
            for row in connection.execute(query, ([identifier for _, _, identifier in mine.values()],)):
                trace = mine[canonical(kind, row["identifier"])]
                if trace[1] == row["school_id"] and not erased.find("student", trace[1], row["student"]):
                    found.add(trace)
    return found


def _own(
    connection: Connection,
    table: sql.Identifier,
    student: str,
    names: Collection[str],
    school_id: str,
    spellings: Collection[str],
) -> list[str]:
    """Identifiers that rows of a table give to this student, and to no other."""
    query = sql.SQL(
        """
        select {identifier} as identifier from {table} as r
        where r.school_id = %(school_id)s and {identifier} in (
            select {identifier} from {table} as r
            where r.school_id = %(school_id)s and r.{student} = any(%(spellings)s))
        group by 1 having bool_and(r.{student} is null or r.{student} = any(%(spellings)s))
        """
    ).format(identifier=identifier_sql("r", names), table=table, student=sql.Identifier(student))
    rows = connection.execute(query, {"school_id": school_id, "spellings": list(spellings)})
    return [row["identifier"] for row in rows]


def _is_built(connection: Connection) -> bool:
    row = connection.execute(
        "select to_regclass(%s) is not null as is_built", (".".join(_REGISTRATIONS),)
    ).fetchone()
    return bool(row and row["is_built"])
