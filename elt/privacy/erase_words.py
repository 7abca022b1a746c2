"""Takes names and identifiers out of what people wrote beside a file: title, note, reasons, its own name.

Only what the caller says is looked for, since nothing of it is kept. The word `erased` takes its place, in
the events too, and an object whose key holds the file's name moves. Done in an order that can be killed: the
copy, the events, the ledger, the old object. A note about another student is replaced as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from elt.privacy.disputed_people import disputes_that_name
from elt.privacy.text_search import Text
from elt.privacy.tombstones import Person
from elt.store.base import Store
from elt.uploads.events import Event
from elt.warehouse import Connection

_CHUNK = 1 << 20
_INSTEAD = "erased"
NAMED = "This text named a person who was erased."

# Where the ledger keeps texts that people wrote; `school` is the school that they are about.
_UPLOADS = sql.SQL("join ops.uploads u on u.upload_id = t.upload_id")
_TEXTS: tuple[tuple[str, str, sql.SQL, sql.SQL], ...] = (
    ("uploads", "title", sql.SQL(""), sql.SQL("t.school_id")),
    ("uploads", "note", sql.SQL(""), sql.SQL("t.school_id")),
    ("upload_versions", "filename", _UPLOADS, sql.SQL("u.school_id")),
    ("upload_versions", "reason", _UPLOADS, sql.SQL("u.school_id")),
    ("upload_versions", "object_key", _UPLOADS, sql.SQL("u.school_id")),
    ("inbox_objects", "object_key", _UPLOADS, sql.SQL("u.school_id")),
    ("erasures", "reason", sql.SQL(""), sql.SQL("t.school_id")),
)


# What people wrote about students, or took from a row to dispute it; by their own keys.
_NOTES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("interventions", "intervention_id", ("action", "note")),
    ("student_notes", "note_id", ("note",)),
    ("disputes", "dispute_id", ("shown", "should_be", "reason", "settled_why")),
)

# A row that is known by a guardian is the guardian's, with all that is said of it. Each gets a key of its
# own, as only one of the same may be open.
_EMPTY = """
update ops.disputes set
    row_key = jsonb_build_object('erased', dispute_id),
    shown = case when shown is not null then %(instead)s end,
    should_be = case when should_be is not null then %(instead)s end,
    reason = %(instead)s,
    settled_why = case when settled_why is not null then %(instead)s end
where dispute_id = any(%(disputes)s)
    or (row_key::text ~* %(regex)s and school_id = coalesce(%(school_id)s, school_id))
returning dispute_id as id
"""


def replace_notes(
    connection: Connection, texts: Sequence[Text], people: Collection[Person]
) -> dict[str, int]:
    """Replace what is noted about other students and names the person.

    Args:
        texts: what names the person in any text.
        people: the person in all spellings, for where identifiers stand alone.

    Returns:
        How many lines of which table changed.
    """
    counts: dict[str, int] = {}
    with connection.transaction():
        connection.execute("select set_config('laurel.erasing', 'on', true)")
        for table, key, columns in _NOTES:
            changed: set[UUID] = set()
            if table == "disputes":
                changed |= _empty_disputes(connection, texts, people)
            for text in texts:
                values = {"regex": text.regex, "school_id": text.school_id, "instead": NAMED}
                changed |= {row["id"] for row in connection.execute(_replace_in(table, key, columns), values)}
            if changed:
                counts[f"ops.{table}.note"] = len(changed)
        connection.execute("select set_config('laurel.erasing', '', true)")
    return counts


def _empty_disputes(connection: Connection, texts: Sequence[Text], people: Collection[Person]) -> set[UUID]:
    """Leave of disputes about a person's own row no more than that there was one."""
    named = list(disputes_that_name(connection, people))
    wanted: list[dict[str, Any]] = [{"disputes": named, "regex": None, "school_id": None}]
    wanted += [{"disputes": [], "regex": text.regex, "school_id": text.school_id} for text in texts]
    return {row["id"] for each in wanted for row in connection.execute(_EMPTY, {**each, "instead": NAMED})}


def _replace_in(table: str, key: str, columns: Sequence[str]) -> sql.Composed:
    names = [sql.Identifier(column) for column in columns]
    return sql.SQL(
        "update {table} set {changes} where ({found}) and school_id = coalesce(%(school_id)s, school_id) "
        "returning {key} as id"
    ).format(
        table=sql.Identifier("ops", table),
        changes=sql.SQL(", ").join(
            sql.SQL("{0} = case when {0} ~* %(regex)s then %(instead)s else {0} end").format(name)
            for name in names
        ),
        found=sql.SQL(" or ").join(sql.SQL("{} ~* %(regex)s").format(name) for name in names),
        key=sql.Identifier(key),
    )


@dataclass(frozen=True, slots=True)
class WordEraser:
    """Takes some texts out of the ledger, the events and the keys of objects."""

    store: Store
    connection: Connection
    texts: Sequence[Text]

    def run(self) -> int:
        """Do it; returns how many texts were changed."""
        if not self.texts:
            return 0
        moved = list(self._copy_objects())
        changed = self._rewrite_events()
        changed += sum(self._rewrite_column(*place) for place in _TEXTS)
        for key in moved:
            self.store.delete(key)
            self.store.forget(key)
        return changed

    def redact(self, text: str, school_id: str | None) -> str:
        """The text without the words; identifiers only where they are of the same school."""
        for wanted in self.texts:
            if wanted.school_id in (None, school_id):
                text = re.sub(wanted.words, _INSTEAD, text, flags=re.IGNORECASE)
        return text

    def _copy_objects(self) -> Iterator[str]:
        """Copy objects whose key holds a word; gives the old keys, also those of a killed call."""
        rows = self.connection.execute(
            """
            select v.object_key, v.media_type, u.school_id
            from ops.uploads u join ops.upload_versions v using (upload_id)
            """
        ).fetchall()
        for row in rows:
            key, new = row["object_key"], self.redact(row["object_key"], row["school_id"])
            if new != key and self.store.exists(key):
                with self.store.open(key) as stream:
                    chunks = iter(lambda stream=stream: stream.read(_CHUNK), b"")  # type: ignore[misc]
                    self.store.put(new, chunks, media_type=row["media_type"], replace=True)
                yield key
        yield from (item.key for item in self.store.list("uploads/") if self._is_left_over(item.key))

    def _is_left_over(self, key: str) -> bool:
        """Whether the object was copied by a call that was killed before it could remove it."""
        row = self.connection.execute(
            "select from ops.upload_versions where object_key = any(%s)",
            (
                [
                    self.redact(key, text.school_id)
                    for text in self.texts
                    if self.redact(key, text.school_id) != key
                ],
            ),
        )
        return row.rowcount > 0

    def _rewrite_events(self) -> int:
        changed = 0
        rows = self.connection.execute(
            """
            select e.*, coalesce(u.school_id, e.body ->> 'school_id') as school_id
            from ops.events e left join ops.uploads u using (upload_id)
            where e.body::text ~* any(%s)
            """,
            ([text.regex for text in self.texts],),
        ).fetchall()
        for row in rows:
            body = self._redact_values(row["body"], row["school_id"])
            if body == row["body"]:
                continue
            event = Event(
                row["event_id"], row["kind"], row["upload_id"], row["occurred_at"], row["principal"], body
            )
            self.store.put(event.key, [event.to_bytes()], media_type="application/json", replace=True)
            self.store.forget(event.key)
            self.connection.execute(
                "update ops.events set body = %s where event_id = %s", (Jsonb(body), event.event_id)
            )
            changed += 1
        return changed

    def _redact_values(self, value: Any, school_id: str | None) -> Any:
        if isinstance(value, str):
            return self.redact(value, school_id)
        if isinstance(value, dict):
            return {name: self._redact_values(each, school_id) for name, each in value.items()}
        if isinstance(value, list):
            return [self._redact_values(each, school_id) for each in value]
        return value

    def _rewrite_column(self, table: str, column: str, joined: sql.SQL, school: sql.SQL) -> int:
        name, target = sql.Identifier(column), sql.Identifier("ops", table)
        rows = self.connection.execute(
            sql.SQL(
                "select distinct t.{name} as text, {school} as school_id from {target} t {joined} "
                "where t.{name} ~* any(%s)"
            ).format(name=name, school=school, target=target, joined=joined),
            ([text.regex for text in self.texts],),
        ).fetchall()
        changed = 0
        for row in rows:
            new = self.redact(row["text"], row["school_id"])
            if new != row["text"]:
                change = sql.SQL(
                    "update {target} x set {name} = %(new)s from {target} t {joined} "
                    "where t.ctid = x.ctid and x.{name} = %(old)s and {school} = %(school)s"
                ).format(name=name, target=target, joined=joined, school=school)
                values = {"new": new, "old": row["text"], "school": row["school_id"]}
                changed += self.connection.execute(change, values).rowcount
        return changed
