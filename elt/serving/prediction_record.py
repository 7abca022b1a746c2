"""How good earlier lists of a target were, once the results had come; of the schools that may be seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import psycopg

from elt.warehouse import Connection

_RECORD = """
select as_of_date, method, model_version, sum(predictions)::bigint as predictions,
       sum(judged)::bigint as judged, sum(right_flags)::bigint as right_flags,
       sum(wrong_flags)::bigint as wrong_flags, sum(missed)::bigint as missed
from served.mart_prediction_record
where target = %s
group by as_of_date, method, model_version order by as_of_date desc, method, model_version
"""


@dataclass(frozen=True, slots=True)
class JudgedDay:
    """The lists of one day by one method. `judged`: of how many the result is known.

    `right_flags`, `wrong_flags`: who stood on the list and it came, or not; `missed`: to whom it came though
    they did not stand on it.
    """

    as_of_date: date
    method: str
    model_version: int | None
    predictions: int
    judged: int
    right_flags: int
    wrong_flags: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Of those on the list, the share to whom it came; None: nobody stood on it."""
        return _share(self.right_flags, self.wrong_flags)

    @property
    def recall(self) -> float | None:
        """Of those to whom it came, the share that stood on the list; None: it came to nobody."""
        return _share(self.right_flags, self.missed)


def read_prediction_record(session: Connection, target: str) -> list[JudgedDay]:
    """Newest first; nothing before the first build, nor for roles that may not see it."""
    try:
        rows = session.execute(_RECORD, (target,)).fetchall()
    except psycopg.errors.UndefinedTable:
        return []
    return [JudgedDay(**row) for row in rows]


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None
