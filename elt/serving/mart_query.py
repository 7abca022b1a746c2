"""From what a reader asks of a mart to one SQL query, with bound values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import sql

from elt.errors import Issue, UploadRejected
from elt.serving.mart_catalogue import Mart, MartColumn

_COMPARISONS = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
OPERATORS = (*_COMPARISONS, "contains", "isnull")
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

Condition = tuple[sql.Composable, list[Any]]


def compose_query(
    mart: Mart,
    columns: Sequence[MartColumn],
    where: Mapping[str, Any],
    order: Sequence[str] | None,
    limit: int | None,
    after: Mapping[str, Any] | None,
) -> Condition:
    """The query and its values; see `elt.serving.marts.stream_mart` for the arguments.

    Raises:
        UploadRejected: an unknown column or operator, or a page asked for where rows have no known order.
    """
    conditions = [_condition(mart, key, value) for key, value in where.items()]
    if after:
        conditions.append(_after(mart, order, after))
    query = sql.SQL("select {} from {}").format(
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns), mart.identifier
    )
    if conditions:
        query += sql.SQL(" where ") + sql.SQL(" and ").join(condition for condition, _ in conditions)
    ordering = [_direction(mart, name) for name in (mart.grain if order is None else order)]
    if ordering:
        query += sql.SQL(" order by ") + sql.SQL(", ").join(ordering)
    values = [value for _, bound in conditions for value in bound]
    if limit is not None:
        query += sql.SQL(" limit %s")
        values.append(_positive(limit))
    return query, values


def match_values(mart_columns: Sequence[MartColumn], values: Sequence[Any]) -> Condition:
    """That the columns equal the values, where null equals null."""
    parts = []
    bound = []
    for column, value in zip(mart_columns, values, strict=True):
        if value is None:
            parts.append(sql.SQL("{} is null").format(sql.Identifier(column.name)))
        else:
            parts.append(sql.SQL("{} = {}").format(sql.Identifier(column.name), _cast(column)))
            bound.append(_text(value))
    return sql.SQL(" and ").join(parts), bound


def _condition(mart: Mart, key: str, value: Any) -> Condition:
    name, _, operator = key.partition("__")
    column = mart.column(name)
    operator = operator or "eq"
    if operator not in OPERATORS:
        raise UploadRejected(
            f"{key[:80]!r}: unknown operator. Expected one of: {', '.join(OPERATORS)}.",
            [Issue(rule="unknown_operator", column=name, hint=f"Use {name}__gte, {name}__contains …")],
        )
    identifier = sql.Identifier(name)
    if isinstance(value, list | tuple):
        if len(value) != 1:
            return _any_of(key, column, operator, value)
        value = value[0]
    if operator == "isnull" or value is None:
        is_null = value is None or _truth(key, value)
        wanted = not is_null if operator == "ne" else is_null
        return sql.SQL("{} is null" if wanted else "{} is not null").format(identifier), []
    if operator == "contains":
        # Not a pattern: every character stands for itself.
        return sql.SQL("strpos(lower({}::text), lower(%s)) > 0").format(identifier), [_text(value)]
    comparison = sql.SQL(_COMPARISONS[operator])
    return sql.SQL("{} {} {}").format(identifier, comparison, _cast(column)), [_text(value)]


def _any_of(key: str, column: MartColumn, operator: str, values: Sequence[Any]) -> Condition:
    if operator != "eq":
        raise UploadRejected(f"{key[:80]!r} takes one value, found {len(values)}.")
    condition = sql.SQL("{} = any (cast(%s::text[] as {}[]))").format(
        sql.Identifier(column.name), sql.SQL(column.type)
    )
    return condition, [[_text(value) for value in values]]


def _after(mart: Mart, order: Sequence[str] | None, after: Mapping[str, Any]) -> Condition:
    if not mart.grain or order is not None:
        raise UploadRejected(f"{mart.name}: pages need the order of the grain; leave `order` out.")
    missing = [name for name in mart.grain if after.get(name) is None]
    if missing or len(after) != len(mart.grain):
        raise UploadRejected(f"`after` needs a value for each of: {', '.join(mart.grain)}.")
    columns = [mart.column(name) for name in mart.grain]
    condition = sql.SQL("({}) > ({})").format(
        sql.SQL(", ").join(sql.Identifier(name) for name in mart.grain),
        sql.SQL(", ").join(_cast(column) for column in columns),
    )
    return condition, [_text(after[name]) for name in mart.grain]


def _cast(column: MartColumn) -> sql.Composable:
    """A value handed over as text, read as the column's type, whose name comes from the catalogue."""
    return sql.SQL("cast(%s as {})").format(sql.SQL(column.type))


def _direction(mart: Mart, name: str) -> sql.Composable:
    column = mart.column(name.removeprefix("-"))
    way = " desc nulls last" if name.startswith("-") else ""
    return sql.Identifier(column.name) + sql.SQL(way)


def _text(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "\0" in text:
        raise UploadRejected("A value holds a NUL character, which no mart does.")
    return text


def _truth(key: str, value: Any) -> bool:
    found = _TRUTH.get(str(value).lower())
    if found is None:
        raise UploadRejected(f"{key[:80]!r}: expected true or false.")
    return found


def _positive(limit: int) -> int:
    if limit < 0:
        raise UploadRejected("`limit` may not be negative.")
    return limit
