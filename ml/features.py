"""Reads the feature mart: one row per student and as-of date, as the target declares it.

The mart computes the features; nothing is computed twice here. What is read is checked against the target
first, so that a column that went missing is an error with a name and not a model with a hole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from typing import TYPE_CHECKING

from psycopg import sql

from elt.warehouse import Connection
from ml.cohorts import BEFORE, MOST, find_latest_come, number_days
from ml.errors import FeatureMismatch, NotEnoughHistory
from ml.target import Feature, Target

if TYPE_CHECKING:
    import pandas as pd

AS_OF = "as_of_date"
GRADE = "grade_level"
LABEL = "label"
LABEL_VALUE = "label_value"
KNOWN_AT = "known_at"
LABEL_KNOWN_AT = "label_known_at"

_KINDS = {
    "number": {"smallint", "integer", "bigint", "numeric", "real", "double precision"},
    "boolean": {"boolean"},
    "text": {"text", "character varying"},
    "time": {"date", "timestamp with time zone", "timestamp without time zone"},
}
_WANTED = {"number": "number", "boolean": "boolean", "ordinal": "text", "category": "text"}


Class = tuple[str, str]
"""A school and one of its grades."""


@dataclass(frozen=True, slots=True)
class History:
    """How much the mart holds to learn from, up to the latest cohort that has come as a whole.

    `until` is the last day of that cohort (see `Cohort.by`), null where there is nothing; `schools` are those
    that have results in it.
    """

    labelled_rows: int
    positives: int
    until: date | None
    schools: frozenset[str]


def check_mart(connection: Connection, target: Target) -> None:
    """Compare the mart's columns with what the target declares.

    Raises:
        NotEnoughHistory: the mart is not built yet.
        FeatureMismatch: columns are absent or have another type; names them all.
    """
    found = {
        row["column"]: row["type"]
        for row in connection.execute(
            "select attname as column, format_type(atttypid, null) as type from pg_attribute"
            " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
            (target.relation,),
        )
    }
    if not found:
        raise NotEnoughHistory(f"{target.relation} is not built yet: no data has reached the marts")
    wanted = _wanted_columns(target)
    faults = [
        f"{name} is absent" if name not in found else f"{name} is {found[name]}, expected {kind}"
        for name, kind in wanted.items()
        if found.get(name) not in _KINDS[kind]
    ]
    if faults:
        raise FeatureMismatch(
            f"{target.relation} does not fit ml/targets/{target.name}.yaml: {'; '.join(faults)}. "
            "Correct the mart or the target; nothing was trained or scored."
        )


def read_thresholds(connection: Connection, target: Target) -> dict[str, float]:
    """The thresholds the target names, each from its one seed.

    Raises:
        FeatureMismatch: a seed, its column or its row is not there, or the row is not unique.
    """
    values = {}
    for name, threshold in target.thresholds.items():
        conditions: list[sql.Composable] = [
            sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value))
            for column, value in threshold.where.items()
        ]
        query = sql.SQL("select {column} as value from {relation} where {conditions}").format(
            column=sql.Identifier(threshold.column),
            relation=sql.Identifier(*threshold.relation.split(".")),
            conditions=sql.SQL(" and ").join(conditions or [sql.SQL("true")]),
        )
        exists = connection.execute(
            "select 1 from pg_attribute where attrelid = to_regclass(%s) and attname = any(%s)",
            (threshold.relation, [threshold.column, *threshold.where]),
        ).fetchall()
        rows = connection.execute(query).fetchall() if len(exists) == 1 + len(threshold.where) else []
        if len(rows) != 1 or rows[0]["value"] is None:
            raise FeatureMismatch(
                f"threshold {name} of ml/targets/{target.name}.yaml: expected one row in "
                f"{threshold.relation} with a {threshold.column}, found {len(rows)}"
            )
        values[name] = float(rows[0]["value"])
    return values


def measure_history(connection: Connection, target: Target, thresholds: Mapping[str, float]) -> History:
    """Count what could be learnt from, without reading it."""
    query = sql.SQL(
        "select school_id, {day}::date as day, count(*) as rows, count(*) filter (where {came}) as positives"
        " from {relation} f where {labelled} group by school_id, {day}::date"
    ).format(
        day=sql.Identifier("f", _cohort_day(target)),
        came=_has_come(target, thresholds),
        relation=_relation(target),
        labelled=_is_labelled(target),
    )
    found = connection.execute(query).fetchall()
    if not found:
        return History(0, 0, None, frozenset())
    cohorts = number_days((row["day"] for row in found), target.cohort.wave_days)
    rows: Counter[int] = Counter()
    for row in found:
        rows[cohorts[row["day"]]] += row["rows"]
    latest = find_latest_come(rows)
    come = [row for row in found if cohorts[row["day"]] <= latest]
    return History(
        sum(row["rows"] for row in come),
        sum(row["positives"] for row in come),
        max(row["day"] for row in come),
        frozenset(row["school_id"] for row in come if cohorts[row["day"]] == latest),
    )


def find_latest(connection: Connection, target: Target) -> dict[Class, date]:
    """The latest as-of date of each school's grades that has come as a whole (`ml.cohorts`).

    Schools hand in their terms grade by grade and subject by subject: the first rows of a term would make
    all others of the grade leave. A grade that lies a year behind its school is not taught there any more.
    The table `int_current_terms`, on which the lists rest, says the same.
    """
    query = sql.SQL(
        "select school_id, grade, latest from ("
        "select school_id, grade, max(day) as latest, max(max(day)) over (partition by school_id) as newest"
        " from ("
        "select school_id, {grade} as grade, {as_of} as day, count(*) >= {most} * coalesce(max(count(*)) over"
        " (partition by school_id, {grade} order by {as_of}"
        " rows between {before} preceding and 1 preceding), 0) as has_come"
        " from {relation} group by school_id, {grade}, {as_of}"
        ") days where has_come group by school_id, grade"
        ") grades where latest > newest - interval '1 year'"
    ).format(
        grade=sql.Identifier(GRADE), as_of=sql.Identifier(AS_OF), relation=_relation(target), most=MOST,
        before=BEFORE,
    )  # fmt: skip
    return {(row["school_id"], row["grade"]): row["latest"] for row in connection.execute(query)}


def current_rows(target: Target, latest: Mapping[Class, date]) -> sql.Composable:
    """A query for the current students' latest rows: all columns of the mart plus `row_version`.

    Current are the students whose latest as-of date is the latest of their grade; the others have left. Rows
    of terms that have not come as a whole count for neither.
    Of whom the outcome is known already, nothing is foretold any more.
    `row_version` changes exactly when the declared features do.

    Args:
        latest: as `find_latest` gives it. The days stand in the query because the mart is a view: joined
            with its own latest days it was worked out anew for every row.
    """
    features = [sql.Identifier("f", name) for name in (AS_OF, *_feature_names(target))]
    days = sorted(set(latest.values()))
    return sql.SQL(
        "select f.*, md5(row({features})::text) as row_version from {relation} f"
        " where f.{as_of} = any({days}::date[]) and {inside} and num_nonnulls({label}) = 0"
        " and (f.school_id, f.{grade}, f.{as_of}) in"
        " (select * from unnest({schools}::text[], {grades}::text[], {days_of_grades}::date[]))"
        " and not exists (select from {relation} later where later.{as_of} > {first}::date"
        " and later.{as_of} > f.{as_of}"
        " and later.school_id = f.school_id and later.student_id = f.student_id"
        " and exists (select from unnest({schools}::text[], {grades}::text[], {days_of_grades}::date[])"
        " as come (school_id, grade, day) where come.school_id = later.school_id"
        " and come.grade = later.{grade} and come.day >= later.{as_of}))"
    ).format(
        features=sql.SQL(", ").join(features),
        relation=_relation(target),
        as_of=sql.Identifier(AS_OF),
        grade=sql.Identifier(GRADE),
        days=days,
        inside=_is_inside(target),
        label=sql.SQL(", ").join(sql.Identifier("f", column) for column in target.label.columns),
        schools=[school for school, _ in latest],
        grades=[grade for _, grade in latest],
        days_of_grades=list(latest.values()),
        first=days[0] if days else None,
    )


def labels_query(target: Target, thresholds: Mapping[str, float]) -> sql.Composable:
    """A query for all rows whose label is known: all columns of the mart plus `label` and `label_value`."""
    value = target.label.value.column if target.label.value else _number_behind(target)
    return sql.SQL(
        "select f.*, ({came})::int as {label}, {value} as {label_value} from {relation} f where {labelled}"
    ).format(
        came=_has_come(target, thresholds),
        label=sql.Identifier(LABEL),
        value=sql.Identifier("f", value) if value else sql.SQL("null::float8"),
        label_value=sql.Identifier(LABEL_VALUE),
        relation=_relation(target),
        labelled=_is_labelled(target),
    )


def read_labelled(
    connection: Connection, target: Target, thresholds: Mapping[str, float], until: date | None = None
) -> pd.DataFrame:
    """The rows whose label is known, oldest first: key, times, label, features, columns to compare by.

    Args:
        until: the last day of the cohorts that are read, as `History` gives it; null reads all.
    """
    extra = {
        KNOWN_AT: target.known_at,
        LABEL_KNOWN_AT: target.label.known_at,
        LABEL: LABEL,
        LABEL_VALUE: LABEL_VALUE,
    }
    query = sql.SQL(
        "select * from ({labels}) labels where labels.{day}::date <= coalesce({until}::date, 'infinity')"
    ).format(labels=labels_query(target, thresholds), day=sql.Identifier(_cohort_day(target)), until=until)
    return _read(connection, query, target, extra, target.fairness.columns)


def read_current(
    connection: Connection, target: Target, schools: Sequence[str] | None = None
) -> pd.DataFrame:
    """The current students' latest rows: key, row_version, features; of some schools where they are named."""
    latest = find_latest(connection, target)
    asked = {each: day for each, day in latest.items() if schools is None or each[0] in schools}
    query = current_rows(target, asked)
    return _read(connection, query, target, {"row_version": "row_version"}, [])


def shape_features(rows: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """The declared features as a model takes them: floats, and words as objects, missing as NaN or None.

    A word that an ordinal's order does not know is kept; the pipeline treats it as missing.
    """
    import pandas as pd

    columns: dict[str, pd.Series] = {}
    for feature in features:
        values = rows[feature.name]
        if feature.type in ("number", "boolean"):
            columns[feature.name] = values.astype("float64")
        else:
            words = values.astype(object)
            columns[feature.name] = words.where(words.notna(), None)
    return pd.DataFrame(columns, index=rows.index)


def _wanted_columns(target: Target) -> dict[str, str]:
    """Each column that the mart must have, and its kind."""
    outcomes = {each.column: "number" if each.below else "boolean" for each in target.label.any_of}
    value = {target.label.value.column: "number"} if target.label.value else {}
    left_out = [column for rows in target.cohort.leave_out for column in rows]
    words = [*target.key, GRADE, *target.fairness.columns, *target.cohort.where, *left_out]
    return {
        AS_OF: "time",
        target.known_at: "time",
        target.label.known_at: "time",
        **outcomes,
        **value,
        **{feature.name: _WANTED[feature.type] for feature in target.features},
        **dict.fromkeys(words, "text"),
    }


def _number_behind(target: Target) -> str | None:
    """The first number that the label is made of."""
    return next((outcome.column for outcome in target.label.any_of if outcome.below), None)


def _cohort_day(target: Target) -> str:
    """The column whose day puts a row into its cohort."""
    return target.label.known_at if target.cohort.by == "outcome" else AS_OF


def _relation(target: Target) -> sql.Composable:
    return sql.Identifier(target.schema_name, target.table_name)


def _is_inside(target: Target) -> sql.Composable:
    """True for rows that the target is about."""
    conditions: list[sql.Composable] = [
        sql.SQL("{} = any({})").format(sql.Identifier("f", column), words)
        for column, words in target.cohort.where.items()
    ]
    conditions += [
        sql.SQL("row({columns}) is distinct from row({words})").format(
            columns=sql.SQL(", ").join(sql.Identifier("f", column) for column in rows),
            words=sql.SQL(", ").join(sql.Literal(word) for word in rows.values()),
        )
        for rows in target.cohort.leave_out
    ]
    return sql.SQL(" and ").join(conditions or [sql.SQL("true")])


def _is_labelled(target: Target) -> sql.Composable:
    """True for rows inside the target whose outcome is known, within the horizon."""
    known = sql.SQL(" or ").join(
        sql.SQL("{} is not null").format(sql.Identifier("f", column)) for column in target.label.columns
    )
    return sql.SQL("({known}) and {label_known} - {as_of} <= {days} and {inside}").format(
        known=known,
        label_known=sql.Identifier("f", target.label.known_at),
        as_of=sql.Identifier("f", AS_OF),
        days=target.cohort.horizon_days,
        inside=_is_inside(target),
    )


def _has_come(target: Target, thresholds: Mapping[str, float]) -> sql.Composable:
    """True where any of the outcomes is; an outcome that is not known is not true."""
    parts = []
    for outcome in target.label.any_of:
        column = sql.Identifier("f", outcome.column)
        if outcome.below:
            part = sql.SQL("{} < {}").format(column, thresholds[outcome.below])
        else:
            part = sql.SQL("{} is {}").format(column, sql.SQL("true" if outcome.equals else "false"))
        parts.append(sql.SQL("coalesce({}, false)").format(part))
    return sql.SQL(" or ").join(parts)


def _feature_names(target: Target) -> list[str]:
    return [feature.name for feature in target.features]


def _read(
    connection: Connection,
    query: sql.Composable,
    target: Target,
    extra: Mapping[str, str],
    audit: Sequence[str],
) -> pd.DataFrame:
    """Fetch through COPY, which is an order of magnitude faster than rows of dictionaries."""
    import pandas as pd

    types = {feature.name: feature.type for feature in target.features}
    key = [*target.key, AS_OF]
    columns: list[sql.Composable] = [
        sql.SQL("q.{}").format(sql.Identifier(name)) for name in key if name not in types
    ]
    columns += [
        sql.SQL("q.{} as {}").format(sql.Identifier(name), sql.Identifier(alias))
        for alias, name in extra.items()
    ]
    for name, kind in types.items():
        as_number = sql.SQL("::int") if kind == "boolean" else sql.SQL("")
        columns.append(sql.SQL("q.{}{} as {}").format(sql.Identifier(name), as_number, sql.Identifier(name)))
    more = [name for name in audit if name not in types and name not in key]
    columns += [sql.SQL("q.{}").format(sql.Identifier(name)) for name in more]
    copy_query = sql.SQL(
        "copy (select {columns} from ({query}) q order by {order}) to stdout (format csv, header)"
    ).format(
        columns=sql.SQL(", ").join(columns),
        query=query,
        order=sql.SQL(", ").join(sql.Identifier(name) for name in (AS_OF, *target.key)),
    )
    buffer = BytesIO()
    with connection.cursor() as cursor, cursor.copy(copy_query) as copy:
        for block in copy:
            buffer.write(block)
    buffer.seek(0)
    words = {name: "float64" if kind in ("number", "boolean") else "str" for name, kind in types.items()}
    numbers = dict.fromkeys({LABEL, LABEL_VALUE} & set(extra), "float64")
    texts = dict.fromkeys([*key, *(set(extra) - set(numbers)), *more], "str")
    frame = pd.read_csv(
        buffer,
        dtype={**texts, **words, **numbers},
        keep_default_na=False,
        na_values=[""],
    )
    for column in (AS_OF, KNOWN_AT, LABEL_KNOWN_AT):
        if column in frame:
            frame[column] = pd.to_datetime(frame[column], format="ISO8601", utc=True).dt.tz_localize(None)
    return frame
