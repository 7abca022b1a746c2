"""Comparing what the platform shows with the answer key."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from demo.figures import Figure


def differences(figure: Figure, shown: list[dict[str, str]]) -> list[str]:
    """What a mart shows otherwise than the key, in words; the first ten."""
    expected = {
        tuple(comparable(row[name]) for name in figure.key): row for row in figure.rows.to_dict("records")
    }
    found = {tuple(comparable(row[name]) for name in figure.key): row for row in shown}
    said = [f"{len(shown)} rows for {len(found)} keys"] if len(found) != len(shown) else []
    said += [f"missing: {place}" for place in expected.keys() - found.keys()]
    said += [f"not in the key: {place}" for place in found.keys() - expected.keys()]
    said += [
        f"{place} {name}: {found[place][name]!r} instead of {value!r}"
        for place, row in expected.items()
        if place in found
        for name, value in row.items()
        if comparable(found[place][name]) != comparable(value)
    ]
    return sorted(said)[:10]


def comparable(value: Any) -> Any:
    """A cell whatever its form: numbers by value, truth as `true` and `false`, nothing as the empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = {"t": "true", "f": "false", "True": "true", "False": "false"}.get(str(value), str(value))
    try:
        return Decimal(text).normalize()
    except InvalidOperation:
        return text
