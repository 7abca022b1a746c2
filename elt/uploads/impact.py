"""Whether an upload would remove or change so much that a second person should look at it first.

Looked at inside the load's transaction, after its rows were copied. A first load changes nothing, and an
identical file changes nothing, so neither is ever held.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql

from elt.contracts import Contract
from elt.loading.raw_tables import raw_table, row_key_sql
from elt.warehouse import Connection

# Below this share of the staging table, looking up each key costs less than reading the table.
_LOOKUP_SHARE = 0.05

_JOIN_SETTINGS = ("enable_hashjoin", "enable_mergejoin", "enable_nestloop")


@dataclass(frozen=True, slots=True)
class HoldPolicy:
    """More than `share` of at least `minimum_rows` existing rows may not change unseen."""

    share: float
    minimum_rows: int

    def is_exceeded(self, touched: int, existing: int) -> bool:
        """Whether so many of the existing rows are too many."""
        return existing >= self.minimum_rows and touched > self.share * existing


def find_impact(
    connection: Connection, contract: Contract, upload_id: UUID, *, replaces: bool, policy: HoldPolicy
) -> str | None:
    """Why the rows just copied should wait for a second person, with counts; None if they need not.

    `replaces` says that the upload has an older version in raw.
    """
    _plan_joins(connection, by_lookup=False)
    reason = _replacement_impact(connection, contract, upload_id, policy) if replaces else None
    if reason is None and contract.is_keyed:
        reason = _override_impact(connection, contract, upload_id, policy)
    if reason is None and contract.is_keyed:
        reason = _unbuilt_impact(connection, contract, upload_id, policy)
    for setting in _JOIN_SETTINGS:
        connection.execute(sql.SQL("reset {}").format(sql.Identifier(setting)))
    return reason


def _replacement_impact(
    connection: Connection, contract: Contract, upload_id: UUID, policy: HoldPolicy
) -> str | None:
    """Compare the new version with the old one: rows by key, or whole rows where there is no key."""
    query = _KEYED_REPLACEMENT if contract.is_keyed else _KEYLESS_REPLACEMENT
    row = _one(connection, query, contract, {"upload_id": upload_id})
    touched, existing = row["removed"] + row["changed"], row["existing"]
    if not policy.is_exceeded(touched, existing):
        return None
    if not contract.is_keyed:
        return _held(f"would remove or change {touched} of the {existing} rows of the version before", policy)
    return _held(
        f"would remove {row['removed']} and change {row['changed']} of the {existing} rows of the version "
        "before",
        policy,
    )


def _override_impact(
    connection: Connection, contract: Contract, upload_id: UUID, policy: HoldPolicy
) -> str | None:
    """Compare the new rows with the rows of other uploads that they would override, school by school."""
    comparable = _comparable_columns(connection, contract)
    if comparable is None:
        return None
    _plan_joins(connection, by_lookup=_is_small(connection, contract, upload_id))
    changes = connection.execute(
        _compose(_OVERRIDDEN, contract, columns=comparable), {"upload_id": upload_id}
    ).fetchall()
    for change in changes:
        cohort = _count_cohort(connection, contract, change["school_id"], change["changed"], policy)
        if not policy.is_exceeded(change["changed"], cohort):
            continue
        # Staging shapes some values. What counts is whether the files differ, so look at their rows.
        _plan_joins(connection, by_lookup=False)
        parameters = {"upload_id": upload_id, "school_id": change["school_id"]}
        changed = _one(connection, _OVERRIDDEN_IN_RAW, contract, parameters)["changed"]
        if policy.is_exceeded(changed, cohort):
            return _held(
                f"would change {changed} of the {cohort} existing rows of school {change['school_id']}",
                policy,
            )
    return None


def _unbuilt_impact(
    connection: Connection, contract: Contract, upload_id: UUID, policy: HoldPolicy
) -> str | None:
    """Compare the new rows with those of uploads that staging does not show yet, school by school."""
    found = connection.execute(_UNBUILT, {"upload_id": upload_id, "dataset": contract.name}).fetchall()
    if not found:
        return None
    parameters = {"upload_id": upload_id, "unbuilt": [row["upload_id"] for row in found]}
    if _one(connection, _SIZES, contract, parameters)["new"] <= policy.share * policy.minimum_rows:
        return None  # too few to be too many, so that a batch of small files stays cheap
    _plan_joins(connection, by_lookup=False)
    changes = connection.execute(_compose(_OVERRIDDEN_UNBUILT, contract), parameters).fetchall()
    is_staged = _comparable_columns(connection, contract) is not None
    for change in changes:
        school_id, changed = change["school_id"], change["changed"]
        cohort = _one(connection, _UNBUILT_COHORT, contract, {**parameters, "school_id": school_id})["cohort"]
        if is_staged:
            cohort = max(cohort, _count_cohort(connection, contract, school_id, changed, policy))
        if policy.is_exceeded(changed, cohort):
            return _held(
                f"would change {changed} of the {cohort} existing rows of school {school_id}", policy
            )
    return None


def _held(what: str, policy: HoldPolicy) -> str:
    return f"It {what}, more than {policy.share:.0%}. A second person must approve it."


def _comparable_columns(connection: Connection, contract: Contract) -> list[str] | None:
    """The contract's columns that staging holds in the type of raw; None if staging has not been built."""
    rows = connection.execute(_compose(_STAGED_COLUMNS, contract)).fetchall()
    found = {row["name"]: row["same"] for row in rows}
    if not {"row_key", "school_id", "_upload_id", "_line"} <= set(found):
        return None
    return [name for name in contract.columns if found.get(name)]


def _is_small(connection: Connection, contract: Contract, upload_id: UUID) -> bool:
    """Whether looking up each key costs less than reading the staging table."""
    row = _one(connection, _SIZES, contract, {"upload_id": upload_id})
    return bool(row["new"] < _LOOKUP_SHARE * max(row["staged"], 0))


def _plan_joins(connection: Connection, *, by_lookup: bool) -> None:
    """Say how to join, for this transaction: the planner knows nothing yet about rows that it wrote.

    A small upload is looked up key by key, so that its cost does not grow with the table; in any other case
    looking up would cost by far the most.
    """
    for setting in _JOIN_SETTINGS:
        is_on = by_lookup == (setting == "enable_nestloop")
        connection.execute("select set_config(%s, %s, true)", (setting, "on" if is_on else "off"))


def _count_cohort(
    connection: Connection, contract: Contract, school_id: str, changed: int, policy: HoldPolicy
) -> int:
    """Rows of the school, counted only as far as it matters: beyond that the share cannot be exceeded."""
    enough = max(policy.minimum_rows, math.floor(changed / policy.share) + 1)
    return int(_one(connection, _COHORT, contract, {"school_id": school_id, "enough": enough})["cohort"])


def _one(
    connection: Connection, query: str, contract: Contract, parameters: dict[str, Any]
) -> dict[str, Any]:
    row = connection.execute(_compose(query, contract), parameters).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return row


def _compose(query: str, contract: Contract, columns: list[str] | None = None) -> sql.Composed:
    """Fill in tables, the row key, the parts that queries share, and the compared columns of each alias."""

    def cells(alias: str) -> sql.Composable:
        return _cells(alias, columns if columns is not None else contract.columns)

    staging = sql.Identifier("staging", f"stg_{contract.name}")
    tables = {
        "raw": raw_table(contract),
        "staging": staging,
        "key": row_key_sql(contract, "r") if contract.is_keyed else sql.SQL("null"),
    }
    return sql.SQL(query).format(
        **tables,
        new_rows=sql.SQL(_NEW_ROWS).format(**tables),
        overrides=sql.SQL(_OVERRIDES).format(**tables),
        earlier=sql.SQL(_EARLIER),
        regclass=sql.Literal(staging.as_string(None)),
        raw_regclass=sql.Literal(raw_table(contract).as_string(None)),
        r=cells("r"), old=cells("old"), new=cells("new"), staged=cells("s"),
        r_filled_key=_cells("r", _filled_key(contract)), new_filled_key=_cells("new", _filled_key(contract)),
    )  # fmt: skip


def _cells(alias: str, names: Iterable[str]) -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)


def _filled_key(contract: Contract) -> list[str]:
    """The columns of the key that no row leaves empty; the upload tells the school where a file does not."""
    filled = {field.name for field in contract.fields if field.constraints.required} | {"school_id"}
    return [name for name in contract.primary_key if name in filled]


# Of the catalog itself: for each small file the views of the information schema took 8 ms, this takes 0.4 ms.
_STAGED_COLUMNS = """
    select staged.attname as name, staged.atttypid = loaded.atttypid as same
    from pg_attribute staged
    left join pg_attribute loaded
      on loaded.attrelid = to_regclass({raw_regclass}) and loaded.attname = staged.attname
     and not loaded.attisdropped
    where staged.attrelid = to_regclass({regclass}) and staged.attnum > 0 and not staged.attisdropped
"""

# Of rows with the same key in one file the last line counts.
_NEW_ROWS = """
    select distinct on (row_key) * from (
        select {key} as row_key, r.* from {raw} r where r._upload_id = %(upload_id)s and r._loaded_at = now()
    ) keyed order by row_key, _line desc
"""

_KEYED_REPLACEMENT = """
    with new as ({new_rows}),
    old as (
        select distinct on (row_key) * from (
            select {key} as row_key, r.* from {raw} r
            where r._upload_id = %(upload_id)s and r._loaded_at <> now()
        ) keyed order by row_key, _line desc
    )
    select count(*) as existing,
           count(*) filter (where new.row_key is null) as removed,
           count(*) filter (where new.row_key is not null and ({old}) is distinct from ({new})) as changed
    from old left join new using (row_key)
"""

_KEYLESS_REPLACEMENT = """
    select (select count(*) from {raw} r where r._upload_id = %(upload_id)s and r._loaded_at <> now())
               as existing,
           count(*) as removed, 0 as changed
    from (
        select {r} from {raw} r where r._upload_id = %(upload_id)s and r._loaded_at <> now()
        except all
        select {r} from {raw} r where r._upload_id = %(upload_id)s and r._loaded_at = now()
    ) gone
"""

# Rows of later uploads win over these, so they change nothing there.
_OVERRIDES = """
    from new
    join {staging} s on s.row_key = new.row_key
    join ops.uploads u on u.upload_id = s._upload_id
    join ops.upload_versions v on v.upload_id = u.upload_id and v.version = u.live_version
    cross join lateral (
        select max(ranked_at) as ranked_at from ops.upload_versions
        where upload_id = %(upload_id)s and status = 'loading'
    ) mine
"""

# As in staging: a fix has the rank of its parent, and may still win over rows of it.
_EARLIER = "(v.ranked_at, s._line, s._upload_id) < (mine.ranked_at, new._line, %(upload_id)s)"

_OVERRIDDEN = """
    with new as ({new_rows})
    select new.school_id, count(*) as changed
    {overrides}
    where s._upload_id <> %(upload_id)s and {earlier}
      and ({staged}) is distinct from ({new})
    group by new.school_id order by changed desc
"""

_OVERRIDDEN_IN_RAW = """
    with new as ({new_rows})
    select count(*) as changed
    {overrides}
    join {raw} r on r._upload_id = s._upload_id and r._line = s._line
    where s._upload_id <> %(upload_id)s and {earlier}
      and new.school_id = %(school_id)s and ({r}) is distinct from ({new})
"""

_SIZES = """
    select (select count(*) from {raw} r where r._upload_id = %(upload_id)s and r._loaded_at = now()) as new,
           (select reltuples from pg_class where oid = to_regclass({regclass})) as staged
"""

_COHORT = """
    select count(*) as cohort
    from (select from {staging} s where s.school_id = %(school_id)s limit %(enough)s) counted
"""

_UNBUILT = """
    select distinct u.upload_id
    from ops.loads l
    join ops.uploads u using (upload_id)
    join ops.upload_versions v on v.upload_id = u.upload_id and v.version = u.live_version
    where l.built_at is null and l.dataset = %(dataset)s and l.kind = 'load' and u.upload_id <> %(upload_id)s
      and v.ranked_at <= (select max(ranked_at) from ops.upload_versions
                          where upload_id = %(upload_id)s and status = 'loading')
"""

# Rows that no new one can override are left out before their keys are made, which costs by far the most.
_OVERRIDDEN_UNBUILT = """
    with new as ({new_rows}),
    old as (
        select distinct on (row_key) * from (
            select {key} as row_key, v.ranked_at, r.*
            from {raw} r
            join ops.uploads u on u.upload_id = r._upload_id
            join ops.upload_versions v on v.upload_id = u.upload_id and v.version = u.live_version
            where r._upload_id = any(%(unbuilt)s)
              and ({r_filled_key}) in (select {new_filled_key} from new)
        ) keyed order by row_key, ranked_at desc, _line desc, _upload_id desc
    )
    select new.school_id, count(*) as changed
    from new join old using (row_key)
    cross join lateral (
        select max(ranked_at) as ranked_at from ops.upload_versions
        where upload_id = %(upload_id)s and status = 'loading'
    ) mine
    where (old.ranked_at, old._line, old._upload_id) < (mine.ranked_at, new._line, %(upload_id)s)
      and ({old}) is distinct from ({new})
    group by new.school_id order by changed desc
"""

_UNBUILT_COHORT = """
    select count(distinct {key}) as cohort from {raw} r
    where r._upload_id = any(%(unbuilt)s) and r.school_id = %(school_id)s
"""
