"""A report's sheet as a PDF of A4 pages."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

from elt.serving.report_sheet import Sheet

_TEMPLATE = Path(__file__).with_name("report.typ")


def write_pdf(sheet: Sheet, *, language: str = "en", page: str = "Page") -> bytes:
    """The PDF. Its fonts come with the library; the sheet comes in as JSON, so no text of it is markup."""
    import typst  # loads fonts, which only who asks for a PDF should wait for

    told = json.dumps({**asdict(sheet), "language": language, "page": page})
    written = typst.compile(_template(), sys_inputs={"sheet": told}, ignore_system_fonts=True, format="pdf")
    assert isinstance(written, bytes)  # noqa: S101 - one file, as no output is named
    return written


@cache
def _template() -> bytes:
    return _TEMPLATE.read_bytes()
