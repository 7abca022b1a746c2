"""Pseudonyms: what researchers see in place of identifiers, the same for a person in every mart.

A pseudonym is an HMAC of kind, school and identifier with a key that is kept outside the warehouse. Without
the key nobody can find the person by trying identifiers one by one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Any

from psycopg import sql

from elt.errors import Conflict
from elt.settings import Settings
from elt.warehouse import Connection

_PURPOSE = b"laurel pseudonym 1"
_CHARACTERS = 20  # 100 bits: two people of a kind never share one
_FORM = re.compile(rf"[sgt]_[a-z2-7]{{{_CHARACTERS}}}")

# Everybody whom a mart may name, also those whom only the files of others mention.
_NEW_PEOPLE = """
select people.* from (
    select 'student' as kind, school_id, student_id as source_id from marts.mart_student_overview
    union
    select 'student', school_id, student_id from marts.mart_student_attendance
    union
    select 'student', school_id, student_id from core.fct_exam_results
    union
    select 'student', school_id, student_id from core.dim_guardians
    union
    select 'guardian', school_id, guardian_id from core.dim_guardians
    union
    select 'teacher', school_id, teacher_id from core.dim_teachers
    union
    select 'teacher', school_id, teacher_id from intermediate.int_assessment_totals where teacher_id <> ''
    union
    select 'teacher', school_id, teacher_id from marts.mart_teacher_load where teacher_id <> ''
) as people
where not exists (
    select from ops.pseudonyms as known
    where known.kind = people.kind and known.school_id = people.school_id
        and known.source_id = people.source_id
)
"""


def name_new_people(connection: Connection, settings: Settings) -> int:
    """Give a pseudonym to everybody in the marts who has none; returns to how many."""
    return _store(connection, settings, connection.execute(_NEW_PEOPLE))


def rename_everybody(connection: Connection, settings: Settings) -> int:
    """Give new pseudonyms to all, after a new key was put in front; returns to how many.

    Raises:
        Conflict: all have been made with the present key already.
    """
    with connection.transaction():
        connection.execute("lock table ops.pseudonyms in share row exclusive mode")
        renamed = connection.execute(
            "delete from ops.pseudonyms where key_version <> %s returning kind, school_id, source_id",
            (_key_version(settings),),
        ).fetchall()
        if not renamed and connection.execute("select from ops.pseudonyms limit 1").fetchone() is not None:
            raise Conflict(
                "All pseudonyms are made with the present key. Put a new one in front of "
                "LAUREL_PSEUDONYM_KEY for every service, as NEW,OLD. Keep the old one: erased people are "
                "known by it."
            )
        return _store(connection, settings, renamed)


def make_pseudonym(settings: Settings, kind: str, school_id: str, source_id: str) -> str:
    """The pseudonym of a person, such as `s_` and 20 letters and digits for a student."""
    # Each part with its length, so that no two people are the same text.
    text = "".join(f"{len(part)}:{part}" for part in (kind, school_id, source_id))
    key = hmac.digest(settings.pseudonym_keys[0].encode(), _PURPOSE, hashlib.sha256)
    digest = hmac.digest(key, text.encode(), hashlib.sha256)
    return f"{kind[0]}_{base64.b32encode(digest).decode().lower()[:_CHARACTERS]}"


def is_pseudonym(text: str) -> bool:
    """Whether the text has the form of a pseudonym; says nothing about there being such a person."""
    return _FORM.fullmatch(text) is not None


def _store(connection: Connection, settings: Settings, people: Iterable[dict[str, Any]]) -> int:
    version = _key_version(settings)
    rows = [
        (
            *person.values(),
            make_pseudonym(settings, person["kind"], person["school_id"], person["source_id"]),
            version,
        )
        for person in people
    ]
    columns = sql.SQL("(kind, school_id, source_id, pseudonym, key_version)")
    with (
        connection.transaction(),
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("copy ops.pseudonyms {} from stdin").format(columns)) as copy,
    ):
        for row in rows:
            copy.write_row(row)
    return len(rows)


def _key_version(settings: Settings) -> int:
    """Which key it is: the first, second … that this deployment has had."""
    return len(settings.pseudonym_keys)
