"""SQL as the audit trail keeps it: what was asked stays readable, whom it was about does not."""

from __future__ import annotations

import re

from elt.audit.trail import keyed_mark
from elt.settings import Settings

# Texts in all of PostgreSQL's forms, comments, numbers long enough to be somebody's.
_VALUES = re.compile(
    r"""
    [eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)     # E'it\'s'
    | '(?:[^']|'')*(?:'|\Z)             # 'it''s'
    | (?<![\w$])\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)
    | --[^\n]*
    | /\*.*?(?:\*/|\Z)
    | (?<![\w.])\d{4,}(?![\w.])
    """,
    re.VERBOSE | re.DOTALL,
)


def veil_values(settings: Settings, statement: str) -> str:
    """The statement with each value replaced by a keyed mark, the same for the same value."""
    return _VALUES.sub(lambda found: f"'~{keyed_mark(settings, found[0])[:12]}'", statement)
