"""Where a figure in a mart comes from: the lines of the files that were handed in.

The seed `mart_sources` of the dbt project says, for each mart and column, which rows of staging (or of a
relation with what staging lacks) a mart row is made of; these keep upload and line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from elt.errors import NotFound, UploadRejected
from elt.serving.mart_catalogue import Mart, MartColumn, describe_mart
from elt.serving.mart_query import Condition, match_values
from elt.warehouse import Connection

MAX_LINES = 1000


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One row of a file. `values` holds the cells that the figure is made of, as Laurel reads them.

    `fixes` is set where the row came with a corrected file: `line` then counts in the file of that upload, to
    which the corrected row belongs.
    """

    dataset: str
    upload_id: UUID
    version: int
    filename: str
    line: int
    school_id: str
    fixes: UUID | None
    values: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The line as plain JSON values."""
        return {name: _plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Provenance:
    """The figure, how many lines it is made of, and one page of them. `next` asks for the next page."""

    mart: str
    column: str
    key: dict[str, Any]
    value: Any
    total: int
    lines: list[SourceLine]
    next: str | None

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain JSON values."""
        return {name: _plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class _Source:
    """What the seed says of one dataset. A row belongs if all pairs of one of the `matches` agree.

    A pair is a column of the mart and a column of `relation`: the dataset's staging table, unless the seed
    names another table or view that has the rows with what staging lacks. One that has rows of several
    datasets says in its column `dataset` of which each is.
    """

    dataset: str
    relation: str
    matches: list[list[tuple[str, str]]]
    columns: list[str]


def provenance(
    connection: Connection,
    mart: str,
    key: Mapping[str, Any],
    column: str,
    *,
    limit: int = 100,
    after: str | None = None,
    of_one_student: bool = False,
) -> Provenance:
    """The lines behind one cell of a mart, by dataset, upload and line.

    Args:
        connection: where the marts are.
        mart: its name.
        key: values of the columns of its grain, which name one row.
        column: the column of the figure.
        limit: at most this many lines, up to `MAX_LINES`.
        after: `next` of the page before.
        of_one_student: refuse figures that are made of several students' lines.

    Raises:
        NotFound: there is no such mart or row, or no source is known for the column, or it is refused.
        UploadRejected: an unknown column, a value of the wrong type, or a key of several rows.
    """
    described = describe_mart(connection, mart)
    described.column(column)
    row = read_row(connection, described, key)
    sources = _read_sources(connection, mart, column)
    if of_one_student and not all(_is_of_one_student(source) for source in sources):
        raise NotFound(f"{mart}.{column} is made of the lines of several students.")
    limit = max(1, min(limit, MAX_LINES))
    total = 0
    lines: list[SourceLine] = []
    for source in sources:
        columns = _relation_columns(connection, source)
        condition = _matching(described, source, columns, row)
        total += _count(connection, source, condition)
        if len(lines) <= limit:
            lines += _read_lines(connection, source, condition, after, limit + 1 - len(lines))
    page = lines[:limit]
    following = f"{page[-1].dataset}:{page[-1].upload_id}:{page[-1].line}" if len(lines) > limit else None
    values = {name: row[name] for name in (described.grain or key)}
    return Provenance(mart, column, values, row[column], total, page, following)


def read_row(connection: Connection, mart: Mart, key: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a mart that the key names.

    Raises:
        NotFound: there is none.
        UploadRejected: an unknown column, a value of the wrong type, or a key of several rows.
    """
    if not key:
        raise UploadRejected(f"`key` names no row. Give a value for each of: {', '.join(mart.grain)}.")
    columns = [mart.column(name) for name in key]
    condition, values = match_values(columns, list(key.values()))
    query = sql.SQL("select * from {} where {} limit 2").format(mart.identifier, condition)
    try:
        found = connection.execute(query, values).fetchall()
    except psycopg.DataError as error:
        types = ", ".join(f"{column.name} ({column.type})" for column in columns)
        raise UploadRejected(f"{mart.name}: the key does not fit its columns: {types}.") from error
    if not found:
        raise NotFound(f"{mart.name} has no row with this key.")
    if len(found) > 1:
        wanted = f" Give a value for each of: {', '.join(mart.grain)}." if mart.grain else ""
        raise UploadRejected(f"{mart.name} has several rows with this key.{wanted}")
    return found[0]


def _read_sources(connection: Connection, mart: str, column: str) -> list[_Source]:
    """What the seed says about this column, else about the whole row."""
    try:
        found = connection.execute(
            """
            select column_name, dataset, match, source_columns,
                   coalesce(nullif(relation, ''), 'staging.stg_' || dataset) as relation
            from staging.mart_sources
            where mart = %s and column_name in (%s, '*')
            order by dataset, match
            """,
            (mart, column),
        ).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise NotFound("No run has built the marts' sources yet.") from error
    chosen = [row for row in found if row["column_name"] == column] or found
    if not chosen:
        raise NotFound(f"{mart}.{column}: it is not written down which lines this figure is made of.")
    sources: dict[str, _Source] = {}
    for row in chosen:
        source = sources.setdefault(row["dataset"], _Source(row["dataset"], row["relation"], [], []))
        source.matches.append(_pairs(row["match"]))
        source.columns.extend(name for name in _names(row["source_columns"]) if name not in source.columns)
    return list(sources.values())


def _relation_columns(connection: Connection, source: _Source) -> dict[str, MartColumn]:
    found = connection.execute(
        """
        select a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
               not a.attnotnull as is_nullable
        from pg_attribute as a
        join pg_class as c on c.oid = a.attrelid
        where c.oid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped
        """,
        (_relation(source).as_string(None),),
    )
    return {row["name"]: MartColumn(row["name"], row["type"], None, row["is_nullable"]) for row in found}


def _matching(
    mart: Mart, source: _Source, columns: Mapping[str, MartColumn], row: Mapping[str, Any]
) -> Condition:
    pairs = [pair for match in source.matches for pair in match]
    unknown = {name for name in (*source.columns, *(right for _, right in pairs)) if name not in columns}
    unknown |= {left for left, _ in pairs if left not in row}
    if unknown:
        raise NotFound(
            f"mart_sources names columns that {mart.name} or {source.relation} do not have: "
            f"{', '.join(sorted(unknown))}."
        )
    conditions = []
    values: list[Any] = []
    for match in source.matches:
        found = [(columns[right], row[left]) for left, right in match]
        condition, bound = match_values([column for column, _ in found], [value for _, value in found])
        conditions.append(sql.SQL("({})").format(condition) if match else sql.SQL("true"))
        values += bound
    where = sql.SQL("({})").format(sql.SQL(" or ").join(conditions))
    if "dataset" in columns:
        where = sql.SQL("{} and dataset = {}").format(where, sql.Literal(source.dataset))
    return where, values


def _is_of_one_student(source: _Source) -> bool:
    return all(("student_id", "student_id") in match for match in source.matches)


def _count(connection: Connection, source: _Source, condition: Condition) -> int:
    where, values = condition
    query = sql.SQL("select count(*) as total from {} where {}").format(_relation(source), where)
    found = connection.execute(query, values).fetchone()
    return int(found["total"]) if found else 0


def _read_lines(
    connection: Connection, source: _Source, condition: Condition, after: str | None, limit: int
) -> list[SourceLine]:
    where, values = condition
    page, page_values = _page(source.dataset, after)
    # Under names of their own, since a cell may be called like one of the other columns.
    cells = sql.SQL("").join(
        sql.SQL(", found.{} as {}").format(sql.Identifier(name), sql.Identifier(f"cell {number}"))
        for number, name in enumerate(source.columns)
    )
    query = sql.SQL(
        """
        select {dataset} as dataset, found._upload_id as upload_id, uploads.live_version as version,
               versions.filename, found._line as line, found.school_id, uploads.parent_id as fixes {cells}
        from (select * from {relation} where {where}) as found
        join ops.uploads as uploads on uploads.upload_id = found._upload_id
        join ops.upload_versions as versions
            on versions.upload_id = uploads.upload_id and versions.version = uploads.live_version
        where {page}
        order by found._upload_id, found._line
        limit %s
        """
    ).format(
        dataset=sql.Literal(source.dataset), cells=cells, relation=_relation(source), where=where, page=page
    )
    return [_line(row, source.columns) for row in connection.execute(query, [*values, *page_values, limit])]


def _line(row: dict[str, Any], columns: list[str]) -> SourceLine:
    values = {name: row.pop(f"cell {number}") for number, name in enumerate(columns)}
    return SourceLine(**row, values=values)


def _page(dataset: str, after: str | None) -> Condition:
    """Datasets come in the order of their names, so those before the cursor's are done."""
    if after is None:
        return sql.SQL("true"), []
    try:
        last_dataset, upload_id, line = after.split(":")
        place = [UUID(upload_id), int(line)]
    except ValueError:
        raise UploadRejected("`after` is not one that an earlier page gave.") from None
    if dataset != last_dataset:
        return sql.SQL("true" if dataset > last_dataset else "false"), []
    return sql.SQL("(found._upload_id, found._line) > (%s, %s)"), place


def _relation(source: _Source) -> sql.Identifier:
    return sql.Identifier(*source.relation.split("."))


def _pairs(text: str | None) -> list[tuple[str, str]]:
    """`a=b,c` → mart column a is staging column b, and c has the same name in both."""
    pairs = [name.partition("=") for name in _names(text)]
    return [(left.strip(), (right or left).strip()) for left, _, right in pairs]


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _plain(value: Any) -> Any:
    """A value that JSON knows."""
    if isinstance(value, dict):
        return {name: _plain(found) for name, found in value.items()}
    if isinstance(value, list):
        return [_plain(found) for found in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)
