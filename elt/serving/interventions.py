"""What was done to help a student. Lines are only added; a correction names the line that it replaces.

A line that takes another back replaces it with nothing, and says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from uuid6 import uuid7

from elt.audit.trail import person_subject, record
from elt.errors import Conflict, NotFound
from elt.people.principals import Principal
from elt.settings import Settings
from elt.warehouse import Connection


@dataclass(frozen=True, slots=True)
class Intervention:
    """One line. `done_by` is who wrote it down; `corrected_by` the line that stands in its place.

    `takes_back`: the line that it corrects stands no more; `action` says why.
    """

    intervention_id: UUID
    school_id: str
    student_id: str
    done_on: date
    done_by: str
    action: str
    note: str | None
    corrects: UUID | None
    created_at: datetime
    takes_back: bool = False
    corrected_by: UUID | None = None

    @property
    def stands(self) -> bool:
        """Whether it says what was done: neither replaced, nor there only to take another line back."""
        return self.corrected_by is None and not self.takes_back


def add_intervention(
    connection: Connection,
    settings: Settings,
    principal: Principal,
    school_id: str,
    student_id: str,
    *,
    done_on: date,
    action: str,
    note: str | None = None,
    corrects: UUID | None = None,
    takes_back: bool = False,
) -> Intervention:
    """Write down what was done. That the principal may see the student is known to the caller.

    Raises:
        NotFound: `corrects` names no line of this student.
        Conflict: that line is corrected already, or is somebody else's; or the day lies in the future; or
            `takes_back` without the line that is taken back.
    """
    if takes_back and corrects is None:
        raise Conflict("`takes_back` needs `corrects`: the line that is taken back.")
    if done_on > (datetime.now(UTC) + timedelta(days=1)).date():  # it may be tomorrow there already
        raise Conflict("`done_on` lies in the future; write down what has been done.")
    with connection.transaction():
        if corrects is not None:
            _check_correction(connection, principal, school_id, student_id, corrects)
        try:
            with connection.transaction():
                row = connection.execute(
                    """
                    insert into ops.interventions
                        (intervention_id, school_id, student_id, done_on, done_by, action, note, corrects,
                         takes_back)
                    values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
                    returning *
                    """,
                    (
                        UUID(int=uuid7().int),
                        school_id,
                        student_id,
                        done_on,
                        principal.id,
                        action,
                        note,
                        corrects,
                        takes_back,
                    ),
                ).fetchone()
        except UniqueViolation:
            raise Conflict(f"{corrects} is corrected already; correct its correction.") from None
        assert row is not None  # noqa: S101 - an insert that returns
        added = Intervention(**row)
        subject = person_subject(settings, "student", school_id, student_id)
        detail = {"intervention": added.intervention_id, "corrects": corrects}
        record(connection, principal.id, "interventions:write", subject, detail)
    return added


def list_interventions(connection: Connection, school_id: str, student_id: str) -> list[Intervention]:
    """All lines about a student, newest first, corrected ones too."""
    rows = connection.execute(
        """
        select lines.*, later.intervention_id as corrected_by
        from ops.interventions as lines
        left join ops.interventions as later on later.corrects = lines.intervention_id
        where lines.school_id = %s and lines.student_id = %s
        order by lines.intervention_id desc
        """,
        (school_id, student_id),
    )
    return [Intervention(**row) for row in rows]


def newest_interventions(
    connection: Connection, students: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Intervention]:
    """The last thing that was done for each of these students (school and number), corrections considered."""
    rows = connection.execute(
        """
        select distinct on (school_id, student_id) lines.*
        from ops.interventions as lines
        where (school_id, student_id) in (select * from unnest(%s::text[], %s::text[]))
          and not lines.takes_back
          and not exists (select from ops.interventions as later where later.corrects = lines.intervention_id)
        order by school_id, student_id, done_on desc, intervention_id desc
        """,
        ([school for school, _ in students], [student for _, student in students]),
    )
    return {(row["school_id"], row["student_id"]): Intervention(**row) for row in rows}


def what_followed(done_on: date, flags: list[dict[str, Any]]) -> dict[str, bool | None]:
    """Whether the student was flagged before an intervention, and at the first prediction after it.

    Args:
        done_on: when it was done.
        flags: rows of `mart_student_flags`, newest first.
    """
    day = done_on.isoformat()
    before = next((flag["is_at_risk"] for flag in flags if flag["as_of_date"] <= day), None)
    after = next((flag["is_at_risk"] for flag in reversed(flags) if flag["as_of_date"] > day), None)
    return {"was_at_risk": before, "is_at_risk_after": after}


def _check_correction(
    connection: Connection, principal: Principal, school_id: str, student_id: str, corrects: UUID
) -> None:
    found = connection.execute(
        """
        select done_by, takes_back from ops.interventions
        where intervention_id = %s and school_id = %s and student_id = %s
        """,
        (corrects, school_id, student_id),
    ).fetchone()
    if found is None:
        raise NotFound(f"There is no intervention {corrects} for this student.")
    if found["done_by"] != principal.id and principal.role != "admin":
        raise Conflict("Only who wrote a line, or an administrator, corrects it; add a line of your own.")
    if found["takes_back"]:
        raise Conflict(f"{corrects} takes a line back; write what was done as a new line.")
