"""The model card: one page of its own per version, or the same as Markdown. Pure.

What it says is decided in `ml/card_content.py`; here it is only laid out. No script, nothing from elsewhere,
no value of a single student.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ml.card_content import Block, Picture, Points, Table, Text, write_card
from ml.target import Target

# What would be taken for markup in Markdown, or for HTML inside it.
_MARKUP = re.compile(r"([\\`*\[\]<>|]|(?<!\w)_|_(?!\w))")


def render_card(facts: Mapping[str, Any], target: Target) -> str:
    """The card as a page.

    Args:
        facts: the version, as `RegisteredModel.to_dict` gives it; one that was refused has a card too.
        target: what it was to foretell, as declared.
    """
    return _template().render(card=write_card(facts, target))


def render_card_text(facts: Mapping[str, Any], target: Target) -> str:
    """The card as Markdown, without its pictures; arguments as for `render_card`."""
    card = write_card(facts, target)
    parts = [
        f"# {_plain(card.title)}",
        _plain(card.subtitle),
        f"**{_plain(card.status)}.** {_plain(card.answer)}",
    ]
    for section in card.sections:
        parts.append(f"## {_plain(section.title)}")
        parts += [written for block in section.blocks if (written := _write(block))]
    return "\n\n".join(parts) + "\n"


@lru_cache
def _template() -> Template:
    folder = FileSystemLoader(Path(__file__).parent)
    pages = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return pages.get_template("card.html")


def _write(block: Block) -> str:
    """One block in Markdown; empty for a picture, whose figures stand in tables as well."""
    match block:
        case Text(words):
            return _plain(words)
        case Points(items):
            return "\n".join(f"- {_plain(item)}" for item in items)
        case Table(title, head, rows):
            cells = [[_plain(cell) for cell in line] for line in (head, *rows)]
            cells.insert(1, ["---"] * len(head))
            lines = "\n".join(f"| {' | '.join(line)} |" for line in cells)
            return f"{_plain(title)}:\n\n{lines}"
        case Picture():
            return ""


def _plain(words: str) -> str:
    """Words that come out as they are, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(words.split()))
