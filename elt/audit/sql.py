"""SQL as the audit trail keeps it: what was asked stays readable, whom it was about does not."""

from __future__ import annotations

import re

from elt.audit.trail import keyed_mark
from elt.settings import Settings

# Texts in all of PostgreSQL's forms and in the quotes that other databases have for them, comments, numbers
# long enough to be somebody's. Names of columns like "grade_level" are no texts.
_VALUES = re.compile(
    r"""
    (?<!\w)[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)  # E'it\'s'
    | '(?:[^']|'')*(?:'|\Z)             # 'it''s'
    | (?P<column>"[a-z]+(?:_[a-z]+)+")
    | "(?:[^"]|"")*(?:"|\Z)
    | (?<![\w$])\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)
    | --[^\n]*
    | /\*(?:(?!/\*).)*?\*/ | /\*.*       # to the end where one is within another
    | (?<![\w.])\d[\d_]{3,}(?!\w)
    """,
    re.VERBOSE | re.DOTALL,
)


def veil_values(settings: Settings, statement: str) -> str:
    """The statement with each value replaced by a keyed mark, the same for the same value."""
    return _VALUES.sub(
        lambda found: found["column"] or f"'~{keyed_mark(settings, found[0])[:12]}'", statement
    )
