"""Which marts there are and what their columns mean, from the database's catalogue.

dbt writes its descriptions there as comments. Nothing is kept beside it, so a mart is known as soon as dbt
has built it. A mart can be read where dbt built it (schema `marts`), or as a person may see it (schema
`served`), by the same names.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from psycopg import sql

from elt.errors import Issue, NotFound, UploadRejected
from elt.warehouse import Connection

Schema = Literal["marts", "served"]

_GRAIN = re.compile(r"\bgrain:?\s+((?:`?[a-z][a-z0-9_]*`?(?:\s*(?:,|×|\band\b)\s*)?)+)", re.IGNORECASE)
_GRAIN_SENTENCE = re.compile(r"\s*\bGrain:\s[^.]*\.?")
_WORD = re.compile(r"[a-z][a-z0-9_]*", re.IGNORECASE)

# Tables that dbt builds beside a mart before it swaps them are not marts yet.
_CATALOGUE = """
select
    c.relname as name,
    case when c.relkind in ('v', 'm') then 'view' else 'table' end as kind,
    obj_description(c.oid, 'pg_class') as description,
    case when c.reltuples >= 0 and c.relkind <> 'v' then c.reltuples::bigint end as rows,
    columns.found as columns,
    coalesce(grain.found, '{}') as grain
from pg_class as c
cross join lateral (
    select json_agg(
        json_build_object(
            'name', a.attname,
            'type', format_type(a.atttypid, a.atttypmod),
            'description', col_description(c.oid, a.attnum),
            'is_nullable', not a.attnotnull
        ) order by a.attnum
    ) as found
    from pg_attribute as a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
) as columns
left join lateral (
    select array_agg(a.attname::text order by place.number) as found
    from (
        select (i.indkey::int2[])[0:i.indnkeyatts - 1] as places
        from pg_index as i
        where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null
            and 0 <> all (i.indkey::int2[])
        order by i.indisprimary desc, i.indnkeyatts, i.indexrelid
        limit 1
    ) as chosen
    cross join lateral unnest(chosen.places) with ordinality as place (attnum, number)
    join pg_attribute as a on a.attrelid = c.oid and a.attnum = place.attnum
) as grain on true
where c.relnamespace = to_regnamespace(%(schema)s) and c.relkind in ('r', 'p', 'v', 'm')
    and c.relname not like '%%\\_\\_dbt\\_%%' and (%(name)s::text is null or c.relname = %(name)s)
order by c.relname
"""


@dataclass(frozen=True, slots=True)
class MartColumn:
    """One column; `type` is PostgreSQL's name of it."""

    name: str
    type: str
    description: str | None
    is_nullable: bool


@dataclass(frozen=True, slots=True)
class Mart:
    """One mart.

    `grain` names the columns that together tell its rows apart: those of its unique index, else those that
    its description names (`Grain: school_id, student_id.`); empty if neither says. `rows` is PostgreSQL's
    estimate.
    """

    name: str
    kind: Literal["table", "view"]
    description: str | None
    grain: tuple[str, ...]
    rows: int | None
    columns: tuple[MartColumn, ...]
    schema: Schema = "marts"

    @property
    def identifier(self) -> sql.Identifier:
        """The mart as SQL calls it."""
        return sql.Identifier(self.schema, self.name)

    @property
    def about(self) -> str:
        """The description without the sentence about the grain, for those who read that beside it."""
        return _GRAIN_SENTENCE.sub("", self.description or "") if self.grain else self.description or ""

    def column(self, name: str) -> MartColumn:
        """The column of this name.

        Raises:
            UploadRejected: there is none; names those there are.
        """
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        hint = f"Its columns are: {known}."
        raise UploadRejected(
            f"{self.name} has no column {name[:80]!r}. {hint}",
            [Issue(rule="unknown_column", column=name[:80], hint=hint)],
        )

    def to_dict(self) -> dict[str, Any]:
        """The mart as plain JSON values."""
        columns = [asdict(column) for column in self.columns]
        values = {**asdict(self), "grain": list(self.grain), "columns": columns}
        del values["schema"]
        return values


def list_marts(connection: Connection, *, counted: bool = True) -> list[Mart]:
    """All marts by name; none before the first run has built them.

    Unless `counted`, `rows` stays None where PostgreSQL has no estimate at hand.
    """
    found = _read(connection, None)
    return [_with_rows(connection, mart) for mart in found] if counted else found


def describe_mart(connection: Connection, name: str, schema: Schema = "marts") -> Mart:
    """One mart, to be read in this schema. How many rows it has is not told in `served`.

    Raises:
        NotFound: there is none of this name; names those there are.
    """
    found = _read(connection, name)
    if found and schema == "marts":
        return _with_rows(connection, found[0])
    if found and (columns := _columns_served(connection, name)):
        return replace(found[0], rows=None, columns=columns, schema=schema)
    if not found:
        known = ", ".join(mart.name for mart in _read(connection, None))
        there = f"The marts are: {known}." if known else "No run has built any mart yet."
        raise NotFound(f"There is no mart {name[:80]!r}. {there}")
    raise NotFound(f"{name} is being built anew. Ask again when the run has ended.")


def _read(connection: Connection, name: str | None, schema: Schema = "marts") -> list[Mart]:
    if name is not None and "\0" in name:
        return []
    rows = connection.execute(_CATALOGUE, {"schema": schema, "name": name}).fetchall()
    return [_mart(row) for row in rows]


def _mart(row: dict[str, Any]) -> Mart:
    columns = tuple(MartColumn(**column) for column in row["columns"] or ())
    mart = Mart(row["name"], row["kind"], row["description"], tuple(row["grain"]), row["rows"], columns)
    return replace(mart, grain=mart.grain or _described_grain(mart))


def _with_rows(connection: Connection, mart: Mart) -> Mart:
    return mart if mart.rows is not None else replace(mart, rows=_estimate_rows(connection, mart))


def _columns_served(connection: Connection, name: str) -> tuple[MartColumn, ...]:
    """The columns of the view: masked ones can be null, and of another type; descriptions are the mart's."""
    [mart] = _read(connection, name)
    return tuple(
        replace(column, description=mart.column(column.name).description)
        for served in _read(connection, name, "served")
        for column in served.columns
    )


def _described_grain(mart: Mart) -> tuple[str, ...]:
    """The columns that the description names as grain, if it names columns only."""
    found = _GRAIN.search(mart.description or "")
    named = [word for word in _WORD.findall(found[1]) if word != "and"] if found else []
    known = {column.name for column in mart.columns}
    return tuple(named) if named and known.issuperset(named) else ()


def _estimate_rows(connection: Connection, mart: Mart) -> int | None:
    """What the planner expects, for views and tables that no statistics exist for."""
    explained = connection.execute(
        sql.SQL("explain (format json) select 1 from {}").format(mart.identifier)
    ).fetchone()
    return int(explained["QUERY PLAN"][0]["Plan"]["Plan Rows"]) if explained else None
