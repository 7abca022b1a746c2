"""Columns, conditions and cells of marts in words."""

from __future__ import annotations

import json
import re
from typing import Any

from flask_babel import gettext as _

from backend.texts import day, moment
from elt.serving.marts import MartColumn

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def operators() -> dict[str, str]:
    """What can be asked of a column, by the API's name of it; `known` is `isnull=false`."""
    return {
        "eq": _("is"),
        "ne": _("is not"),
        "contains": _("contains"),
        "gte": _("from"),
        "lte": _("to"),
        "gt": _("above"),
        "lt": _("below"),
        "known": _("is known"),
        "isnull": _("is not known"),
    }


def type_in_words(column: MartColumn) -> str:
    """What the column holds."""
    type_ = column.type
    if type_.endswith("[]"):
        return str(_("list"))
    if type_.startswith(("numeric", "real", "double")):
        return str(_("number"))
    if type_.startswith("timestamp"):
        return str(_("moment"))
    words: dict[str, str] = {
        "text": _("text"),
        "boolean": _("yes or no"),
        "date": _("day"),
        "smallint": _("whole number"),
        "integer": _("whole number"),
        "bigint": _("whole number"),
        "json": _("structure"),
        "jsonb": _("structure"),
    }
    return words.get(type_, type_)


def cell_text(column: MartColumn, value: Any) -> str:
    """A cell as people read it; `value` is as JSON has it, numbers as text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(_("Yes") if value else _("No"))
    try:
        if column.type == "date" or (column.type == "text" and _DAY.fullmatch(value)):  # of birth, in views
            return day(value)
        if column.type.startswith("timestamp with"):
            return moment(value)
    except (ValueError, OverflowError):  # infinity, years before Christ, a day that no month has
        return plain_text(value)
    return plain_text(value)


def plain_text(value: Any) -> str:
    """What JSON has, lists and structures too, in one line."""
    if isinstance(value, list):
        return "; ".join(map(plain_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {plain_text(part)}" for name, part in value.items())
    return value if isinstance(value, str) else json.dumps(value)
