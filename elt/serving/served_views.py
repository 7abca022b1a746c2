"""The SQL of the views in schema `served`: one per mart, with its columns, in branches by role.

Only the branch of the session's role has rows. Conditions on the session stand in scalar subqueries, so that
PostgreSQL answers them once per query and does not even open the other branches.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from psycopg import sql

from elt.privacy.column_classes import PSEUDONYM_KINDS, MartClasses
from elt.serving.mart_catalogue import Mart, MartColumn

SCHEMA = "served"
_SUPPRESSED_DIR = Path(__file__).with_name("served")
_RELATION = re.compile(r"\b(?:staging|intermediate|core|marts)\.\w+")

_ROLE = sql.SQL("(select scope.role from served.scope() as scope) = {}")
_SCHOOL = sql.SQL("(select scope.school_id from served.scope() as scope)")
_ASSIGNMENTS = """
    served.scope() as scope
    cross join jsonb_to_recordset(scope.assignments)
        as assigned (school_id text, grade_level text, subject text)
"""

# A class is taught as a whole, or one subject of it: then its students are those who have marks in that.
_TAUGHT_STUDENTS = """
(mart.school_id, mart.student_id) in (
    select student.school_id, student.student_id
    from {assignments}
    join marts.mart_student_overview as student
        on student.school_id = assigned.school_id
        and (assigned.grade_level is null or student.grade_level = assigned.grade_level)
    where assigned.subject is null or exists (
        select from core.fct_assessments as fact
        where fact.school_id = student.school_id and fact.student_id = student.student_id
            and fact.grade_level = student.grade_level and fact.subject = assigned.subject
    )
)
"""
_TAUGHT_CLASSES = """
exists (
    select from {assignments}
    where assigned.school_id = mart.school_id
        and (assigned.grade_level is null or assigned.grade_level = mart.grade_level)
        and {subject}
)
"""
_TAUGHT_SUBJECTS = "(assigned.subject is null or assigned.subject = mart.subject)"


def view_sql(mart: Mart, classes: MartClasses, relations: Collection[str]) -> sql.Composed:
    """The statement that makes the view of a mart; `relations` are those that exist, as `schema.name`."""
    names = {column.name for column in mart.columns}
    as_is = [_as_is(column, classes) for column in mart.columns]
    masked = [_masked(column, classes, names) for column in mart.columns]
    suppressed = _suppressed(mart)
    if suppressed and not classes.has_people and "school_id" not in names:
        branches = _of_all_schools(mart, as_is, masked, suppressed, relations)
    else:
        bound = _bound_to_school(names, classes)
        branches = [_branch(mart, "admin", as_is), _branch(mart, "researcher", masked)]
        if (taught := _taught(names, classes)) and _exist(taught, relations):
            branches.append(_branch(mart, "teacher", as_is, taught))
        if suppressed and _exist(suppressed, relations):
            branches.append(_branch(mart, "analyst", as_is, source=suppressed))
        elif not suppressed and not classes.has_people:
            branches.append(_branch(mart, "analyst", as_is))
        branches = [branch + bound for branch in branches]
    return sql.SQL("create view {} with (security_barrier) as {}").format(
        sql.Identifier(SCHEMA, mart.name), sql.SQL(" union all ").join(branches)
    )


def _of_all_schools(
    mart: Mart,
    as_is: list[sql.Composable],
    masked: list[sql.Composable],
    suppressed: str,
    relations: Collection[str],
) -> list[sql.Composed]:
    """Counts over all schools: in full for whoever may see all of them, for everybody else suppressed."""
    unbound = sql.SQL(" and {} is null").format(_SCHOOL)
    branches = [
        _branch(mart, "admin", as_is) + unbound,
        _branch(mart, "researcher", masked) + unbound,
    ]
    if _exist(suppressed, relations):
        bound = sql.SQL(" and {} is not null").format(_SCHOOL)
        branches += [
            _branch(mart, "admin", as_is, source=suppressed) + bound,
            _branch(mart, "researcher", masked, source=suppressed) + bound,
            _branch(mart, "teacher", as_is, source=suppressed),
            _branch(mart, "analyst", as_is, source=suppressed),
        ]
    return branches


def _branch(
    mart: Mart,
    role: str,
    expressions: list[sql.Composable],
    condition: str = "true",
    source: str | None = None,
) -> sql.Composed:
    columns = sql.SQL(", ").join(
        sql.SQL("{} as {}").format(expression, sql.Identifier(column.name))
        for expression, column in zip(expressions, mart.columns, strict=True)
    )
    rows = sql.SQL("({})").format(sql.SQL(source)) if source else mart.identifier
    return sql.SQL("select {} from {} as mart where {} and {}").format(
        columns, rows, _ROLE.format(sql.Literal(role)), sql.SQL(condition)
    )


def _as_is(column: MartColumn, classes: MartClasses) -> sql.Composable:
    cell = sql.Identifier("mart", column.name)
    return sql.SQL("{}::text").format(cell) if _is_day_of_a_life(column, classes) else cell


def _masked(column: MartColumn, classes: MartClasses, names: Collection[str]) -> sql.Composable:
    """What researchers see in place of the cell."""
    cell = sql.Identifier("mart", column.name)
    personal = classes.of(column.name)
    if personal in ("none", "sensitive"):
        return cell
    if _is_day_of_a_life(column, classes):
        return sql.SQL("served.age_band({})").format(cell)
    kind = PSEUDONYM_KINDS.get(column.name)
    if personal == "identifier" and kind and "school_id" in names:
        return sql.SQL(
            "(select known.pseudonym from ops.pseudonyms as known "
            "where known.kind = {} and known.school_id = mart.school_id and known.source_id = {})"
        ).format(sql.Literal(kind), cell)
    return sql.SQL("null::{}").format(sql.SQL(column.type))


def _is_day_of_a_life(column: MartColumn, classes: MartClasses) -> bool:
    return column.type == "date" and classes.of(column.name) == "direct"


def _bound_to_school(names: Collection[str], classes: MartClasses) -> sql.Composable:
    """Whoever is bound to a school sees its rows, and no figure that mixes it with other schools."""
    if "school_id" in names:
        return sql.SQL(" and ({0} is null or mart.school_id = {0})").format(_SCHOOL)
    return sql.SQL(" and {} is null").format(_SCHOOL) if classes.has_people else sql.SQL("")


def _taught(names: Collection[str], classes: MartClasses) -> str | None:
    """Which rows are a teacher's; None where a mart does not say whose they are."""
    if not classes.has_people:
        return "true"
    if {"school_id", "student_id"} <= set(names):
        return _TAUGHT_STUDENTS.format(assignments=_ASSIGNMENTS)
    if {"school_id", "grade_level"} <= set(names):
        subject = _TAUGHT_SUBJECTS if "subject" in names else "true"
        return _TAUGHT_CLASSES.format(assignments=_ASSIGNMENTS, subject=subject)
    return None


def _suppressed(mart: Mart) -> str | None:
    """What is seen instead of the mart by whoever sees no single people; see `elt/serving/served/`."""
    path = _SUPPRESSED_DIR / f"{mart.name}.sql"
    return path.read_text(encoding="utf-8") if path.exists() else None


def _exist(query: str, relations: Collection[str]) -> bool:
    return set(_RELATION.findall(query)) <= set(relations)
