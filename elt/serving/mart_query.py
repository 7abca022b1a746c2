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
        UploadRejected: an unknown column or operator, or a page asked for where rows cannot be told apart.
    """
    conditions = [_condition(mart, key, value) for key, value in where.items()]
    if after:
        conditions.append(_after(mart, order, after))
    filters, values = _all_of(conditions)
    query = sql.SQL("select {} from {}").format(
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns), mart.identifier
    )
    query += filters
    ordering = [_direction(mart, name) for name in whole_order(mart, order)]
    if ordering:
        query += sql.SQL(" order by ") + sql.SQL(", ").join(ordering)
    if limit is not None:
        query += sql.SQL(" limit %s")
        values.append(_positive(limit))
    return query, values


def compose_filters(mart: Mart, where: Mapping[str, Any]) -> Condition:
    """` where …` for these conditions, or nothing.

    Raises:
        UploadRejected: an unknown column or operator.
    """
    return _all_of([_condition(mart, key, value) for key, value in where.items()])


def whole_order(mart: Mart, order: Sequence[str] | None) -> tuple[str, ...]:
    """The order asked for, and behind it that of the grain, so that each row has one place."""
    named = {name.removeprefix("-") for name in order or ()}
    return (*(order or ()), *(name for name in mart.grain if name not in named))


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


def _all_of(conditions: Sequence[Condition]) -> Condition:
    if not conditions:
        return sql.SQL(""), []
    joined = sql.SQL(" and ").join(condition for condition, _ in conditions)
    return sql.SQL(" where ") + joined, [value for _, bound in conditions for value in bound]


def _after(mart: Mart, order: Sequence[str] | None, after: Mapping[str, Any]) -> Condition:
    """That a row comes behind the one with these values."""
    if not mart.grain:
        raise UploadRejected(f"{mart.name}: what tells its rows apart is not known, so it has no pages.")
    whole = whole_order(mart, order)
    places = [(mart.column(name.removeprefix("-")), name.startswith("-")) for name in whole]
    if {column.name for column, _ in places} != set(after):
        named = ", ".join(column.name for column, _ in places)
        raise UploadRejected(f"`after` needs a value for each of: {named}.")
    if not order and all(after[column.name] is not None for column, _ in places):
        columns = [column for column, _ in places]
        if not any(column.is_nullable for column in columns):
            return _behind_key(columns, after)
    return _behind_row(places, after)


def _behind_key(columns: Sequence[MartColumn], after: Mapping[str, Any]) -> Condition:
    """In the order of columns without nulls: one comparison, which an index answers."""
    condition = sql.SQL("({}) > ({})").format(
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
        sql.SQL(", ").join(_cast(column) for column in columns),
    )
    return condition, [_text(after[column.name]) for column in columns]


def _behind_row(places: Sequence[tuple[MartColumn, bool]], after: Mapping[str, Any]) -> Condition:
    """In any order, nulls last: behind in one column, and equal in those before it."""
    ways: list[sql.Composable] = []
    values: list[Any] = []
    for count, (column, is_descending) in enumerate(places):
        if after[column.name] is None:
            continue  # nothing comes behind a null
        equal = [column for column, _ in places[:count]]
        same, bound = match_values(equal, [after[column.name] for column in equal])
        behind = sql.SQL("({0} {1} {2} or {0} is null)").format(
            sql.Identifier(column.name), sql.SQL("<" if is_descending else ">"), _cast(column)
        )
        ways.append(sql.SQL(" and ").join([same, behind]) if equal else behind)
        values += [*bound, _text(after[column.name])]
    if not ways:
        return sql.SQL("false"), []
    return sql.SQL("({})").format(sql.SQL(" or ").join(ways)), values


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
