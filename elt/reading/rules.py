"""A contract's rules as Polars expressions over the columns of one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from elt.contracts import Contract, Field, RowRule
from elt.errors import Severity
from elt.reading.dialect import DATE_FORMATS

ISO = "YYYY-MM-DD"
_FORMS = {"YYYY": "[0-9]{4}", "MM": "[0-9]{1,2}", "DD": "[0-9]{1,2}"}
_ISO_FORM = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

# Offsets on Earth reach from -12:00 to +14:00; PostgreSQL takes no more than 15 hours.
_TIME_FORM = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9]([.][0-9]{1,6})?"
    "(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$"
)
_FIRST_TIME, _LAST_TIME = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

# Polars and PostgreSQL read the same numbers, except where one of them runs out of range: a value that
# became zero, and one with very many digits.
_NUMBER_FORM = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
_MOST_DIGITS = 100

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True, slots=True)
class Check:
    """A rule: `broken` is true for rows that break it, and false or null for others.

    Where `suspected` (cheaper) is true for no row of a block, `broken` is not for any either.
    """

    rule: str
    column: str | None
    severity: Severity
    broken: pl.Expr
    suspected: pl.Expr


def text_of(contract: Contract, field: Field, position: int | None, school_id: str) -> pl.Expr:
    """The cells of a field as text; null means no value. `position` is None where the file has no column."""
    if position is None:
        return pl.lit(school_id if field.name == "school_id" else None, pl.String)
    text = pl.col(f"c{position}")
    missing = contract.missing_values_of(field)
    if "" not in missing:
        text = text.fill_null("")
    if others := [value for value in missing if value]:
        text = pl.when(~text.is_in(others)).then(text)
    return text.fill_null(school_id) if field.name == "school_id" else text


def value_of(field: Field, text: pl.Expr, date_format: str | None) -> pl.Expr:
    """The typed values of a field, null where the text is none. Numbers are floats: for comparing only."""
    match field.type:
        case "integer":
            return text.cast(pl.Int64, strict=False)
        case "number":
            number = text.cast(pl.Float64, strict=False)
            return pl.when(number.is_finite()).then(number)
        case "year":
            year = text.cast(pl.Int32, strict=False)
            return pl.when((text.str.len_bytes() == 4) & year.is_between(1, 9999)).then(year)
        case "boolean":
            word = text.str.to_lowercase()
            return pl.when(word.is_in(_TRUE)).then(True).when(word.is_in(_FALSE)).then(False)
        case "date":
            iso = _date(text, ISO, _ISO_FORM)
            if date_format is None or date_format == ISO:
                return iso
            form = date_format
            for part, digits in _FORMS.items():
                form = form.replace(part, digits)
            # A date that starts with the year is never mistaken for one that ends with it.
            return pl.coalesce(iso, _date(text, date_format, f"^{form.replace('.', '[.]')}$"))
        case "datetime":
            return _time(text)
        case _:
            return text


def _time(text: pl.Expr) -> pl.Expr:
    """Times in UTC. Whoever leaves out the offset does not say when it was, so that is none."""
    with_offset = text.str.replace("Z$", "+00:00")
    time = with_offset.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False)
    return pl.when(text.str.contains(_TIME_FORM) & time.is_between(_FIRST_TIME, _LAST_TIME)).then(time)


def _date(text: pl.Expr, date_format: str, form: str) -> pl.Expr:
    day = text.str.to_date(DATE_FORMATS[date_format], strict=False)
    return pl.when(text.str.contains(form) & (day >= date(1, 1, 1))).then(day)


def checks_of(
    field: Field, text: pl.Expr, value: pl.Expr, received_at: datetime | None = None
) -> Iterator[Check]:
    """The checks on single cells of a field; times are held against `received_at`, if there is one."""
    limits = field.constraints

    def check(rule: str, broken: pl.Expr, suspected: pl.Expr | None = None) -> Check:
        return Check(rule, field.name, "error", broken, broken if suspected is None else suspected)

    if limits.required:
        yield check("required", text.is_null())
    if field.type != "string":
        yield check("type", value.is_null() & text.is_not_null())
    if field.type == "number":
        odd = (value == 0) | (text.str.len_bytes() > _MOST_DIGITS)
        plain = text.str.contains(_NUMBER_FORM) & (text.str.len_bytes() <= _MOST_DIGITS)
        yield check("type", value.is_not_null() & odd & ~plain, odd)
    if limits.minimum is not None:
        yield check("minimum", value < limits.minimum)
    if limits.maximum is not None:
        yield check("maximum", value > limits.maximum)
    if limits.minutes_ahead is not None and received_at is not None:
        yield check("ahead", value > received_at + timedelta(minutes=limits.minutes_ahead))
    if limits.enum:
        yield check("enum", ~text.is_in(limits.enum))
    if limits.pattern:
        yield check("pattern", ~text.str.contains(f"^(?:{limits.pattern})$"))
    if field.type == "string":
        too_long = text.str.len_chars() > limits.max_length
        yield check("max_length", too_long, text.str.len_bytes() > limits.max_length)


def check_of_rule(rule: RowRule) -> Check:
    """The check on a whole row. Its columns are typed and named as in the contract; null holds.

    Raises:
        polars.exceptions.PolarsError: the rule's text is no SQL expression.
    """
    broken = ~pl.sql_expr(rule.check)
    return Check(rule.name, None, rule.severity, broken, broken)
