"""Reads the feature mart: one row per student and as-of date, as the target declares it.

The mart computes the features; nothing is computed twice here. What is read is checked against the target
first, so that a column that went missing is an error with a name and not a model with a hole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from psycopg import sql

from elt.warehouse import Connection
from ml.errors import FeatureMismatch, NotEnoughHistory
from ml.target import Feature, Target

if TYPE_CHECKING:
    import pandas as pd

KEY = ("school_id", "student_id", "as_of_date")
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


@dataclass(frozen=True, slots=True)
class History:
    """How much the mart holds to learn from. Dates are ISO texts; null where there is nothing."""

    labelled_rows: int
    labelled_until: str | None
    students: int


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
    wanted = {
        **dict.fromkeys(KEY[:2], "text"),
        KEY[2]: "time",
        target.known_at: "time",
        target.label.known_at: "time",
        target.label.column: "number",
        **dict.fromkeys([*target.audit, *target.leavers], "text"),
        **{feature.name: _WANTED[feature.type] for feature in target.features},
    }
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


def measure_history(connection: Connection, target: Target) -> History:
    """Count what could be learnt from, without reading it."""
    query = sql.SQL(
        "select count(*) as rows, max({as_of})::text as until,"
        " count(distinct (school_id, student_id)) as students from {relation} where {label} is not null"
    ).format(
        as_of=sql.Identifier(KEY[2]),
        relation=sql.Identifier(target.schema_name, target.table_name),
        label=sql.Identifier(target.label.column),
    )
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers with one row
    return History(row["rows"], row["until"], row["students"])


def current_rows(target: Target) -> sql.Composable:
    """A query for the current students' latest rows: all columns of the mart plus `row_version`.

    Current are the students whose latest as-of date is the latest of their school, leavers excepted; the
    others have left. `row_version` changes exactly when the student's declared features do.
    """
    features = [sql.Identifier("f", name) for name in (KEY[2], *_feature_names(target))]
    return sql.SQL(
        "select f.*, md5(row({features})::text) as row_version from {relation} f"
        " join (select school_id, max(as_of_date) as as_of_date from {relation} group by school_id) latest"
        " using (school_id, as_of_date) where {staying}"
    ).format(
        features=sql.SQL(", ").join(features),
        staying=_staying(target),
        relation=sql.Identifier(target.schema_name, target.table_name),
    )


def read_labelled(connection: Connection, target: Target) -> pd.DataFrame:
    """All rows whose label is known, oldest first: key, times, label, features, audit columns."""
    query = sql.SQL("select f.* from {relation} f where {label} is not null").format(
        relation=sql.Identifier(target.schema_name, target.table_name),
        label=sql.Identifier(target.label.column),
    )
    extra = {
        KNOWN_AT: target.known_at,
        LABEL_KNOWN_AT: target.label.known_at,
        LABEL_VALUE: target.label.column,
    }
    return _read(connection, query, target, extra, target.audit)


def read_current(connection: Connection, target: Target) -> pd.DataFrame:
    """The current students' latest rows: key, row_version, features."""
    return _read(connection, current_rows(target), target, {"row_version": "row_version"}, [])


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


def _staying(target: Target) -> sql.Composable:
    """True for rows that a next term can follow."""
    if not target.leavers:
        return sql.SQL("true")
    return sql.SQL("row({columns}) is distinct from row({values})").format(
        columns=sql.SQL(", ").join(sql.Identifier("f", column) for column in target.leavers),
        values=sql.SQL(", ").join(sql.Literal(value) for value in target.leavers.values()),
    )


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
    columns: list[sql.Composable] = [sql.SQL("q.{}").format(sql.Identifier(name)) for name in KEY]
    columns += [
        sql.SQL("q.{} as {}").format(sql.Identifier(name), sql.Identifier(alias))
        for alias, name in extra.items()
    ]
    for name, kind in types.items():
        as_number = sql.SQL("::int") if kind == "boolean" else sql.SQL("")
        columns.append(sql.SQL("q.{}{} as {}").format(sql.Identifier(name), as_number, sql.Identifier(name)))
    columns += [sql.SQL("q.{}").format(sql.Identifier(name)) for name in audit if name not in types]
    copy_query = sql.SQL(
        "copy (select {columns} from ({query}) q order by as_of_date, school_id, student_id)"
        " to stdout (format csv, header)"
    ).format(columns=sql.SQL(", ").join(columns), query=query)
    buffer = BytesIO()
    with connection.cursor() as cursor, cursor.copy(copy_query) as copy:
        for block in copy:
            buffer.write(block)
    buffer.seek(0)
    words = {name: "float64" if kind in ("number", "boolean") else "str" for name, kind in types.items()}
    texts = dict.fromkeys([*KEY, *(set(extra) - {LABEL_VALUE}), *(set(audit) - set(types))], "str")
    frame = pd.read_csv(
        buffer,
        dtype={**texts, **words, **({LABEL_VALUE: "float64"} if LABEL_VALUE in extra else {})},
        keep_default_na=False,
        na_values=[""],
    )
    for column in (KEY[2], KNOWN_AT, LABEL_KNOWN_AT):
        if column in frame:
            frame[column] = pd.to_datetime(frame[column], format="ISO8601", utc=True).dt.tz_localize(None)
    return frame
