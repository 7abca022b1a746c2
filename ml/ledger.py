"""The lines of `ml.predictions`, `ml.outcomes` and `ml.drift`: what was foretold, and what came of it.

Lines are only ever appended. Whose latest line still says what would be said today gets no new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from elt.warehouse import Connection
from ml.features import AS_OF, LABEL, LABEL_VALUE, current_rows, find_latest, labels_query
from ml.registry import RegisteredModel
from ml.target import Target

if TYPE_CHECKING:
    from ml.drift import Drift
    from ml.predicting import Identity, Prediction

_PREDICTION = (
    "target", "model_id", "method", "school_id", "student_id", "subject", "as_of_date", "probability",
    "score", "is_at_risk", "value", "value_low", "value_high", "reasons", "recommendations", "helps",
    "features", "data_version", "run_id",
)  # fmt: skip


def take_current(connection: Connection, target: Target) -> None:
    """Note who is current, until the transaction ends: the mart is a view, and is asked once."""
    connection.execute(
        sql.SQL(
            "create temporary table current_rows on commit drop as"
            " select f.school_id, f.student_id, {subject} as subject, f.row_version from ({rows}) f"
        ).format(subject=_subject(target), rows=current_rows(target, find_latest(connection, target)))
    )
    connection.execute("analyze current_rows")


def find_stale_schools(
    connection: Connection, target: Target, model: RegisteredModel | None, prefix: str
) -> list[str]:
    """Schools with a current student whose latest line rests on other data, another model or other rules.

    After `take_current`, as all that asks about current rows.
    """
    query = sql.SQL(
        "select distinct f.school_id from current_rows f left join lateral ({latest}) latest on true"
        " where latest.data_version is distinct from {prefix} || f.row_version or latest.model_id is distinct"
        " from case when f.school_id = any({covered}) then {model}::uuid end order by f.school_id"
    ).format(
        latest=_latest(target),
        prefix=f"{prefix}:",
        covered=model.covered_schools if model else [],
        model=model.model_id if model else None,
    )
    return [row["school_id"] for row in connection.execute(query)]


def read_latest(connection: Connection, target: Target) -> Mapping[Identity, tuple[object, ...]]:
    """The current students' latest lines, as far as a new one is compared with them."""
    query = sql.SQL(
        "select f.school_id, f.student_id, f.subject, latest.* from current_rows f"
        " join lateral ({latest}) latest on true"
    ).format(latest=_latest(target))
    return {
        (row["school_id"], row["student_id"], row["subject"]): (
            row["model_id"], row["as_of_date"], row["score"], row["is_at_risk"], row["data_version"],
        )
        for row in connection.execute(query)
    }  # fmt: skip


def append(
    connection: Connection, target: Target, predictions: Iterable[Prediction], run_id: UUID | None
) -> int:
    """Append; returns how many lines. Nobody may change or remove a line afterwards."""
    statement = sql.SQL("copy ml.predictions ({columns}) from stdin").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, _PREDICTION))
    )
    written = 0
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for new in predictions:
            copy.write_row(
                (
                    target.name, new.model_id, new.method, new.school_id, new.student_id, new.subject,
                    new.as_of_date, new.probability, new.score, new.is_at_risk, new.value, new.value_low,
                    new.value_high, Jsonb(new.reasons), Jsonb(new.recommendations), Jsonb(new.helps),
                    Jsonb(new.features), new.data_version, run_id,
                )
            )  # fmt: skip
            written += 1
    return written


def record_outcomes(connection: Connection, target: Target, thresholds: Mapping[str, float]) -> int:
    """Append what became of those of whom something was foretold, where it is known and not yet on record.

    A result that was corrected is a new line. Returns how many lines.
    """
    days = connection.execute(
        "select distinct as_of_date as day from ml.predictions where target = %s", (target.name,)
    ).fetchall()
    statement = sql.SQL(
        """
        insert into ml.outcomes (target, school_id, student_id, subject, as_of_date, came, value, known_at)
        select
            {target}, f.school_id, f.student_id, {subject}, f.{as_of}, f.{label} = 1, f.{value}, f.{known_at}
        from ({labels}) f
        left join lateral (
            select came, value from ml.outcomes
            where target = {target} and school_id = f.school_id and student_id = f.student_id
                and subject = {subject} and as_of_date = f.{as_of}
            order by outcome_id desc limit 1
        ) known on true
        where f.{as_of} = any({days}::date[])
            and exists (
                select from ml.predictions
                where target = {target} and school_id = f.school_id and student_id = f.student_id
                    and subject = {subject} and as_of_date = f.{as_of}
            )
            and (known.came, known.value) is distinct from (f.{label} = 1, f.{value}::double precision)
        """
    ).format(
        target=target.name,
        subject=_subject(target),
        days=[row["day"] for row in days],  # in the query, so that the view works out these alone
        as_of=sql.Identifier(AS_OF),
        label=sql.Identifier(LABEL),
        value=sql.Identifier(LABEL_VALUE),
        known_at=sql.Identifier(target.label.known_at),
        labels=labels_query(target, thresholds),
    )
    return connection.execute(statement).rowcount


def count_current(connection: Connection, target: Target) -> dict[str, Any]:
    """How many current students there are, of how many the model speaks and who is at risk."""
    query = sql.SQL(
        "select count(distinct (f.school_id, f.student_id)) as students,"
        " count(distinct (f.school_id, f.student_id)) filter (where latest.model_id is not null) as by_model,"
        " count(distinct (f.school_id, f.student_id)) filter (where latest.data_version is not null"
        " and latest.model_id is null) as by_rule,"
        " count(distinct (f.school_id, f.student_id)) filter (where latest.is_at_risk) as at_risk"
        " from current_rows f left join lateral ({latest}) latest on true"
    ).format(latest=_latest(target))
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers with one row
    return dict(row)


def is_drift_known(connection: Connection, model_id: UUID, as_of: date) -> bool:
    """Whether the students of this day were compared with those that the model learnt from."""
    query = "select 1 from ml.drift where model_id = %s and as_of_date = %s limit 1"
    return connection.execute(query, (model_id, as_of)).fetchone() is not None


def write_drift(
    connection: Connection, model_id: UUID, as_of: date, students: int, found: Sequence[Drift]
) -> None:
    """Append how far the students of a day lie from those that the model learnt from."""
    statement = (
        "insert into ml.drift (model_id, as_of_date, students, feature, stability, is_over)"
        " values (%s, %s, %s, %s, %s, %s)"
    )
    with connection.cursor() as cursor:
        rows = [(model_id, as_of, students, each.feature, each.stability, each.is_over) for each in found]
        cursor.executemany(statement, rows)


def _latest(target: Target) -> sql.Composable:
    """The latest line about the row `f`."""
    return sql.SQL(
        "select model_id, as_of_date, score, is_at_risk, data_version from ml.predictions"
        " where target = {target} and school_id = f.school_id and student_id = f.student_id"
        " and subject = f.subject order by prediction_id desc limit 1"
    ).format(target=target.name)


def _subject(target: Target) -> sql.Composable:
    return sql.Identifier("f", target.entity[0]) if target.entity else sql.Literal("")
